//! The side outputs of a subtask: late rows, rows whose evaluation failed, and malformed records of a source. All are
//! counted. They are written where the job or the table names a path, and are published with the job's sinks. Without
//! a path, late rows are only counted, and failed rows fail the job. Malformed records without a path never get here:
//! their reader fails.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use arrow::array::RecordBatch;
use thalweg_connectors::{DeadLetter, SideOutputKind, SideRecords, SinkIdentity, rows_as_json};
use thalweg_operators::{FailedRows, LateRows, Operator, part_rows};
use thalweg_types::{
    Fault, OperatorId,
    bug::{self, Bug},
    graph::Identities,
};

use crate::{
    checkpoint::Sealed,
    failure::SubtaskError,
    meter::Meter,
    tables::{Tables, WriteSideOutput},
};

/// The longest text of a row, in bytes, in the error that fails the job; a longer one is cut.
const TOLD_BYTES_MAX: usize = 2048;

/// The path of each kind of side output, if it has one.
#[derive(Debug, Default)]
pub(crate) struct SideOutputPaths {
    pub(crate) late: Option<String>,
    pub(crate) failed: Option<String>,
    /// The source, and the path for its malformed records.
    pub(crate) dead_letters: Option<(OperatorId, String)>,
}

/// Collects and writes the side outputs of a subtask.
pub(crate) struct SideOutputs {
    tables: Arc<dyn Tables>,
    /// Identifies the subtask; the operator in it is replaced for each writer.
    identity: SinkIdentity,
    identities: Arc<Identities>,
    paths: SideOutputPaths,
    /// Opened for an operator's first record.
    writers: BTreeMap<(OperatorId, SideOutputKind), Box<dyn WriteSideOutput>>,
    /// Taken from operators, but not written yet.
    waiting: Vec<(OperatorId, Taken)>,
}

enum Taken {
    Late(LateRows),
    /// The operator's name, and the rows.
    Failed(String, FailedRows),
}

impl SideOutputs {
    pub(crate) fn new(
        tables: Arc<dyn Tables>,
        (identity, identities): (SinkIdentity, Arc<Identities>),
        paths: SideOutputPaths,
    ) -> Self {
        Self { tables, identity, identities, paths, writers: BTreeMap::new(), waiting: Vec::new() }
    }

    /// Takes the late and the failed rows of an operator. Returns how many rows have failed, and their bytes.
    pub(crate) fn take(
        &mut self,
        (id, name): (OperatorId, &str),
        operator: &mut dyn Operator,
        meter: &Meter,
    ) -> Result<(usize, usize), SubtaskError> {
        self.add_late(id, operator.take_late(), meter);
        let failed = operator.take_failed();
        let rows = failed.iter().map(|failed| failed.rows.num_rows()).sum();
        let bytes = failed.iter().map(|failed| failed.rows.get_array_memory_size()).sum();
        self.add_failed((id, name), failed, meter)?;
        Ok((rows, bytes))
    }

    /// Counts late rows, and keeps them to be written if there is a path for them.
    pub(crate) fn add_late(&mut self, id: OperatorId, late: Vec<LateRows>, meter: &Meter) {
        for late in late {
            if bug::is_active(Bug::DropLateUncounted) {
                continue;
            }
            meter.count_late(late.rows.num_rows());
            if self.paths.late.is_some() {
                self.waiting.push((id, Taken::Late(late)));
            }
        }
    }

    /// Takes rows whose evaluation failed.
    ///
    /// # Errors
    /// Names the first failed row, if the job has no path for such rows.
    pub(crate) fn add_failed(
        &mut self,
        (id, name): (OperatorId, &str),
        failed: impl IntoIterator<Item = FailedRows>,
        meter: &Meter,
    ) -> Result<(), SubtaskError> {
        for failed in failed {
            if self.paths.failed.is_none() {
                return Err(of_first(name, &failed));
            }
            meter.count_failed(failed.faults.len());
            self.waiting.push((id, Taken::Failed(name.to_owned(), failed)));
        }
        Ok(())
    }

    /// Takes the rows of a batch that have a fault, and returns the others.
    ///
    /// # Errors
    /// As `add_failed`.
    pub(crate) fn part(
        &mut self,
        (id, name): (OperatorId, &str),
        batch: RecordBatch,
        faults: Vec<Fault>,
        meter: &Meter,
    ) -> Result<RecordBatch, SubtaskError> {
        if faults.is_empty() {
            return Ok(batch);
        }
        let failed = |source| SubtaskError::Operator { operator: name.to_owned(), source };
        let (fit, unfit) = part_rows(&batch, faults).map_err(failed)?;
        self.add_failed((id, name), [unfit], meter)?;
        Ok(fit)
    }

    /// Whether rows without an event time go to the dead letters.
    pub(crate) fn takes_dead_letters(&self) -> bool {
        self.paths.dead_letters.is_some()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes all rows that were taken and not written yet.
    pub(crate) async fn write_waiting(&mut self) -> Result<(), SubtaskError> {
        for (operator, taken) in std::mem::take(&mut self.waiting) {
            let (kind, path, records) = match &taken {
                Taken::Late(LateRows { window_start, window_end, rows }) => {
                    let records = SideRecords::LateRows { operator, window: (*window_start, *window_end), rows };
                    (SideOutputKind::LateRows, &self.paths.late, records)
                }
                Taken::Failed(name, FailedRows { rows, faults }) => {
                    let records = SideRecords::FailedRows { operator, name, rows, faults };
                    (SideOutputKind::FailedRows, &self.paths.failed, records)
                }
            };
            if let Some(path) = path.clone() {
                self.write(kind, operator, &path, records).await?;
            }
        }
        Ok(())
    }

    /// Writes malformed records, if the table has a path for them.
    pub(crate) async fn write_dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SubtaskError> {
        let Some((source, path)) = self.paths.dead_letters.clone() else { return Ok(()) };
        self.write(SideOutputKind::DeadLetters, source, &path, SideRecords::DeadLetters(letters)).await
    }

    async fn write(
        &mut self,
        kind: SideOutputKind,
        operator: OperatorId,
        path: &str,
        records: SideRecords<'_>,
    ) -> Result<(), SubtaskError> {
        let writer = match self.writers.entry((operator, kind)) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let identity = SinkIdentity { sink: self.identities.get(operator), ..self.identity.clone() };
                none.insert(self.tables.side_output_writer(kind, path, identity).map_err(failed)?)
            }
        };
        writer.write(records).await.map_err(failed)
    }

    /// Seals all writers at a barrier. Each sealing carries the operator whose records they are.
    pub(crate) async fn seal(&mut self) -> Result<Vec<Sealed>, SubtaskError> {
        self.write_waiting().await?;
        let mut sealed = Vec::new();
        for ((operator, _), writer) in &mut self.writers {
            let sealing = writer.seal().await.map_err(failed)?;
            sealed.push(Sealed { operator: *operator, name: "of a side output".to_owned(), sealing });
        }
        Ok(sealed)
    }
}

/// The error for the first of the failed rows.
fn of_first(operator: &str, failed: &FailedRows) -> SubtaskError {
    let row = rows_as_json(&failed.rows.slice(0, 1)).pop().unwrap_or_default();
    let end = (0..=TOLD_BYTES_MAX.min(row.len())).rev().find(|end| row.is_char_boundary(*end)).unwrap_or_default();
    let cut = if end < row.len() { "…" } else { "" };
    let fault = failed.faults.first().map(ToString::to_string).unwrap_or_default();
    SubtaskError::Row { operator: operator.to_owned(), fault, row: format!("{}{cut}", &row[..end]) }
}

fn failed(source: thalweg_connectors::ConnectorError) -> SubtaskError {
    SubtaskError::SideOutput { source }
}
