//! Lists a table's files and cuts them into splits, once or again and again.
//!
//! Splits are ordered by name, so that every discovery of the same files gives the same splits. Each file is a
//! sequence; its splits are byte ranges (lines) or runs of row groups (Parquet). A compressed file of lines is one split, as it
//! cannot be read from the middle on.
//!
//! The files of a watched path are found by its enumerator. A file is read once, up to the length it has when it is found.
//! So a writer must give a file its name only when the file is complete: write it under a hidden name or elsewhere, then
//! rename it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_types::{Split, graph::SourceOperator};

use super::{listing::Files, payload::FilePayload, table::FileTable};
use crate::{
    ConnectorError, DecodingShare, Enumerator, FormerEnumerator, Listing, Piece, Source, SplitReader,
    location::FoundFile, notices::TableNotices,
};

/// A table of files.
#[derive(Debug, Clone)]
pub(crate) struct FileSource {
    table: Arc<FileTable>,
}

impl FileSource {
    /// The table that a source operator reads.
    pub(crate) fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        files: Files,
        (notices, decoding): (TableNotices, Option<DecodingShare>),
    ) -> Result<Self, ConnectorError> {
        Ok(Self { table: Arc::new(FileTable::new(spec, batch_rows, files, (notices, decoding))?) })
    }
}

#[async_trait]
impl Source for FileSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        let mut splits = Vec::new();
        for file in &self.table.list().await? {
            splits.extend(self.table.splits(file).await?);
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        self.table.open(split).await
    }

    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        let interval = self.table.monitor_interval?;
        Some(Box::new(WatchedFiles { table: self.table.clone(), interval }))
    }
}

impl FileTable {
    async fn list(&self) -> Result<Vec<FoundFile>, ConnectorError> {
        let files = self.files.list().await?;
        if files.is_empty() {
            self.on_nothing().await?;
        }
        Ok(files)
    }

    async fn splits(&self, file: &FoundFile) -> Result<Vec<Split>, ConnectorError> {
        let payloads = self.cut(file).await?;
        Ok(payloads.into_iter().zip(0..).map(|(payload, ordinal)| payload.into_split(ordinal)).collect())
    }
}

/// The files of a watched path.
struct WatchedFiles {
    table: Arc<FileTable>,
    interval: Duration,
}

#[async_trait]
impl Enumerator for WatchedFiles {
    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    async fn list(&self, _: Listing) -> Result<Vec<Piece>, ConnectorError> {
        let files = self.table.list().await?;
        Ok(files.into_iter().map(|FoundFile { name, bytes }| Piece { name, bytes, after: Vec::new() }).collect())
    }

    async fn cut(&self, pieces: &[Piece], _: Listing) -> Result<Vec<Vec<Split>>, ConnectorError> {
        let mut cut = Vec::with_capacity(pieces.len());
        for Piece { name, bytes, .. } in pieces {
            cut.push(self.table.splits(&FoundFile { name: name.clone(), bytes: *bytes }).await?);
        }
        Ok(cut)
    }

    fn former(&self, split: &Split) -> Result<Option<FormerEnumerator>, ConnectorError> {
        let FilePayload::Monitor { read, current } = FilePayload::of(split)? else { return Ok(None) };
        let current = current.map(|payload| payload.into_split(0));
        Ok(Some(FormerEnumerator { found: read.into_iter().collect(), current }))
    }
}
