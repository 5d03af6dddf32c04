//! The consequences of what a leader holds: controllers step, their effects are carried out, reports are acknowledged,
//! and what is old is forgotten.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use thalweg_cluster_state::{ClusterState, Command, JobRecord};
use thalweg_control::{Effect, JobController, JobView, NodeView, job::is_settled};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobId, JobStatus, NodeId, bug,
    checkpoint::ManifestRef,
    job::{Failure, FailureKind},
    node::NodeState,
    session::Action,
};

use super::{
    leader_term::{LeaderTerm, Proposer, has_rows},
    link::NodeLink,
    measures::JobMeasures,
    store::{self, Owner},
};

/// The number of lost nodes to remember, for people. A node without a fixed id has a new one at each start.
const LOST_NODES_MAX: usize = 50;
/// The most jobs from before this term that are cleared away at the same time. The next ones follow when these are done
/// or their time is over, so that a job with an unreachable sink does not block the others. Jobs with something to
/// publish do not count.
const CLEARING_MAX: usize = 16;
/// The time after which a job that is being cleared away no longer counts.
const CLEARING_TURN: Duration = Duration::from_secs(30);
/// More than the wanted number of ended jobs are remembered, up to so many times as many, rather than forget a job
/// before it is cleared away.
const UNCLEARED_TIMES_MAX: usize = 10;
/// The pause after the checkpoints of a job could not be deleted.
const FORGET_PAUSE: Duration = Duration::from_secs(30);

impl LeaderTerm {
    /// Brings nodes and the record closer to what is wanted. Does nothing if nothing has happened.
    pub(super) fn act(&mut self) {
        if !std::mem::replace(&mut self.is_stale, false) {
            return;
        }
        let consensus = self.consensus.clone();
        let Some(cluster) = self.cluster() else {
            // Everything that nodes write is named by the cluster's id.
            self.do_housekeeping();
            return;
        };
        let effects = consensus.peek(|machine| {
            self.follow(machine.state());
            self.step_all(machine.state(), &cluster)
        });
        for (job, effect) in effects {
            match effect {
                Effect::Propose(command) => {
                    tracing::debug!(%job, command = command.name(), "decided");
                    self.observer.on_propose(job, &command);
                    self.propose(Proposer::Job(job), command);
                }
                Effect::Order { node, attempt, action } => {
                    self.notice_given_up(job, attempt, &action);
                    if let (Action::Commit(publication), Some(measures)) = (&action, self.measures.get_mut(&job)) {
                        measures.on_commit_ordered(publication.checkpoint, self.seams.clock.monotonic());
                    }
                    self.order(node, job, attempt, action);
                }
                effect @ (Effect::PutManifest { .. }
                | Effect::GetManifest { .. }
                | Effect::CollectCheckpoints { .. }) => {
                    if let Effect::PutManifest { manifest } = &effect {
                        self.observer.on_put(job, manifest.checkpoint);
                    }
                    let owner = Owner { cluster: cluster.clone(), job, term: self.term };
                    self.stored.extend(store::begin(&self.checkpoints, &self.seams, owner, effect));
                }
            }
        }
    }

    fn notice_given_up(&mut self, job: JobId, attempt: Attempt, action: &Action) {
        if let Action::AbortCheckpoint { checkpoint } = action {
            let controller = self.jobs.get(&job);
            let cause = controller.map_or("", JobController::last_checkpoint_failure);
            let waits = controller.and_then(|controller| controller.waited_for(*checkpoint));
            self.observer.on_given_up(job, (attempt, *checkpoint), cause, waits);
        }
    }

    /// Takes charge of what is new in the state, and forgets what the state has forgotten.
    fn follow(&mut self, state: &ClusterState) {
        // A job that was started again gets another controller.
        self.jobs.retain(|job, controller| state.job(*job).is_some_and(|record| controller.is_of(record)));
        self.adopt(state);
        self.observer.follow(state, |job| self.jobs.contains_key(&job));
        let now = self.seams.clock.monotonic();
        for (node, record) in state.nodes().iter().filter(|(_, record)| record.state != NodeState::Lost) {
            // The node is registered. If its session never begins, its lease runs out.
            let incarnation = record.registration.incarnation;
            if self.links.get(node).is_none_or(|link| link.incarnation != incarnation) {
                self.links.insert(*node, NodeLink::new(incarnation));
                self.liveness.on_heard(*node, incarnation, now);
            }
        }
        let is_ended = |job: &JobId| state.job(*job).is_some_and(|record| record.status.is_terminal());
        self.to_forget.retain(is_ended);
        self.measured.retain(|job, _| state.job(*job).is_some());
        self.measures.retain(|job, _| state.job(*job).is_some());
        for (job, record) in state.jobs() {
            self.measures.entry(*job).or_insert_with(|| JobMeasures::begin(record)).follow(record);
        }
        self.remembered.retain(|job, _| state.job(*job).is_some());
        self.links.retain(|node, link| state.is_present(*node, link.incarnation));
        for link in self.links.values_mut() {
            link.settle(|report| is_settled(report, state.job(report.job)));
        }
    }

    /// Takes charge of the jobs without a controller. At the beginning of a term these include ended jobs that the
    /// leader before may not have cleared away.
    pub(super) fn adopt(&mut self, state: &ClusterState) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let (unpublished, others) = uncleared_jobs(state);
            unpublished.into_iter().for_each(|(job, record)| self.take_charge(job, record));
            self.to_clear = others;
        }
        for (job, record) in state.live_jobs() {
            self.take_charge(job, record);
        }
        self.clear_next(state);
    }

    /// Takes charge of the next jobs that had ended before this term, as others are done.
    fn clear_next(&mut self, state: &ClusterState) {
        let now = self.seams.clock.monotonic();
        let Self { clearing, jobs, .. } = self;
        clearing.retain(|job, since| jobs.contains_key(job) && now.saturating_sub(*since) < CLEARING_TURN);
        while self.clearing.len() < CLEARING_MAX
            && let Some(job) = self.to_clear.pop_front()
        {
            if let Some(record) = state.job(job).filter(|record| record.status.is_terminal()) {
                self.take_charge(job, record);
                self.clearing.insert(job, now);
            }
        }
    }

    /// Clears a job away again, because a part of it has run on unnoticed and is gone now. It may have left files since
    /// the job was cleared away. This happens also if another part of the clearing is not done yet.
    pub(super) fn clear_again(&mut self, job: JobId) {
        if let Some(controller) = self.jobs.get_mut(&job) {
            controller.on_straggler_gone();
            return;
        }
        let consensus = self.consensus.clone();
        consensus.peek(|machine| {
            let record = machine.state().job(job);
            if let Some(record) = record.filter(|record| record.status.is_terminal() && !has_rows(record)) {
                self.take_charge(job, record);
            }
        });
    }

    fn take_charge(&mut self, job: JobId, record: &JobRecord) {
        if self.jobs.contains_key(&job) || self.unusable.contains(&job) {
            return;
        }
        match JobController::new(job, record, self.config.control, self.seams.clock.monotonic()) {
            Ok(controller) => {
                if !record.status.is_terminal() {
                    self.remembered.remove(&job);
                    notice_unseen(job, &controller);
                }
                self.measures.entry(job).or_insert_with(|| JobMeasures::begin(record)).on_controller();
                self.jobs.insert(job, controller);
                self.observer.on_charge(job, record);
            }
            Err(error) => {
                self.unusable.insert(job);
                let message = format!("{error}: {}", source_text(&error));
                tracing::error!(%job, cause = message, "job failed");
                let failure = Failure { kind: FailureKind::Data, message };
                self.propose(Proposer::Unusable(job), Command::FailJob { job, failure });
            }
        }
    }

    fn step_all(&mut self, state: &ClusterState, cluster: &ClusterId) -> Vec<(JobId, Effect)> {
        let nodes = self.views(state);
        let now = self.seams.clock.monotonic();
        let unix_time = self.seams.clock.unix_time();
        let [jitter, ..] = self.seams.entropy.next().to_le_bytes();
        let mut effects = Vec::new();
        self.jobs.retain(|job, controller| {
            let Some(record) = state.job(*job) else { return false };
            let checkpoints = self.checkpoints.url();
            let view = JobView { record, nodes: &nodes, cluster, checkpoints, now, unix_time, jitter };
            effects.extend(controller.step(&view).into_iter().map(|effect| (*job, effect)));
            if let Some(measures) = self.measures.get_mut(job) {
                measures.follow_checkpoints(controller);
            }
            if let Some(slow) = controller.slow_checkpoint(now) {
                self.observer.on_slow(*job, slow, now, || controller.checkpoint_waits(record));
            }
            if bug::checks_invariants() {
                let broken = controller.check_invariants().err();
                assert!(broken.is_none(), "{job}: {}", broken.unwrap_or_default());
            }
            let is_done = controller.is_done(&view);
            if is_done {
                let remembered = self.remembered.entry(*job);
                remembered.or_insert_with(|| controller.checkpoint_overviews(record, now));
            }
            !is_done
        });
        effects
    }

    /// Whether all jobs have ended and their output is published or removed. Objects in the store of checkpoints do not
    /// count.
    pub(super) fn is_settled(&self) -> bool {
        let Some(cluster) = self.cluster().filter(|_| self.has_begun) else { return false };
        let now = self.seams.clock.monotonic();
        let (unix_time, checkpoints, jitter) = (self.seams.clock.unix_time(), self.checkpoints.url(), 0);
        self.consensus.peek(|machine| {
            let nodes = self.views(machine.state());
            machine.state().jobs().iter().all(|(job, record)| {
                let view = JobView {
                    record: record.as_ref(),
                    nodes: &nodes,
                    cluster: &cluster,
                    checkpoints,
                    now,
                    unix_time,
                    jitter,
                };
                let controller = self.jobs.get(job);
                controller.map_or(record.status.is_terminal(), |controller| controller.is_output_settled(&view))
            })
        })
    }

    /// The nodes that are not lost, as controllers see them.
    fn views(&self, state: &ClusterState) -> BTreeMap<NodeId, NodeView> {
        let present = state.nodes().iter().filter(|(_, record)| record.state != NodeState::Lost);
        let views = present.map(|(node, record)| {
            let incarnation = record.registration.incarnation;
            let lingering = self
                .jobs
                .iter()
                .filter_map(|(job, controller)| Some(controller.lingering_on(*node, incarnation, state.job(*job)?)));
            let used = state.slots_used(*node).saturating_add(lingering.sum());
            let view = NodeView {
                incarnation,
                address: record.registration.address.clone(),
                zone: record.registration.zone.clone(),
                free: record.registration.slots.saturating_sub(used),
                takes_work: record.state == NodeState::Alive,
                attached: self.links.get(node).is_some_and(NodeLink::is_attached),
            };
            (*node, view)
        });
        views.collect()
    }

    /// Housekeeping: names the cluster, and forgets old ended jobs and lost nodes. One step at a time.
    pub(super) fn do_housekeeping(&mut self) {
        if self.is_housekeeping {
            return;
        }
        let consensus = self.consensus.clone();
        let chore = consensus.peek(|machine| self.chore(machine.state()));
        let Some(chore) = chore else { return };
        self.is_housekeeping = true;
        match chore {
            Chore::Clear(owner, checkpoints) => {
                self.stored.push(store::clear(&self.checkpoints, &self.seams, owner, checkpoints));
            }
            Chore::Forget(job) => self.forget(job),
            Chore::Propose(command) => self.propose(Proposer::Housekeeping, command),
        }
    }

    fn chore(&self, state: &ClusterState) -> Option<Chore> {
        let Some(cluster) = state.cluster() else {
            let cluster = ClusterId(format!("{:016x}", self.seams.entropy.next()));
            return Some(Chore::Propose(Command::InitCluster { cluster }));
        };
        let may_forget = self.seams.clock.monotonic() >= self.forget_at;
        let is_busy = |job: JobId| self.jobs.contains_key(&job) || self.to_clear.contains(&job);
        let asked = self.to_forget.iter().filter(|job| !is_busy(**job)).find_map(|job| {
            let record = state.job(*job)?;
            (record.status.is_terminal() && record.uncommitted().is_none()).then_some((*job, record))
        });
        let next = asked.or_else(|| forgettable_job(state, self.config.ended_jobs_max, is_busy));
        match next.filter(|_| may_forget) {
            // A failed job without a checkpoint has ingest logs to delete.
            Some((job, record)) if record.last_checkpoint > CheckpointId(0) || record.status == JobStatus::Failed => {
                let owner = Owner { cluster: cluster.clone(), job, term: self.term };
                Some(Chore::Clear(owner, record.checkpoints.clone()))
            }
            Some((job, _)) => Some(Chore::Forget(job)),
            None => forgettable_nodes(state).map(Chore::Propose),
        }
    }

    /// Handles the end of deleting a job's checkpoints before the job is forgotten.
    pub(super) fn on_cleared(&mut self, job: JobId, is_done: bool, now: Duration) {
        if is_done {
            self.forget(job);
        } else {
            self.is_housekeeping = false;
            self.forget_at = now + FORGET_PAUSE;
        }
    }

    fn forget(&mut self, job: JobId) {
        self.drop_rows(job);
        self.propose(Proposer::Housekeeping, Command::ForgetJobs { jobs: vec![job] });
    }

    /// Has nodes drop the rows of a job. They keep these as long as the job is remembered.
    fn drop_rows(&mut self, job: JobId) {
        let attempt = self.consensus.peek(|machine| machine.state().job(job)?.attempt.clone());
        let Some(attempt) = attempt else { return };
        for (node, incarnation) in &attempt.plan.nodes {
            if self.links.get(node).is_some_and(|link| link.incarnation == *incarnation) {
                self.order(*node, job, attempt.attempt, Action::Cancel);
            }
        }
    }
}

/// A step of housekeeping.
enum Chore {
    Propose(Command),
    /// Delete these checkpoints and all else that a job has left in the store, then forget the job.
    Clear(Owner, Vec<ManifestRef>),
    Forget(JobId),
}

/// The job that ended first, if more are remembered than wanted. Never one with output to publish. One that is still
/// being cleared away only if very many are remembered.
fn forgettable_job(
    state: &ClusterState,
    ended_jobs_max: usize,
    is_busy: impl Fn(JobId) -> bool,
) -> Option<(JobId, &JobRecord)> {
    let ended = state.jobs().iter().filter(|(_, record)| record.status.is_terminal());
    let surplus = ended.clone().count().saturating_sub(ended_jobs_max);
    let waits = surplus <= ended_jobs_max.saturating_mul(UNCLEARED_TIMES_MAX - 1);
    let may_go =
        |(job, record): &(&JobId, &Arc<JobRecord>)| record.uncommitted().is_none() && !(waits && is_busy(**job));
    let first = ended.filter(may_go).min_by_key(|(job, record)| (record.revision, **job));
    first.filter(|_| surplus > 0).map(|(job, record)| (*job, record.as_ref()))
}

/// The ended jobs that may not be done: those with output to publish, and the others, newest first. No record tells
/// what is hidden in a sink, so the others include all jobs that ended without publishing.
fn uncleared_jobs(state: &ClusterState) -> (Vec<(JobId, &JobRecord)>, VecDeque<JobId>) {
    let ended = state.jobs().iter().filter(|(_, record)| record.status.is_terminal() && record.attempt.is_some());
    let ended = ended.map(|(job, record)| (*job, record.as_ref()));
    let (unpublished, others): (Vec<_>, Vec<_>) = ended.partition(|(_, record)| record.uncommitted().is_some());
    let may_hide =
        |record: &JobRecord| matches!(record.status, JobStatus::Cancelled | JobStatus::Failed | JobStatus::Stopped);
    let mut others: Vec<_> =
        others.into_iter().filter(|(_, record)| may_hide(record) || has_checkpoints_to_clear(record)).collect();
    others.sort_unstable_by_key(|(_, record)| std::cmp::Reverse(record.revision));
    (unpublished, others.into_iter().map(|(job, _)| job).collect())
}

fn has_checkpoints_to_clear(record: &JobRecord) -> bool {
    let kept = usize::from(record.status == JobStatus::Failed);
    record.checkpoints.len() > kept
}

fn forgettable_nodes(state: &ClusterState) -> Option<Command> {
    let lost = state.nodes().iter().filter(|(_, record)| record.state == NodeState::Lost);
    let idle: Vec<NodeId> = lost.map(|(node, _)| *node).filter(|node| state.slots_used(*node) == 0).collect();
    let surplus = idle.len().saturating_sub(LOST_NODES_MAX);
    let nodes: Vec<NodeId> = idle.into_iter().take(surplus).collect();
    (!nodes.is_empty()).then_some(Command::ForgetNodes { nodes })
}

fn source_text(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| "no further cause is known".to_owned(), ToString::to_string)
}

/// Tells whoever submits a job that nobody will see its rows.
fn notice_unseen(job: JobId, controller: &JobController) {
    for table in controller.unseen_tables() {
        tracing::warn!(
            target: "thalweg::notice",
            job = job.0,
            "table {table}: its rows become visible with checkpoints, and none are taken: set 'checkpoint.interval'"
        );
    }
}

#[cfg(test)]
mod tests;
