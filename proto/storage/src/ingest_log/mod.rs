//! The ingest log of one split of a source: records that others have sent and that nobody can give again, in a chain of numbered
//! objects.
//!
//! ```text
//! CLUSTER/job-J/ingest/SOURCE-SPLIT/000000000001.segment    seal of attempt 1
//!                                   000000000002.segment    requests, in the order in which they were taken
//!                                   000000000003.segment    requests
//!                                   000000000004.segment    seal of attempt 2: nothing of attempt 1 follows
//! ```
//!
//! A segment is created by a conditional put, never replaced, and numbers have no gap. So the store itself decides who has a
//! number, and a writer that finds its next number taken by another writer knows that its time is over: *the next attempt seals
//! the chain by taking its next number*. A sender is told that its records are taken once the put of their segment has
//! succeeded. Where a put is answered with an error, or not at all, its number is in doubt: the writer puts whatever it has next
//! under the same number, and what it finds there is either that, or what it had put before, or another's seal.
//!
//! What is at or before `LogPosition::segment` of every kept checkpoint is not read again, but segments with idempotency keys
//! stay as long as the keys are promised: `LogPosition::keep` is the first segment that a position needs. Seals stay until the job
//! is over: the number that a writer of an older attempt would take next is always that of a seal, so one that comes back after
//! any time still finds it taken. (Of more than `SEALS_MAX` the oldest go.) `segment.rs` has the format of segments.

mod log;
mod position;
mod segment;

pub use log::{Created, IngestLog};
pub use position::{LogPosition, SEALS_MAX, SegmentNumber, unneeded};
pub use segment::{LoggedRequest, SEGMENT_FORMAT, Segment, SegmentHead, WriterId, body_hash, encode};

#[cfg(test)]
mod tests;
