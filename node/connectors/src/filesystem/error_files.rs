//! Rows that cannot be written, as files of JSON lines below the table's path, by kind of error (`error-prefix`).
//!
//! | directory | rows |
//! |---|---|
//! | `PREFIX/format/` | with a value that the format cannot hold |
//! | `PREFIX/partition/` | with a value that cannot name a directory |
//!
//! They are part files like all others, so each row is there once, and visible with the checkpoint that it belongs to.

use std::{collections::BTreeMap, path::PathBuf};

use arrow::array::RecordBatch;
use thalweg_types::{Fault, OperatorId, connector::TableConnector};

use super::{
    names::PartCommittable,
    parts::{PART_BYTES, Part, PartFiles},
};
use crate::{ConnectorError, failed_rows::encode_failed, options::Options};

/// Why a row cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RefusalKind {
    Format,
    Partition,
}

impl RefusalKind {
    fn directory(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Partition => "partition",
        }
    }
}

/// Where a table's rows go that cannot be written, relative to its path.
#[derive(Debug, Clone)]
pub(super) struct ErrorPrefix(String);

impl ErrorPrefix {
    /// `None` if the table names none.
    pub(super) fn of_table(options: &Options<'_>) -> Result<Option<Self>, ConnectorError> {
        Ok(options.checked(TableConnector::error_directory)?.map(Self))
    }

    fn directory(&self, kind: RefusalKind) -> String {
        format!("{}/{}", self.0, kind.directory())
    }

    /// All directories of such rows.
    pub(super) fn directories(&self) -> [String; 2] {
        [RefusalKind::Format, RefusalKind::Partition].map(|kind| self.directory(kind))
    }

    pub(super) fn holds(&self, directory: &str) -> bool {
        self.directories().iter().any(|own| own == directory)
    }
}

/// The files of one writer.
#[derive(Debug)]
pub(super) struct ErrorFiles {
    prefix: ErrorPrefix,
    files: PartFiles,
    open: BTreeMap<RefusalKind, Part>,
    closed: Vec<Part>,
}

impl ErrorFiles {
    pub(super) fn new(prefix: ErrorPrefix, files: PartFiles) -> Self {
        Self { prefix, files, open: BTreeMap::new(), closed: Vec::new() }
    }

    /// The same, for what comes next.
    pub(super) fn cut(&mut self) -> Self {
        let next = Self::new(self.prefix.clone(), self.files.clone());
        std::mem::replace(self, next)
    }

    /// Writes rows of one kind, each with its fault.
    pub(super) async fn write(
        &mut self,
        kind: RefusalKind,
        operator: (OperatorId, &str),
        rows: &RecordBatch,
        faults: &[Fault],
    ) -> Result<(), ConnectorError> {
        let mut lines = Vec::new();
        encode_failed(operator, rows, faults, &mut lines);
        if lines.is_empty() {
            return Ok(());
        }
        if let Some(full) = self.open.remove(&kind) {
            if full.bytes() >= PART_BYTES { self.closed.push(full) } else { _ = self.open.insert(kind, full) }
        }
        let part = match self.open.entry(kind) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                none.insert(self.files.begin(&self.prefix.directory(kind))?)
            }
        };
        part.write(&lines).await
    }

    /// Makes all of it durable. Returns the directories whose entries the caller still has to sync.
    pub(super) async fn finish(self) -> Result<(Vec<PartCommittable>, Vec<PathBuf>), ConnectorError> {
        let (mut parts, mut unsynced) = (Vec::new(), Vec::new());
        for part in self.closed.into_iter().chain(self.open.into_values()) {
            let (part, directories) = part.finish_content().await?;
            parts.push(part);
            unsynced.extend(directories);
        }
        Ok((parts, unsynced))
    }
}
