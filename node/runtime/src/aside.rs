//! Records that a subtask sets aside: late ones by their operators, malformed ones by its source. All are counted; they are
//! written where the job or table names a path, and published with the job's sinks.

use std::{collections::BTreeMap, sync::Arc};

use thalweg_connectors::{DeadLetter, SinkIdentity};
use thalweg_operators::{LateRows, Operator};
use thalweg_types::{OperatorId, session::SinkCommittables};

use crate::{
    failure::SubtaskError,
    meter::Meter,
    tables::{DeadLetterOutput, LateOutput, Tables},
};

/// What a subtask sets aside.
pub(crate) struct Aside {
    tables: Arc<dyn Tables>,
    /// The subtask; the operator differs from writer to writer.
    identity: SinkIdentity,
    late_path: Option<String>,
    dead_letter_path: Option<(OperatorId, String)>,
    /// Opened with the first late row of each operator.
    late: BTreeMap<OperatorId, Box<dyn LateOutput>>,
    dead_letters: Option<Box<dyn DeadLetterOutput>>,
    /// Taken from operators and not written yet.
    waiting: Vec<(OperatorId, LateRows)>,
}

impl Aside {
    /// For a subtask, with the paths of its late records and (for a source) of its dead letters.
    pub(crate) fn new(
        tables: Arc<dyn Tables>,
        identity: SinkIdentity,
        late_path: Option<String>,
        dead_letter_path: Option<(OperatorId, String)>,
    ) -> Self {
        let (late, dead_letters, waiting) = (BTreeMap::new(), None, Vec::new());
        Self { tables, identity, late_path, dead_letter_path, late, dead_letters, waiting }
    }

    /// Takes an operator's late rows.
    pub(crate) fn take_late(&mut self, id: OperatorId, operator: &mut dyn Operator, meter: &Meter) {
        for late in operator.take_late() {
            meter.count_late(late.rows.num_rows());
            if self.late_path.is_some() {
                self.waiting.push((id, late));
            }
        }
    }

    pub(crate) fn has_late(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes the late rows that were taken.
    pub(crate) async fn write_late(&mut self) -> Result<(), SubtaskError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(path) = self.late_path.clone() else { return Ok(()) };
        for (id, LateRows { window_start, window_end, rows }) in waiting {
            if !self.late.contains_key(&id) {
                let writer = self.tables.late(&path, self.identity_of(id)).map_err(failed)?;
                self.late.insert(id, writer);
            }
            let writer = self.late.get_mut(&id).expect("opened above");
            let windows = vec![(window_start, window_end); rows.num_rows()];
            writer.write(id, &windows, &rows).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Writes malformed records, where the table has a path for them.
    pub(crate) async fn write_dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SubtaskError> {
        let Some((source, path)) = &self.dead_letter_path else { return Ok(()) };
        if self.dead_letters.is_none() {
            let writer = self.tables.dead_letters(path, self.identity_of(*source)).map_err(failed)?;
            self.dead_letters = Some(writer);
        }
        let writer = self.dead_letters.as_mut().expect("opened above");
        writer.write(letters).await.map_err(failed)
    }

    /// Makes everything durable; the committables name the operator that set the records aside.
    pub(crate) async fn prepare(&mut self) -> Result<Vec<SinkCommittables>, SubtaskError> {
        self.write_late().await?;
        let subtask = self.identity.subtask;
        let mut prepared = Vec::new();
        for (id, writer) in &mut self.late {
            let committables = writer.prepare().await.map_err(failed)?;
            prepared.push(SinkCommittables { sink: *id, subtask, committables });
        }
        if let Some((source, writer)) = self.dead_letter_path.as_ref().zip(self.dead_letters.as_mut()) {
            let committables = writer.prepare().await.map_err(failed)?;
            prepared.push(SinkCommittables { sink: source.0, subtask, committables });
        }
        Ok(prepared)
    }

    fn identity_of(&self, sink: OperatorId) -> SinkIdentity {
        SinkIdentity { sink, ..self.identity.clone() }
    }
}

fn failed(source: thalweg_connectors::ConnectorError) -> SubtaskError {
    SubtaskError::SetAside { source }
}
