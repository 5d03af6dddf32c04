//! What a split of files says about itself: which part of a file it is, and how far it was read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_types::{Split, SplitId};

use crate::ConnectorError;

const MONITOR_SPLIT: &str = "new-files";

/// The payload of a split of files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FilePayload {
    /// The lines that start in a byte range.
    Lines {
        file: String,
        start: u64,
        end: u64,
        /// Where the next line begins; `None` before the first one is read.
        offset: Option<u64>,
    },
    /// The lines of a compressed file.
    Compressed {
        file: String,
        /// The length of the file.
        bytes: u64,
        /// Where the next line begins in what it is decompressed to; 0: the first one.
        offset: u64,
    },
    /// Consecutive row groups.
    RowGroups {
        file: String,
        start: usize,
        end: usize,
        /// The row group to go on with.
        group: usize,
        /// Rows of that group already read.
        row: u64,
    },
    /// The blocks of a file, one after the other.
    Blocks {
        file: String,
        /// The length of the file.
        bytes: u64,
        /// Where the block begins that is gone on with; 0: the first one.
        block: u64,
        /// Records of that block already read.
        record: u64,
    },
    /// The split that read new files one after the other, before enumerators found them. `read` holds the files that it,
    /// or the listing before it, had found.
    Monitor { read: BTreeSet<String>, current: Option<Box<FilePayload>> },
}

impl FilePayload {
    pub(super) fn of(split: &Split) -> Result<Self, ConnectorError> {
        serde_json::from_value(split.payload.clone()).map_err(|error| ConnectorError::Data {
            attempted: format!("understand split {}", split.id),
            reason: error.to_string(),
        })
    }

    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a payload has only text keys")
    }

    /// The split for this payload; `ordinal` is its place in the file's sequence.
    pub(super) fn into_split(self, ordinal: u32) -> Split {
        let (id, sequence) = match &self {
            Self::Lines { file, start, .. } => (format!("{file}@{start}"), file.clone()),
            Self::RowGroups { file, start, .. } => (format!("{file}#{start}"), file.clone()),
            Self::Compressed { file, .. } | Self::Blocks { file, .. } => (format!("{file}@0"), file.clone()),
            Self::Monitor { .. } => (MONITOR_SPLIT.to_owned(), MONITOR_SPLIT.to_owned()),
        };
        Split { id: SplitId(id), sequence, ordinal, payload: self.to_value() }
    }
}
