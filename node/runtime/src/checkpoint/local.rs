//! What this node still holds of a job's checkpoints: a new attempt here takes it instead of reading it again.
//!
//! Per job the batches of the newest confirmed checkpoint, by their names in the store. They are the very batches that the
//! operators hold, so that they take no memory of their own while an attempt runs. They outlive the attempt by
//! `LOCAL_STATE_GRACE`, in which the next one begins, or none does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dashmap::DashMap;
use thalweg_keyed_state::StateBatch;
use thalweg_types::{Attempt, JobId, SubtaskId, checkpoint::BatchRef};

/// How long what an attempt held is kept after its end.
pub(crate) const LOCAL_STATE_GRACE: Duration = Duration::from_secs(30);

/// The batches of one subtask.
type Held = BTreeMap<BatchRef, StateBatch>;

/// The batches of one job.
#[derive(Debug, Default)]
struct Job {
    attempt: Attempt,
    subtasks: BTreeMap<SubtaskId, Held>,
}

/// The batches of all jobs on a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LocalState {
    jobs: Arc<DashMap<JobId, Job>>,
}

impl LocalState {
    /// Replaces what is held of a subtask, and of older attempts.
    pub(crate) fn hold(&self, (job, attempt): (JobId, Attempt), subtask: SubtaskId, batches: Held) {
        let mut held = self.jobs.entry(job).or_default();
        if held.attempt < attempt {
            *held = Job { attempt, subtasks: BTreeMap::new() };
        }
        if held.attempt == attempt {
            held.subtasks.insert(subtask, batches);
        }
    }

    /// A batch, where it is held here.
    pub(crate) fn find(&self, job: JobId, batch: &BatchRef) -> Option<StateBatch> {
        let held = self.jobs.get(&job)?;
        held.subtasks.values().find_map(|held| held.get(batch).cloned())
    }

    /// Forgets what an attempt and those before it have left.
    pub(crate) fn forget(&self, job: JobId, attempt: Attempt) {
        self.jobs.remove_if(&job, |_, held| held.attempt <= attempt);
    }
}
