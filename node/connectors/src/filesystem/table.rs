//! A table of files, as all its readers share it: cuts files into splits, and opens the readers of splits.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use thalweg_types::{
    Split,
    graph::{ColumnPredicate, SourceOperator},
};

use super::{
    blocks::{BlockDecoding, BlockPlace, BlockReader},
    compressed::Compression,
    decompressed::Decompressed,
    listing::Files,
    payload::FilePayload,
    read::OpenFile,
    split::{LineDecoding, LineRange, LineReader},
    text::TextFile,
};
use crate::{
    ConnectorError, DecodingShare, SplitReader,
    format::{LineFormat, Ranges},
    formats::format_of,
    lines::{LineDecoder, check_text},
    location::FoundFile,
    notices::TableNotices,
    options::Options,
    parquet::{self, ParquetTable},
    typed::Rows,
};

/// State that all readers of a table share.
#[derive(Debug)]
pub(super) struct FileTable {
    pub(super) files: Files,
    schema: SchemaRef,
    predicates: Vec<ColumnPredicate>,
    pieces: Pieces,
    split_bytes: u64,
    /// How long after one listing new files are looked for; `None` if the table is bounded.
    pub(super) monitor_interval: Option<Duration>,
    batch_rows: usize,
    keeps_dead_letters: bool,
    notices: TableNotices,
    /// `None` if splits are only listed.
    decoding: Option<DecodingShare>,
}

/// What readers read one after the other.
#[derive(Debug)]
enum Pieces {
    Lines(Arc<dyn LineFormat>),
    RowGroups,
    Blocks,
}

impl FileTable {
    /// The table that a source operator reads.
    pub(super) fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        files: Files,
        (notices, decoding): (TableNotices, Option<DecodingShare>),
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let pieces = match format_of(&options, None)?.ranges {
            Ranges::Lines(open) => Pieces::Lines(open(&options, &spec.physical)?),
            Ranges::RowGroups => Pieces::RowGroups,
            Ranges::Blocks => {
                Rows::new(&spec.physical).map_err(|reason| options.error(reason))?;
                Pieces::Blocks
            }
        };
        // The catalog sets a default: a large file becomes several splits unless the table says otherwise.
        let split_bytes = options.bytes("source.split-size")?;
        let split_bytes = split_bytes.ok_or_else(|| options.error("option 'source.split-size' is missing"))?.max(1);
        Ok(Self {
            files,
            schema: spec.physical.clone(),
            predicates: spec.predicates.clone(),
            pieces,
            split_bytes,
            monitor_interval: options.duration("source.monitor-interval")?,
            batch_rows,
            keeps_dead_letters: options.text("dead-letter.path").is_some(),
            notices,
            decoding,
        })
    }

    /// Handles an empty listing. An error for a path that should name files, since it is probably misspelled; a notice
    /// for a directory, which may well be empty.
    pub(super) async fn on_nothing(&self) -> Result<(), ConnectorError> {
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
    pub(super) async fn cut(&self, file: &FoundFile) -> Result<Vec<FilePayload>, ConnectorError> {
        let name = || file.name.clone();
        let lines = match &self.pieces {
            Pieces::Lines(lines) => lines,
            Pieces::RowGroups => {
                let runs = parquet::cut(&self.files.location, file, self.split_bytes).await?;
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
            Pieces::Blocks => {
                return Ok(vec![FilePayload::Blocks { file: name(), bytes: file.bytes, block: 0, record: 0 }]);
            }
        };
        if Compression::of_file(&file.name).is_some() {
            let whole = FilePayload::Compressed { file: name(), bytes: file.bytes, offset: 0 };
            return Ok(if file.bytes == 0 { Vec::new() } else { vec![whole] });
        }
        let split_bytes = if lines.spans_lines() { u64::MAX } else { self.split_bytes };
        let count = file.bytes.div_ceil(split_bytes);
        Ok((0..count)
            .map(|index| {
                let start = index * split_bytes;
                let end = start.saturating_add(split_bytes).min(file.bytes);
                FilePayload::Lines { file: name(), start, end, offset: None }
            })
            .collect())
    }

    /// Opens a split.
    pub(super) async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        match FilePayload::of(split)? {
            FilePayload::Lines { file, start, end, offset } => {
                let file = OpenFile::open(&self.files.location, &file, end).await?;
                self.open_lines(split, TextFile::Plain(file), LineRange { start, end, offset }).await
            }
            FilePayload::Compressed { file, bytes, offset } => {
                let Some(compression) = Compression::of_file(&file) else {
                    return Err(not_opened(split, "its position is one of a compressed file, and its name is of none"));
                };
                let file = OpenFile::open(&self.files.location, &file, bytes).await?;
                let file = TextFile::Compressed(Box::new(Decompressed::new(file, bytes, compression)?));
                let range = LineRange { start: 0, end: u64::MAX, offset: (offset > 0).then_some(offset) };
                self.open_lines(split, file, range).await
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
            FilePayload::Blocks { file, bytes, block, record } => {
                let file = OpenFile::open(&self.files.location, &file, bytes).await?;
                let place = BlockPlace { block, record };
                let decoding = BlockDecoding {
                    schema: self.schema.clone(),
                    batch_rows: self.batch_rows,
                    keeps_dead_letters: self.keeps_dead_letters,
                    notices: self.notices.clone(),
                };
                Ok(Box::new(BlockReader::open(split.clone(), (file, bytes), place, decoding).await?))
            }
            FilePayload::Monitor { .. } => {
                Err(not_opened(split, "it looked for new files, which is the enumerator's work"))
            }
        }
    }

    async fn open_lines(
        &self,
        split: &Split,
        mut file: TextFile,
        mut range: LineRange,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let Pieces::Lines(lines) = &self.pieces else {
            return Err(not_opened(split, "its position is one of lines, and the table's format has none"));
        };
        let decoding = LineDecoding {
            decoder: decoder(lines.as_ref(), &mut file, &mut range).await?,
            batch_rows: self.batch_rows,
            keeps_dead_letters: self.keeps_dead_letters,
            notices: self.notices.clone(),
        };
        Ok(Box::new(LineReader::new(split.clone(), file, &range, decoding)))
    }
}

fn not_opened(split: &Split, reason: &str) -> ConnectorError {
    ConnectorError::Data { attempted: format!("open split {}", split.id), reason: reason.to_owned() }
}

/// A decoder for a range of a file. Moves the start of the first range behind the header, if there is one.
async fn decoder(
    lines: &dyn LineFormat,
    file: &mut TextFile,
    range: &mut LineRange,
) -> Result<Box<dyn LineDecoder>, ConnectorError> {
    if !lines.has_header() {
        return lines.decoder(file.name(), None);
    }
    let mut block = vec![0; file.block_bytes()];
    let (mut count, mut line_feed) = (0, None);
    while line_feed.is_none() && count < block.len() {
        let more = file.read_at(count as u64, &mut block[count..]).await?;
        line_feed = memchr::memchr(b'\n', &block[count..count + more]).map(|at| count + at);
        count += more;
        if more == 0 {
            break;
        }
    }
    if count == 0 {
        // An empty file has no records and needs no header.
        return lines.decoder(file.name(), None);
    }
    check_text(&file.shown(), &block[..count])?;
    let end = line_feed.map_or(count, |at| at + 1);
    if range.start == 0 && range.offset.is_none_or(|offset| offset == 0) {
        range.offset = Some(end as u64);
    }
    lines.decoder(file.name(), Some(&block[..end]))
}
