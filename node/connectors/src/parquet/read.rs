//! Reads a run of row groups: local files directly, objects by range requests.
//!
//! Each row group has its own reader. The reader first compares the sizes in the group's page headers with the memory
//! for decoding, and waits for its turn. It decodes about `BATCH_BYTES` worth of rows at once, and slices the result
//! again if its rows share long values.

use std::{
    collections::VecDeque,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use ::parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
    file::{metadata::RowGroupMetaData, reader::ChunkReader},
};
use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use thalweg_types::{Split, graph::ColumnPredicate};

use super::{
    Kind, OpenParquet,
    conform::{self, Misfit},
    damaged, int96,
    need::Need,
    project, prune, sizes,
};
use crate::{
    ConnectorError, DecodingShare, Read, SplitReader,
    decoding::DecodingTurn,
    location::Location,
    notices::{Absent, TableNotices},
    sizes::fitting_rows,
};

/// The parts of a table that its file readers need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParquetTable<'a> {
    pub(crate) location: &'a Location,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) predicates: &'a [ColumnPredicate],
    pub(crate) notices: &'a TableNotices,
    /// `None`: decoding memory is not limited.
    pub(crate) decoding: Option<&'a DecodingShare>,
}

/// The unread part of a split of a Parquet file.
#[derive(Debug, Clone)]
pub(crate) struct RowGroups {
    pub(crate) groups: Range<usize>,
    /// Rows of the first group that were read before.
    pub(crate) row: u64,
}

/// Opens a run of row groups, behind the rows that were read before.
pub(crate) async fn open(
    table: ParquetTable<'_>,
    split: &Split,
    name: &str,
    position: RowGroups,
    batch_rows: usize,
) -> Result<Box<dyn SplitReader>, ConnectorError> {
    let OpenParquet { name, kind, metadata } = OpenParquet::open(table.location, name).await?;
    let found = metadata.metadata().num_row_groups();
    if found < position.groups.end {
        let reason = format!("it has {found} row groups, and had {} when it was found", position.groups.end);
        return Err(damaged(&name, "its footer", reason));
    }
    let names = || metadata.schema().fields().iter().map(|field| field.name().as_str());
    let has = |name: &str| names().any(|own| own == name);
    let absent = table.schema.fields().iter().filter(|field| !has(field.name()));
    table.notices.tell_absent(absent.map(|field| Absent::new(field.name(), names())).collect(), &name);
    let groups = prune::keep(&metadata, position.groups.clone(), table.predicates, table.schema.fields());
    let is_begun = groups.first() == Some(&position.groups.start);
    let row = if is_begun { position.row } else { 0 };
    let place = Place::new(&metadata, &groups, row, position.groups.end);
    let leaves = project::leaves(table.schema.fields(), &metadata);
    let read_as = |schema: &Schema| {
        let schema = int96::in_micros(schema, &metadata);
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new().with_schema(schema.into()))
    };
    // Views fail only if the file's own schema has types without views; then read as that schema says.
    let read = read_as(&project::with_views(metadata.schema())).or_else(|_| read_as(metadata.schema()));
    let metadata = match read {
        Err(error) if int96::is_in(&metadata) => return Err(damaged(&name, "its schema", error)),
        read => read.unwrap_or(metadata),
    };
    Ok(Box::new(ParquetReader {
        split: split.clone(),
        mask: project::mask(&leaves, &metadata),
        file: OpenParquet { name, kind, metadata },
        leaves,
        schema: table.schema.clone(),
        batch_rows,
        decoding: table.decoding.cloned(),
        has_told: false,
        expected: 0,
        group: None,
        rest: None,
        place,
    }))
}

/// The position of a reader: group and row in the file, so that it means the same whatever is pruned.
#[derive(Debug)]
struct Place {
    /// The groups to read with their numbers of rows; the current one first.
    groups: VecDeque<(usize, u64)>,
    /// Rows of the current group that were returned.
    row: u64,
    /// The index behind the split's last group.
    end: usize,
}

impl Place {
    fn new(metadata: &ArrowReaderMetadata, groups: &[usize], row: u64, end: usize) -> Self {
        let rows = |group: usize| metadata.metadata().row_groups().get(group).map_or(0, |group| group.num_rows());
        let groups = groups.iter().map(|group| (*group, u64::try_from(rows(*group)).unwrap_or(0))).collect();
        let mut place = Self { groups, row: 0, end };
        place.advance(row);
        place
    }

    /// Moves behind the next `rows` rows.
    fn advance(&mut self, rows: u64) {
        self.row = self.row.saturating_add(rows);
        while let Some((_, rows)) = self.groups.front()
            && self.row >= *rows
        {
            self.row -= rows;
            self.groups.pop_front();
        }
    }

    /// The group of the next row, and the row's index in it.
    fn next(&self) -> (usize, u64) {
        self.groups.front().map_or((self.end, 0), |(group, _)| (*group, self.row))
    }
}

/// A row group's reader, with the memory granted for decoding it.
struct OpenGroup {
    reader: Box<ParquetRecordBatchReader>,
    _turn: Option<DecodingTurn>,
}

struct ParquetReader {
    split: Split,
    file: OpenParquet,
    /// The leaves to read.
    leaves: Vec<usize>,
    mask: ProjectionMask,
    schema: SchemaRef,
    batch_rows: usize,
    decoding: Option<DecodingShare>,
    /// Whether it has returned `Read::Waiting` for the current wait.
    has_told: bool,
    /// What the last group needed, if that was more than estimated from its footer.
    expected: u64,
    /// The current row group's reader.
    group: Option<OpenGroup>,
    /// Rows that are decoded but not returned yet.
    rest: Option<RecordBatch>,
    place: Place,
}

impl ParquetReader {
    /// A reader of the current row group behind the rows returned so far. `None` if there is no memory for it now; the
    /// next call then waits for it.
    async fn open_group(&mut self) -> Result<Option<OpenGroup>, ConnectorError> {
        let metadata = self.file.metadata.metadata().clone();
        let Some(group) = metadata.row_groups().get(self.place.next().0) else {
            return Err(damaged(&self.file.name, &self.here(), "there is no such row group"));
        };
        match self.file.kind.clone() {
            Kind::Local(file) => {
                let need = self.need(&file, group, false)?;
                let Some(turn) = self.turn(&need).await? else { return Ok(None) };
                self.build(file, group, turn).map(Some)
            }
            Kind::Stored(mut object) => {
                let chunks = self.leaves.iter().filter_map(|leaf| group.columns().get(*leaf));
                let ranges: Vec<_> =
                    chunks.map(|chunk| chunk.byte_range()).map(|(at, length)| at..at + length).collect();
                let mut need = Need::by_footer(group, &self.leaves);
                loop {
                    need.bytes = need.bytes.max(self.expected);
                    let Some(turn) = self.turn(&need).await? else { return Ok(None) };
                    let fetched = object.fetch(ranges.clone()).await;
                    let fetched = self.settle(Ok(fetched))?;
                    need = self.need(&fetched, group, true)?;
                    if self.decoding.is_none() || need.bytes <= turn.as_ref().map_or(0, |turn| turn.bytes) {
                        return self.build(fetched, group, turn).map(Some);
                    }
                    // Release the memory and fetch again when there is enough. Mostly this happens once per file.
                    self.expected = need.bytes;
                }
            }
        }
    }

    /// The memory that a row group needs, from its page headers.
    fn need<R: ChunkReader>(
        &self,
        file: &R,
        group: &RowGroupMetaData,
        is_fetched: bool,
    ) -> Result<Need, ConnectorError> {
        self.settle(Ok(Need::by_pages(file, group, &self.leaves, is_fetched)))
    }

    /// Takes memory for a row group. Returns `None` the first time there is not enough, then waits.
    async fn turn(&mut self, need: &Need) -> Result<Option<Option<DecodingTurn>>, ConnectorError> {
        let Some(share) = &self.decoding else { return Ok(Some(None)) };
        need.check(share.limit_bytes()).map_err(|error| damaged(&self.file.name, &self.here(), error))?;
        let turn = match share.try_take(need.bytes) {
            None if !std::mem::replace(&mut self.has_told, true) => return Ok(None),
            None => share.take(need.bytes).await,
            Some(turn) => turn,
        };
        self.has_told = false;
        Ok(Some(Some(turn)))
    }

    fn build<R: ChunkReader + 'static>(
        &self,
        file: R,
        about: &RowGroupMetaData,
        turn: Option<DecodingTurn>,
    ) -> Result<OpenGroup, ConnectorError> {
        let (group, row) = self.place.next();
        let rows = u64::try_from(about.num_rows()).unwrap_or(0);
        let to_usize = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.file.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_offset(to_usize(row))
            .with_limit(to_usize(rows.saturating_sub(row)))
            .with_batch_size(sizes::batch_rows(about, &self.leaves, self.batch_rows));
        let built = catch_unwind(AssertUnwindSafe(|| builder.build()));
        Ok(OpenGroup { reader: Box::new(self.settle(built)?), _turn: turn })
    }

    fn settle<T, E: Into<ParquetError>>(&self, result: thread::Result<Result<T, E>>) -> Result<T, ConnectorError> {
        self.file.kind.settle(&self.file.name, &self.here(), result)
    }

    /// The position of the next rows, for messages.
    fn here(&self) -> String {
        let (group, row) = self.place.next();
        format!("row group {group} from row {row} of it")
    }

    /// Decodes the next rows of the current row group.
    fn decode(&mut self, mut group: OpenGroup) -> Result<RecordBatch, ConnectorError> {
        loop {
            let next = catch_unwind(AssertUnwindSafe(|| group.reader.next().transpose()));
            let Some(batch) = self.settle(next)? else {
                return Err(damaged(&self.file.name, &self.here(), "it has fewer rows than its footer says"));
            };
            if batch.num_rows() > 0 {
                self.group = Some(group);
                return conform::conform(&batch, &self.schema).map_err(|misfit| self.misfit(&misfit));
            }
        }
    }

    /// The error of what does not fit in the batch that begins here.
    fn misfit(&self, misfit: &Misfit) -> ConnectorError {
        let Some(behind) = misfit.row else { return damaged(&self.file.name, &self.here(), misfit) };
        let (group, row) = self.place.next();
        let row = row.saturating_add(behind as u64);
        damaged(&self.file.name, &format!("row group {group}, row {row} of it"), misfit)
    }

    /// Gives the first of the rows that are decoded.
    fn give(&mut self, batch: &RecordBatch) -> RecordBatch {
        let rows = fitting_rows(batch);
        let first = batch.slice(0, rows);
        self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        let (group, _) = self.place.next();
        self.place.advance(u64::try_from(rows).expect("a number of rows fits 64 bits"));
        if self.place.next().0 != group {
            self.group = None;
        }
        first
    }
}

#[async_trait]
impl SplitReader for ParquetReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None if self.place.groups.is_empty() => return Ok(Read::End),
            None => {
                let group = match self.group.take() {
                    Some(group) => group,
                    None => match self.open_group().await? {
                        Some(group) => group,
                        None => return Ok(Read::Waiting),
                    },
                };
                self.decode(group)?
            }
        };
        Ok(Read::Records { batch: self.give(&batch), dead_letters: Vec::new() })
    }

    fn position(&self) -> Split {
        let mut split = self.split.clone();
        if let Some(Value::Object(groups)) = split.payload.get_mut("row_groups") {
            let (group, row) = self.place.next();
            groups.insert("group".to_owned(), json!(group));
            groups.insert("row".to_owned(), json!(row));
        }
        split
    }
}
