//! What a leader tells of its decisions: spans for those who trace, lines of the log for those who read.
//!
//! ```text
//! submit (the service's) --> attempt --> record, discover, deploy; below them what nodes do, up to start
//! checkpoint --> record, manifest, record; publish --> record; below them align, freeze, upload and publish of nodes
//! recovery --> record, attempt, and the first checkpoint after it, with all that lies below them
//! ```
//!
//! The observer sees what the leader does and gives its orders their context. Nothing depends on what it holds, so a new
//! leader begins with none: what it goes on with has a trace of its own, with the same job, attempt and checkpoint.
//!
//! A checkpoint's span lasts until the record holds its manifest; publishing may take longer, and lies below it all the same. A
//! recovery lasts from the first sign of the failure until what the first checkpoint after it holds is published; where no
//! checkpoints are taken, until the job runs again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use thalweg_cluster_state::{ClusterState, Command, JobRecord, Verdict};
use thalweg_control::job::SlowCheckpoint;
use thalweg_types::{
    Attempt, CheckpointId, JobId, MemberId, NodeId, RequestId, Term, TraceContext,
    job::{CheckpointWaits, Failure},
    session::{Action, Report, ReportBody},
};

use self::{decision::Decision, spans::JobSpans};

mod decision;
mod spans;

/// The most submissions whose jobs the leader has not seen yet: more than are planned at a time. Beyond that the oldest is
/// forgotten, and its job has a trace of its own.
const SUBMISSIONS_MAX: usize = 256;

/// The spans of requests whose jobs the leader does not have yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Submissions(Arc<Mutex<Vec<(RequestId, TraceContext)>>>);

impl Submissions {
    /// Notes a request that is about to be recorded.
    pub(super) fn note(&self, request: RequestId, trace: Option<TraceContext>) {
        let Some(trace) = trace else { return };
        let mut noted = self.0.lock();
        if noted.len() >= SUBMISSIONS_MAX {
            noted.remove(0);
        }
        noted.push((request, trace));
    }

    fn take(&self, request: &RequestId) -> Option<TraceContext> {
        let mut noted = self.0.lock();
        let at = noted.iter().position(|(noted, _)| noted == request)?;
        Some(noted.remove(at).1)
    }
}

/// Sees what a leader does.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) submissions: Submissions,
    member: MemberId,
    term: Term,
    jobs: BTreeMap<JobId, JobSpans>,
}

impl Observer {
    pub(super) fn new(member: MemberId, term: Term) -> Self {
        Self { submissions: Submissions::default(), member, term, jobs: BTreeMap::new() }
    }

    /// The leader takes charge of a job.
    pub(super) fn on_charge(&mut self, job: JobId, record: &JobRecord) {
        let request = record.restarted_by.as_ref().unwrap_or(&record.request);
        let cause = self.submissions.take(request);
        self.jobs.insert(job, JobSpans::new((self.member, self.term, job), record.status, cause));
    }

    /// What has become of jobs. Of one that has ended, or has no controller any more, nothing is awaited.
    pub(super) fn follow(&mut self, state: &ClusterState, is_cared_for: impl Fn(JobId) -> bool) {
        self.jobs.retain(|job, spans| {
            let Some(record) = state.job(*job) else { return false };
            spans.follow(record.status, record.last_attempt());
            is_cared_for(*job)
        });
    }

    /// A node of the current attempt of a job seems lost: the recovery begins.
    pub(super) fn on_lost(&mut self, job: JobId, attempt: Attempt, node: NodeId, cause: &str) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.on_failure(attempt, cause, Some(node));
        }
    }

    /// A node that seemed lost is there.
    pub(super) fn on_false_alarm(&mut self, node: NodeId) {
        self.jobs.values_mut().for_each(|spans| spans.on_false_alarm(node));
    }

    /// A controller proposes a command.
    pub(super) fn on_propose(&mut self, job: JobId, command: &Command) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.on_propose(Decision::of(command), command.name());
        }
    }

    /// The controller's proposal is recorded, or why not.
    pub(super) fn on_outcome(&mut self, job: JobId, outcome: Result<(), String>, takes_checkpoints: bool) {
        let Some(spans) = self.jobs.get_mut(&job) else { return };
        let Some(decision) = spans.on_outcome(&outcome) else { return };
        if outcome.is_ok() {
            spans.on_recorded(decision, takes_checkpoints);
        }
    }

    /// An order is given: the context that it carries.
    pub(super) fn on_order(&mut self, job: JobId, attempt: Attempt, action: &Action) -> Option<TraceContext> {
        let spans = self.jobs.get_mut(&job)?;
        match action {
            Action::Discover { .. } => spans.discover(attempt),
            Action::Deploy(_) => spans.deploy(attempt),
            Action::Start => spans.started(),
            Action::BeginCheckpoint { checkpoint } => spans.checkpoint(attempt, *checkpoint),
            Action::Commit(publication) => spans.publish(publication.checkpoint, true),
            Action::Cancel | Action::Stop | Action::Discard { .. } => None,
            Action::AbortCheckpoint { .. } | Action::ConfirmCheckpoint { .. } => None,
        }
    }

    /// A checkpoint will not be completed. Told of each node, it counts once.
    pub(super) fn on_given_up(
        &mut self,
        job: JobId,
        (attempt, checkpoint): (Attempt, CheckpointId),
        cause: &str,
        waits: Option<&CheckpointWaits>,
    ) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.give_up((attempt, checkpoint), cause, waits);
        }
    }

    /// A checkpoint is slow. May be called at each step; logs once.
    pub(super) fn on_slow(
        &mut self,
        job: JobId,
        slow: SlowCheckpoint,
        now: Duration,
        waits: impl FnOnce() -> Option<CheckpointWaits>,
    ) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.tell_slow(slow, now, waits);
        }
    }

    /// A manifest is to be written.
    pub(super) fn on_put(&mut self, job: JobId, checkpoint: CheckpointId) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.put(checkpoint);
        }
    }

    /// It is, or could not be.
    pub(super) fn on_put_done(&mut self, job: JobId, result: Result<(), &Failure>) {
        if let Some(spans) = self.jobs.get_mut(&job) {
            spans.put_done(result);
        }
    }

    /// A node tells of a job's current attempt.
    pub(super) fn on_report(&mut self, job: JobId, node: NodeId, report: &Report) {
        let Some(spans) = self.jobs.get_mut(&job) else { return };
        match &report.body {
            ReportBody::Discovered { splits, .. } => spans.discovered(splits.as_ref().err()),
            ReportBody::Failed { failure, .. } => spans.on_failure(report.attempt, failure.outline(), None),
            ReportBody::Committed { checkpoint, result: Err(failure), .. } => {
                spans.not_published(node, *checkpoint, failure)
            }
            ReportBody::Committed { result: Ok(()), .. } => {}
            ReportBody::Ready | ReportBody::Finished { .. } | ReportBody::Gone | ReportBody::Discarded { .. } => {}
            ReportBody::Snapshot { .. } | ReportBody::SnapshotFailed { .. } | ReportBody::CheckpointWanted => {}
        }
    }
}

/// Whether another attempt follows.
fn goes_on(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Restart => true,
        Verdict::Fail => false,
    }
}

#[cfg(test)]
mod tests;
