//! What a subtask gives to a checkpoint when the barrier has passed an operator.

use thalweg_keyed_state::FrozenState;
use thalweg_types::{CheckpointId, OperatorId};

/// Takes the frozen states of operators. Called on the actor's thread: it must only hand them on.
pub(crate) trait CheckpointHook: Send + Sync {
    /// The state of one operator instance as of a checkpoint's barrier.
    fn on_frozen(&self, operator: OperatorId, subtask: u32, checkpoint: CheckpointId, state: FrozenState);
}

/// For attempts without checkpoints: a restart begins from the beginning, so states are let go.
pub(crate) struct NoCheckpoints;

impl CheckpointHook for NoCheckpoints {
    fn on_frozen(&self, _: OperatorId, _: u32, _: CheckpointId, _: FrozenState) {}
}
