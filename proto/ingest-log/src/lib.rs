//! The ingest log of one split of a source: records that were POSTed and that nobody can send again, in a sequence of
//! numbered objects.
//!
//! ```text
//! CLUSTER/job-J/ingest/LOG/000000000001.segment    seal of attempt 1
//!                          000000000002.segment    requests, in the order in which they were taken
//!                          000000000003.segment    requests
//!                          000000000004.segment    seal of attempt 2: nothing of attempt 1 follows
//! ```
//!
//! A conditional put creates each segment, none is ever replaced, and the numbers have no gap. So the store itself
//! decides who gets a number. The next attempt *seals* the log by taking its next number; a writer that finds its
//! next number taken by another writer stops. A sender is told that its records are taken once the put of their segment
//! has succeeded. If a put fails or goes unanswered, its number is in doubt: the writer puts whatever it has next under
//! the same number, and finds there either that, or what it had put before, or another writer's seal.
//!
//! Segments at or before `LogPosition::segment` of every kept checkpoint are not read again. But segments with
//! idempotency keys stay as long as the keys are promised: `LogPosition::keep` is the first segment that a position
//! needs. Seals stay until the job ends: the number that a writer of an older attempt would take next is always that of
//! a seal, so it finds the number taken however late it comes back. (Of more than `SEALS_MAX` seals the oldest go.)
//! `segment.rs` has the format of segments.

mod log;
mod log_name;
mod names;
mod position;
mod segment;
mod segment_number;

pub use log::{Created, IngestLog};
pub use log_name::{LogName, NotALogName};
pub use names::{ingest_folder, segment_name, segment_of};
pub use position::{BadPosition, LogPosition, SEALS_MAX, unneeded};
pub use segment::{LoggedRequest, SEGMENT_FORMAT, Segment, SegmentHead, WriterId, body_hash, encode};
pub use segment_number::SegmentNumber;

#[cfg(test)]
mod tests;
