//! From a table's connector to its source, sink writer and committer.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use serde_json::Value;
use thalweg_storage::ObjectStores;
use thalweg_types::{
    Attempt, ClusterId, JobId,
    connector::{TableConnector, VALUES_CONNECTOR},
    graph::{SinkOperator, SourceOperator},
    job::FailureKind,
    seam::Seams,
    settings::JobSettings,
};
use tokio::time::timeout;

use crate::{
    AllowedPaths, ConnectorError, Notices, SinkCommitter, SinkIdentity, SinkWriter, Source, SourceIdentity,
    blackhole::BlackholeWriter,
    datagen::DatagenSource,
    filesystem::{FileSinkWriter, FileSource, Files, Location, PartCommitter, store_error},
    http::{HttpClient, HttpSinkWriter, IngestRegistry, IngestSource},
    nexmark::NexmarkSource,
    options::Options,
    print::{PrintWriter, StandardOutput},
    stdin::{StandardInput, StdinSource},
    values::ValuesSource,
};

/// For so long a store that is to be written to is asked before there is anything to write.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What connectors are handed by the program. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectorContext {
    /// Time, entropy and tasks.
    pub seams: Seams,
    /// The process's standard input; `None` where a job has no business with it.
    pub stdin: Option<Arc<dyn StandardInput>>,
    /// The process's standard output.
    pub stdout: Arc<dyn StandardOutput>,
    /// Where records that are POSTed to this node wait to be read.
    pub ingest: IngestRegistry,
    /// Sends requests.
    pub http: Arc<dyn HttpClient>,
    /// Opens object stores.
    pub stores: ObjectStores,
    /// What was told of tables.
    pub notices: Notices,
    /// Which paths tables may name.
    pub allowed: AllowedPaths,
}

impl ConnectorContext {
    /// Whether files may be written to a path: a table may name it, and its store refuses nothing for good that would be found out
    /// with the first file only. A store that does not answer soon may do so later.
    ///
    /// # Errors
    /// When they may not.
    pub async fn check_destination(&self, path: &str) -> Result<(), ConnectorError> {
        let Location::Stored { store, path: key, .. } = Location::new(path, self)? else { return Ok(()) };
        // Whoever publishes lists it as well.
        let first = timeout(STORE_PATIENCE, store.list(Some(&key)).try_next()).await;
        match first.map(|first| first.map_err(store_error(format!("list {path}")))) {
            Ok(Err(error)) if error.failure_kind() == FailureKind::Data => Err(error),
            // What is wrong may pass.
            Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
        }
    }
}

fn unknown(table: &str, connector: &TableConnector, what: &str) -> ConnectorError {
    ConnectorError::Config {
        table: table.to_owned(),
        reason: format!("connector '{}' cannot be {what}", connector.name),
    }
}

fn location(options: &Options<'_>, context: &ConnectorContext) -> Result<Location, ConnectorError> {
    Location::new(options.required("path")?, context)
}

/// Opens the table that a source operator reads, to list its splits; what it is sent meanwhile need not outlive it.
///
/// # Errors
/// When its options or columns don't fit the connector.
pub fn open_source(
    spec: &SourceOperator,
    settings: &JobSettings,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    open(spec, settings, None, context)
}

/// Opens the table that a source operator reads, for an attempt.
///
/// # Errors
/// As `open_source`.
pub fn open_source_of(
    identity: SourceIdentity,
    spec: &SourceOperator,
    settings: &JobSettings,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    open(spec, settings, Some(identity), context)
}

fn open(
    spec: &SourceOperator,
    settings: &JobSettings,
    identity: Option<SourceIdentity>,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    let options = Options::new(&spec.table, &spec.connector);
    let rows = settings.batch_rows;
    let notices = context.notices.of(identity.as_ref().map(|identity| identity.job), &spec.table);
    let clock = || context.seams.clock.clone();
    Ok(match spec.connector.name.as_str() {
        "filesystem" => {
            let files = Files::new(options.required("path")?, context)?;
            let decoding = identity.map(|identity| identity.decoding);
            Box::new(FileSource::new(spec, rows, files, (notices, decoding))?)
        }
        "nexmark" => Box::new(NexmarkSource::new(spec, rows, clock())?),
        "datagen" => Box::new(DatagenSource::new(spec, rows, clock())?),
        "stdin" => Box::new(StdinSource::new(spec, rows, context.stdin.clone(), notices)?),
        VALUES_CONNECTOR => Box::new(ValuesSource::new(spec, rows)?),
        "http" => Box::new(IngestSource::new(spec, rows, identity, context)?),
        _ => return Err(unknown(&spec.table, &spec.connector, "read")),
    })
}

/// Opens a writer of one subtask's share of a table.
///
/// # Errors
/// When the options or columns don't fit the connector, or the destination cannot be opened.
pub fn open_sink_writer(
    spec: &SinkOperator,
    schema: SchemaRef,
    identity: SinkIdentity,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkWriter>, ConnectorError> {
    let options = Options::new(&spec.table, &spec.connector);
    Ok(match spec.connector.name.as_str() {
        "filesystem" => {
            let location = location(&options, context)?;
            Box::new(FileSinkWriter::new(spec, &schema, identity, &location, &context.seams)?)
        }
        "http" => Box::new(HttpSinkWriter::new(spec, &schema, context)?),
        "print" => Box::new(PrintWriter::new(spec, &schema, context.stdout.clone())?),
        "blackhole" => Box::new(BlackholeWriter::new(spec, context.seams.clock.clone())?),
        _ => return Err(unknown(&spec.table, &spec.connector, "written")),
    })
}

/// Opens the committer of a table.
///
/// # Errors
/// When the options don't fit the connector, or the destination cannot be opened.
pub fn open_sink_committer(
    spec: &SinkOperator,
    schema: SchemaRef,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkCommitter>, ConnectorError> {
    let options = Options::new(&spec.table, &spec.connector);
    match spec.connector.name.as_str() {
        "filesystem" => Ok(Box::new(PartCommitter::of_table(spec, &schema, &location(&options, context)?)?)),
        "http" | "print" | "blackhole" => Ok(Box::new(NothingToPublish)),
        _ => Err(unknown(&spec.table, &spec.connector, "written")),
    }
}

/// The committer of sinks whose output is seen as soon as it is written.
#[derive(Debug)]
struct NothingToPublish;

#[async_trait]
impl SinkCommitter for NothingToPublish {
    async fn commit(&self, _: &[Value]) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn discard(&self, _: &ClusterId, _: JobId, _: Attempt) -> Result<(), ConnectorError> {
        Ok(())
    }
}
