//! Segments of an ingest log.
//!
//! ```text
//! "thalings"  version: u32  bytes of the head: u32                    16 bytes
//! head                                                                JSON: SegmentHead
//! xxh3-64 of all before: u64                                          8 bytes
//! bodies, one after the other, as they were sent                      without gaps
//! xxh3-64 of the bodies: u64  version: u32  "thalings"                20 bytes
//! ```
//!
//! Numbers are little-endian. The head has a checksum of its own, so that whoever needs only the keys can check it
//! without the bodies. A seal is a segment without requests; no other segment lacks them. A reader refuses a version
//! that it does not know.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_storage::StorageError;
use thalweg_types::Attempt;
use xxhash_rust::xxh3::xxh3_64;

use crate::segment_number::SegmentNumber;

/// The version of the segment format.
pub const SEGMENT_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"thalings";
/// Bytes before the head.
const PREFIX_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;
const TRAILER_BYTES: usize = 20;
/// No segment has fewer bytes.
pub(crate) const SEGMENT_BYTES_MIN: usize = PREFIX_BYTES + CHECKSUM_BYTES + TRAILER_BYTES;

/// Identifies a writer: an attempt's instance of a source, by a number that it drew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriterId {
    /// The attempt.
    pub attempt: Attempt,
    /// Random bits, which tell instances apart.
    pub nonce: u64,
}

/// One request of a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedRequest {
    /// The sender's idempotency key, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it arrived, in milliseconds of the log's own time: its writer counts on from the newest request before it,
    /// by its monotonic clock. (Logs of older versions begin with milliseconds since the Unix epoch.)
    pub arrived_millis: u64,
    /// The number of its records.
    pub rows: u64,
    /// The length of its body in bytes.
    pub bytes: u64,
    /// The `body_hash` of its body.
    pub hash: u64,
}

/// The head of a segment: what it contains, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentHead {
    /// Its number.
    pub segment: SegmentNumber,
    /// Who put it.
    pub writer: WriterId,
    /// In the order of their records; a seal has none.
    pub requests: Vec<LoggedRequest>,
}

impl SegmentHead {
    /// Whether it is a seal, after which nothing of older attempts follows.
    #[must_use]
    pub fn is_seal(&self) -> bool {
        self.requests.is_empty()
    }
}

/// A segment with its bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it contains, and who wrote it.
    pub head: SegmentHead,
    /// One per request.
    pub bodies: Vec<Bytes>,
}

/// The hash by which two requests with one key are compared, besides their length.
#[must_use]
pub fn body_hash(body: &[u8]) -> u64 {
    xxh3_64(body)
}

/// Encodes a segment. `bodies` are those of the head's requests.
#[must_use]
pub fn encode(head: &SegmentHead, bodies: &[Bytes]) -> Bytes {
    debug_assert!(
        head.requests.iter().map(|request| request.bytes).eq(bodies.iter().map(|body| body.len() as u64)),
        "a body per request"
    );
    let text = serde_json::to_vec(head).expect("a head has only text keys");
    let length = u32::try_from(text.len()).expect("a head has fewer than 4 GiB");
    let mut bytes = Vec::with_capacity(SEGMENT_BYTES_MIN + text.len() + bodies.iter().map(Bytes::len).sum::<usize>());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&SEGMENT_FORMAT.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&text);
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    let start = bytes.len();
    bodies.iter().for_each(|body| bytes.extend_from_slice(body));
    let checksum = xxh3_64(&bytes[start..]);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&SEGMENT_FORMAT.to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes.into()
}

/// How many bytes precede the bodies, read from the beginning of a segment.
pub(crate) fn head_bytes(name: &str, beginning: &[u8]) -> Result<usize, StorageError> {
    let Some((prefix, _)) = beginning.split_at_checked(PREFIX_BYTES) else {
        return Err(StorageError::corrupt(name, "it is too short"));
    };
    if !prefix.starts_with(MAGIC) {
        return Err(StorageError::corrupt(name, "it does not begin as a segment does"));
    }
    let version = u32_at(prefix, MAGIC.len());
    if version != SEGMENT_FORMAT {
        return Err(StorageError::corrupt(name, format!("it is of format {version}, and {SEGMENT_FORMAT} is known")));
    }
    let head = usize::try_from(u32_at(prefix, MAGIC.len() + 4)).unwrap_or(usize::MAX);
    Ok(head.saturating_add(PREFIX_BYTES + CHECKSUM_BYTES))
}

/// Parses the head from at least `head_bytes` of a segment's beginning. Gives the head, and where the bodies begin.
pub(crate) fn parse_head(
    name: &str,
    number: SegmentNumber,
    beginning: &[u8],
) -> Result<(SegmentHead, usize), StorageError> {
    let end = head_bytes(name, beginning)?;
    let head = beginning.get(..end).ok_or_else(|| StorageError::corrupt(name, "its head is cut off"))?;
    let (checked, checksum) = head.split_at(end - CHECKSUM_BYTES);
    if checksum != xxh3_64(checked).to_le_bytes() {
        return Err(StorageError::corrupt(name, "its head does not have the checksum that it should"));
    }
    let head: SegmentHead = serde_json::from_slice(&checked[PREFIX_BYTES..])
        .map_err(|error| StorageError::corrupt(name, error.to_string()))?;
    if head.segment != number {
        return Err(StorageError::corrupt(name, format!("it is segment {} instead of {number}", head.segment)));
    }
    Ok((head, end))
}

/// Parses a whole segment.
pub(crate) fn parse(name: &str, number: SegmentNumber, bytes: &Bytes) -> Result<Segment, StorageError> {
    let (head, start) = parse_head(name, number, bytes)?;
    let too_short = || StorageError::corrupt(name, "it is cut off");
    let end = bytes.len().checked_sub(TRAILER_BYTES).filter(|end| *end >= start).ok_or_else(too_short)?;
    let trailer = &bytes[end..];
    let whole = bytes.slice(start..end);
    let version = SEGMENT_FORMAT.to_le_bytes();
    if trailer[..8] != xxh3_64(&whole).to_le_bytes() || trailer[8..12] != version || &trailer[12..] != MAGIC {
        return Err(StorageError::corrupt(name, "its bodies do not have the checksum that they should"));
    }
    let mut bodies = Vec::with_capacity(head.requests.len());
    let mut at = 0_usize;
    for request in &head.requests {
        let next = usize::try_from(request.bytes).ok().and_then(|bytes| at.checked_add(bytes));
        let next = next.filter(|next| *next <= whole.len()).ok_or_else(too_short)?;
        bodies.push(whole.slice(at..next));
        at = next;
    }
    if at != whole.len() {
        return Err(StorageError::corrupt(name, "it has more than its requests"));
    }
    Ok(Segment { head, bodies })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}
