//! One subtask's part of a checkpoint: from the barrier to the acknowledgement, and from a checkpoint back to state.
//!
//! ```text
//! barrier -> Chain freezes its operators and seals its sinks -> Upload (a queue) -> Uploader, beside the actor
//!                                                                                     |-> new batches -> one state object
//!                                                                                     '-> Snapshot: all batches and objects of the state
//! manifest -> Restored: the state that a subtask owns, from objects or from this node's memory (`LocalState`)
//! ```
//!
//! - The actor only freezes: nothing is serialised or written on the record path.
//! - Batches that the attempt has uploaded before, or that the restored checkpoint holds, are referred to again. This
//!   includes batches of a checkpoint that never completed.
//! - Every snapshot lists all that the sinks have sealed and that no confirmed checkpoint holds.

mod load;
mod local;
mod restore;
mod upload;

pub(crate) use local::LOCAL_STATE_GRACE;
pub use local::LocalState;
pub(crate) use restore::{FormerState, Restored, owned_groups, restore};
pub(crate) use upload::{
    Completion, Frozen, FrozenSource, Overtaken, OvertakenBatch, Routing, Sealed, Upload, Uploader, Uploads,
};
