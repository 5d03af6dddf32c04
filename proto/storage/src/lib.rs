//! Object stores by URL, and the formats of checkpoints and of ingest logs in them.
//!
//! ```text
//! ObjectStores --open URL--> CheckpointStore --put_state---> CLUSTER/job-J/attempt-A/CHAIN-INDEX-CHECKPOINT.state
//!                                            --put_manifest-> CLUSTER/job-J/manifest-CHECKPOINT-ATTEMPT-TERM.json
//!                                            --put_marker---> thalweg-cluster.json
//!                                IngestLog --create--------> CLUSTER/job-J/ingest/SOURCE-SPLIT/NUMBER.segment
//! ```
//!
//! Whatever a `put` of a checkpoint store has returned for is durable, in a directory too. What is read is checked: its length,
//! its checksum, its form. Damage is an error that names the object; it is never a panic, and never wrong rows. Which
//! checkpoints exist is for the replicated record to say, and which objects may be deleted for the leader.

mod braces;
mod checkpoint_store;
mod compact;
mod directory;
mod error;
pub mod ingest_log;
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

pub use braces::expand_braces;
pub use checkpoint_store::{CheckpointStore, ListedObject};
pub use error::StorageError;
pub use marker::{MARKER, Marker};
pub use refusal::refusal;
pub use state_file::{
    Compression, SEGMENT_BYTES, STATE_FILE_FORMAT, SegmentEntry, StateFile, StateFileBuilder, StateRows,
};
pub use state_reader::StateReader;
pub use stores::{ObjectStores, local_path, local_text, percent_decoded, stored_url};
pub use verify::{Verified, verify};
