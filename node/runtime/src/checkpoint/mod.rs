//! One subtask's part of a checkpoint, from the barrier to the acknowledgement, and back from a checkpoint to state.
//!
//! ```text
//! barrier -> Chain freezes its operators and seals its sinks -> Upload (a queue) -> Uploader, beside the actor
//!                                                                                     |-> what is new -> one state object
//!                                                                                     '-> Snapshot: all that the state consists of
//! manifest -> Restored: the states that a subtask owns, from the objects or what this node still holds (`LocalState`)
//! ```
//!
//! - The actor only freezes: nothing is serialised or written on the record path.
//! - Batches that an earlier checkpoint of the attempt (or the one that it was restored from) has uploaded are referred to again.
//!   So are those of a checkpoint that never completed.
//! - What sinks have sealed is told with every snapshot until a checkpoint that holds it is confirmed.

mod load;
mod local;
mod restore;
mod upload;

pub(crate) use local::LOCAL_STATE_GRACE;
pub use local::LocalState;
pub(crate) use restore::{FormerState, Restored, owned_groups, restore};
pub(crate) use upload::{Frozen, FrozenSource, Overtaken, OvertakenBatch, Routing, Sealed, Upload, Uploader, Uploads};
