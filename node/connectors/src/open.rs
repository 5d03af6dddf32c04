//! Opens a table's connector as a source, a sink writer or a committer.

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
    seam::Seams,
    settings::JobSettings,
};
use tokio::time::timeout;

use crate::{
    AllowedPaths, ConnectorError, Notices, SinkCommitter, SinkIdentity, SinkWriter, Source, SourceIdentity,
    blackhole::BlackholeWriter,
    datagen::DatagenSource,
    error::store_error,
    filesystem::{FileSinkWriter, FileSource, Files, PartCommitter},
    http::{HttpClient, HttpSinkWriter, IngestRegistry, IngestSource},
    location::{Location, Places},
    nexmark::NexmarkSource,
    options::Options,
    print::{PrintWriter, StandardOutput},
    stdin::{StandardInput, StdinSource},
    values::ValuesSource,
};

/// How long `check_destination` waits for a store to answer.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What the program provides to connectors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectorContext {
    /// Time, entropy and tasks.
    pub seams: Seams,
    /// The process's standard input; `None` if jobs may not read it.
    pub stdin: Option<Arc<dyn StandardInput>>,
    /// The process's standard output.
    pub stdout: Arc<dyn StandardOutput>,
    /// The queues of records POSTed to this node.
    pub ingest: IngestRegistry,
    /// Sends HTTP requests.
    pub http: Arc<dyn HttpClient>,
    /// Opens object stores.
    pub stores: ObjectStores,
    /// The notices already given about tables.
    pub notices: Notices,
    /// Which paths tables may name.
    pub allowed: AllowedPaths,
}

impl ConnectorContext {
    /// Checks that files may be written to a path: tables may name it, and its store raises no permanent error, which
    /// would otherwise show only with the first file. A store that does not answer in time passes, since it may answer
    /// later.
    ///
    /// # Errors
    /// If they may not.
    pub async fn check_destination(&self, path: &str) -> Result<(), ConnectorError> {
        let Location::Stored { store, path: key, .. } = Location::new(path, self.places())? else { return Ok(()) };
        // A committer lists this prefix too.
        let first = timeout(STORE_PATIENCE, store.list(Some(&key)).try_next()).await;
        let Ok(Err(error)) = first else { return Ok(()) };
        match store_error(format!("list {path}"))(error) {
            refused @ ConnectorError::Refused { .. } => Err(refused),
            ConnectorError::Config { .. }
            | ConnectorError::Record { .. }
            | ConnectorError::Data { .. }
            | ConnectorError::Store { .. }
            | ConnectorError::GaveUp { .. } => Ok(()),
        }
    }

    pub(crate) fn places(&self) -> Places<'_> {
        Places { allowed: &self.allowed, stores: &self.stores }
    }
}

fn unknown(table: &str, connector: &TableConnector, what: &str) -> ConnectorError {
    ConnectorError::Config {
        table: table.to_owned(),
        reason: format!("connector '{}' cannot be {what}", connector.name),
    }
}

fn location(options: &Options<'_>, context: &ConnectorContext) -> Result<Location, ConnectorError> {
    Location::new(options.required("path")?, context.places())
}

/// Opens the table that a source operator reads, to list its splits. Records POSTed to it meanwhile are
/// kept in memory only.
///
/// # Errors
/// If its options or columns don't fit the connector.
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
            let files = Files::new(options.required("path")?, context.places())?;
            let decoding = identity.map(|identity| identity.decoding);
            Box::new(FileSource::new(spec, rows, files, (notices, decoding))?)
        }
        "nexmark" => Box::new(NexmarkSource::new(spec, rows, clock())?),
        "datagen" => Box::new(DatagenSource::new(spec, rows, clock())?),
        "stdin" => Box::new(StdinSource::new(spec, rows, context.stdin.clone(), notices)?),
        VALUES_CONNECTOR => Box::new(ValuesSource::new(spec, rows)?),
        "http" => Box::new(IngestSource::new(spec, rows, identity, (&context.ingest, &context.seams))?),
        _ => return Err(unknown(&spec.table, &spec.connector, "read")),
    })
}

/// Opens a writer of one subtask's share of a table.
///
/// # Errors
/// If the options or columns don't fit the connector, or the destination cannot be opened.
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
        "http" => {
            let (client, entropy) = (context.http.clone(), context.seams.entropy.clone());
            Box::new(HttpSinkWriter::new(spec, &schema, client, entropy)?)
        }
        "print" => Box::new(PrintWriter::new(spec, &schema, context.stdout.clone())?),
        "blackhole" => Box::new(BlackholeWriter::new(spec, context.seams.clock.clone())?),
        _ => return Err(unknown(&spec.table, &spec.connector, "written")),
    })
}

/// Opens the committer of a table.
///
/// # Errors
/// If the options don't fit the connector, or the destination cannot be opened.
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

/// The committer of sinks whose output is visible as soon as it is written.
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
