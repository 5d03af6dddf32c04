//! State files: the rows that a subtask uploads for one checkpoint, in one object.
//!
//! ```text
//! "thalstat"  version: u32                              12 bytes
//! segment 0 | segment 1 | ..                            without gaps
//! footer                                                JSON: {"segments":[{..}, ..]}
//! bytes of the footer: u32  xxh3-64 of it: u64  version: u32  "thalstat"      24 bytes
//! ```
//!
//! Numbers are little-endian. A segment is an Arrow IPC stream of one batch. Its first column has the key group of each
//! row (unsigned 16 bits); the others are the rows of one table of one operator. Its buffers are LZ4 frames, or
//! uncompressed. Its entry in the footer has the operator, the table, the lowest and the highest key group, the number
//! of rows, the place of its bytes, and their xxh3-64. So a reader fetches the footer from the end of the object, and
//! then only the segments that it needs.
//!
//! Rows that fill several segments are sorted by key group, so that each segment has few groups. Rows of a single
//! segment may have any order. In version 1, which is still read, they were sorted too.
//!
//! Every byte is checked before it counts: segments and footer by checksums, the others by their fixed values. A reader
//! refuses a version that it does not know.

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

/// The version of the state file format that is written.
pub const STATE_FILE_FORMAT: u32 = 2;
/// The oldest version that is read.
const STATE_FILE_FORMAT_MIN: u32 = 1;

/// About the length of a segment before compression, in bytes.
pub const SEGMENT_BYTES: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"thalstat";
