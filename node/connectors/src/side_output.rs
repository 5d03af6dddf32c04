//! Writes the side outputs of a job: records that are not among its results, as JSON lines with the reason.
//!
//! | kind | written by | a line holds |
//! |---|---|---|
//! | dead letters | a source that could not parse them, or found no event time | position, reason, the record as found |
//! | late rows | an operator whose window has closed | the operator, the window, the row's fields |
//! | failed rows | an operator, source or sink that could not evaluate them | the operator, reason, expression and its position, the row |
//!
//! The files are part files, like those of the filesystem sink, hidden until they are published. So a failed attempt
//! leaves nothing visible, and each record is written once, however often the job restarts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use futures::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use thalweg_types::{Fault, OperatorId};

use crate::{
    ConnectorContext, ConnectorError, DeadLetter, Sealing, SinkCommitter, SinkIdentity,
    failed_rows::encode_failed,
    filesystem::{
        PartCommitter,
        names::{PartCommittable, PartNames, to_values},
        parts::{PART_BYTES, Part, PartFiles},
    },
    json::{JsonWriter, timestamp::TimestampForm},
    location::Location,
};

const WINDOW_TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Why records go to a side output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SideOutputKind {
    /// They could not be parsed, or have no event time.
    DeadLetters,
    /// They arrived after their window had closed.
    LateRows,
    /// An expression, a cast or a sink's constraint failed on them.
    FailedRows,
}

impl SideOutputKind {
    /// The prefix of its files' names.
    fn stem(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead-letter",
            Self::LateRows => "late",
            Self::FailedRows => "error",
        }
    }
}

/// Records for a side output.
#[derive(Debug, Clone, Copy)]
pub enum SideRecords<'a> {
    /// Records that a source could not use.
    DeadLetters(&'a [DeadLetter]),
    /// Rows that an operator refused as late.
    LateRows {
        /// The operator that refused them.
        operator: OperatorId,
        /// Start and end of the closed window, in microseconds.
        window: (i64, i64),
        rows: &'a RecordBatch,
    },
    /// Rows that could not be evaluated.
    FailedRows {
        /// The operator that failed.
        operator: OperatorId,
        name: &'a str,
        rows: &'a RecordBatch,
        /// Why, per row.
        faults: &'a [Fault],
    },
}

/// The line of a dead letter.
#[derive(Serialize)]
struct Line<'a> {
    position: &'a str,
    reason: &'a str,
    record: &'a str,
}

impl SideRecords<'_> {
    fn kind(&self) -> SideOutputKind {
        match self {
            Self::DeadLetters(_) => SideOutputKind::DeadLetters,
            Self::LateRows { .. } => SideOutputKind::LateRows,
            Self::FailedRows { .. } => SideOutputKind::FailedRows,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, ConnectorError> {
        let mut lines = Vec::new();
        match self {
            Self::DeadLetters(letters) => {
                for DeadLetter { position, reason, record } in *letters {
                    serde_json::to_writer(&mut lines, &Line { position, reason, record })
                        .expect("texts can be written");
                    lines.push(b'\n');
                }
            }
            Self::LateRows { operator, window, rows } => {
                encode_late(*operator, *window, rows, &mut lines).map_err(|reason| ConnectorError::Data {
                    attempted: format!("write the late records of {operator}"),
                    reason,
                })?;
            }
            Self::FailedRows { operator, name, rows, faults } => {
                encode_failed((*operator, name), rows, faults, &mut lines);
            }
        }
        Ok(lines)
    }
}

/// One object per row: operator, window, then the row's fields. Row fields with one of these names are left out.
fn encode_late(operator: OperatorId, window: (i64, i64), rows: &RecordBatch, into: &mut Vec<u8>) -> Result<(), String> {
    let count = rows.num_rows();
    let mut fields = vec![
        Arc::new(Field::new("operator", DataType::Utf8View, false)),
        Arc::new(Field::new("window_start", WINDOW_TIME, false)),
        Arc::new(Field::new("window_end", WINDOW_TIME, false)),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values((0..count).map(|_| operator.to_string()))),
        Arc::new(TimestampMicrosecondArray::from(vec![window.0; count])),
        Arc::new(TimestampMicrosecondArray::from(vec![window.1; count])),
    ];
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        if fields.iter().take(3).all(|own| own.name() != field.name()) {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let writer = JsonWriter::new(&schema, TimestampForm::Sql)?;
    let batch = RecordBatch::try_new(schema, columns).map_err(|error| error.to_string())?;
    writer.write(&batch, into).map_err(|error| error.to_string())
}

/// Writes one side output of one operator of one subtask. Its identity has the operator as the sink.
#[derive(Debug)]
pub struct SideOutputWriter {
    kind: SideOutputKind,
    files: PartFiles,
    open: Option<Part>,
    /// Durable parts that were not returned yet.
    closed: Vec<PartCommittable>,
}

impl SideOutputWriter {
    /// A writer into the table's `dead-letter.path`, or the job's `late.path` or `error.path`.
    ///
    /// # Errors
    /// If the directory cannot be created or the store cannot be opened.
    pub fn open(
        kind: SideOutputKind,
        path: &str,
        identity: SinkIdentity,
        context: &ConnectorContext,
    ) -> Result<Self, ConnectorError> {
        let location = Location::new(path, context.places())?;
        let names = PartNames { stem: kind.stem(), extension: "json".to_owned(), identity };
        let files = PartFiles::new(&location, names, context.seams.io.clone())?;
        Ok(Self { kind, files, open: None, closed: Vec::new() })
    }

    /// Writes records.
    ///
    /// # Errors
    /// If they cannot be written.
    ///
    /// # Panics
    /// If they are of another kind.
    pub async fn write(&mut self, records: SideRecords<'_>) -> Result<(), ConnectorError> {
        assert_eq!(records.kind(), self.kind, "each kind has files of its own");
        let lines = records.encode()?;
        if lines.is_empty() {
            return Ok(());
        }
        let part = match &mut self.open {
            Some(part) => part,
            None => self.open.insert(self.files.begin("")?),
        };
        part.write(&lines).await?;
        if part.bytes() >= PART_BYTES
            && let Some(full) = self.open.take()
        {
            self.closed.push(full.finish().await?);
        }
        Ok(())
    }

    /// As `SinkWriter::seal`.
    ///
    /// # Errors
    /// None; errors occur in the returned future.
    pub async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let (kind, mut sealed, open) = (self.kind, std::mem::take(&mut self.closed), self.open.take());
        let sealing = async move {
            if let Some(part) = open {
                sealed.push(part.finish().await?);
            }
            let values = to_values(&sealed);
            Ok(if kind == SideOutputKind::FailedRows { values.into_iter().map(marked).collect() } else { values })
        };
        Ok(sealing.boxed())
    }
}

/// The key that marks a committable of failed rows; an operator's other committables lack it.
const FAILED_ROWS: &str = "failed-rows";

fn marked(committable: Value) -> Value {
    serde_json::json!({ FAILED_ROWS: committable })
}

/// Splits an operator's committables into its own (table, dead letters, late rows) and those of failed rows.
#[must_use]
pub fn part_committables(prepared: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let (mut own, mut failed) = (Vec::with_capacity(prepared.len()), Vec::new());
    for mut value in prepared {
        match value.get_mut(FAILED_ROWS) {
            Some(committable) => failed.push(committable.take()),
            None => own.push(value),
        }
    }
    (own, failed)
}

/// Opens the committer of a side output at a path.
///
/// # Errors
/// If the store cannot be opened.
pub fn open_side_output_committer(
    kind: SideOutputKind,
    path: &str,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkCommitter>, ConnectorError> {
    Ok(Box::new(PartCommitter::new(&Location::new(path, context.places())?, kind.stem())))
}
