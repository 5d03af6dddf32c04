//! How subtasks come by what is outside the engine: sources, sink writers and the files of records set aside.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use serde_json::Value;
use thalweg_connectors::{
    ConnectorContext, ConnectorError, DeadLetter, SinkIdentity, SinkWriter, Source, dead_letter::DeadLetterWriter,
    late::LateWriter, open_sink_writer, open_source,
};
use thalweg_types::{
    OperatorId,
    graph::{SinkOperator, SourceOperator},
    settings::JobSettings,
};

/// Opens tables. The real one is the `ConnectorContext`; tests bring their own.
pub(crate) trait Tables: Send + Sync {
    fn source(&self, spec: &SourceOperator, settings: &JobSettings) -> Result<Arc<dyn Source>, ConnectorError>;

    fn sink_writer(
        &self,
        spec: &SinkOperator,
        schema: SchemaRef,
        identity: SinkIdentity,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError>;

    fn late(&self, path: &str, identity: SinkIdentity) -> Result<Box<dyn LateOutput>, ConnectorError>;

    fn dead_letters(&self, path: &str, identity: SinkIdentity) -> Result<Box<dyn DeadLetterOutput>, ConnectorError>;
}

/// Where late rows go.
#[async_trait]
pub(crate) trait LateOutput: Send {
    /// Rows that an operator refused, each with its window.
    async fn write(
        &mut self,
        operator: OperatorId,
        windows: &[(i64, i64)],
        rows: &RecordBatch,
    ) -> Result<(), ConnectorError>;
    /// What publishes them.
    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError>;
}

/// Where dead letters go.
#[async_trait]
pub(crate) trait DeadLetterOutput: Send {
    async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), ConnectorError>;
    /// What publishes them.
    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError>;
}

impl Tables for ConnectorContext {
    fn source(&self, spec: &SourceOperator, settings: &JobSettings) -> Result<Arc<dyn Source>, ConnectorError> {
        open_source(spec, settings, self).map(Arc::from)
    }

    fn sink_writer(
        &self,
        spec: &SinkOperator,
        schema: SchemaRef,
        identity: SinkIdentity,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        open_sink_writer(spec, schema, identity, self)
    }

    fn late(&self, path: &str, identity: SinkIdentity) -> Result<Box<dyn LateOutput>, ConnectorError> {
        Ok(Box::new(LateWriter::open(path, identity, self)?))
    }

    fn dead_letters(&self, path: &str, identity: SinkIdentity) -> Result<Box<dyn DeadLetterOutput>, ConnectorError> {
        Ok(Box::new(DeadLetterWriter::open(path, identity, self)?))
    }
}

#[async_trait]
impl LateOutput for LateWriter {
    async fn write(
        &mut self,
        operator: OperatorId,
        windows: &[(i64, i64)],
        rows: &RecordBatch,
    ) -> Result<(), ConnectorError> {
        Self::write(self, operator, windows, rows).await
    }

    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError> {
        Self::prepare(self).await
    }
}

#[async_trait]
impl DeadLetterOutput for DeadLetterWriter {
    async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), ConnectorError> {
        Self::write(self, letters).await
    }

    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError> {
        Self::prepare(self).await
    }
}
