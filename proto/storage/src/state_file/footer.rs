//! The ends of a state file: its head, and its footer, which says where the segments are.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use thalweg_types::{KeyGroup, OperatorId};
use xxhash_rust::xxh3::xxh3_64;

use super::{MAGIC, STATE_FILE_FORMAT, STATE_FILE_FORMAT_MIN};
use crate::{StorageError, error::corrupt};

pub(crate) const HEAD_BYTES: usize = MAGIC.len() + 4;
pub(crate) const TRAILER_BYTES: usize = 4 + 8 + 4 + MAGIC.len();

/// Where a segment is, and what it contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEntry {
    /// The operator that the rows belong to.
    pub operator: OperatorId,
    /// The operator's table.
    pub table: String,
    /// The lowest key group of a row.
    pub lowest: KeyGroup,
    /// The highest key group of a row.
    pub highest: KeyGroup,
    /// The number of rows.
    pub rows: u64,
    /// The offset of the segment's first byte in the object.
    pub offset: u64,
    /// The segment's length in bytes.
    pub bytes: u64,
    /// xxh3-64 of the segment.
    pub checksum: u64,
}

impl SegmentEntry {
    /// The segment's bytes in the object.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// What the end of an object says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Footer {
    pub(crate) segments: Arc<[SegmentEntry]>,
}

/// The outcome of parsing the end of an object.
#[derive(Debug)]
pub(crate) enum TailNeeds {
    /// The footer is whole.
    Nothing(Footer),
    /// The footer is longer than what was read: this many bytes from the end are needed.
    Bytes(u64),
}

pub(super) fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&STATE_FILE_FORMAT.to_le_bytes());
    head
}

/// Checks the first bytes of an object.
pub(crate) fn check_head(object: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let head =
        bytes.split_first_chunk().filter(|(magic, _)| **magic == MAGIC).map(|(_, rest)| rest.split_first_chunk());
    match head.flatten() {
        Some((version, _)) if is_known(u32::from_le_bytes(*version)) => Ok(()),
        _ => Err(corrupt(object, "it does not begin as a state file of a known version")),
    }
}

impl Footer {
    /// Encodes the footer and the trailer behind it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a footer has only text keys");
        let length = u32::try_from(bytes.len()).expect("a footer is shorter than 4 GiB");
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&STATE_FILE_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Parses the footer from the last bytes of an object of `size` bytes.
    pub(crate) fn parse(object: &str, tail: &[u8], size: u64) -> Result<TailNeeds, StorageError> {
        let Some((before, trailer)) = tail.split_last_chunk::<TRAILER_BYTES>() else {
            return Err(corrupt(object, format!("its {size} bytes are too few")));
        };
        let (length, checksum) = parse_trailer(object, trailer)?;
        let needed = u64::from(length) + to_u64(TRAILER_BYTES);
        if size < needed + to_u64(HEAD_BYTES) {
            return Err(corrupt(object, format!("its footer of {length} bytes does not fit in its {size} bytes")));
        }
        let Some(start) = usize::try_from(length).ok().and_then(|length| before.len().checked_sub(length)) else {
            return Ok(TailNeeds::Bytes(needed));
        };
        let footer = before.get(start..).unwrap_or_default();
        if xxh3_64(footer) != checksum {
            return Err(corrupt(object, "its footer does not have the checksum that it should"));
        }
        let footer: Self =
            serde_json::from_slice(footer).map_err(|error| corrupt(object, format!("its footer: {error}")))?;
        footer.check(object, size - needed)?;
        Ok(TailNeeds::Nothing(footer))
    }

    /// Checks that segments fill everything between the head and the footer.
    fn check(&self, object: &str, end: u64) -> Result<(), StorageError> {
        let mut offset = to_u64(HEAD_BYTES);
        for (index, entry) in self.segments.iter().enumerate() {
            if entry.offset != offset || entry.rows == 0 || entry.lowest > entry.highest {
                return Err(corrupt(object, format!("the entry of segment {index} cannot be")));
            }
            offset = entry.range().end;
        }
        if offset != end {
            return Err(corrupt(object, format!("its segments end at {offset} and its footer begins at {end}")));
        }
        Ok(())
    }
}

fn parse_trailer(object: &str, trailer: &[u8; TRAILER_BYTES]) -> Result<(u32, u64), StorageError> {
    let (length, rest) = trailer.split_first_chunk().expect("a trailer is longer");
    let (checksum, rest) = rest.split_first_chunk().expect("a trailer is longer");
    let (version, magic) = rest.split_first_chunk().expect("a trailer is longer");
    if magic != MAGIC {
        return Err(corrupt(object, "it does not end as a state file"));
    }
    let version = u32::from_le_bytes(*version);
    if !is_known(version) {
        let known = format!("{STATE_FILE_FORMAT_MIN} to {STATE_FILE_FORMAT}");
        return Err(corrupt(object, format!("it is of version {version}, and {known} are known")));
    }
    Ok((u32::from_le_bytes(*length), u64::from_le_bytes(*checksum)))
}

fn is_known(version: u32) -> bool {
    (STATE_FILE_FORMAT_MIN..=STATE_FILE_FORMAT).contains(&version)
}

pub(super) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("lengths fit in 64 bits")
}
