//! Which spans a job's course gives, and how they hang together.

use std::collections::BTreeMap;

use opentelemetry::{SpanId, trace::TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use thalweg_cluster_state::AttemptPlan;
use thalweg_trace::TARGET;
use thalweg_types::{
    Assignment, JobStatus, KeyGroupTable,
    checkpoint::ManifestRef,
    job::{AwaitedSubtask, FailureKind},
};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt};

use super::*;

const JOB: JobId = JobId(7);

/// The spans that have ended when this is done.
fn spans_of(act: impl FnOnce(&mut Observer)) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let layer = layer.with_filter(filter_fn(|metadata| metadata.target() == TARGET));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let mut observer = Observer::new(MemberId(1), Term(2));
        act(&mut observer);
    });
    exporter.get_finished_spans().unwrap()
}

#[track_caller]
fn the<'a>(spans: &'a [SpanData], name: &str, of: &[(&str, &str)]) -> &'a SpanData {
    let has = |span: &SpanData, (key, value): &(&str, &str)| {
        span.attributes.iter().any(|attribute| attribute.key.as_str() == *key && attribute.value.as_str() == *value)
    };
    let mut found = spans.iter().filter(|span| span.name == name && of.iter().all(|wanted| has(span, wanted)));
    let Some(span) = found.next() else { panic!("no {name} with {of:?}: {spans:#?}") };
    assert!(found.next().is_none(), "two of {name} with {of:?}");
    span
}

fn place(observer: &mut Observer, attempt: u32) {
    let plan = AttemptPlan {
        assignment: Assignment { slices: vec![NodeId(1)], key_groups: KeyGroupTable::new(vec![0]) },
        nodes: BTreeMap::new(),
    };
    decide(observer, &Command::BeginAttempt { job: JOB, attempt: Attempt(attempt), plan: Arc::new(plan) });
}

fn decide(observer: &mut Observer, command: &Command) {
    observer.on_propose(JOB, command);
    observer.on_outcome(JOB, Ok(()), true);
}

fn run(observer: &mut Observer, attempt: u32) {
    let attempt = Attempt(attempt);
    place(observer, attempt.0);
    let deployment = observer.jobs.get_mut(&JOB).unwrap().deploy(attempt);
    assert!(deployment.is_some());
    decide(observer, &Command::RunAttempt { job: JOB, attempt });
    assert!(observer.on_order(JOB, attempt, &Action::Start).is_some());
}

fn begin(observer: &mut Observer, attempt: u32, checkpoint: u64) {
    let (attempt, checkpoint) = (Attempt(attempt), CheckpointId(checkpoint));
    decide(observer, &Command::BeginCheckpoint { job: JOB, attempt, checkpoint });
    let order = Action::BeginCheckpoint { checkpoint };
    let context = observer.on_order(JOB, attempt, &order);
    assert!(context.is_some() && context == observer.on_order(JOB, attempt, &order), "each node gets the same");
}

fn complete(observer: &mut Observer, attempt: u32, checkpoint: u64) {
    let (attempt, checkpoint) = (Attempt(attempt), CheckpointId(checkpoint));
    observer.on_put(JOB, checkpoint);
    observer.on_put_done(JOB, Ok(()));
    let manifest = ManifestRef { checkpoint, name: "m".to_owned(), bytes: 1, checksum: 1 };
    decide(observer, &Command::CompleteCheckpoint { job: JOB, attempt, manifest });
    decide(observer, &Command::SinksCommitted { job: JOB, checkpoint, sinks: Vec::new() });
}

fn charge(observer: &mut Observer, status: JobStatus, cause: Option<TraceContext>) {
    observer.jobs.insert(JOB, JobSpans::new((observer.member, observer.term, JOB), status, cause));
}

#[test]
fn a_job_that_runs_belongs_to_its_submission_and_a_checkpoint_to_itself() {
    let cause = TraceContext::new(0xa, 0xb, true);
    let spans = spans_of(|observer| {
        charge(observer, JobStatus::Created, cause);
        run(observer, 1);
        begin(observer, 1, 1);
        complete(observer, 1, 1);
    });
    let attempt = the(&spans, "attempt", &[("job", "job-7"), ("attempt", "attempt-1"), ("term", "term-2")]);
    assert_eq!((attempt.span_context.trace_id(), attempt.parent_span_id), (0xa.into(), SpanId::from(0xb)));
    for (name, of) in [("deploy", [("attempt", "attempt-1")]), ("record", [("command", "begin_attempt")])] {
        assert_eq!(the(&spans, name, &of).parent_span_id, attempt.span_context.span_id());
    }
    let checkpoint = the(&spans, "checkpoint", &[("checkpoint", "checkpoint-1"), ("member", "member-1")]);
    assert_eq!(checkpoint.parent_span_id, SpanId::INVALID);
    let publish = the(&spans, "publish", &[("checkpoint", "checkpoint-1")]);
    let below = [
        (the(&spans, "record", &[("command", "begin_checkpoint")]), checkpoint),
        (the(&spans, "manifest", &[]), checkpoint),
        (the(&spans, "record", &[("command", "complete_checkpoint")]), checkpoint),
        (publish, checkpoint),
        (the(&spans, "record", &[("command", "sinks_committed")]), publish),
    ];
    for (span, parent) in below {
        assert_eq!(span.parent_span_id, parent.span_context.span_id(), "{}", span.name);
        assert_eq!(span.span_context.trace_id(), checkpoint.span_context.trace_id(), "{}", span.name);
    }
}

#[test]
fn a_recovery_lasts_until_what_the_first_checkpoint_after_it_holds_is_published() {
    let failure = Failure { kind: FailureKind::Node, message: "node-1 was lost".to_owned() };
    let spans = spans_of(|observer| {
        charge(observer, JobStatus::Running, None);
        begin(observer, 1, 1);
        observer.on_lost(JOB, Attempt(1), NodeId(1), "node-1 is lost");
        let fail = Command::FailAttempt { job: JOB, attempt: Attempt(1), failure, verdict: Verdict::Restart };
        decide(observer, &fail);
        run(observer, 2);
        begin(observer, 2, 2);
        observer.on_given_up(JOB, (Attempt(2), CheckpointId(2)), "it took too long", None);
        begin(observer, 2, 3);
        complete(observer, 2, 3);
        begin(observer, 2, 4);
        complete(observer, 2, 4);
    });
    let recovery = the(&spans, "recovery", &[("attempt", "attempt-1"), ("cause", "node-1 is lost")]);
    let id = recovery.span_context.span_id();
    for (name, of) in [
        ("record", [("command", "fail_attempt")]),
        ("attempt", [("attempt", "attempt-2")]),
        ("checkpoint", [("checkpoint", "checkpoint-2")]),
        ("checkpoint", [("checkpoint", "checkpoint-3")]),
    ] {
        assert_eq!(the(&spans, name, &of).parent_span_id, id, "{name} {of:?}");
    }
    for (checkpoint, reason) in [("checkpoint-1", "a node was lost or went away"), ("checkpoint-2", "it was given up")]
    {
        let span = the(&spans, "checkpoint", &[("checkpoint", checkpoint)]);
        assert_eq!(span.status, opentelemetry::trace::Status::error(reason));
    }
    let later = the(&spans, "checkpoint", &[("checkpoint", "checkpoint-4")]);
    assert_eq!(later.parent_span_id, SpanId::INVALID, "the recovery is over");
    let published = the(&spans, "publish", &[("checkpoint", "checkpoint-3")]);
    assert!(recovery.end_time >= published.end_time);
}

#[test]
fn what_is_no_failure_is_no_recovery_for_long() {
    let spans = spans_of(|observer| {
        charge(observer, JobStatus::Running, None);
        observer.on_lost(JOB, Attempt(1), NodeId(1), "node-1 is lost");
        begin(observer, 1, 1);
        complete(observer, 1, 1);
    });
    the(&spans, "recovery", &[]);
    assert_eq!(the(&spans, "checkpoint", &[]).parent_span_id, SpanId::INVALID);
}

/// A checkpoint that was open when a node seemed lost may be complete already: that proves nothing. The node's return does.
#[test]
fn a_recovery_outlasts_the_checkpoint_that_was_open_and_no_false_alarm() {
    let spans = spans_of(|observer| {
        charge(observer, JobStatus::Running, None);
        begin(observer, 1, 1);
        observer.on_lost(JOB, Attempt(1), NodeId(1), "node-1 is lost");
        complete(observer, 1, 1);
        observer.on_lost(JOB, Attempt(1), NodeId(2), "node-2 is lost");
        observer.on_false_alarm(NodeId(2));
        observer.on_false_alarm(NodeId(1));
        observer.on_lost(JOB, Attempt(1), NodeId(2), "node-2 is lost");
    });
    let causes: Vec<String> = spans
        .iter()
        .filter(|span| span.name == "recovery")
        .filter_map(|span| span.attributes.iter().find(|pair| pair.key.as_str() == "cause"))
        .map(|pair| pair.value.to_string())
        .collect();
    assert_eq!(causes, ["node-1 is lost", "node-2 is lost"]);
}

#[test]
fn without_an_exporter_orders_carry_nothing_and_nothing_is_kept_of_requests() {
    let mut observer = Observer::new(MemberId(1), Term(1));
    observer.submissions.note(RequestId("r".to_owned()), None);
    assert_eq!(observer.submissions.take(&RequestId("r".to_owned())), None);
    charge(&mut observer, JobStatus::Created, None);
    place(&mut observer, 1);
    assert_eq!(observer.on_order(JOB, Attempt(1), &Action::Start), None);
    assert_eq!(observer.on_order(JOB, Attempt(1), &Action::BeginCheckpoint { checkpoint: CheckpointId(1) }), None);
}

#[test]
fn the_oldest_requests_are_forgotten() {
    let submissions = Submissions::default();
    let request = |number: usize| RequestId(number.to_string());
    for number in 0..=SUBMISSIONS_MAX {
        submissions.note(request(number), TraceContext::new(1, 1, true));
    }
    assert_eq!(submissions.take(&request(0)), None);
    assert!(submissions.take(&request(1)).is_some() && submissions.take(&request(1)).is_none());
}

/// The lines of the log that are written when this is done.
fn lines_of(act: impl FnOnce(&mut Observer)) -> Vec<String> {
    let written = Arc::new(Mutex::new(Vec::<u8>::new()));
    let into = written.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || Lines(into.clone()));
    let layer = layer.with_filter(filter_fn(|metadata| metadata.target() != TARGET));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        act(&mut Observer::new(MemberId(1), Term(2)));
    });
    let written = written.lock().clone();
    String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_checkpoint_is_told_of_once_with_whom_it_waits_for_and_one_in_a_while() {
    let waits = || {
        let subtask = AwaitedSubtask { name: "a -> b".to_owned(), chain: 3, index: 1, node: 2 };
        Some(CheckpointWaits { subtasks: vec![subtask], more: 12 })
    };
    let slow = |checkpoint, seconds| {
        let open_for = Duration::from_secs(seconds);
        SlowCheckpoint { attempt: Attempt(1), checkpoint: CheckpointId(checkpoint), open_for }
    };
    let lines = lines_of(|observer| {
        charge(observer, JobStatus::Running, None);
        decide(observer, &Command::BeginCheckpoint { job: JOB, attempt: Attempt(1), checkpoint: CheckpointId(1) });
        for now in 100..200 {
            observer.on_slow(JOB, slow(1, now - 60), Duration::from_secs(now), waits);
        }
        observer.on_given_up(JOB, (Attempt(1), CheckpointId(1)), "it took too long", waits().as_ref());
        for now in 200..300 {
            let checkpoint = now / 10;
            observer.on_slow(JOB, slow(checkpoint, 30), Duration::from_secs(now), || None);
        }
    });
    let about = |what: &str| lines.iter().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let slow = about("checkpoint is slow");
    let whom = "waits_for=chain-3/1 on node-2 (a -> b) and 12 more";
    for part in ["WARN", "job=job-7", "attempt=attempt-1", "checkpoint=checkpoint-1 ", "seconds=40", whom] {
        assert!(slow[0].contains(part), "{part}: {}", slow[0]);
    }
    assert_eq!(slow.len(), 3, "of ten checkpoints in a hundred seconds one in each minute is told of: {slow:#?}");
    let given_up = about("checkpoint given up");
    assert!(given_up.len() == 1 && given_up[0].contains(whom), "{given_up:?}");
}
