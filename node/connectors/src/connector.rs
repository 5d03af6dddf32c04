//! What a connector does, beside the spec that planning knows it by (`thalweg_types::connector`).
//!
//! Each connector is a module with a `CONNECTOR`, and a line in `open`'s list. What several need (formats, places, errors) lies below.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;
use thalweg_types::{
    Attempt, ClusterId, JobId,
    graph::{SinkOperator, SourceOperator},
};

use crate::{
    CommitterIdentity, ConnectorError, Epochs, SinkCommitter, SinkSubtask, SinkWriter, Source, SourceIdentity,
    context::ConnectorContext, notices::TableNotices,
};

pub(crate) struct Connector {
    /// Its spec's.
    pub(crate) name: &'static str,
    /// `None`: its tables cannot be read.
    pub(crate) source: Option<OpenSource>,
    /// `None`: its tables cannot be written.
    pub(crate) sink: Option<Sink>,
}

type OpenSource = fn(SourceTable<'_>) -> Result<Box<dyn Source>, ConnectorError>;
type OpenWriter = fn(SinkTable<'_>, SinkSubtask) -> Result<Box<dyn SinkWriter>, ConnectorError>;
type OpenCommitter = fn(SinkTable<'_>, CommitterIdentity) -> Result<Box<dyn SinkCommitter>, ConnectorError>;
type CheckSink = for<'a> fn(SinkTable<'a>, bool) -> BoxFuture<'a, Result<(), ConnectorError>>;

pub(crate) struct Sink {
    /// Opens the writer of one subtask's share of a table.
    pub(crate) writer: OpenWriter,
    /// Opens what publishes what writers have prepared.
    pub(crate) committer: OpenCommitter,
    /// Asks the destination whether the table can be written, patiently or not (`check_sink`); `None`: nothing is asked.
    pub(crate) check: Option<CheckSink>,
}

/// A table that is to be read.
pub(crate) struct SourceTable<'a> {
    pub(crate) spec: &'a SourceOperator,
    /// The most rows of a batch.
    pub(crate) batch_rows: usize,
    /// The attempt that reads it; `None`: only its splits are listed.
    pub(crate) identity: Option<SourceIdentity>,
    pub(crate) notices: TableNotices,
    pub(crate) context: &'a ConnectorContext,
}

/// A table that is to be written.
pub(crate) struct SinkTable<'a> {
    pub(crate) spec: &'a SinkOperator,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) context: &'a ConnectorContext,
}

/// The committer of sinks whose output is visible as soon as it is written.
pub(crate) fn publishes_nothing(
    _: SinkTable<'_>,
    _: CommitterIdentity,
) -> Result<Box<dyn SinkCommitter>, ConnectorError> {
    Ok(Box::new(NothingToPublish))
}

#[derive(Debug)]
struct NothingToPublish;

#[async_trait]
impl SinkCommitter for NothingToPublish {
    async fn commit(&self, _: Epochs, _: &[Value]) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn discard(&self, _: &ClusterId, _: JobId, _: Attempt) -> Result<(), ConnectorError> {
        Ok(())
    }
}
