//! Applies committed commands: one handler per command. Each handler checks everything before it changes anything, so a
//! rejection leaves the state as it was.
//!
//! ```text
//! Created|Restarting --BeginAttempt--> Deploying --RunAttempt--> Running --CompleteAttempt--> Committing --FinishJob--> end
//!        ^                                 |                        |                            |
//!        +-- FailAttempt(Restart), Move ---+------------------------+      FailAttempt(Fail) ----+--> Failed
//!        |                                                                     EndJob(Cancel) ---'   |
//!        +------------------------------- RestartJob ------------------------------------------------+
//! while Running:       BeginCheckpoint(n + 1) -> CompleteCheckpoint(n + 1), or never -> BeginCheckpoint(n + 2)
//! at any time after:   SinksCommitted, of complete checkpoints in their order
//! ```
//!
//! Move is `MoveAttempt`: a node leaves on purpose, and nothing counts as failed. What complete checkpoints hold must
//! be published before an attempt begins or a job finishes. A job that is being stopped restarts like any other: it
//! goes on from its newest checkpoint, and is stopped again.

use std::{collections::BTreeMap, sync::Arc};

use thalweg_types::{
    Attempt, CheckpointId, ClusterId, Incarnation, JobId, JobStatus, NodeId, RequestId,
    bug::{self, Bug},
    checkpoint::SinkCommittables,
    job::{Failure, FailureKind},
    node::{NodeRegistration, NodeState},
};

use crate::{
    command::{AttemptPlan, Command, EndMode, JobSpec, Verdict},
    outcome::{Event, Outcome, Rejection},
    state::{AttemptRecord, ClusterState, JobRecord, NodeRecord},
};

/// How many replaced incarnations of a node are remembered. Each one needs a restart of the process while its
/// predecessor still tries to reconnect, so a few are enough.
const SUPERSEDED_MAX: usize = 8;

/// The failure of a job that was cancelled while its output was being published.
const PUBLISHING_GIVEN_UP: &str = "publishing was given up; some output may be visible";

pub(crate) type Applied = Result<Vec<Event>, Rejection>;

impl ClusterState {
    /// Applies a committed command. `index` is its log index; `at_ms` is when it was proposed, in milliseconds since
    /// 1970.
    pub fn apply_at(&mut self, index: u64, command: Command, at_ms: u64) -> Outcome {
        let outcome = self.apply(index, command);
        self.stamp(index, at_ms);
        outcome
    }

    /// Stamps begin and end of the jobs that the command at `index` changed.
    fn stamp(&mut self, index: u64, at_ms: u64) {
        for record in self.jobs.values_mut().filter(|record| record.revision == index) {
            let record = Arc::make_mut(record);
            if record.submitted_ms == 0 {
                record.submitted_ms = at_ms;
            }
            match (record.status.is_terminal(), record.ended_ms) {
                (true, 0) => record.ended_ms = at_ms,
                (true, _) => {}
                (false, _) => record.ended_ms = 0,
            }
        }
    }

    /// Applies a committed command. `index` is its log index.
    pub fn apply(&mut self, index: u64, command: Command) -> Outcome {
        let applied = match command {
            Command::InitCluster { cluster } => self.init_cluster(cluster),
            Command::RegisterNode { registration } => self.register_node(registration),
            Command::LeaveNode { node, incarnation } => self.leave_node(node, incarnation),
            Command::LoseNode { node, incarnation, reason } => self.lose_node(node, incarnation, reason),
            Command::ForgetNodes { nodes } => self.forget_nodes(&nodes),
            Command::SubmitJob { request, spec } => self.submit_job(index, request, spec),
            Command::BeginAttempt { job, attempt, plan } => self.begin_attempt(index, job, attempt, plan),
            Command::RunAttempt { job, attempt } => self.run_attempt(index, job, attempt),
            Command::CompleteAttempt { job, attempt, committables } => {
                self.complete_attempt(index, job, attempt, committables)
            }
            Command::BeginCheckpoint { job, attempt, checkpoint } => {
                self.begin_checkpoint(index, job, attempt, checkpoint)
            }
            Command::CompleteCheckpoint { job, attempt, manifest } => {
                self.complete_checkpoint(index, job, attempt, manifest)
            }
            Command::SinksCommitted { job, checkpoint, sinks } => self.sinks_committed(index, job, checkpoint, sinks),
            Command::ForgetCheckpoints { job, checkpoints } => self.forget_checkpoints(index, job, &checkpoints),
            Command::FailAttempt { job, attempt, failure, verdict } => {
                self.fail_attempt(index, (job, attempt), failure, verdict)
            }
            Command::MoveAttempt { job, attempt } => self.move_attempt(index, job, attempt),
            Command::FailJob { job, failure } => self.fail_job(index, job, failure),
            Command::FinishJob { job, attempt } => self.finish_job(index, job, attempt),
            Command::EndJob { job, mode } => self.end_job(index, job, mode),
            Command::RestartJob { request, job, spec } => self.restart_job(index, request, job, spec),
            Command::ForgetJobs { jobs } => self.forget_jobs(&jobs),
        };
        applied.map_or_else(Outcome::Rejected, Outcome::Applied)
    }

    fn init_cluster(&mut self, cluster: ClusterId) -> Applied {
        if let Some(name) = &self.cluster {
            return Err(Rejection::AlreadyNamed(name.clone()));
        }
        self.cluster = Some(cluster.clone());
        Ok(vec![Event::ClusterNamed(cluster)])
    }

    fn register_node(&mut self, registration: NodeRegistration) -> Applied {
        let (node, incarnation) = (registration.node, registration.incarnation);
        let mut events = Vec::new();
        let mut superseded = Vec::new();
        if let Some(old) = self.nodes.get(&node) {
            if old.superseded.contains(&incarnation) {
                return Err(Rejection::Superseded { node, given: incarnation });
            }
            superseded.clone_from(&old.superseded);
            let replaced = old.registration.incarnation;
            if replaced != incarnation {
                superseded.push(replaced);
                events.push(Event::NodeLost { node, incarnation: replaced });
            }
        }
        let forgotten = superseded.len().saturating_sub(SUPERSEDED_MAX);
        superseded.drain(..forgotten);
        let record = NodeRecord { registration, state: NodeState::Alive, reason: String::new(), superseded };
        self.ensure_slots_cover(node, &record)?;
        self.nodes.insert(node, record);
        events.push(Event::NodeRegistered { node, incarnation });
        Ok(events)
    }

    /// An incarnation cannot reconnect with fewer slots than live attempts hold on it.
    fn ensure_slots_cover(&self, node: NodeId, record: &NodeRecord) -> Result<(), Rejection> {
        let wanted = self.slots_used_in_incarnation(node, record.registration.incarnation);
        let free = record.registration.slots;
        if wanted > free { Err(Rejection::NoSlots { node, free, wanted }) } else { Ok(()) }
    }

    fn leave_node(&mut self, node: NodeId, incarnation: Incarnation) -> Applied {
        let record = current_node(&mut self.nodes, node, incarnation)?;
        if record.state != NodeState::Alive {
            return Err(Rejection::NotAvailable(node));
        }
        record.state = NodeState::Leaving;
        Ok(vec![Event::NodeLeaving { node }])
    }

    fn lose_node(&mut self, node: NodeId, incarnation: Incarnation, reason: String) -> Applied {
        let record = current_node(&mut self.nodes, node, incarnation)?;
        if record.state == NodeState::Lost {
            return Err(Rejection::NotAvailable(node));
        }
        record.state = NodeState::Lost;
        record.reason = reason;
        Ok(vec![Event::NodeLost { node, incarnation }])
    }

    fn forget_nodes(&mut self, nodes: &[NodeId]) -> Applied {
        for node in nodes {
            let record = self.nodes.get(node).ok_or(Rejection::UnknownNode(*node))?;
            if record.state != NodeState::Lost || self.slots_used(*node) > 0 {
                return Err(Rejection::NodeNeeded(*node));
            }
        }
        let forgotten = nodes.iter().filter(|node| self.nodes.remove(node).is_some());
        Ok(forgotten.map(|node| Event::NodeForgotten { node: *node }).collect())
    }

    fn submit_job(&mut self, index: u64, request: RequestId, spec: Arc<JobSpec>) -> Applied {
        if let Some(job) = self.requests.get(&request) {
            return Ok(vec![Event::JobAccepted { job: *job }]);
        }
        self.ensure_paths_free(&spec)?;
        let job = self.last_job.next();
        self.last_job = job;
        self.requests.insert(request.clone(), job);
        let record = JobRecord {
            request,
            spec,
            status: JobStatus::Created,
            attempt: None,
            ending: None,
            failure: None,
            failures: 0,
            operator_failures: 0,
            last_checkpoint: CheckpointId(0),
            checkpoints: Vec::new(),
            committed: CheckpointId(0),
            published: BTreeMap::new(),
            restarts: 0,
            restarted_by: None,
            submitted_ms: 0,
            ended_ms: 0,
            revision: index,
        };
        self.jobs.insert(job, Arc::new(record));
        Ok(vec![Event::JobAccepted { job }])
    }

    /// At most one live job takes records at a path.
    pub(crate) fn ensure_paths_free(&self, spec: &JobSpec) -> Result<(), Rejection> {
        for (job, other) in self.live_jobs() {
            if let Some(path) = spec.ingest_paths.intersection(&other.spec.ingest_paths).next() {
                return Err(Rejection::PathTaken { path: path.clone(), job, name: other.spec.name.clone() });
            }
        }
        Ok(())
    }

    fn begin_attempt(&mut self, index: u64, job: JobId, attempt: Attempt, plan: Arc<AttemptPlan>) -> Applied {
        let record = self.jobs.get(&job).ok_or(Rejection::UnknownJob(job))?;
        if !matches!(record.status, JobStatus::Created | JobStatus::Restarting) {
            return Err(Rejection::WrongStatus { job, status: record.status });
        }
        let is_reused = bug::is_active(Bug::ReuseAttempt) && attempt == record.last_attempt();
        if attempt != record.last_attempt().next() && !is_reused {
            return Err(Rejection::NotCurrentAttempt { job, current: record.last_attempt(), given: attempt });
        }
        ensure_committed(job, record)?;
        check_shape(&record.spec, &plan)?;
        for (node, incarnation) in &plan.nodes {
            self.check_room(*node, *incarnation, &plan)?;
        }
        let record = job_to_change(&mut self.jobs, job)?;
        let skipped = usize::from(bug::is_active(Bug::RestoreOldManifest) && record.checkpoints.len() > 1);
        let restored = record.checkpoints.iter().rev().nth(skipped).map(|manifest| manifest.checkpoint);
        let began_after = record.last_checkpoint;
        record.attempt =
            Some(AttemptRecord { attempt, plan, restored, began_after, committables: None, is_moved: false });
        Ok(set_status(job, record, JobStatus::Deploying, index))
    }

    fn check_room(&self, node: NodeId, incarnation: Incarnation, plan: &AttemptPlan) -> Result<(), Rejection> {
        let record = self.nodes.get(&node).ok_or(Rejection::UnknownNode(node))?;
        let current = record.registration.incarnation;
        if current != incarnation {
            return Err(Rejection::NotCurrentIncarnation { node, current, given: incarnation });
        }
        if record.state != NodeState::Alive {
            return Err(Rejection::NotAvailable(node));
        }
        let free = record.registration.slots.saturating_sub(self.slots_used(node));
        let wanted = plan.slices_on(node);
        if wanted > free { Err(Rejection::NoSlots { node, free, wanted }) } else { Ok(()) }
    }

    fn run_attempt(&mut self, index: u64, job: JobId, attempt: Attempt) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        if record.status != JobStatus::Deploying {
            return Err(Rejection::WrongStatus { job, status: record.status });
        }
        Ok(set_status(job, record, JobStatus::Running, index))
    }

    fn complete_attempt(
        &mut self,
        index: u64,
        job: JobId,
        attempt: Attempt,
        committables: Vec<SinkCommittables>,
    ) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        if record.status != JobStatus::Running {
            return Err(Rejection::WrongStatus { job, status: record.status });
        }
        if let Some(live) = record.attempt.as_mut() {
            live.committables = Some(Arc::new(committables));
        }
        Ok(set_status(job, record, JobStatus::Committing, index))
    }

    fn fail_attempt(
        &mut self,
        index: u64,
        (job, attempt): (JobId, Attempt),
        failure: Failure,
        verdict: Verdict,
    ) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        // Once sinks are being published, some output may be visible already. Another attempt would write it twice.
        let status = match (record.status, verdict) {
            (JobStatus::Deploying | JobStatus::Running, Verdict::Restart) => JobStatus::Restarting,
            (JobStatus::Deploying | JobStatus::Running | JobStatus::Committing, Verdict::Fail) => JobStatus::Failed,
            (status, _) => return Err(Rejection::WrongStatus { job, status }),
        };
        record.failures += 1;
        record.operator_failures += u32::from(failure.kind == FailureKind::Operator);
        record.failure = Some(failure);
        Ok(set_status(job, record, status, index))
    }

    fn move_attempt(&mut self, index: u64, job: JobId, attempt: Attempt) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        let (JobStatus::Deploying | JobStatus::Running, Some(live)) = (record.status, record.attempt.as_mut()) else {
            return Err(Rejection::WrongStatus { job, status: record.status });
        };
        live.is_moved = true;
        Ok(set_status(job, record, JobStatus::Restarting, index))
    }

    fn fail_job(&mut self, index: u64, job: JobId, failure: Failure) -> Applied {
        let record = job_to_change(&mut self.jobs, job)?;
        if record.status.is_terminal() {
            return Err(Rejection::WrongStatus { job, status: record.status });
        }
        record.failure = Some(failure);
        Ok(set_status(job, record, JobStatus::Failed, index))
    }

    fn finish_job(&mut self, index: u64, job: JobId, attempt: Attempt) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        if record.status != JobStatus::Committing {
            return Err(Rejection::WrongStatus { job, status: record.status });
        }
        ensure_committed(job, record)?;
        let stopped = record.ending == Some(EndMode::Stop);
        let status = if stopped { JobStatus::Stopped } else { JobStatus::Finished };
        Ok(set_status(job, record, status, index))
    }

    fn end_job(&mut self, index: u64, job: JobId, mode: EndMode) -> Applied {
        let record = job_to_change(&mut self.jobs, job)?;
        let gives_up = mode == EndMode::Abandon && record.uncommitted().is_some();
        // A client repeats a request whose answer it did not get. The first one is done, or in progress.
        let is_repeated = record.ending == Some(mode)
            && match mode {
                EndMode::Stop => record.status != JobStatus::Failed,
                EndMode::Cancel | EndMode::Abandon => record.status.is_terminal() && !gives_up,
            };
        if is_repeated {
            return Ok(Vec::new());
        }
        let status = match (record.status, mode) {
            (ended, _) if ended.is_terminal() && gives_up => ended,
            (status, _) if status.is_terminal() => return Err(Rejection::WrongStatus { job, status }),
            // All sources have ended: nothing is left to stop.
            (status @ JobStatus::Committing, EndMode::Stop) => return Err(Rejection::WrongStatus { job, status }),
            // Some output may be visible already, so it is too late to discard all of it. But the store may never
            // accept the rest, so a client must be able to give up.
            (JobStatus::Committing, EndMode::Cancel | EndMode::Abandon) => {
                let message = PUBLISHING_GIVEN_UP.to_owned();
                record.failure = Some(Failure { kind: FailureKind::Store, message });
                JobStatus::Failed
            }
            (_, EndMode::Cancel | EndMode::Abandon) => JobStatus::Cancelled,
            // Nothing was read, so there is no output to wait for.
            (JobStatus::Created, EndMode::Stop) => JobStatus::Stopped,
            (live, EndMode::Stop) => live,
        };
        record.ending = Some(mode);
        if gives_up {
            give_up_publishing(record);
        }
        Ok(set_status(job, record, status, index))
    }

    /// Lets a failed job go on from its newest checkpoint. Refused while any of its output is being published: the new
    /// attempt would write it a second time.
    fn restart_job(&mut self, index: u64, request: RequestId, job: JobId, spec: Arc<JobSpec>) -> Applied {
        let record = self.jobs.get(&job).ok_or(Rejection::UnknownJob(job))?;
        if record.restarted_by.as_ref() == Some(&request) {
            return Ok(Vec::new());
        }
        if record.status != JobStatus::Failed {
            return Err(Rejection::NotFailed { job, status: record.status });
        }
        if record.attempt.as_ref().is_some_and(|attempt| attempt.committables.is_some()) {
            return Err(Rejection::PartlyPublished(job));
        }
        ensure_committed(job, record)?;
        if spec.key_groups != record.spec.key_groups {
            return Err(Rejection::BadAssignment(format!("{job} keeps its {} key groups", record.spec.key_groups)));
        }
        self.ensure_paths_free(&spec)?;
        let record = job_to_change(&mut self.jobs, job)?;
        record.spec = spec;
        record.restarts = record.restarts.saturating_add(1);
        record.restarted_by = Some(request);
        // The job starts with fresh counts of failures.
        (record.failures, record.operator_failures) = (0, 0);
        Ok(set_status(job, record, JobStatus::Restarting, index))
    }

    fn forget_jobs(&mut self, jobs: &[JobId]) -> Applied {
        for job in jobs {
            let record = self.jobs.get(job).ok_or(Rejection::UnknownJob(*job))?;
            if !record.status.is_terminal() {
                return Err(Rejection::WrongStatus { job: *job, status: record.status });
            }
        }
        let mut events = Vec::new();
        for job in jobs {
            if let Some(record) = self.jobs.remove(job) {
                self.requests.remove(&record.request);
                events.push(Event::JobForgotten { job: *job });
            }
        }
        Ok(events)
    }
}

/// What complete checkpoints hold must be published before anything that comes after it.
fn ensure_committed(job: JobId, record: &JobRecord) -> Result<(), Rejection> {
    let waiting = record.uncommitted().map(|manifest| manifest.checkpoint);
    waiting.map_or(Ok(()), |checkpoint| Err(Rejection::NotCommitted { job, checkpoint }))
}

/// What complete checkpoints hold counts as published, and the record says that it may not be.
fn give_up_publishing(record: &mut JobRecord) {
    let newest = record.newest_checkpoint().map(|manifest| manifest.checkpoint);
    let Some((first, newest)) = record.uncommitted().map(|manifest| manifest.checkpoint).zip(newest) else { return };
    let message = format!("publishing was given up: rows of {first} up to {newest} may be missing");
    match &mut record.failure {
        Some(failure) => failure.message = format!("{}; {message}", failure.message),
        None => record.failure = Some(Failure { kind: FailureKind::Store, message }),
    }
    record.committed = newest;
}

fn set_status(job: JobId, record: &mut JobRecord, status: JobStatus, index: u64) -> Vec<Event> {
    record.status = status;
    record.revision = index;
    vec![Event::JobChanged { job, attempt: record.last_attempt(), status }]
}

fn current_node(
    nodes: &mut BTreeMap<NodeId, NodeRecord>,
    node: NodeId,
    incarnation: Incarnation,
) -> Result<&mut NodeRecord, Rejection> {
    let record = nodes.get_mut(&node).ok_or(Rejection::UnknownNode(node))?;
    let current = record.registration.incarnation;
    if current == incarnation {
        Ok(record)
    } else {
        Err(Rejection::NotCurrentIncarnation { node, current, given: incarnation })
    }
}

/// A job's record to change. Clones it first if another copy of the state shares it.
pub(crate) fn job_to_change(
    jobs: &mut BTreeMap<JobId, Arc<JobRecord>>,
    job: JobId,
) -> Result<&mut JobRecord, Rejection> {
    jobs.get_mut(&job).map(Arc::make_mut).ok_or(Rejection::UnknownJob(job))
}

pub(crate) fn current_attempt(
    jobs: &mut BTreeMap<JobId, Arc<JobRecord>>,
    job: JobId,
    attempt: Attempt,
) -> Result<&mut JobRecord, Rejection> {
    let record = job_to_change(jobs, job)?;
    let current = record.last_attempt();
    if current == attempt && attempt != Attempt(0) {
        Ok(record)
    } else {
        Err(Rejection::NotCurrentAttempt { job, current, given: attempt })
    }
}

fn check_shape(spec: &JobSpec, plan: &AttemptPlan) -> Result<(), Rejection> {
    let bad = |what: String| Err(Rejection::BadAssignment(what));
    let slices = &plan.assignment.slices;
    let Some(parallelism) = u32::try_from(slices.len()).ok().filter(|count| *count > 0) else {
        return bad(format!("{} slices", slices.len()));
    };
    if let Some(node) = slices.iter().find(|node| !plan.nodes.contains_key(node)) {
        return bad(format!("a slice is on {node}, which the plan does not name"));
    }
    if let Some(node) = plan.nodes.keys().find(|node| !slices.contains(node)) {
        return bad(format!("the plan names {node}, which holds no slice"));
    }
    let owners = plan.assignment.key_groups.owners();
    if owners.len() != usize::from(spec.key_groups) {
        return bad(format!("{} key groups, the job has {}", owners.len(), spec.key_groups));
    }
    match owners.iter().find(|owner| **owner >= parallelism) {
        Some(owner) => bad(format!("a key group belongs to slice {owner} of {parallelism}")),
        None => Ok(()),
    }
}
