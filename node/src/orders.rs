//! Which orders a node takes, and what follows from them: fencing, idempotence and the life of attempts, as one pure value.
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
//! An attempt whose subtasks have all finished stays: peers may still read its streams, and clients its rows. It ends when
//! the leader cancels it.
//!
//! Rules:
//! - An order of an older term, or of an older attempt of its job, is refused. An order for a newer attempt is
//!   proof that the older ones are over: they are cancelled. `Discover` alone proves nothing, for it may precede the decision.
//! - A newer attempt is built only when nothing of an older one is left here.
//! - An order's answer is remembered by sequence for the session and given again when the order is. Over sessions, orders are
//!   idempotent by what they do: an attempt is built at most once, started and stopped at most once, and a cancelled one stays so.
//! - Of the failures of an attempt the first is reported, and the rest of the attempt here is cancelled.
//! - Without a leader everything runs on, until `orphan_timeout` has passed since the last contact.
//! - What all attempts of a job left unpublished is removed only where none of it lives: one that still writes would leave
//!   more. What older attempts than the order's left is removed at any time: they are over.
//! - A checkpoint that was given up here is not begun again: some of the subtasks may have gone on without it.
//! - A report that no message can hold is replaced by that of a failure: told again over each session, it would end each.
//! - An attempt that is not gone `stop_timeout` after its cancellation is abandoned: only the end of the process ends it. It has ten
//!   times as long where other jobs run here: they would end, too, and nothing but its own job waits for it.
//!
//! Whoever holds this value carries out the effects, in their order, and tells what came of them. Messages in them are lost
//! where there is no session; reports come again from `on_registered`.

use std::{collections::BTreeMap, time::Duration};

use thalweg_proto::{MESSAGE_BYTES_MAX, convert::fits_in_a_message};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobGraph, JobId, OperatorId, Split, Term, TooManySplits,
    bug::{self, Bug},
    job::{Failure, FailureKind},
    session::{Action, Deployment, NodeMessage, Order, Report, SubtaskReport},
};

use crate::{engine::AttemptEvent, outbox::Outbox};

mod answers;
mod effect;
mod ending;
mod invariants;
#[cfg(test)]
mod tests;

use answers::Answers;
pub(crate) use effect::Effect;

/// Jobs of which nothing lives here are remembered for fencing, the newest so many of them: a leader's stale order is at
/// most as old as its session.
const FENCES_MAX: usize = 4096;
const UNTOLD_END: &str = "the attempt ended here without having been told to";

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Without contact to a leader, attempts run on for so long.
    pub(crate) orphan_timeout: Duration,
    /// A cancelled attempt is gone within so long.
    pub(crate) stop_timeout: Duration,
}

/// A leader registered this node in a term that is older than one seen before.
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

/// Where an attempt is on this node.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// To be built when nothing of the older attempts is left.
    Waiting(ClusterId, Box<Deployment>),
    /// Built, or being built.
    Running { is_started: bool, is_stopping: bool, aborted: CheckpointId },
    /// Cancelled; the runtime has not said yet that it is gone.
    Ending { since: Duration },
    /// Gone, or never built.
    Cancelled,
}

impl Phase {
    fn is_live(&self) -> bool {
        matches!(self, Self::Waiting(..) | Self::Running { .. } | Self::Ending { .. })
    }
}

/// What is being published: the committables of a checkpoint are always the same.
type Asked = (JobId, Attempt, CheckpointId);

/// Whose leftovers are being removed: by which attempt's order, and of which attempts.
pub(crate) type Discarding = (JobId, Attempt, Attempt);

/// What an order comes to: effects, or the reason of its refusal.
type Verdict = Result<Vec<Effect>, String>;

impl Orders {
    /// At the start of the process, which counts as contact.
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            term: Term(0),
            is_connected: false,
            is_leaving: false,
            last_contact: now,
            answers: Answers::default(),
            jobs: BTreeMap::new(),
            discoveries: Vec::new(),
            commits: Vec::new(),
            discards: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// A leader has registered the node. Gives what to tell it first: all that is here (`running` are the states that the
    /// runtime tells), then every report that is not acknowledged.
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

    /// An order has come. Its answer is the last effect.
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

    /// An order has come that could not be read.
    pub(crate) fn on_malformed_order(&mut self, sequence: u64, reason: String) -> Vec<Effect> {
        self.answers.remember(sequence, Some(reason.clone()));
        vec![acknowledge(sequence, Some(reason))]
    }

    /// The runtime has said something of an attempt.
    pub(crate) fn on_event(&mut self, job: JobId, attempt: Attempt, event: AttemptEvent, now: Duration) -> Vec<Effect> {
        let Some(phase) = self.jobs.get_mut(&job).and_then(|job| job.attempts.get_mut(&attempt)) else {
            return Vec::new();
        };
        match (phase, event) {
            (Phase::Running { .. }, AttemptEvent::Ready) => vec![self.report(Report::Ready { job, attempt })],
            (phase @ Phase::Running { .. }, AttemptEvent::Finished { subtask, metrics, prepared }) => {
                let finished = Report::Finished { job, attempt, subtask, metrics, prepared };
                if fits_in_a_message(&finished) {
                    return vec![self.report(finished)];
                }
                *phase = Phase::Ending { since: now };
                let failure = too_long("what its sinks have prepared");
                let failed = Report::Failed { job, attempt, subtask: Some(subtask), failure, peer: None };
                vec![self.report(failed), Effect::Cancel { job, attempt }]
            }
            (Phase::Running { .. }, AttemptEvent::Snapshot { checkpoint, snapshot }) => {
                let subtask = snapshot.subtask;
                let taken = Report::Snapshot { job, attempt, checkpoint, snapshot };
                let failure = too_long("what there is to tell of its snapshot");
                let failed = Report::SnapshotFailed { job, attempt, checkpoint, subtask, failure };
                vec![self.report(if fits_in_a_message(&taken) { taken } else { failed })]
            }
            (Phase::Running { .. }, AttemptEvent::SnapshotFailed { checkpoint, subtask, failure }) => {
                vec![self.report(Report::SnapshotFailed { job, attempt, checkpoint, subtask, failure })]
            }
            (Phase::Running { .. }, AttemptEvent::CheckpointWanted) => {
                self.report_once(Report::CheckpointWanted { job, attempt })
            }
            (phase @ Phase::Running { .. }, AttemptEvent::Failed { subtask, failure, peer }) => {
                *phase = Phase::Ending { since: now };
                let report = self.report(Report::Failed { job, attempt, subtask, failure, peer });
                vec![report, Effect::Cancel { job, attempt }]
            }
            (Phase::Running { .. }, AttemptEvent::Gone) => {
                let failure = Failure { kind: FailureKind::Operator, message: UNTOLD_END.to_owned() };
                let failed = Report::Failed { job, attempt, subtask: None, failure, peer: None };
                [vec![self.report(failed)], self.gone(job, attempt)].concat()
            }
            (Phase::Ending { .. }, AttemptEvent::Gone) => self.gone(job, attempt),
            // What a cancelled attempt still says on its way out.
            _ => Vec::new(),
        }
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
        vec![self.report(Report::Discovered { job, attempt, splits })]
    }

    /// Committables were published, or could not be.
    pub(crate) fn on_committed(&mut self, asked: &Asked, result: Result<(), Failure>) -> Vec<Effect> {
        self.commits.retain(|other| other != asked);
        let (job, attempt, checkpoint) = *asked;
        vec![self.report(Report::Committed { job, attempt, checkpoint, result })]
    }

    /// What a job left unpublished was removed, or could not be.
    pub(crate) fn on_discarded(&mut self, asked: Discarding, result: Result<(), Failure>) -> Vec<Effect> {
        self.discards.retain(|other| *other != asked);
        let (job, attempt, before) = asked;
        vec![self.report(Report::Discarded { job, attempt, before, result })]
    }

    /// The node is to leave: it takes no more work, and says so.
    pub(crate) fn on_leave(&mut self) -> Vec<Effect> {
        self.is_leaving = true;
        vec![Effect::Send(NodeMessage::Leaving)]
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

    /// Whether nothing runs here and the leader knows everything: a leaving node may go. Attempts whose subtasks have all
    /// finished do not hold it up.
    pub(crate) fn is_idle(&self, has_finished: impl Fn(JobId, Attempt) -> bool) -> bool {
        let mut live = self.attempts().filter(|(.., phase)| phase.is_live());
        let may_rest = |phase: &Phase| matches!(phase, Phase::Running { .. });
        let is_quiet = live.all(|(job, attempt, phase)| may_rest(phase) && has_finished(job, attempt));
        let works = !(self.discoveries.is_empty() && self.commits.is_empty() && self.discards.is_empty());
        is_quiet && !works && self.outbox.is_empty()
    }

    fn decide(&mut self, order: Order, now: Duration) -> Verdict {
        let Order { term, cluster, job, attempt, action } = order;
        if term < self.term {
            return Err(format!("it is of {term}, and {} has begun", self.term));
        }
        self.term = term;
        let newest = self.jobs.get(&job).map_or(Attempt(0), |job| job.newest);
        if attempt < newest && !bug::is_active(Bug::ZombieWrites) {
            return Err(format!("it is about {attempt} of {job}, and {newest} has begun"));
        }
        match action {
            Action::Discover { graph, sources } => self.discover(job, attempt, graph, sources),
            Action::Deploy(deployment) => self.deploy((cluster, job), attempt, deployment, now),
            Action::Start => self.start(job, attempt),
            Action::Cancel => Ok(self.cancel(job, attempt, now)),
            Action::Stop => self.stop(job, attempt),
            Action::BeginCheckpoint { checkpoint } => self.begin_checkpoint(job, attempt, checkpoint),
            Action::AbortCheckpoint { checkpoint } => {
                if let Some(Phase::Running { aborted, .. }) = self.phase(job, attempt) {
                    *aborted = checkpoint.max(*aborted);
                }
                Ok(self.if_running(job, attempt, Effect::AbortCheckpoint { job, attempt, checkpoint }))
            }
            Action::ConfirmCheckpoint { checkpoint } => {
                Ok(self.if_running(job, attempt, Effect::ConfirmCheckpoint { job, attempt, checkpoint }))
            }
            Action::Commit { graph, checkpoint, committables } => {
                let mut effects = self.fence(job, attempt, now);
                let asked = (job, attempt, checkpoint);
                if !self.commits.contains(&asked) {
                    self.commits.push(asked);
                    effects.push(Effect::Commit { job, attempt, checkpoint, graph, committables });
                }
                Ok(effects)
            }
            Action::Discard { graph, before } => self.discard((cluster, job), (attempt, before), graph, now),
        }
    }

    /// Removes what older attempts than the live one have left; or, once nothing of the job lives here, what all have, and
    /// lets nothing of it live here later.
    fn discard(
        &mut self,
        (cluster, job): (ClusterId, JobId),
        (attempt, before): (Attempt, Attempt),
        graph: Box<JobGraph>,
        now: Duration,
    ) -> Verdict {
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
            effects.push(Effect::Discard { cluster, job, attempt, before, graph });
        }
        Ok(effects)
    }

    fn discover(&mut self, job: JobId, attempt: Attempt, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> Verdict {
        self.refuse_if_leaving()?;
        let asked = (job, attempt, sources);
        if self.discoveries.contains(&asked) {
            return Ok(Vec::new());
        }
        self.discoveries.push(asked.clone());
        Ok(vec![Effect::Discover { job, attempt, graph, sources: asked.2 }])
    }

    fn deploy(
        &mut self,
        (cluster, job): (ClusterId, JobId),
        attempt: Attempt,
        deployment: Box<Deployment>,
        now: Duration,
    ) -> Verdict {
        match self.phase(job, attempt) {
            Some(Phase::Waiting(..) | Phase::Running { .. }) => return Ok(Vec::new()),
            Some(Phase::Ending { .. } | Phase::Cancelled) => return Err(format!("{attempt} of {job} is over here")),
            None => self.refuse_if_leaving()?,
        }
        let mut effects = self.fence(job, attempt, now);
        self.job(job).attempts.insert(attempt, Phase::Waiting(cluster, deployment));
        effects.extend(self.deploy_waiting(job));
        self.forget_old_fences();
        Ok(effects)
    }

    fn start(&mut self, job: JobId, attempt: Attempt) -> Verdict {
        match self.phase(job, attempt) {
            Some(Phase::Running { is_started: started @ false, .. }) => {
                *started = true;
                Ok(vec![Effect::Start { job, attempt }])
            }
            Some(Phase::Running { .. }) => Ok(Vec::new()),
            Some(Phase::Waiting(..)) => Err(format!("{attempt} of {job} is not built yet")),
            Some(Phase::Ending { .. } | Phase::Cancelled) | None => Err(format!("{attempt} of {job} is not here")),
        }
    }

    fn stop(&mut self, job: JobId, attempt: Attempt) -> Verdict {
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

    fn begin_checkpoint(&mut self, job: JobId, attempt: Attempt, checkpoint: CheckpointId) -> Verdict {
        match self.phase(job, attempt) {
            Some(Phase::Running { aborted, .. }) if checkpoint <= *aborted => {
                Err(format!("{checkpoint} was given up here"))
            }
            Some(Phase::Running { is_started: true, .. }) => {
                Ok(vec![Effect::BeginCheckpoint { job, attempt, checkpoint }])
            }
            Some(Phase::Running { .. } | Phase::Waiting(..)) => Err(format!("{attempt} of {job} is not started yet")),
            Some(Phase::Ending { .. } | Phase::Cancelled) | None => Err(format!("{attempt} of {job} is not here")),
        }
    }

    /// What is told of a checkpoint means nothing to an attempt that is over.
    fn if_running(&mut self, job: JobId, attempt: Attempt, effect: Effect) -> Vec<Effect> {
        match self.phase(job, attempt) {
            Some(Phase::Running { .. }) => vec![effect],
            _ => Vec::new(),
        }
    }

    fn refuse_if_leaving(&self) -> Result<(), String> {
        if self.is_leaving { Err("this node is leaving".to_owned()) } else { Ok(()) }
    }

    fn report(&mut self, report: Report) -> Effect {
        Effect::Send(self.outbox.keep(report))
    }

    /// For reports that say all there is to say: a second one that is not acknowledged adds nothing.
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

/// It would be told again over each session, and end it.
fn too_long(what: &str) -> Failure {
    let message = format!("{what} takes more than the {MESSAGE_BYTES_MAX} bytes of a message to the coordinator");
    Failure { kind: FailureKind::Data, message }
}

fn acknowledge(sequence: u64, refused: Option<String>) -> Effect {
    Effect::Send(NodeMessage::Acknowledge { sequence, refused })
}
