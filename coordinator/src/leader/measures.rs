//! What a leader counts of jobs for those who monitor them. It begins at zero with each term, and nothing is decided by it.

use std::{collections::BTreeMap, time::Duration};

use thalweg_cluster_state::JobRecord;
use thalweg_control::{JobController, job::EndedCheckpoint};
use thalweg_metrics::{Histogram, seconds};
use thalweg_types::{
    Attempt, CheckpointId, JobId,
    job::{CheckpointState, Failure, FailureKind},
};

use crate::overview::JobMemory;

/// What a leader has counted, with what it remembers of the jobs that were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaderMeasures {
    pub(crate) node_losses: u64,
    pub(crate) jobs: BTreeMap<JobId, (JobMemory, JobMeasures)>,
}

/// What a leader has counted of one job.
#[derive(Debug, Clone)]
pub(crate) struct JobMeasures {
    /// By cause.
    pub(crate) restarts: BTreeMap<&'static str, u64>,
    pub(crate) checkpoints_complete: u64,
    pub(crate) checkpoints_failed: u64,
    /// Of complete checkpoints, by step.
    pub(crate) steps: [(&'static str, Histogram); 5],
    pub(crate) commits: u64,
    pub(crate) commit_retries: u64,
    pub(crate) commit: Histogram,
    /// Failed attempts that are counted.
    failures: u32,
    /// The last attempt that is counted as moved.
    moved: Attempt,
    /// Ended checkpoints of the job's controller that are counted.
    ended: u64,
    /// What is being published, and since when.
    publishing: Option<(CheckpointId, Duration)>,
}

impl JobMeasures {
    /// What has happened by now is not counted.
    pub(super) fn begin(record: &JobRecord) -> Self {
        Self {
            restarts: BTreeMap::new(),
            checkpoints_complete: 0,
            checkpoints_failed: 0,
            steps: ["whole", "alignment", "freeze", "upload", "manifest"].map(|step| (step, seconds())),
            commits: 0,
            commit_retries: 0,
            commit: seconds(),
            failures: record.failures,
            moved: moved(record),
            ended: 0,
            publishing: None,
        }
    }

    /// Looks what has happened to the record, which may be several things of one kind.
    pub(super) fn follow(&mut self, record: &JobRecord) {
        let failed = record.failures.saturating_sub(self.failures);
        self.failures = record.failures;
        if let Some(failure) = record.failure.as_ref().filter(|_| failed > 0 && !record.status.is_terminal()) {
            *self.restarts.entry(word(failure.kind)).or_default() += u64::from(failed);
        }
        if moved(record) > self.moved {
            self.moved = moved(record);
            *self.restarts.entry("departure").or_default() += 1;
        }
    }

    /// The job has another controller, which counts its checkpoints anew.
    pub(super) fn on_controller(&mut self) {
        self.ended = 0;
    }

    /// Looks which checkpoints have ended.
    pub(super) fn follow_checkpoints(&mut self, controller: &JobController) {
        let (ended, new) = controller.checkpoints_ended_after(self.ended);
        self.ended = ended;
        for EndedCheckpoint { state, whole, manifest, cost } in new {
            if state != CheckpointState::Complete {
                self.checkpoints_failed += 1;
                continue;
            }
            self.checkpoints_complete += 1;
            let [alignment, freeze, upload] =
                [cost.alignment_micros, cost.freeze_micros, cost.upload_micros].map(Duration::from_micros);
            for ((_, histogram), took) in self.steps.iter().zip([whole, alignment, freeze, upload, manifest]) {
                histogram.observe(took.as_secs_f64());
            }
        }
    }

    /// A node was told to publish.
    pub(super) fn on_commit_ordered(&mut self, checkpoint: CheckpointId, now: Duration) {
        self.publishing = Some((checkpoint, now));
    }

    /// A node has answered. An answer that comes again is not counted again.
    pub(super) fn on_committed(&mut self, checkpoint: CheckpointId, result: &Result<(), Failure>, now: Duration) {
        let Some((_, since)) = self.publishing.take_if(|(ordered, _)| *ordered == checkpoint) else { return };
        self.commit.observe(now.saturating_sub(since).as_secs_f64());
        match result {
            Ok(()) => self.commits += 1,
            Err(_) => self.commit_retries += 1,
        }
    }
}

/// The last attempt, if it was given up because a node left on purpose.
fn moved(record: &JobRecord) -> Attempt {
    record.attempt.as_ref().filter(|attempt| attempt.is_moved).map_or(Attempt(0), |attempt| attempt.attempt)
}

fn word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Node => "node",
        FailureKind::Link => "link",
        FailureKind::Store => "store",
        FailureKind::Operator => "operator",
        FailureKind::Data => "data",
    }
}
