//! Which node runs which slice of a job, and which slice owns which key groups, for one attempt.

use serde::{Deserialize, Serialize};

use crate::{
    id::{NodeId, SubtaskId},
    key_group::KeyGroupTable,
};

/// The placement of one attempt. Subtask i of every chain runs in the slot that holds slice i; chains of parallelism
/// one run in slice 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The node of each slice, by the slice's number. The length is the attempt's parallelism.
    pub slices: Vec<NodeId>,
    /// The owner of each key group, the same for all keyed operators of the job.
    pub key_groups: KeyGroupTable,
}

impl Assignment {
    /// The attempt's parallelism.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        u32::try_from(self.slices.len()).expect("slots are counted in 32 bits")
    }

    /// The node that runs a subtask; `None` where there is no such slice.
    #[must_use]
    pub fn node_of(&self, subtask: SubtaskId) -> Option<NodeId> {
        self.slices.get(subtask.index as usize).copied()
    }
}
