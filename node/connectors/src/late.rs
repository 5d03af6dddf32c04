//! Keeps records that came too late for a window: JSON lines with the operator, the window that refused the record, and its fields.
//!
//! Published like dead letters: hidden part files until the subtask has finished.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use async_trait::async_trait;
use serde_json::Value;
use thalweg_types::{ClusterId, JobId, OperatorId};

use crate::{
    ConnectorContext, ConnectorError, SinkCommitter, SinkIdentity,
    filesystem::{
        Location, PartCommitter,
        parts::{PartNames, PartWriter},
    },
    json::{JsonWriter, timestamp::TimestampForm},
};

const STEM: &str = "late";
const WINDOW_TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Writes the late records of one subtask. Its identity names the operator as the sink.
#[derive(Debug)]
pub struct LateWriter {
    parts: PartWriter,
    committer: PartCommitter,
}

impl LateWriter {
    /// A writer into the job's `late.path`.
    ///
    /// # Errors
    /// When the directory cannot be created or the store cannot be opened.
    pub fn open(path: &str, identity: SinkIdentity, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let location = Location::new(path, &context.stores)?;
        let parts = PartWriter::new(&location, PartNames { stem: STEM, extension: "json", identity })?;
        Ok(Self { parts, committer: PartCommitter::new(&location, STEM) })
    }

    /// Takes records that an operator refused, each with its window (start and end in microseconds).
    ///
    /// # Errors
    /// When they cannot be written.
    ///
    /// # Panics
    /// When there are not as many windows as rows.
    pub async fn write(
        &mut self,
        operator: OperatorId,
        windows: &[(i64, i64)],
        rows: &RecordBatch,
    ) -> Result<(), ConnectorError> {
        assert_eq!(windows.len(), rows.num_rows(), "each late row has a window");
        if windows.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        encode(operator, windows, rows, &mut lines).map_err(|reason| ConnectorError::Data {
            attempted: format!("write the late records of {operator}"),
            reason,
        })?;
        self.parts.write(&lines).await
    }

    /// Makes what was written durable, and returns what `LateCommitter` needs to publish it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError> {
        Ok(self.parts.finish().await?.map(|part| part.to_value()).into_iter().collect())
    }

    /// Makes what was written durable and publishes it at once.
    ///
    /// # Errors
    /// When it cannot be published.
    pub async fn finish(&mut self) -> Result<(), ConnectorError> {
        let committables = self.prepare().await?;
        self.committer.commit(&committables).await
    }
}

/// One object per row: operator, window, then the row's fields. A row's field that has one of these names is left out.
fn encode(operator: OperatorId, windows: &[(i64, i64)], rows: &RecordBatch, into: &mut Vec<u8>) -> Result<(), String> {
    let mut fields = vec![
        Arc::new(Field::new("operator", DataType::Utf8View, false)),
        Arc::new(Field::new("window_start", WINDOW_TIME, false)),
        Arc::new(Field::new("window_end", WINDOW_TIME, false)),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(windows.iter().map(|_| operator.to_string()))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(windows.iter().map(|window| window.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(windows.iter().map(|window| window.1))),
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

/// Publishes the late records of a job.
#[derive(Debug)]
pub struct LateCommitter {
    parts: PartCommitter,
}

impl LateCommitter {
    /// A committer for the job's `late.path`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(path: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        Ok(Self { parts: PartCommitter::new(&Location::new(path, &context.stores)?, STEM) })
    }
}

#[async_trait]
impl SinkCommitter for LateCommitter {
    async fn commit(&self, committables: &[Value]) -> Result<(), ConnectorError> {
        self.parts.commit(committables).await
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId) -> Result<(), ConnectorError> {
        self.parts.discard(cluster, job).await
    }
}
