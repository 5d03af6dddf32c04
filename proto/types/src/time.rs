//! Event time: microseconds since the Unix epoch, whatever the unit of a column.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The promise that no record with an event time below it follows. Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is promised yet.
    pub const MIN: Self = Self(i64::MIN);
    /// Nothing follows at all: the end of a bounded input.
    pub const MAX: Self = Self(i64::MAX);

    /// Whether this is the end of a bounded input.
    #[must_use]
    pub fn is_end(self) -> bool {
        self == Self::MAX
    }
}

/// Travels among the rows from a source to a sink, to measure how long they take. Microseconds since the Unix epoch when the
/// source sent it, by its node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyMarker(pub u64);

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("none"),
            Self::MAX => f.write_str("end"),
            Self(micros) => write!(f, "{micros}us"),
        }
    }
}
