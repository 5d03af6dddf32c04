//! What the subtasks of an attempt are told while they run.
//!
//! Only a state is told, never a list of steps: whoever reads late finds all that is still to be done.

use thalweg_types::{CheckpointId, TraceContext};

/// Orders to the subtasks of an attempt. A watch channel holds them, so a newer state replaces an older one and
/// orders never queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AttemptOrders {
    /// Sources may read.
    pub(crate) started: bool,
    /// The input ends here, and open windows close.
    pub(crate) stopped: bool,
    /// The newest checkpoint that has begun.
    pub(crate) checkpoint: Option<CheckpointId>,
    /// Its span, where somebody traces.
    pub(crate) trace: Option<TraceContext>,
    /// The newest aborted checkpoint; all before it are over, too.
    pub(crate) aborted: Option<CheckpointId>,
    /// The newest complete checkpoint.
    pub(crate) confirmed: Option<CheckpointId>,
}
