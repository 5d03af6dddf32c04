//! State of a job's checkpoints that this node still holds, so that a new attempt here need not read it from the
//! store.
//!
//! Per job, these are the batches of the newest confirmed checkpoint, by their place in the store. The operators
//! share the same batches, so they take no extra memory while the attempt runs. They outlive the attempt by
//! `LOCAL_STATE_GRACE`, time enough for the next one to begin.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dashmap::DashMap;
use thalweg_keyed_state::StateBatch;
use thalweg_types::{Attempt, JobId, SubtaskId, checkpoint::BatchRef};

/// How long state is kept after the end of its attempt.
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
    /// Replaces the batches of a subtask, and drops those of older attempts.
    pub(crate) fn hold(&self, (job, attempt): (JobId, Attempt), subtask: SubtaskId, batches: Held) {
        let mut held = self.jobs.entry(job).or_default();
        if held.attempt < attempt {
            *held = Job { attempt, subtasks: BTreeMap::new() };
        }
        if held.attempt == attempt {
            held.subtasks.insert(subtask, batches);
        }
    }

    /// The batch, if this node holds it.
    pub(crate) fn find(&self, job: JobId, batch: &BatchRef) -> Option<StateBatch> {
        let held = self.jobs.get(&job)?;
        held.subtasks.values().find_map(|held| held.get(batch).cloned())
    }

    /// Drops the batches of an attempt and of all earlier ones.
    pub(crate) fn forget(&self, job: JobId, attempt: Attempt) {
        self.jobs.remove_if(&job, |_, held| held.attempt <= attempt);
    }
}
