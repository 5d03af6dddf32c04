//! The node's actor: owns what the node knows of orders and attempts, and carries out the effects.
//!
//! ```text
//! session ----opened, received, closed---->  worker  --deploy, start, cancel, ..--> engine
//!         <---acknowledgements, reports----          <--reports, splits, published-
//! ```
//!
//! `orders` makes the decisions; this file does the I/O around them. The worker never waits for the session or for an
//! attempt. If the session's queue is full, the link is stuck and the session is given up. If the worker fails, the
//! process must end, because nobody else would ever stop what runs here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use thalweg_runtime::AttemptMeasures;
use thalweg_types::{
    Attempt, CheckpointId, JobId, NodeId, OperatorId, Term, bug,
    job::{Failure, FailureKind},
    seam::Seams,
    session::{CoordinatorMessage, NodeMessage, ReportBody, SubtaskReport, SubtaskState},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Discovery, Engine, RunningAttempt},
    orders::{Discarding, Effect, Orders},
    rpc::Received,
    spans,
};

/// The most requests that wait for the worker. Nearly all are the leader's messages; with more, the session is not
/// read.
const REQUESTS_MAX: usize = 64;
/// The most reports of one attempt that wait for the worker. With more, the attempt's actors wait.
const REPORTS_MAX: usize = 64;
/// The resolution of timeouts.
const TICK: Duration = Duration::from_millis(200);
/// How long attempts may take to end when the process stops. Correctness does not depend on it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// The interval of heartbeats without a session. Nothing is sent then, so its length does not matter.
const NO_SESSION: Duration = Duration::from_secs(3600);

/// An open session, as the worker has it.
#[derive(Debug)]
pub(crate) struct SessionLink {
    /// Messages to the leader.
    pub(crate) outgoing: mpsc::Sender<NodeMessage>,
    /// The worker cancels it to give the session up.
    pub(crate) given_up: CancellationToken,
    /// The leader's term.
    pub(crate) term: Term,
    /// How long the leader trusts this node without a heartbeat.
    pub(crate) lease: Duration,
}

/// What the worker is asked to do.
#[derive(Debug)]
enum WorkerRequest {
    /// A session is open.
    Opened(SessionLink),
    /// Something arrived over the session.
    Received(Received),
    /// The session is closed.
    Closed,
    /// The node is to leave. Answered once nothing runs here any more and the leader knows it.
    Leave(oneshot::Sender<()>),
    /// Answered at once.
    Beat(oneshot::Sender<()>),
    /// What each attempt here measures.
    Measure(oneshot::Sender<Vec<(JobId, AttemptMeasures)>>),
}

/// A handle of the worker. Its methods do not fail, because a worker that has ended is noticed elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle {
    requests: mpsc::Sender<WorkerRequest>,
}

impl WorkerHandle {
    /// A session is open.
    pub(crate) async fn opened(&self, link: SessionLink) {
        self.send(WorkerRequest::Opened(link)).await;
    }

    /// Something arrived over the open session.
    pub(crate) async fn received(&self, received: Received) {
        self.send(WorkerRequest::Received(received)).await;
    }

    /// The open session is closed.
    pub(crate) async fn closed(&self) {
        self.send(WorkerRequest::Closed).await;
    }

    /// Takes no more work, and waits until none is left.
    pub(crate) async fn leave(&self) {
        let (idle, is_idle) = oneshot::channel();
        self.send(WorkerRequest::Leave(idle)).await;
        // An error means that the worker has ended, and then nothing runs here either.
        is_idle.await.ok();
    }

    /// Waits for the worker's next turn. Returns whether there was one.
    pub(crate) async fn beat(&self) -> bool {
        let (beat, answered) = oneshot::channel();
        self.send(WorkerRequest::Beat(beat)).await;
        answered.await.is_ok()
    }

    /// What the attempts here measure, of each job the newest; nothing once the worker has ended.
    pub(crate) async fn measures(&self) -> Vec<(JobId, AttemptMeasures)> {
        let (measures, answered) = oneshot::channel();
        self.send(WorkerRequest::Measure(measures)).await;
        answered.await.unwrap_or_default()
    }

    async fn send(&self, request: WorkerRequest) {
        self.requests.send(request).await.ok();
    }
}

/// Why the worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkerExit {
    /// It was asked to stop.
    Stopped,
    /// An attempt does not end.
    Stuck {
        /// The attempt's job.
        job: JobId,
        attempt: Attempt,
    },
}

/// The result of work that runs outside the worker's task.
enum Done {
    Discovered { asked: (JobId, Attempt, Vec<OperatorId>), splits: Discovery },
    Committed { asked: (JobId, Attempt, CheckpointId), result: Result<(), Failure> },
    Discarded { asked: Discarding, result: Result<(), Failure> },
}

/// The reports of an attempt. `None` follows the last one.
type Reports = BoxStream<'static, ((JobId, Attempt), Option<ReportBody>)>;

/// The actor.
pub(crate) struct Worker {
    node: NodeId,
    orders: Orders,
    engine: Arc<dyn Engine>,
    seams: Seams,
    requests: mpsc::Receiver<WorkerRequest>,
    session: Option<SessionLink>,
    attempts: BTreeMap<(JobId, Attempt), Box<dyn RunningAttempt>>,
    reports: SelectAll<Reports>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    leaving: Vec<oneshot::Sender<()>>,
    is_ready: watch::Sender<bool>,
    stuck: Option<(JobId, Attempt)>,
}

impl Worker {
    /// A worker to run, and its handle. `is_ready` says whether the node is registered.
    pub(crate) fn new(
        (node, orders): (NodeId, Orders),
        engine: Arc<dyn Engine>,
        seams: Seams,
        is_ready: watch::Sender<bool>,
    ) -> (Self, WorkerHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let worker = Self {
            node,
            orders,
            engine,
            seams,
            requests,
            session: None,
            attempts: BTreeMap::new(),
            reports: SelectAll::new(),
            work: FuturesUnordered::new(),
            leaving: Vec::new(),
            is_ready,
            stuck: None,
        };
        (worker, WorkerHandle { requests: sender })
    }

    /// Runs until it is asked to stop, or an attempt is stuck.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> WorkerExit {
        let mut ticks = interval(TICK);
        let mut heartbeats = interval(NO_SESSION);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.end_all().await;
                    return WorkerExit::Stopped;
                }
                Some(request) = self.requests.recv() => {
                    if let Some(lease) = self.on_request(request) {
                        heartbeats = interval(lease / 4);
                    }
                }
                _ = ticks.tick() => {
                    let effects = self.orders.on_tick(self.now());
                    self.carry_out(effects);
                }
                _ = heartbeats.tick() => self.send_heartbeat(),
                Some((about, report)) = self.reports.next(), if !self.reports.is_empty() => self.on_report(about, report),
                Some(done) = self.work.next(), if !self.work.is_empty() => self.on_done(done),
            }
            if bug::checks_invariants() {
                self.orders.check_invariants();
            }
            if let Some((job, attempt)) = self.stuck {
                return WorkerExit::Stuck { job, attempt };
            }
            if !self.leaving.is_empty() && self.orders.is_idle(|job, attempt| self.has_finished(job, attempt)) {
                // The caller may have given up waiting.
                self.leaving.drain(..).for_each(|idle| idle.send(()).unwrap_or(()));
            }
        }
    }

    /// Returns the lease if a session was opened.
    fn on_request(&mut self, request: WorkerRequest) -> Option<Duration> {
        match request {
            WorkerRequest::Opened(link) => return self.on_opened(link),
            WorkerRequest::Received(received) => self.on_received(received),
            WorkerRequest::Closed => {
                if self.session.take().is_some() {
                    self.orders.on_disconnected(self.now());
                }
                self.is_ready.send_replace(false);
            }
            // The caller may have given up waiting.
            WorkerRequest::Beat(beat) => beat.send(()).unwrap_or(()),
            WorkerRequest::Measure(measures) => drop(measures.send(self.measures())),
            WorkerRequest::Leave(idle) => {
                self.leaving.push(idle);
                let effects = self.orders.on_leave();
                self.carry_out(effects);
            }
        }
        None
    }

    fn on_opened(&mut self, link: SessionLink) -> Option<Duration> {
        match self.orders.on_registered(link.term, self.states()) {
            Ok(effects) => {
                let lease = link.lease;
                self.session = Some(link);
                self.carry_out(effects);
                self.is_ready.send_replace(self.session.is_some());
                Some(lease)
            }
            Err(deposed) => {
                tracing::debug!(error = &deposed as &dyn std::error::Error, "gave a session up");
                link.given_up.cancel();
                None
            }
        }
    }

    fn on_received(&mut self, received: Received) {
        if self.session.is_none() {
            return; // given up; the leader repeats what was not acknowledged
        }
        let effects = match received {
            Received::Message(CoordinatorMessage::Order { sequence, order }) => {
                self.orders.on_order(sequence, order, self.now())
            }
            Received::Message(CoordinatorMessage::ReportAcknowledged { sequence }) => {
                self.orders.on_acknowledged(sequence);
                Vec::new()
            }
            Received::Message(CoordinatorMessage::LeaveRecorded) => {
                self.orders.on_leave_recorded();
                Vec::new()
            }
            Received::Message(CoordinatorMessage::Registered { .. } | CoordinatorMessage::Refused { .. }) => {
                unreachable!("the session keeps these to itself")
            }
            Received::MalformedOrder { sequence, reason } => {
                tracing::error!(sequence, reason, "refused an order that cannot be read");
                self.orders.on_malformed_order(sequence, reason)
            }
        };
        self.carry_out(effects);
    }

    fn on_report(&mut self, (job, attempt): (JobId, Attempt), report: Option<ReportBody>) {
        // An attempt whose sender was dropped without `Gone` is gone too. After `Gone` the machine ignores this.
        let report = report.unwrap_or(ReportBody::Gone);
        let is_gone = matches!(report, ReportBody::Gone);
        let effects = self.orders.on_report(job, attempt, report, self.now());
        if is_gone {
            self.attempts.remove(&(job, attempt));
        }
        self.carry_out(effects);
    }

    fn on_done(&mut self, done: Done) {
        let effects = match done {
            Done::Discovered { asked, splits } => self.orders.on_discovered(asked, splits),
            Done::Committed { asked, result } => self.orders.on_committed(&asked, result),
            Done::Discarded { asked, result } => self.orders.on_discarded(asked, result),
        };
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Discover { job, attempt, graph, sources, trace } => {
                    let span = spans::discover(self.node, (job, attempt), trace);
                    let discover = spans::around(span, self.engine.discover(graph, sources.clone()));
                    let splits = answer_of(&self.seams, "discover splits", discover);
                    let asked = (job, attempt, sources);
                    self.work.push(async move { Done::Discovered { asked, splits: splits.await } }.boxed());
                }
                Effect::Commit { cluster, job, attempt, publication, trace } => {
                    let checkpoint = publication.checkpoint;
                    let span = spans::publish(self.node, (job, attempt), checkpoint, trace);
                    let commit = spans::around(span, self.engine.commit((cluster, job), attempt, publication));
                    let result = answer_of(&self.seams, "commit sinks", commit);
                    let asked = (job, attempt, checkpoint);
                    self.work.push(async move { Done::Committed { asked, result: result.await } }.boxed());
                }
                Effect::Discard { cluster, job, attempt, before, graph, checkpoints } => {
                    let discard = self.engine.discard((cluster, job), before, (graph, checkpoints));
                    let result = answer_of(&self.seams, "discard unpublished output", discard);
                    let asked = (job, attempt, before);
                    self.work.push(async move { Done::Discarded { asked, result: result.await } }.boxed());
                }
                Effect::Deploy { cluster, job, attempt, deployment, trace } => {
                    let (sender, reports) = mpsc::channel(REPORTS_MAX);
                    let last = futures::stream::once(std::future::ready(None));
                    let reports = ReceiverStream::new(reports).map(Some).chain(last);
                    self.reports.push(reports.map(move |report| ((job, attempt), report)).boxed());
                    // The attempt keeps the span until it is ready.
                    let span = spans::deploy(self.node, (job, attempt), trace);
                    let deploy = || self.engine.deploy((cluster, job), attempt, *deployment, sender);
                    let running = span.in_scope(deploy);
                    self.attempts.insert((job, attempt), running);
                }
                Effect::Start { job, attempt, trace } => {
                    let _span = spans::start(self.node, (job, attempt), trace);
                    self.with_attempt(job, attempt, RunningAttempt::start);
                }
                Effect::Stop { job, attempt } => self.with_attempt(job, attempt, RunningAttempt::stop),
                Effect::BeginCheckpoint { job, attempt, checkpoint, trace } => {
                    self.with_attempt(job, attempt, |running| running.begin_checkpoint(checkpoint, trace));
                }
                Effect::AbortCheckpoint { job, attempt, checkpoint } => {
                    self.with_attempt(job, attempt, |running| running.abort_checkpoint(checkpoint));
                }
                Effect::ConfirmCheckpoint { job, attempt, checkpoint, manifest } => {
                    self.with_attempt(job, attempt, |running| running.confirm_checkpoint(checkpoint, manifest));
                }
                Effect::Cancel { job, attempt } => self.with_attempt(job, attempt, RunningAttempt::cancel),
                Effect::Forget { job, attempt } => self.engine.forget(job, attempt),
                Effect::Send(message) => self.send(message),
                Effect::Abandon { job, attempt } => self.stuck = Some((job, attempt)),
            }
        }
    }

    fn with_attempt(&self, job: JobId, attempt: Attempt, act: impl FnOnce(&(dyn RunningAttempt + 'static))) {
        if let Some(running) = self.attempts.get(&(job, attempt)) {
            act(running.as_ref());
        }
    }

    fn send(&mut self, message: NodeMessage) {
        let Some(link) = &self.session else {
            return;
        };
        if link.outgoing.try_send(message).is_err() {
            link.given_up.cancel();
            self.session = None;
            self.is_ready.send_replace(false);
            self.orders.on_disconnected(self.now());
        }
    }

    fn send_heartbeat(&mut self) {
        if self.session.is_none() {
            return;
        }
        let measured = self.running().flat_map(|(job, attempt, running)| {
            running.metrics().into_iter().map(move |(subtask, metrics)| (job, attempt, subtask, metrics))
        });
        let metrics = measured.collect();
        self.send(NodeMessage::Heartbeat { metrics });
    }

    fn states(&self) -> Vec<SubtaskReport> {
        let reports = self.running().flat_map(|(job, attempt, running)| {
            let report = move |(subtask, state)| SubtaskReport { job, attempt, subtask, state };
            running.states().into_iter().map(report)
        });
        reports.collect()
    }

    /// Of the newest attempt of each job: an older one is on its way out, and its counts would be added to those of its successor.
    fn measures(&self) -> Vec<(JobId, AttemptMeasures)> {
        let newest: BTreeMap<JobId, &dyn RunningAttempt> =
            self.running().map(|(job, _, running)| (job, running)).collect();
        newest.into_iter().map(|(job, running)| (job, running.measures())).collect()
    }

    fn running(&self) -> impl Iterator<Item = (JobId, Attempt, &dyn RunningAttempt)> {
        self.attempts.iter().map(|((job, attempt), running)| (*job, *attempt, running.as_ref()))
    }

    fn has_finished(&self, job: JobId, attempt: Attempt) -> bool {
        let running = self.attempts.get(&(job, attempt));
        running.is_some_and(|running| running.states().iter().all(|(_, state)| *state == SubtaskState::Finished))
    }

    /// Cancels all attempts, and gives them a moment to end.
    async fn end_all(&mut self) {
        self.attempts.values().for_each(|running| running.cancel());
        let all_gone = async {
            // Without attempts there are no reports to wait for: the stream of reports does not end.
            while !self.attempts.is_empty()
                && let Some((about, report)) = self.reports.next().await
            {
                if matches!(report, Some(ReportBody::Gone)) {
                    self.attempts.remove(&about);
                }
            }
        };
        if time::timeout(SHUTDOWN_GRACE, all_gone).await.is_err() {
            tracing::warn!(attempts = self.attempts.len(), "left attempts behind that did not end in time");
        }
    }

    fn now(&self) -> Duration {
        self.seams.clock.monotonic()
    }
}

/// Runs work as a separate task, so that it neither blocks the worker nor makes it fail.
fn answer_of<T: Send + 'static>(
    seams: &Seams,
    name: &str,
    work: BoxFuture<'static, Result<T, Failure>>,
) -> impl Future<Output = Result<T, Failure>> + Send + 'static {
    let (answer, answered) = oneshot::channel();
    let task = async move {
        // The receiver is gone only if the worker is.
        answer.send(work.await).ok();
    };
    let message = format!("could not {name}: the task ended without an answer");
    seams.io.spawn(name, Box::pin(task));
    async move { answered.await.unwrap_or(Err(Failure { kind: FailureKind::Operator, message })) }
}

fn interval(period: Duration) -> time::Interval {
    let mut interval = time::interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use thalweg_proto::testing::seams;

    use super::*;
    use crate::{orders::Limits, testing::FakeEngine};

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_attempts_are_gone_ends_at_once() {
        let (engine, _probe) = FakeEngine::new();
        let second = Duration::from_secs(1);
        let orders = Orders::new(Limits { orphan_timeout: second, stop_timeout: second }, Duration::ZERO);
        let (mut worker, _handle) = Worker::new((NodeId(1), orders), engine, seams(), watch::Sender::new(false));
        // A holder of a sender of the attempt's reports may outlive the attempt.
        worker.reports.push(futures::stream::pending().boxed());
        let began = worker.now();
        worker.end_all().await;
        assert_eq!(worker.now(), began);
    }
}
