//! Spans of real processes: a receiver of OTLP in this one sees a submission, a checkpoint and a recovery as one trace each.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use process::{Background, Place, free_addresses, thalweg, wait_until};
use thalweg::{seams::Surroundings, tcp::TcpNetwork};
use thalweg_client::{Client, ClientConfig, SubmitOptions};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// A span as it arrived.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: BTreeMap<String, String>,
    failure: Option<String>,
    /// In nanoseconds since 1970.
    ended: u64,
}

impl Span {
    fn has(&self, key: &str, value: &str) -> bool {
        self.attributes.get(key).is_some_and(|has| has == value)
    }

    fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).unwrap_or_else(|| panic!("{} has no {key}: {self:?}", self.name))
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |KeyValue { key, value, .. }| Some((key, text(value?.value?)));
    attributes.into_iter().filter_map(pair).collect()
}

/// Takes spans in.
#[derive(Debug, Clone, Default)]
struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    /// How requests were compressed.
    encodings: Arc<Mutex<BTreeSet<String>>>,
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let encoding = request.metadata().get("grpc-encoding").and_then(|encoding| encoding.to_str().ok());
        self.encodings.lock().expect("nobody panics with it").insert(encoding.unwrap_or("none").to_owned());
        for of_resource in request.into_inner().resource_spans {
            let resource = texts(of_resource.resource.unwrap_or_default().attributes);
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let failure = span.status.filter(|status| status.code == 2).map(|status| status.message);
                self.spans.lock().expect("nobody panics with it").push(Span {
                    service: resource.get("service.name").cloned().unwrap_or_default(),
                    name: span.name,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    attributes: texts(span.attributes),
                    failure,
                    ended: span.end_time_unix_nano,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A certificate or key of the tests. The authority's own key was thrown away.
fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

impl Received {
    /// Serves on a free port, which is given with it.
    fn start(runtime: &Runtime) -> (Self, String) {
        let (received, address) = Self::serve(runtime, Server::builder());
        (received, format!("http://{address}"))
    }

    /// Serves only clients with a certificate of the authority.
    fn start_secured(runtime: &Runtime) -> (Self, String) {
        let read = |name: &str| fs::read(tls_file(name)).expect("it is there");
        let own = Identity::from_pem(read("server.pem"), read("server.key"));
        let tls = ServerTlsConfig::new().identity(own).client_ca_root(Certificate::from_pem(read("authority.pem")));
        let server = Server::builder().tls_config(tls).expect("the certificates are sound");
        let (received, address) = Self::serve(runtime, server);
        (received, format!("https://{address}"))
    }

    fn serve(runtime: &Runtime, mut server: Server) -> (Self, SocketAddr) {
        let received = Self::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let service = TraceServiceServer::new(received.clone()).accept_compressed(CompressionEncoding::Gzip);
        runtime.spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (received, address)
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics with it").clone()
    }

    fn of_trace(&self, trace: &[u8]) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Waits for a span, and for all of its trace that a test asks for.
    fn wait_for_trace(&self, root: impl Fn(&Span) -> bool, is_whole: impl Fn(&[Span]) -> bool) -> (Span, Vec<Span>) {
        let mut seen = Vec::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("a trace", || {
                seen = self.spans();
                let roots = seen.iter().filter(|span| root(span));
                roots.map(|root| (root.clone(), self.of_trace(&root.trace))).find(|(_, spans)| is_whole(spans))
            })
        }));
        found.unwrap_or_else(|_| panic!("no such trace among {}", tree(&self.spans())))
    }
}

/// The spans, as text for people.
fn tree(spans: &[Span]) -> String {
    let line = |span: &Span| {
        format!(
            "\n{:02x?} {:02x?} < {:02x?} {} {} {:?} {:?}",
            &span.trace[..2],
            &span.id[..2],
            span.parent.get(..2),
            span.service,
            span.name,
            span.attributes,
            span.failure
        )
    };
    spans.iter().map(line).collect()
}

/// Every span of a trace hangs, by way of its parents, below this one.
#[track_caller]
fn assert_one_tree(root: &Span, spans: &[Span]) {
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.id.as_slice(), span)).collect();
    for span in spans {
        let mut at = span;
        let mut steps = 0;
        while at.id != root.id {
            at = by_id
                .get(at.parent.as_slice())
                .unwrap_or_else(|| panic!("the parent of {at:?} is missing: {}", tree(spans)));
            steps += 1;
            assert!(steps < 100, "parents go round in a circle");
        }
    }
}

/// Spans by name, each with its parent's name, service and what the attribute says.
fn parts<'a>(spans: &'a [Span], key: &str) -> BTreeSet<(String, String, String, String)> {
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.id.as_slice(), span)).collect();
    let part = |span: &'a Span| {
        let parent = by_id.get(span.parent.as_slice()).map(|parent| parent.name.clone()).unwrap_or_default();
        let value = span.attributes.get(key).cloned().unwrap_or_default();
        (span.name.clone(), parent, span.service.clone(), value)
    };
    spans.iter().map(part).collect()
}

/// Spans of this name end before what they are part of.
#[track_caller]
fn assert_end_within(spans: &[Span], name: &str) {
    for span in spans.iter().filter(|span| span.name == name) {
        let parent = spans.iter().find(|parent| parent.id == span.parent).expect("it has a parent");
        assert!(span.ended <= parent.ended, "{span:?} ends after {parent:?}");
    }
}

fn nodes_of(spans: &[Span], name: &str) -> BTreeSet<String> {
    spans.iter().filter(|span| span.name == name).map(|span| span.attribute("node").to_owned()).collect()
}

struct Cluster {
    address: String,
    place: Place,
    coordinator: Background,
    nodes: BTreeMap<u32, Background>,
}

impl Cluster {
    fn start(directory: &Path, url: &str) -> Self {
        let [address] = free_addresses();
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "100"), ("THALWEG_LOG_FORMAT", "json")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut place = Place { variables: variables.into(), ..Place::default() };
        let data = directory.join("coordinator").display().to_string();
        let arguments = ["coordinator", "--listen", &address, "--data-dir", &data, "--lease", "1 s", "--otlp", url];
        let coordinator =
            Background::start_at(&place, &[&arguments[..], &["--checkpoint-interval", "300 ms"]].concat());
        // What nodes do is found by the standard's own variables.
        place.variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), url.to_owned());
        place.variables.insert("OTEL_SERVICE_NAME".to_owned(), "workers".to_owned());
        let mut cluster = Self { address, place, coordinator, nodes: BTreeMap::new() };
        cluster.start_node(1);
        cluster.start_node(2);
        cluster
    }

    fn start_node(&mut self, number: u32) {
        let id = number.to_string();
        let arguments = ["node", "--node", &id, "--coordinator", &self.address, "--slots", "2"];
        self.nodes.insert(number, Background::start_at(&self.place, &arguments));
        let alive = || {
            let listed = thalweg(&["nodes", "--coordinator", &self.address, "-o", "json", "--timeout", "20 s"]);
            let alive = listed.stdout.matches("\"alive\"").count();
            (alive == self.nodes.len()).then_some(())
        };
        wait_until("all nodes", alive);
    }

    /// Submits a script within a span of this process, and gives the job and that span's ids.
    fn submit(&self, runtime: &Runtime, sql: String) -> (String, Vec<u8>, Vec<u8>) {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let _guard = tracing::subscriber::set_default(subscriber);
        let span = info_span!("a client's");
        let context = thalweg_trace::context_of(&span).expect("it is traced");
        let surroundings = runtime.block_on(async { Surroundings::of_system(1) }).expect("threads");
        let config = ClientConfig { coordinators: vec![self.address.clone()], ..ClientConfig::default() };
        let submitting = async {
            let client = Client::connect(config, Arc::new(TcpNetwork), surroundings.seams().entropy).await?;
            client.submit(SubmitOptions { sql, parallelism: Some(4), ..SubmitOptions::default() }).await
        };
        let submitted = runtime.block_on(submitting.instrument(span)).expect("it is accepted");
        (submitted.job.to_string(), context.trace().to_be_bytes().to_vec(), context.span().to_be_bytes().to_vec())
    }
}

fn script(directory: &Path) -> String {
    let out = directory.join("out");
    format!(
        "CREATE TABLE nexmark (WATERMARK FOR dateTime AS dateTime) WITH ('connector' = 'nexmark', 'events.rate' = '2000', \
           'events.speed' = 'real-time');\n\
         CREATE VIEW bids AS SELECT bid.auction AS auction, dateTime FROM nexmark WHERE event_type = 2;\n\
         CREATE TABLE counts (auction BIGINT, n BIGINT, window_start TIMESTAMP(3)) \
           WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n\
         INSERT INTO counts SELECT auction, COUNT(*), window_start \
           FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(dateTime), INTERVAL '1' SECOND)) \
           GROUP BY auction, window_start, window_end;",
        out.display()
    )
}

#[test]
fn a_submission_a_checkpoint_and_a_recovery_are_one_trace_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start(&runtime);
    let mut cluster = Cluster::start(directory.path(), &url);
    let (job, trace, client_span) = cluster.submit(&runtime, script(directory.path()));
    check_submission(&received, &job, (&trace, &client_span));
    check_checkpoint(&received, &job);
    cluster.nodes.remove(&2).expect("it runs").kill();
    wait_until("the loss of the node", || cluster.coordinator.log().contains("node lost").then_some(()));
    cluster.start_node(2);
    check_recovery(&received, &job);
    check_log(&cluster, &job, &trace);
    let cancelled = thalweg(&["job", "cancel", &job, "--coordinator", &cluster.address]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    check_end(cluster, &job);
}

const COORDINATOR: &str = "thalweg-coordinator";
const WORKERS: &str = "workers";

#[track_caller]
fn assert_parts(spans: &[Span], key: &str, wanted: &[(&str, &str, &str, &str)]) {
    let parts = parts(spans, key);
    for (name, parent, service, value) in wanted {
        let part = ((*name).to_owned(), (*parent).to_owned(), (*service).to_owned(), (*value).to_owned());
        assert!(parts.contains(&part), "no {part:?} among {}", tree(spans));
    }
}

fn both() -> BTreeSet<String> {
    ["node-1", "node-2"].map(str::to_owned).into()
}

/// client -> submit -> plan, record, attempt -> record, deploy -> deploy and start of both nodes
fn check_submission(received: &Received, job: &str, (trace, client_span): (&[u8], &[u8])) {
    let is_root = |span: &Span| span.name == "submit" && span.trace == trace;
    let (root, spans) = received.wait_for_trace(is_root, |spans| {
        nodes_of(spans, "start") == both() && spans.iter().any(|span| span.name == "attempt")
    });
    assert_eq!((root.parent.as_slice(), root.attribute("job")), (client_span, job));
    assert_one_tree(&root, &spans);
    let attempts = [
        ("attempt", "submit", COORDINATOR, "attempt-1"),
        ("deploy", "attempt", COORDINATOR, "attempt-1"),
        ("deploy", "deploy", WORKERS, "attempt-1"),
        ("build", "deploy", WORKERS, "attempt-1"),
        ("connect", "deploy", WORKERS, "attempt-1"),
        ("start", "attempt", WORKERS, "attempt-1"),
    ];
    assert_parts(&spans, "attempt", &attempts);
    let records = [
        ("plan", "submit", COORDINATOR, ""),
        ("record", "submit", COORDINATOR, "submit_job"),
        ("record", "attempt", COORDINATOR, "begin_attempt"),
        ("record", "attempt", COORDINATOR, "run_attempt"),
    ];
    assert_parts(&spans, "command", &records);
    let of_nodes: Vec<Span> = spans.iter().filter(|span| span.service == WORKERS).cloned().collect();
    assert_eq!(nodes_of(&of_nodes, "deploy"), both());
    assert_end_within(&spans, "connect");
}

/// checkpoint -> record, align, freeze, upload, manifest, record, publish -> publish of a node, record
fn check_checkpoint(received: &Received, job: &str) {
    let is_root = |span: &Span| span.name == "checkpoint" && span.parent.is_empty() && span.has("job", job);
    let (root, spans) = received.wait_for_trace(is_root, |spans| {
        let was_published = |span: &Span| span.name == "publish" && span.service == WORKERS;
        let is_recorded = |span: &Span| span.has("command", "sinks_committed");
        // Each node sends its own at its own time.
        let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
        let is_whole = count("freeze") >= 8 && count("upload") >= 8 && count("align") >= 4;
        spans.iter().any(was_published) && spans.iter().any(is_recorded) && is_whole
    });
    assert_one_tree(&root, &spans);
    let checkpoint = root.attribute("checkpoint");
    let parts = [
        ("freeze", "checkpoint", WORKERS, checkpoint),
        ("align", "checkpoint", WORKERS, checkpoint),
        ("upload", "checkpoint", WORKERS, checkpoint),
        ("manifest", "checkpoint", COORDINATOR, checkpoint),
        ("publish", "checkpoint", COORDINATOR, checkpoint),
        ("publish", "publish", WORKERS, checkpoint),
    ];
    assert_parts(&spans, "checkpoint", &parts);
    let records = [
        ("record", "checkpoint", COORDINATOR, "begin_checkpoint"),
        ("record", "checkpoint", COORDINATOR, "complete_checkpoint"),
        ("record", "publish", COORDINATOR, "sinks_committed"),
    ];
    assert_parts(&spans, "command", &records);
    // Sources have no barriers to wait for; every other subtask has.
    let subtasks = |name: &str| -> BTreeSet<String> {
        spans.iter().filter(|span| span.name == name).map(|span| span.attribute("subtask").to_owned()).collect()
    };
    let (aligned, uploaded) = (subtasks("align"), subtasks("upload"));
    assert_eq!((subtasks("freeze"), uploaded.len()), (uploaded.clone(), 8), "{}", tree(&spans));
    assert!(aligned.len() == 4 && aligned.is_subset(&uploaded), "{aligned:?} of {uploaded:?}");
    for span in spans.iter().filter(|span| ["align", "freeze", "upload"].contains(&span.name.as_str())) {
        assert!(span.has("job", job) && span.attribute("attempt") == root.attribute("attempt"), "{span:?}");
    }
}

/// recovery -> record, attempt -> .., restore of both nodes; checkpoint -> .., publish. No window need have closed, so that there may
/// be nothing for a node to publish.
fn check_recovery(received: &Received, job: &str) {
    let is_root = |span: &Span| span.name == "recovery" && span.has("job", job);
    let (root, spans) = received.wait_for_trace(is_root, |spans| {
        spans.iter().filter(|span| span.name == "upload").count() >= 8
            && spans.iter().any(|span| span.has("command", "sinks_committed"))
    });
    assert!(root.parent.is_empty() && root.failure.is_none(), "{root:?}");
    assert_eq!(root.attribute("attempt"), "attempt-1");
    assert_one_tree(&root, &spans);
    let newest = spans.iter().filter(|span| span.name == "start").map(|span| span.attribute("attempt")).max();
    let attempt = newest.expect("it was started again").to_owned();
    let attempts = [
        ("attempt", "recovery", COORDINATOR, attempt.as_str()),
        ("deploy", "attempt", COORDINATOR, &attempt),
        ("deploy", "deploy", WORKERS, &attempt),
        ("restore", "deploy", WORKERS, &attempt),
        ("start", "attempt", WORKERS, &attempt),
        ("checkpoint", "recovery", COORDINATOR, &attempt),
        ("align", "checkpoint", WORKERS, &attempt),
        ("upload", "checkpoint", WORKERS, &attempt),
    ];
    assert_parts(&spans, "attempt", &attempts);
    let records = [
        ("record", "recovery", COORDINATOR, "fail_attempt"),
        ("record", "attempt", COORDINATOR, "begin_attempt"),
        ("record", "checkpoint", COORDINATOR, "complete_checkpoint"),
        ("record", "publish", COORDINATOR, "sinks_committed"),
    ];
    assert_parts(&spans, "command", &records);
    assert_eq!(nodes_of(&spans, "start"), both(), "{}", tree(&spans));
}

/// The log has the decisions, with the trace's id where there is one.
fn check_log(cluster: &Cluster, job: &str, trace: &[u8]) {
    let log = cluster.coordinator.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let told = |message: &str| lines.iter().find(|line| line["message"] == message);
    let trace: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
    for message in ["job submitted", "attempt placed", "attempt deployed", "job running"] {
        let line = told(message).unwrap_or_else(|| panic!("no '{message}': {log}"));
        assert_eq!((&line["job"], &line["trace"]), (&job.into(), &trace.as_str().into()), "{line}");
    }
    for message in ["leading the cluster", "node registered", "node lost", "job restarts", "job recovered"] {
        assert!(told(message).is_some(), "no '{message}': {log}");
    }
    let restart = told("job restarts").expect("it was found");
    assert!(restart["cause"].is_string() && restart["attempt"] == "attempt-1", "{restart}");
    assert!(restart["trace"].is_string() && restart["trace"] != trace.as_str(), "{restart}");
}

/// What is told last is told too.
fn check_end(mut cluster: Cluster, job: &str) {
    for (_, node) in std::mem::take(&mut cluster.nodes) {
        let ended = node.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let have_left = || cluster.coordinator.log().matches("\"node left\"").count() == 2;
    wait_until("the end of both nodes", || have_left().then_some(()));
    let ended = cluster.coordinator.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<serde_json::Value> =
        ended.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = |message: &str| lines.iter().find(|line| line["message"] == message);
    let over = told("job ended").unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!((&over["job"], &over["status"]), (&job.into(), &"cancelled".into()));
    for message in ["node leaves", "node left", "no longer leading the cluster"] {
        assert!(told(message).is_some(), "no '{message}': {}", ended.stderr);
    }
}

const SCRIPT: &str = "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10', 'fields.n.kind' = 'sequence', \
                      'fields.n.start' = '1', 'fields.n.end' = '10'); SELECT n FROM n;";

/// The exporter would wait an hour for more spans.
fn patient() -> Place {
    let variables = BTreeMap::from([("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "3600000".to_owned())]);
    Place { variables, ..Place::default() }
}

#[test]
fn what_a_process_knows_at_its_end_is_sent() {
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start(&runtime);
    let ended = patient().thalweg(&["run", "--otlp", &url, "-e", SCRIPT, "-o", "csv"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("10\n"), "{ended:?}");
    let spans = received.spans();
    let root = spans.iter().find(|span| span.name == "submit").unwrap_or_else(|| panic!("{}", tree(&spans)));
    assert_eq!(root.service, "thalweg-run");
    let whole = received.of_trace(&root.trace);
    assert_one_tree(root, &whole);
    assert!(whole.iter().any(|span| span.name == "start"), "{}", tree(&spans));
}

#[track_caller]
fn assert_nobody_waits_for(address: impl std::fmt::Display) {
    let url = format!("http://{address}");
    let began = std::time::Instant::now();
    let ended = patient().thalweg(&["run", "--otlp", &url, "-e", SCRIPT, "-o", "csv"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("10\n"), "{ended:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(ended.stderr.contains("spans"), "the loss is told: {ended:?}");
}

#[test]
fn nobody_waits_for_long_for_a_receiver_that_is_gone() {
    let [address] = free_addresses();
    assert_nobody_waits_for(address);
}

#[test]
fn nobody_waits_for_long_for_a_receiver_that_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    assert_nobody_waits_for(silent.local_addr().expect("it is bound"));
}

#[test]
fn what_stands_in_a_refused_script_is_in_no_span() {
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start(&runtime);
    let ended = patient().thalweg(&["run", "--otlp", &url, "-e", "SELECT CAST('hunter2' AS HUNTER2);"]);
    assert!(ended.code == Some(1) && ended.stderr.to_lowercase().contains("hunter2"), "{ended:?}");
    let spans = received.spans();
    let refused = spans.iter().filter(|span| span.failure.as_deref() == Some("the request is refused"));
    assert!(refused.count() > 0 && !tree(&spans).to_lowercase().contains("hunter2"), "{}", tree(&spans));
}

/// What a job fails by may quote a row, or a URL with a token in it: the log has that, and spans have not.
#[test]
fn what_a_job_fails_by_is_in_no_span() {
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start(&runtime);
    let row = "SELECT CAST(secret AS INT) FROM (VALUES ('hunter2')) AS t (secret);";
    let sink = "CREATE TABLE out (n INT) WITH ('connector' = 'http', 'format' = 'json', 'retries' = '0', \
                  'url' = 'http://127.0.0.1:1/?token=hunter2');
                SET 'restart.attempts' = '0'; INSERT INTO out SELECT n FROM (VALUES (1)) AS t (n);";
    for script in [row, sink] {
        let ended = patient().thalweg(&["run", "--otlp", &url, "-e", script]);
        assert!(ended.code == Some(1) && ended.stderr.contains("hunter2"), "{ended:?}");
    }
    let spans = received.spans();
    let failed = spans
        .iter()
        .filter(|span| span.failure.as_deref().is_some_and(|why| why.ends_with("failed") || why.contains("could not")));
    assert!(failed.count() > 1 && !tree(&spans).contains("hunter2"), "{}", tree(&spans));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let ended = thalweg(&["run", "--otlp", "localhost:4317", "-e", SCRIPT]);
    assert!(ended.code == Some(1) && ended.stderr.contains("run.otlp (--otlp, THALWEG_OTLP)"), "{ended:?}");
}

/// Runs a script with variables of the exporter.
fn run_with(url: &str, variables: &[(&str, &str)]) -> process::Outcome {
    let mut place = patient();
    let named = variables.iter().map(|(name, value)| (format!("OTEL_EXPORTER_OTLP_{name}"), (*value).to_owned()));
    place.variables.extend(named);
    place.thalweg(&["run", "--otlp", url, "-e", SCRIPT, "-o", "csv"])
}

#[test]
fn spans_go_compressed_to_whom_the_variables_trust() {
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start_secured(&runtime);
    let [authority, certificate, key] =
        ["authority.pem", "client.pem", "client.key"].map(|name| tls_file(name).display().to_string());
    let trust = ("CERTIFICATE", authority.as_str());
    let identity = [("TRACES_CLIENT_CERTIFICATE", certificate.as_str()), ("CLIENT_KEY", key.as_str())];
    for strange in [vec![trust], identity.to_vec()] {
        let ended = run_with(&url, &strange);
        assert!(ended.code == Some(0) && ended.stderr.contains("spans"), "{ended:?}");
        assert!(received.spans().is_empty(), "with {strange:?} alone: {}", tree(&received.spans()));
    }
    let ended = run_with(&url, &[&identity[..], &[trust, ("COMPRESSION", "gzip")]].concat());
    assert!(ended.code == Some(0) && ended.stdout.contains("10\n") && ended.stderr.is_empty(), "{ended:?}");
    assert!(received.spans().iter().any(|span| span.name == "submit"), "{}", tree(&received.spans()));
    let encodings = received.encodings.lock().expect("nobody panics with it").clone();
    assert_eq!(encodings, BTreeSet::from(["gzip".to_owned()]));
}

#[test]
fn variables_that_cannot_be_honoured_are_told_or_refused() {
    let runtime = Runtime::new().expect("threads");
    let (received, url) = Received::start(&runtime);
    let ended = run_with(&url, &[("COMPRESSION", "zstd"), ("TIMEOUT", "soon"), ("HEADERS", "hunter2")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for name in ["COMPRESSION", "TIMEOUT", "HEADERS"] {
        assert!(ended.stderr.contains(&format!("OTEL_EXPORTER_OTLP_{name}")), "{ended:?}");
    }
    assert!(!ended.stderr.contains("hunter2") && !received.spans().is_empty(), "{ended:?}");
    let refused = run_with("https://127.0.0.1:1", &[("CERTIFICATE", "/none")]);
    assert!(refused.code == Some(1) && refused.stderr.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{refused:?}");
}
