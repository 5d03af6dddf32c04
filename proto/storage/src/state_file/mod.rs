//! State files: the rows that a subtask uploads for one checkpoint, in one object.
//!
//! ```text
//! "thalstat"  version: u32                              12 bytes
//! segment 0 | segment 1 | ..                            without gaps
//! footer                                                JSON: {"segments":[{..}, ..]}
//! bytes of the footer: u32  xxh3-64 of it: u64  version: u32  "thalstat"      24 bytes
//! ```
//!
//! Numbers are little-endian. A segment is an Arrow IPC stream of one batch, whose first column has the key group of each row
//! (unsigned 16 bits) and whose others are the rows of one table of one operator; its buffers are LZ4 frames, or as they are.
//! Its entry in the footer has the operator, the table, the lowest and the highest key group, how many rows there are, where its
//! bytes lie, and their xxh3-64. So a reader fetches the footer from the end of the object, and then only the segments that it is
//! to have.
//!
//! Rows that fill several segments are ordered by key group, so that each segment has few of them. Those of one segment may be in
//! any order: in version 1, which is still read, they were ordered, too.
//!
//! Every byte is checked before it counts: those of segments and footer by checksums, the others by being what they must be. A
//! reader refuses a version that it does not know.

mod builder;
mod footer;
mod lengths;
mod pieces;
mod segment;

pub use builder::{Compression, StateFile, StateFileBuilder};
pub use footer::SegmentEntry;
pub use segment::StateRows;

pub(crate) use footer::{Footer, TRAILER_BYTES, TailNeeds, check_head};
pub(crate) use segment::decode;

/// The version of the format of state files that are written.
pub const STATE_FILE_FORMAT: u32 = 2;
/// The oldest version that is read.
const STATE_FILE_FORMAT_MIN: u32 = 1;

/// About how large a segment is, before it is compressed.
pub const SEGMENT_BYTES: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"thalstat";
