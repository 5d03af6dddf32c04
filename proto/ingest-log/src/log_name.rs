//! The names of logs: the source and the split that they are of.
//!
//! `IDENTITY-SPLIT`, where IDENTITY is that of the source, and SPLIT the xxh3-64 of the split's id, both as 16 hexadecimal
//! digits. Releases that had no identities wrote `INDEX-SPLIT`, with the source's index in the graph. Such a log goes on
//! being used: a position names its log, and one without a name is in the log by index.

use std::fmt;

use serde::{Deserialize, Serialize};
use thalweg_types::{OperatorId, SplitId, graph::OperatorIdentity};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// The name of a log within its job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogName(String);

/// A text is not the name of a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not the name of an ingest log")]
pub struct NotALogName(String);

impl LogName {
    /// The log of a split of a source.
    #[must_use]
    pub fn of(source: OperatorIdentity, split: &SplitId) -> Self {
        Self(format!("{source}-{}", part_of(split)))
    }

    /// The log of a split of a source as it was named before there were identities.
    #[must_use]
    pub fn by_index(source: OperatorId, split: &SplitId) -> Self {
        Self(format!("{}-{}", source.0, part_of(split)))
    }
}

fn part_of(split: &SplitId) -> String {
    format!("{:016x}", xxh3_64(split.0.as_bytes()))
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LogName {
    type Error = NotALogName;

    fn try_from(text: String) -> Result<Self, NotALogName> {
        let is_hex = |part: &str| {
            (1..=16).contains(&part.len()) && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match text.split_once('-') {
            Some((source, split)) if is_hex(source) && is_hex(split) => Ok(Self(text)),
            _ => Err(NotALogName(text)),
        }
    }
}

impl From<LogName> for String {
    fn from(name: LogName) -> Self {
        name.0
    }
}
