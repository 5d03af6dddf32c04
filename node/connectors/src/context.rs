//! What the program provides to connectors.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use thalweg_kafka::Kafka;
use thalweg_kinesis::Kinesis;
use thalweg_storage::ObjectStores;
use thalweg_types::{job::FailureKind, seam::Seams};
use tokio::time::timeout;

use crate::{
    allowed::AllowedPaths,
    error::{ConnectorError, store_error},
    http_client::HttpClient,
    ingest::IngestRegistry,
    kept::KeptSessions,
    location::{Location, Places},
    notices::Notices,
    redact::Hidden,
    resent::ResentRecords,
    secrets::Secrets,
    standard::{StandardInput, StandardOutput},
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
    /// How many records sinks had to send again.
    pub resent: ResentRecords,
    /// Which paths tables may name.
    pub allowed: AllowedPaths,
    /// Opens clients of Kafka; `None`: this build has none.
    pub kafka: Option<Arc<dyn Kafka>>,
    /// Opens clients of Kinesis; `None`: this build has none.
    pub kinesis: Option<Arc<dyn Kinesis>>,
    /// What committers keep between publications.
    pub kept: KeptSessions,
    /// The secrets that tables name.
    pub secrets: Arc<dyn Secrets>,
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
        match first.map(|first| first.map_err(store_error(format!("list {path}")))) {
            Ok(Err(error)) if error.failure_kind() == FailureKind::Data => Err(error),
            // An outage may pass.
            Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
        }
    }

    /// For a table with these secrets.
    pub(crate) fn hiding(&self, hidden: &Hidden) -> Self {
        Self { notices: self.notices.hiding(hidden.clone()), ..self.clone() }
    }

    pub(crate) fn places(&self) -> Places<'_> {
        Places { allowed: &self.allowed, stores: &self.stores }
    }
}
