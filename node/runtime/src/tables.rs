//! The subtasks' interface to tables: sources, sink writers and side outputs.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_connectors::{
    ConnectorContext, ConnectorError, Sealing, SideOutputKind, SideOutputWriter, SideRecords, SinkIdentity,
    SinkSubtask, SinkWriter, Source, SourceIdentity, check_sink, open_sink_writer, open_source, open_source_of,
};
use thalweg_types::{
    graph::{SinkOperator, SourceOperator},
    settings::JobSettings,
};

/// Opens tables. `ConnectorContext` opens real ones; tests have their own.
#[async_trait]
pub(crate) trait Tables: Send + Sync {
    /// Checks that a table can be read: see `Source::check`.
    async fn check_source(
        &self,
        spec: &SourceOperator,
        settings: &JobSettings,
        patient: bool,
    ) -> Result<(), ConnectorError>;

    /// Checks that a table can be written: see `thalweg_connectors::check_sink`.
    async fn check_sink(&self, spec: &SinkOperator, schema: SchemaRef, patient: bool) -> Result<(), ConnectorError>;

    fn source(
        &self,
        spec: &SourceOperator,
        settings: &JobSettings,
        identity: SourceIdentity,
    ) -> Result<Arc<dyn Source>, ConnectorError>;

    fn sink_writer(
        &self,
        spec: &SinkOperator,
        schema: SchemaRef,
        subtask: SinkSubtask,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError>;

    fn side_output_writer(
        &self,
        kind: SideOutputKind,
        path: &str,
        identity: SinkIdentity,
    ) -> Result<Box<dyn WriteSideOutput>, ConnectorError>;
}

/// A writer of a side output.
#[async_trait]
pub(crate) trait WriteSideOutput: Send {
    async fn write(&mut self, records: SideRecords<'_>) -> Result<(), ConnectorError>;
    /// Like `SinkWriter::seal`.
    async fn seal(&mut self) -> Result<Sealing, ConnectorError>;
}

#[async_trait]
impl Tables for ConnectorContext {
    async fn check_source(
        &self,
        spec: &SourceOperator,
        settings: &JobSettings,
        patient: bool,
    ) -> Result<(), ConnectorError> {
        open_source(spec, settings, self)?.check(patient).await
    }

    async fn check_sink(&self, spec: &SinkOperator, schema: SchemaRef, patient: bool) -> Result<(), ConnectorError> {
        check_sink(spec, schema, patient, self).await
    }

    fn source(
        &self,
        spec: &SourceOperator,
        settings: &JobSettings,
        identity: SourceIdentity,
    ) -> Result<Arc<dyn Source>, ConnectorError> {
        open_source_of(identity, spec, settings, self).map(Arc::from)
    }

    fn sink_writer(
        &self,
        spec: &SinkOperator,
        schema: SchemaRef,
        subtask: SinkSubtask,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        open_sink_writer(spec, schema, subtask, self)
    }

    fn side_output_writer(
        &self,
        kind: SideOutputKind,
        path: &str,
        identity: SinkIdentity,
    ) -> Result<Box<dyn WriteSideOutput>, ConnectorError> {
        Ok(Box::new(SideOutputWriter::open(kind, path, identity, self)?))
    }
}

#[async_trait]
impl WriteSideOutput for SideOutputWriter {
    async fn write(&mut self, records: SideRecords<'_>) -> Result<(), ConnectorError> {
        Self::write(self, records).await
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Self::seal(self).await
    }
}
