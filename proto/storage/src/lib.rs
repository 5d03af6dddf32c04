//! Object stores by URL, and the formats of checkpoints in them.
//!
//! ```text
//! ObjectStores --open URL--> CheckpointStore --put_state---> CLUSTER/job-J/attempt-A/CHAIN-INDEX-CHECKPOINT.state
//!                                            --put_manifest-> CLUSTER/job-J/manifest-CHECKPOINT-ATTEMPT-TERM.json
//!                                            --put_marker---> thalweg-cluster.json
//! ```
//!
//! An object is durable once a `put` of a checkpoint store has returned, in a local directory too. Length, checksum and
//! form of everything that is read are checked. Damage is an error that names the object, never a panic and never wrong
//! rows. The replicated record says which checkpoints exist, and the leader says which objects may be deleted.

mod braces;
mod checkpoint_store;
mod compact;
mod directory;
mod error;
mod marker;
pub mod names;
mod refusal;
mod staged;
mod state_file;
mod state_reader;
mod stores;
mod verify;

#[cfg(test)]
mod tests;

pub use braces::{TooManyPaths, expand_braces};
pub use checkpoint_store::{CheckpointStore, ListedObject};
pub use error::StorageError;
pub use marker::{MARKER, Marker};
pub use refusal::refusal;
pub use state_file::{
    Compression, SEGMENT_BYTES, STATE_FILE_FORMAT, SegmentEntry, StateFile, StateFileBuilder, StateRows,
};
pub use state_reader::StateReader;
pub use stores::{BadStoredUrl, ObjectStores, local_path, percent_decoded, stored_url};
pub use verify::{Verified, VerifiedCost, VerifiedOperator, verify};
