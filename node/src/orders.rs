//! Which orders a node takes and what follows from them: fencing, idempotence and the lifecycle of attempts, as one
//! pure value.
//!
//! ```text
//!             Deploy               the older are gone           Ready, Finished: reported
//! (nothing) ----------> Waiting ------------------> Running
//!                          |                          |  Cancel, Failed (reported), a newer attempt
//!                          | Cancel, a newer attempt  v
//!                          +-----> Cancelled <----- Ending
//!                            the runtime says Gone: reported
//! ```
//!
//! An attempt whose subtasks have all finished stays until the leader cancels it: peers may still read its streams, and
//! clients its rows.
//!
//! Rules:
//! - An order of an older term, or of an older attempt of its job, is refused. An order for a newer attempt proves that
//!   older ones are over: they are cancelled. Only `Discover` proves nothing, because it may precede the decision.
//! - A newer attempt is built only once no older one is left here.
//! - An order that is repeated within a session gets the same answer. Over sessions, orders are idempotent by their
//!   effects: an attempt is built, started and stopped at most once, and a cancelled one stays cancelled.
//! - The first failure of an attempt is reported, and the rest of the attempt here is cancelled.
//! - Without a leader everything runs on, until `orphan_timeout` has passed since the last contact.
//! - Output of all attempts of a job is removed only once none of them is live here: a live one would leave more.
//!   Output of attempts older than the order's is removed at any time, because they are over.
//! - A checkpoint that was aborted here is not begun again: some subtasks may have gone on without it.
//! - An attempt that does not end within `stop_timeout` of its cancellation is abandoned: only the end of the process
//!   ends it.
//!
//! The holder of this value carries out the effects in order, and reports their results. Messages are lost if there is
//! no session. `on_registered` returns the reports again.

use std::{collections::BTreeMap, time::Duration};

use thalweg_proto::{MESSAGE_BYTES_MAX, convert::fits_in_a_message};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobGraph, JobId, OperatorId, Split, Term, TooManySplits, TraceContext,
    bug::{self, Bug},
    job::{Failure, FailureKind},
    session::{Action, Deployment, NodeMessage, Order, Report, ReportBody, SubtaskReport},
};

use crate::outbox::Outbox;

mod answers;
mod effect;
mod ending;
mod invariants;
#[cfg(test)]
mod tests;

use answers::Answers;
pub(crate) use effect::Effect;

/// How many jobs without a live attempt here are remembered for fencing; the newest are kept. A stale order of a leader
/// is at most as old as its session.
const FENCES_MAX: usize = 4096;
const UNTOLD_END: &str = "the attempt ended here without having been told to";

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long attempts run on without contact to a leader.
    pub(crate) orphan_timeout: Duration,
    /// How long a cancelled attempt may take to be gone.
    pub(crate) stop_timeout: Duration,
}

/// A leader registered this node in an older term than one seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leader of {offered} was followed by one of {seen}")]
pub(crate) struct DeposedLeader {
    pub(crate) offered: Term,
    pub(crate) seen: Term,
}

/// The machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Orders {
    limits: Limits,
    term: Term,
    is_connected: bool,
    is_leaving: bool,
    is_leave_recorded: bool,
    last_contact: Duration,
    answers: Answers,
    jobs: BTreeMap<JobId, Job>,
    discoveries: Vec<(JobId, Attempt, Vec<OperatorId>)>,
    commits: Vec<Asked>,
    discards: Vec<Discarding>,
    outbox: Outbox,
}

/// What is known of a job here.
#[derive(Debug, Clone, PartialEq, Default)]
struct Job {
    /// Orders for older attempts are refused.
    newest: Attempt,
    attempts: BTreeMap<Attempt, Phase>,
}

/// Where an attempt is in its lifecycle on this node.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// To be built once no older attempt is left.
    Waiting(ClusterId, Box<Deployment>, Option<TraceContext>),
    /// Built, or being built.
    Running { is_started: bool, is_stopping: bool, aborted: CheckpointId },
    /// Cancelled. The runtime has not reported yet that it is gone.
    Ending { since: Duration },
    /// Gone, or never built.
    Cancelled,
}

impl Phase {
    fn is_live(&self) -> bool {
        matches!(self, Self::Waiting(..) | Self::Running { .. } | Self::Ending { .. })
    }
}

/// A publication in progress. The committables of a checkpoint are always the same.
type Asked = (JobId, Attempt, CheckpointId);

/// A removal in progress: the job, the attempt of the order, and the attempt before which everything is removed.
pub(crate) type Discarding = (JobId, Attempt, Attempt);

/// What an order leads to: effects, or the reason why it is refused.
type OrderResult = Result<Vec<Effect>, String>;

impl Orders {
    /// The state at the start of the process, which counts as contact.
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            term: Term(0),
            is_connected: false,
            is_leaving: false,
            is_leave_recorded: false,
            last_contact: now,
            answers: Answers::default(),
            jobs: BTreeMap::new(),
            discoveries: Vec::new(),
            commits: Vec::new(),
            discards: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// A leader has registered the node. Returns what to send first: everything that runs here (`running`, the states
    /// from the runtime), then every report that is not acknowledged.
    pub(crate) fn on_registered(
        &mut self,
        term: Term,
        running: Vec<SubtaskReport>,
    ) -> Result<Vec<Effect>, DeposedLeader> {
        if term < self.term {
            return Err(DeposedLeader { offered: term, seen: self.term });
        }
        self.term = term;
        self.is_connected = true;
        self.answers = Answers::default();
        let reattach = NodeMessage::Reattach { subtasks: running };
        let leaving = self.is_leaving.then_some(NodeMessage::Leaving);
        Ok([reattach].into_iter().chain(self.outbox.messages()).chain(leaving).map(Effect::Send).collect())
    }

    /// The session has ended.
    pub(crate) fn on_disconnected(&mut self, now: Duration) {
        self.last_contact = now;
        self.is_connected = false;
    }

    /// The leader has recorded a report.
    pub(crate) fn on_acknowledged(&mut self, sequence: u64) {
        self.outbox.on_acknowledged(sequence);
    }

    /// An order has arrived. Its answer is the last effect.
    pub(crate) fn on_order(&mut self, sequence: u64, order: Order, now: Duration) -> Vec<Effect> {
        if let Some(refused) = self.answers.given(sequence) {
            return vec![acknowledge(sequence, refused)];
        }
        let (mut effects, refused) = match self.decide(order, now) {
            Ok(effects) => (effects, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        self.answers.remember(sequence, refused.clone());
        effects.push(acknowledge(sequence, refused));
        effects
    }

    /// An order has arrived that could not be read.
    pub(crate) fn on_malformed_order(&mut self, sequence: u64, reason: String) -> Vec<Effect> {
        self.answers.remember(sequence, Some(reason.clone()));
        vec![acknowledge(sequence, Some(reason))]
    }

    /// An attempt has something to report. Its reports are carried through, unless they are too long for a message.
    pub(crate) fn on_report(&mut self, job: JobId, attempt: Attempt, body: ReportBody, now: Duration) -> Vec<Effect> {
        let Some(phase) = self.jobs.get_mut(&job).and_then(|job| job.attempts.get_mut(&attempt)) else {
            return Vec::new();
        };
        let report = |body| Report { job, attempt, body };
        match (&*phase, body) {
            (Phase::Running { .. }, body @ (ReportBody::Ready | ReportBody::SnapshotFailed { .. })) => {
                vec![self.report(report(body))]
            }
            (Phase::Running { .. }, body @ ReportBody::CheckpointWanted) => self.report_once(report(body)),
            (Phase::Running { .. }, body @ (ReportBody::Finished { .. } | ReportBody::Snapshot { .. })) => {
                let report = fitting(report(body));
                self.report_and_end_if_failed(report, now)
            }
            (Phase::Running { .. }, body @ ReportBody::Failed { .. }) => {
                self.report_and_end_if_failed(report(body), now)
            }
            (Phase::Running { .. }, ReportBody::Gone) => {
                let failure = Failure { kind: FailureKind::Operator, message: UNTOLD_END.to_owned() };
                let failed = report(ReportBody::Failed { subtask: None, failure, peer: None });
                [vec![self.report(failed)], self.gone(job, attempt)].concat()
            }
            (Phase::Ending { .. }, ReportBody::Gone) => self.gone(job, attempt),
            // No attempt says these.
            (
                Phase::Running { .. },
                ReportBody::Discovered { .. } | ReportBody::Committed { .. } | ReportBody::Discarded { .. },
            ) => Vec::new(),
            // Late reports of a cancelled attempt.
            (Phase::Waiting(..) | Phase::Ending { .. } | Phase::Cancelled, _) => Vec::new(),
        }
    }

    /// Reports. A failed attempt is over, and ends here as well.
    fn report_and_end_if_failed(&mut self, report: Report, now: Duration) -> Vec<Effect> {
        let (job, attempt) = (report.job, report.attempt);
        let has_failed = matches!(report.body, ReportBody::Failed { .. });
        let mut effects = vec![self.report(report)];
        if has_failed {
            self.job(job).attempts.insert(attempt, Phase::Ending { since: now });
            effects.push(Effect::Cancel { job, attempt });
        }
        effects
    }

    /// Splits were listed, or could not be.
    pub(crate) fn on_discovered(
        &mut self,
        (job, attempt, sources): (JobId, Attempt, Vec<OperatorId>),
        splits: Result<Vec<(OperatorId, Vec<Split>)>, Failure>,
    ) -> Vec<Effect> {
        self.discoveries.retain(|asked| *asked != (job, attempt, sources.clone()));
        let splits = splits.and_then(|splits| {
            let all = splits.iter().flat_map(|(_, splits)| splits);
            let failure = |error: TooManySplits| Failure { kind: FailureKind::Data, message: error.to_string() };
            thalweg_types::check_splits(all).map_err(failure)?;
            Ok(splits)
        });
        vec![self.report(Report { job, attempt, body: ReportBody::Discovered { splits } })]
    }

    /// Committables were published, or could not be.
    pub(crate) fn on_committed(&mut self, asked: &Asked, result: Result<(), Failure>) -> Vec<Effect> {
        self.commits.retain(|other| other != asked);
        let (job, attempt, checkpoint) = *asked;
        vec![self.report(Report { job, attempt, body: ReportBody::Committed { checkpoint, result } })]
    }

    /// Unpublished output of a job was removed, or could not be.
    pub(crate) fn on_discarded(&mut self, asked: Discarding, result: Result<(), Failure>) -> Vec<Effect> {
        self.discards.retain(|other| *other != asked);
        let (job, attempt, before) = asked;
        vec![self.report(Report { job, attempt, body: ReportBody::Discarded { before, result } })]
    }

    /// The node is to leave: it takes no more work, and says so.
    pub(crate) fn on_leave(&mut self) -> Vec<Effect> {
        self.is_leaving = true;
        vec![Effect::Send(NodeMessage::Leaving)]
    }

    /// The leader has recorded that the node leaves.
    pub(crate) fn on_leave_recorded(&mut self) {
        self.is_leave_recorded = true;
    }

    /// Time has passed.
    pub(crate) fn on_tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = self.overdue(now);
        let is_orphan = now.saturating_sub(self.last_contact) >= self.limits.orphan_timeout;
        if !self.is_connected && is_orphan {
            effects.extend(self.end_orphans(now));
        }
        effects
    }

    /// Whether nothing runs here and the leader knows everything, so that a leaving node may go. Attempts whose
    /// subtasks have all finished do not keep it, nor does a leader that cannot be told.
    pub(crate) fn is_idle(&self, has_finished: impl Fn(JobId, Attempt) -> bool) -> bool {
        let mut live = self.attempts().filter(|(.., phase)| phase.is_live());
        let may_rest = |phase: &Phase| matches!(phase, Phase::Running { .. });
        let is_quiet = live.all(|(job, attempt, phase)| may_rest(phase) && has_finished(job, attempt));
        let works = !(self.discoveries.is_empty() && self.commits.is_empty() && self.discards.is_empty());
        let is_told = !self.is_leaving || self.is_leave_recorded || !self.is_connected;
        is_quiet && !works && self.outbox.is_empty() && is_told
    }

    fn decide(&mut self, order: Order, now: Duration) -> OrderResult {
        let Order { term, cluster, job, attempt, action, trace } = order;
        if term < self.term {
            return Err(format!("it is of {term}, and {} has begun", self.term));
        }
        self.term = term;
        let newest = self.jobs.get(&job).map_or(Attempt(0), |job| job.newest);
        if attempt < newest && !bug::is_active(Bug::ZombieWrites) {
            return Err(format!("it is about {attempt} of {job}, and {newest} has begun"));
        }
        match action {
            Action::Discover { graph, sources } => self.discover((job, attempt), graph, sources, trace),
            Action::Deploy(deployment) => self.deploy((cluster, job, attempt), deployment, trace, now),
            Action::Start => self.start(job, attempt, trace),
            Action::Cancel => Ok(self.cancel(job, attempt, now)),
            Action::Stop => self.stop(job, attempt),
            Action::BeginCheckpoint { checkpoint } => self.begin_checkpoint((job, attempt), checkpoint, trace),
            Action::AbortCheckpoint { checkpoint } => {
                if let Some(Phase::Running { aborted, .. }) = self.phase(job, attempt) {
                    *aborted = checkpoint.max(*aborted);
                }
                Ok(self.if_running(job, attempt, Effect::AbortCheckpoint { job, attempt, checkpoint }))
            }
            Action::ConfirmCheckpoint { checkpoint, manifest } => {
                Ok(self.if_running(job, attempt, Effect::ConfirmCheckpoint { job, attempt, checkpoint, manifest }))
            }
            Action::Commit(publication) => {
                let mut effects = self.fence(job, attempt, now);
                let asked = (job, attempt, publication.checkpoint);
                if !self.commits.contains(&asked) {
                    self.commits.push(asked);
                    effects.push(Effect::Commit { cluster, job, attempt, publication, trace });
                }
                Ok(effects)
            }
            Action::Discard { graph, before, checkpoints } => {
                self.discard((cluster, job), (attempt, before), (graph, checkpoints), now)
            }
        }
    }

    /// Removes what attempts older than the live one have left. If `before` is above the order's attempt, the job is
    /// over: removes what all attempts have left, once none is live here, and keeps the order's attempt from being
    /// built later.
    fn discard(
        &mut self,
        (cluster, job): (ClusterId, JobId),
        (attempt, before): (Attempt, Attempt),
        (graph, checkpoints): (Box<JobGraph>, String),
        now: Duration,
    ) -> OrderResult {
        let is_over = before > attempt;
        if is_over && self.jobs.get(&job).is_some_and(Job::is_live) {
            return Err(format!("{job} is not gone from here"));
        }
        let mut effects = self.fence(job, attempt, now);
        if is_over {
            self.job(job).attempts.entry(attempt).or_insert(Phase::Cancelled);
        }
        self.forget_old_fences();
        let asked = (job, attempt, before);
        if !self.discards.contains(&asked) {
            self.discards.push(asked);
            effects.push(Effect::Discard { cluster, job, attempt, before, graph, checkpoints });
        }
        Ok(effects)
    }

    fn discover(
        &mut self,
        (job, attempt): (JobId, Attempt),
        graph: Box<JobGraph>,
        sources: Vec<OperatorId>,
        trace: Option<TraceContext>,
    ) -> OrderResult {
        self.refuse_if_leaving()?;
        let asked = (job, attempt, sources);
        if self.discoveries.contains(&asked) {
            return Ok(Vec::new());
        }
        self.discoveries.push(asked.clone());
        Ok(vec![Effect::Discover { job, attempt, graph, sources: asked.2, trace }])
    }

    fn deploy(
        &mut self,
        (cluster, job, attempt): (ClusterId, JobId, Attempt),
        deployment: Box<Deployment>,
        trace: Option<TraceContext>,
        now: Duration,
    ) -> OrderResult {
        match self.phase(job, attempt) {
            Some(Phase::Waiting(..) | Phase::Running { .. }) => return Ok(Vec::new()),
            Some(Phase::Ending { .. } | Phase::Cancelled) => return Err(format!("{attempt} of {job} is over here")),
            None => self.refuse_if_leaving()?,
        }
        let mut effects = self.fence(job, attempt, now);
        self.job(job).attempts.insert(attempt, Phase::Waiting(cluster, deployment, trace));
        effects.extend(self.deploy_waiting(job));
        self.forget_old_fences();
        Ok(effects)
    }

    fn start(&mut self, job: JobId, attempt: Attempt, trace: Option<TraceContext>) -> OrderResult {
        match self.phase(job, attempt) {
            Some(Phase::Running { is_started: started @ false, .. }) => {
                *started = true;
                Ok(vec![Effect::Start { job, attempt, trace }])
            }
            Some(Phase::Running { .. }) => Ok(Vec::new()),
            Some(Phase::Waiting(..)) => Err(format!("{attempt} of {job} is not built yet")),
            Some(Phase::Ending { .. } | Phase::Cancelled) | None => Err(format!("{attempt} of {job} is not here")),
        }
    }

    fn stop(&mut self, job: JobId, attempt: Attempt) -> OrderResult {
        match self.phase(job, attempt) {
            Some(Phase::Running { is_stopping: stopping @ false, .. }) => {
                *stopping = true;
                Ok(vec![Effect::Stop { job, attempt }])
            }
            Some(Phase::Running { .. }) => Ok(Vec::new()),
            Some(Phase::Waiting(..)) => Err(format!("{attempt} of {job} is not built yet")),
            Some(Phase::Ending { .. } | Phase::Cancelled) | None => Err(format!("{attempt} of {job} is not here")),
        }
    }

    fn begin_checkpoint(
        &mut self,
        (job, attempt): (JobId, Attempt),
        checkpoint: CheckpointId,
        trace: Option<TraceContext>,
    ) -> OrderResult {
        match self.phase(job, attempt) {
            Some(Phase::Running { aborted, .. }) if checkpoint <= *aborted => {
                Err(format!("{checkpoint} was given up here"))
            }
            Some(Phase::Running { is_started: true, .. }) => {
                Ok(vec![Effect::BeginCheckpoint { job, attempt, checkpoint, trace }])
            }
            Some(Phase::Running { .. } | Phase::Waiting(..)) => Err(format!("{attempt} of {job} is not started yet")),
            Some(Phase::Ending { .. } | Phase::Cancelled) | None => Err(format!("{attempt} of {job} is not here")),
        }
    }

    /// Orders about a checkpoint have no effect on an attempt that is over.
    fn if_running(&mut self, job: JobId, attempt: Attempt, effect: Effect) -> Vec<Effect> {
        match self.phase(job, attempt) {
            Some(Phase::Running { .. }) => vec![effect],
            Some(Phase::Waiting(..) | Phase::Ending { .. } | Phase::Cancelled) | None => Vec::new(),
        }
    }

    fn refuse_if_leaving(&self) -> Result<(), String> {
        if self.is_leaving { Err("this node is leaving".to_owned()) } else { Ok(()) }
    }

    fn report(&mut self, report: Report) -> Effect {
        Effect::Send(self.outbox.keep(report))
    }

    /// For reports without details: a second one that is not acknowledged adds nothing.
    fn report_once(&mut self, report: Report) -> Vec<Effect> {
        if self.outbox.holds(&report) { Vec::new() } else { vec![self.report(report)] }
    }

    fn job(&mut self, job: JobId) -> &mut Job {
        self.jobs.entry(job).or_default()
    }

    fn phase(&mut self, job: JobId, attempt: Attempt) -> Option<&mut Phase> {
        self.jobs.get_mut(&job)?.attempts.get_mut(&attempt)
    }

    fn attempts(&self) -> impl Iterator<Item = (JobId, Attempt, &Phase)> {
        self.jobs.iter().flat_map(|(job, known)| known.attempts.iter().map(|(attempt, phase)| (*job, *attempt, phase)))
    }

    fn forget_old_fences(&mut self) {
        while self.jobs.len() > FENCES_MAX {
            let Some(oldest) = self.jobs.iter().find(|(_, job)| !job.is_live()).map(|(id, _)| *id) else {
                return;
            };
            self.jobs.remove(&oldest);
        }
    }
}

impl Job {
    fn is_live(&self) -> bool {
        self.attempts.values().any(Phase::is_live)
    }
}

/// A report that fits into a message. One that is too long would be sent again over each session, and end each: in its place
/// comes the failure that this is.
fn fitting(report: Report) -> Report {
    if fits_in_a_message(&report) {
        return report;
    }
    let body = match report.body {
        ReportBody::Finished { subtask, .. } => {
            let failure = too_long("what its sinks have prepared");
            ReportBody::Failed { subtask: Some(subtask), failure, peer: None }
        }
        ReportBody::Snapshot { checkpoint, snapshot } => {
            let failure = too_long("what there is to tell of its snapshot");
            ReportBody::SnapshotFailed { checkpoint, subtask: snapshot.subtask, failure }
        }
        body @ (ReportBody::Ready
        | ReportBody::SnapshotFailed { .. }
        | ReportBody::CheckpointWanted
        | ReportBody::Failed { .. }
        | ReportBody::Gone
        | ReportBody::Discovered { .. }
        | ReportBody::Committed { .. }
        | ReportBody::Discarded { .. }) => body,
    };
    Report { body, ..report }
}

fn too_long(what: &str) -> Failure {
    let message = format!("{what} takes more than the {MESSAGE_BYTES_MAX} bytes of a message to the coordinator");
    Failure { kind: FailureKind::Data, message }
}

fn acknowledge(sequence: u64, refused: Option<String>) -> Effect {
    Effect::Send(NodeMessage::Acknowledge { sequence, refused })
}
