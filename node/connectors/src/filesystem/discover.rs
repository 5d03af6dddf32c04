//! Lists a table's files and cuts them into splits.
//!
//! Splits are ordered by name, so that every discovery of the same files gives the same splits. Each file is a
//! sequence; its splits are byte ranges (lines) or runs of row groups (Parquet). An unbounded table has one more split,
//! the monitor, which looks for new files and reads them one after the other as a single sequence (for event time see
//! `monitor.rs`).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_types::{Split, SplitId, graph::ColumnPredicate, graph::SourceOperator};

use super::{
    listing::Files,
    location::FoundFile,
    monitor::MonitorReader,
    read::OpenFile,
    split::{LineFormat, LineRange, LineReader},
};
use crate::{
    ConnectorError, DecodingShare, Source, SplitReader,
    csv::CsvFormat,
    json::JsonDecoder,
    notices::TableNotices,
    options::Options,
    parquet::{self, ParquetTable},
};

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
    /// Files that appear after the discovery; `read` holds those already taken.
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
            Self::Monitor { .. } => (MONITOR_SPLIT.to_owned(), MONITOR_SPLIT.to_owned()),
        };
        Split { id: SplitId(id), sequence, ordinal, payload: self.to_value() }
    }
}

/// The file format.
#[derive(Debug, Clone)]
enum Format {
    Json,
    Csv(CsvFormat),
    Parquet,
}

/// A table of files.
#[derive(Debug, Clone)]
pub(crate) struct FileSource {
    table: Arc<FileTable>,
}

/// State that all readers of a table share.
#[derive(Debug)]
pub(super) struct FileTable {
    pub(super) files: Files,
    schema: SchemaRef,
    predicates: Vec<ColumnPredicate>,
    format: Format,
    split_bytes: u64,
    monitor_interval: Option<Duration>,
    batch_rows: usize,
    sets_aside: bool,
    name: String,
    notices: TableNotices,
    /// `None` if splits are only listed.
    decoding: Option<DecodingShare>,
}

impl FileSource {
    /// The table that a source operator reads.
    pub(crate) fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        files: Files,
        (notices, decoding): (TableNotices, Option<DecodingShare>),
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let format = match options.required("format")? {
            "json" => {
                JsonDecoder::new(spec.physical.clone()).map_err(|reason| options.error(reason))?;
                Format::Json
            }
            "csv" => Format::Csv(CsvFormat::new(&options, &spec.physical)?),
            "parquet" => Format::Parquet,
            other => return Err(options.error(format!("unknown format '{other}'"))),
        };
        // The catalog sets a default: a large file becomes several splits unless the table says otherwise.
        let split_bytes = options.bytes("source.split-size")?;
        let split_bytes = split_bytes.ok_or_else(|| options.error("option 'source.split-size' is missing"))?.max(1);
        let table = FileTable {
            files,
            schema: spec.physical.clone(),
            predicates: spec.predicates.clone(),
            format,
            split_bytes,
            monitor_interval: options.duration("source.monitor-interval")?,
            batch_rows,
            sets_aside: options.text("dead-letter.path").is_some(),
            name: spec.table.clone(),
            notices,
            decoding,
        };
        Ok(Self { table: Arc::new(table) })
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

impl FileTable {
    /// Handles an empty listing. An error for a path that should name files, since it is probably misspelled; a notice
    /// for a directory, which may well be empty.
    async fn on_nothing(&self) -> Result<(), ConnectorError> {
        let path = self.files.path();
        let is_directory = self.files.is_directory().await?;
        let what = if is_directory { "there are no files in" } else { "there are no files of" };
        if self.monitor_interval.is_none() && !is_directory {
            let reason = "there are no such files (names that begin with . or _ are hidden)".to_owned();
            return Err(ConnectorError::Data { attempted: format!("find {path}"), reason });
        }
        let watched = if self.monitor_interval.is_some() { " yet; it is looked at again and again" } else { "" };
        self.notices.tell("", || format!("{what} {path}{watched}"));
        Ok(())
    }

    /// Cuts a file into splits.
    async fn cut(&self, file: &FoundFile) -> Result<Vec<FilePayload>, ConnectorError> {
        if let Format::Parquet = self.format {
            let runs = parquet::cut(&self.files.location, file, self.split_bytes).await?;
            let name = || file.name.clone();
            return Ok(runs
                .into_iter()
                .map(|run| FilePayload::RowGroups {
                    file: name(),
                    start: run.start,
                    end: run.end,
                    group: run.start,
                    row: 0,
                })
                .collect());
        }
        let is_whole = matches!(&self.format, Format::Csv(format) if format.spans_lines());
        let split_bytes = if is_whole { u64::MAX } else { self.split_bytes };
        let count = file.bytes.div_ceil(split_bytes);
        Ok((0..count)
            .map(|index| {
                let start = index * split_bytes;
                let end = start.saturating_add(split_bytes).min(file.bytes);
                FilePayload::Lines { file: file.name.clone(), start, end, offset: None }
            })
            .collect())
    }

    /// A whole file as one split.
    pub(super) async fn whole(&self, file: &FoundFile) -> Result<FilePayload, ConnectorError> {
        Ok(match self.format {
            Format::Parquet => {
                let groups = parquet::cut(&self.files.location, file, u64::MAX).await?.pop().map_or(0, |run| run.end);
                FilePayload::RowGroups { file: file.name.clone(), start: 0, end: groups, group: 0, row: 0 }
            }
            _ => FilePayload::Lines { file: file.name.clone(), start: 0, end: file.bytes, offset: None },
        })
    }

    /// Opens a split that is not the monitor.
    pub(super) async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        match FilePayload::of(split)? {
            FilePayload::Lines { file, start, end, offset } => {
                let file = Arc::new(OpenFile::open(&self.files.location, &file, end).await?);
                let mut range = LineRange { start, end, offset };
                let format = self.line_format(&file, &mut range).await?;
                Ok(Box::new(LineReader::new(split.clone(), file, &range, format)))
            }
            FilePayload::RowGroups { file, end, group, row, .. } => {
                let table = ParquetTable {
                    location: &self.files.location,
                    schema: &self.schema,
                    predicates: &self.predicates,
                    notices: &self.notices,
                    decoding: self.decoding.as_ref(),
                };
                let rest = parquet::RowGroups { groups: group..end, row };
                parquet::open(table, split, &file, rest, self.batch_rows).await
            }
            FilePayload::Monitor { .. } => Err(ConnectorError::Data {
                attempted: format!("open split {}", split.id),
                reason: "a monitor cannot be read by a monitor".to_owned(),
            }),
        }
    }

    async fn line_format(&self, file: &OpenFile, range: &mut LineRange) -> Result<LineFormat, ConnectorError> {
        let invalid = |reason| ConnectorError::Config { table: self.name.clone(), reason };
        let decoder = match &self.format {
            Format::Csv(format) => format.decoder_of_file(file, range, &self.schema).await?,
            _ => Box::new(JsonDecoder::new(self.schema.clone()).map_err(invalid)?),
        };
        let notices = self.notices.clone();
        Ok(LineFormat { decoder, batch_rows: self.batch_rows, sets_aside: self.sets_aside, notices })
    }
}
