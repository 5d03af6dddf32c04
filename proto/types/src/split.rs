//! Splits: the units of source input.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a split within its source, for all attempts alike.
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
/// Splits with the same `sequence` follow one another in the order of `ordinal` (the byte ranges of one file): event time
/// is expected to go on from one to the next. Splits of different sequences are independent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Names it.
    pub id: SplitId,
    /// The sequence it belongs to, such as the file.
    pub sequence: String,
    /// Its place in the sequence, from 0.
    pub ordinal: u32,
    /// What the connector needs to open it and its position so far; understood by the connector alone.
    pub payload: serde_json::Value,
}
