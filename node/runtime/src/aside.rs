//! Records that a subtask sets aside: late ones by their operators, malformed ones by its source. All are counted; they are
//! written where the job or table names a path, and published with the job's sinks.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use thalweg_connectors::{DeadLetter, SetAside, SetAsideKind, SinkIdentity};
use thalweg_operators::{LateRows, Operator};
use thalweg_types::{
    OperatorId,
    bug::{self, Bug},
};

use crate::{
    checkpoint::Sealed,
    failure::SubtaskError,
    meter::Meter,
    tables::{SetAsideOutput, Tables},
};

/// What a subtask sets aside.
pub(crate) struct Aside {
    tables: Arc<dyn Tables>,
    /// The subtask; the operator differs from writer to writer.
    identity: SinkIdentity,
    late_path: Option<String>,
    dead_letter_path: Option<(OperatorId, String)>,
    /// Opened with the first record that each operator sets aside.
    writers: BTreeMap<OperatorId, Box<dyn SetAsideOutput>>,
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
        Self { tables, identity, late_path, dead_letter_path, writers: BTreeMap::new(), waiting: Vec::new() }
    }

    /// Takes an operator's late rows.
    pub(crate) fn take_late(&mut self, id: OperatorId, operator: &mut dyn Operator, meter: &Meter) {
        self.add_late(id, operator.take_late(), meter);
    }

    /// Takes rows that were judged late.
    pub(crate) fn add_late(&mut self, id: OperatorId, late: Vec<LateRows>, meter: &Meter) {
        for late in late {
            if bug::is_active(Bug::DropLateUncounted) {
                continue;
            }
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
        for (operator, LateRows { window_start, window_end, rows }) in waiting {
            let records = SetAside::LateRows { operator, window: (window_start, window_end), rows: &rows };
            self.write(SetAsideKind::LateRows, operator, &path, records).await?;
        }
        Ok(())
    }

    /// Writes malformed records, where the table has a path for them.
    pub(crate) async fn write_dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SubtaskError> {
        let Some((source, path)) = self.dead_letter_path.clone() else { return Ok(()) };
        self.write(SetAsideKind::DeadLetters, source, &path, SetAside::DeadLetters(letters)).await
    }

    async fn write(
        &mut self,
        kind: SetAsideKind,
        operator: OperatorId,
        path: &str,
        records: SetAside<'_>,
    ) -> Result<(), SubtaskError> {
        let writer = match self.writers.entry(operator) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let identity = SinkIdentity { sink: operator, ..self.identity.clone() };
                none.insert(self.tables.set_aside(kind, path, identity).map_err(failed)?)
            }
        };
        writer.write(records).await.map_err(failed)
    }

    /// Cuts off everything that was written; what makes it durable names the operator that set the records aside.
    pub(crate) async fn seal(&mut self) -> Result<Vec<Sealed>, SubtaskError> {
        self.write_late().await?;
        let mut sealed = Vec::new();
        for (operator, writer) in &mut self.writers {
            let sealing = writer.seal().await.map_err(failed)?;
            sealed.push(Sealed { operator: *operator, name: "of records set aside".to_owned(), sealing });
        }
        Ok(sealed)
    }
}

fn failed(source: thalweg_connectors::ConnectorError) -> SubtaskError {
    SubtaskError::SetAside { source }
}
