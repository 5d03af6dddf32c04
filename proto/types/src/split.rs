//! Splits: the units of source input.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Identifies a split within its source, across attempts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitId(pub String);

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a source's input, with the position to read from.
///
/// Splits of one `sequence` follow one another by `ordinal`, like the byte ranges of one file: event time is expected
/// to go on from one to the next. Splits of different sequences are independent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Its id.
    pub id: SplitId,
    /// The sequence it belongs to, such as the file.
    pub sequence: String,
    /// Its place in the sequence, from 0.
    pub ordinal: u32,
    /// What the connector needs to open it, and its position so far. Only the connector understands it.
    pub payload: serde_json::Value,
}

/// The most bytes of all splits of a job. A node lists them in one message and gets them in another, which also holds
/// the dataflow.
pub const SPLITS_BYTES_MAX: usize = 32 << 20;

/// The splits of a job's sources do not fit the messages that carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the sources have {splits} splits that take {bytes} bytes to describe; at most {SPLITS_BYTES_MAX} bytes can be handed \
     out: read fewer files, or larger ones"
)]
pub struct TooManySplits {
    /// How many splits there are.
    pub splits: usize,
    /// How many bytes they take.
    pub bytes: usize,
}

/// Checks that the splits of a job's sources fit the messages that carry them.
///
/// # Errors
/// When they take more than `SPLITS_BYTES_MAX` bytes.
pub fn check_splits<'a>(splits: impl IntoIterator<Item = &'a Split>) -> Result<(), TooManySplits> {
    let (count, bytes) =
        splits.into_iter().fold((0, 0), |(count, bytes), split| (count + 1, bytes + described_bytes(split)));
    if bytes > SPLITS_BYTES_MAX { Err(TooManySplits { splits: count, bytes }) } else { Ok(()) }
}

/// About the bytes of a split on the wire.
fn described_bytes(split: &Split) -> usize {
    /// For tags, lengths and the ordinal.
    const FRAME: usize = 24;
    split.id.0.len() + split.sequence.len() + split.payload.to_string().len() + FRAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_limited_by_what_they_take_together() {
        let split = Split {
            id: SplitId("a".repeat(100)),
            sequence: "b".repeat(100),
            ordinal: 0,
            payload: serde_json::Value::String("c".repeat(SPLITS_BYTES_MAX / 2 - 1000)),
        };
        assert_eq!(check_splits([&split, &split]), Ok(()));
        let refused = check_splits([&split, &split, &split]).unwrap_err();
        assert_eq!(refused.splits, 3);
        assert!(refused.bytes > SPLITS_BYTES_MAX);
    }
}
