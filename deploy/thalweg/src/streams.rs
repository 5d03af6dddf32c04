//! What this process hands to connectors: its standard streams, object stores from its environment, secrets, HTTP, and Kafka.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use thalweg_connectors::{
    AllowedPaths, ConnectorContext, Notices, ObjectStores, Secrets, StandardInput, StandardOutput,
    http_client::ReqwestClient, ingest::IngestRegistry,
};
use thalweg_types::seam::Seams;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::secrets::ProcessSecrets;

/// The prefixes of variables that configure object stores.
const STORE_VARIABLES: &[&str] = &["AWS_", "GOOGLE_", "AZURE_"];

/// Creates the context of connectors. Jobs may read the standard input only if the cluster is within this process.
#[must_use]
pub fn connectors(
    seams: &Seams,
    has_stdin: bool,
    output: ProcessOutput,
    (allowed, secrets): (AllowedPaths, ProcessSecrets),
) -> ConnectorContext {
    let secrets: Arc<dyn Secrets> = Arc::new(secrets);
    ConnectorContext {
        seams: seams.clone(),
        stdin: has_stdin.then(|| Arc::new(ProcessInput::default()) as _),
        stdout: Arc::new(output),
        ingest: IngestRegistry::default(),
        http: Arc::new(ReqwestClient::default()),
        stores: ObjectStores::new(store_options()),
        notices: Notices::default(),
        resent: thalweg_connectors::ResentRecords::default(),
        allowed,
        kafka: thalweg_connectors::kafka_client(seams, kafka_variables(), &secrets),
        kinesis: thalweg_connectors::kinesis_client(),
        kept: thalweg_connectors::KeptSessions::default(),
        secrets,
    }
}

/// What the environment says of those who sign tokens for Kafka's brokers.
#[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
fn kafka_variables() -> BTreeMap<String, String> {
    let found = thalweg_connectors::KAFKA_VARIABLES.iter();
    found.filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// The environment's options for object stores.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
pub fn store_options() -> BTreeMap<String, String> {
    let of_stores = |name: &String| STORE_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter(|(name, _)| of_stores(name)).map(|(name, value)| (name.to_lowercase(), value)).collect()
}

/// The standard input, which can be taken once.
#[derive(Debug, Default)]
struct ProcessInput {
    is_taken: AtomicBool,
}

impl StandardInput for ProcessInput {
    fn take(&self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        let is_first = !self.is_taken.swap(true, Ordering::Relaxed);
        is_first.then(|| Box::new(tokio::io::stdin()) as _)
    }
}

/// The standard output. It notices when its reader is gone.
#[derive(Debug, Clone, Default)]
pub struct ProcessOutput {
    unwanted: CancellationToken,
}

impl ProcessOutput {
    /// Waits until a write fails because the reader is gone.
    pub async fn unwanted(&self) {
        self.unwanted.cancelled().await;
    }
}

impl StandardOutput for ProcessOutput {
    fn write_lines(&self, lines: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(lines).and_then(|()| out.flush());
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.unwanted.cancel();
        }
        written
    }
}
