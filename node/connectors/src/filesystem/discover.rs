//! Lists a table's files and cuts them into splits.
//!
//! Splits are ordered by name, so that every discovery of the same files gives the same splits. Each file is a
//! sequence; its splits are byte ranges (lines) or runs of row groups (Parquet). An unbounded table has one more split,
//! the monitor, which looks for new files and reads them one after the other as a single sequence (for event time see
//! `monitor.rs`).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_types::{Split, graph::SourceOperator};

use super::{listing::Files, monitor::MonitorReader, payload::FilePayload, table::FileTable};
use crate::{ConnectorError, DecodingShare, Source, SplitReader, notices::TableNotices};

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
        let files = self.table.files.list().await?;
        if files.is_empty() {
            self.table.on_nothing().await?;
        }
        let mut splits = Vec::new();
        for file in &files {
            let payloads = self.table.cut(file).await?;
            splits.extend(payloads.into_iter().zip(0..).map(|(payload, ordinal)| payload.into_split(ordinal)));
        }
        if self.table.monitor_interval.is_some() {
            let read = files.into_iter().map(|file| file.name).collect();
            splits.push(FilePayload::Monitor { read, current: None }.into_split(0));
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        if let FilePayload::Monitor { read, current } = FilePayload::of(split)? {
            let interval = self.table.monitor_interval.unwrap_or(Duration::from_secs(1));
            return Ok(Box::new(MonitorReader::new(self.table.clone(), interval, read, current)));
        }
        self.table.open(split).await
    }
}
