//! Reads a run of row groups: local files directly, objects by range requests.
//!
//! Each row group has a reader of its own, which decodes as many rows at once as take about `BATCH_BYTES`; what it gives is cut
//! again where its rows share long values.

use std::{
    collections::VecDeque,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use ::parquet::arrow::{
    ParquetRecordBatchStreamBuilder, ProjectionMask,
    arrow_reader::{
        ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
        ParquetRecordBatchReaderBuilder,
    },
    async_reader::ParquetRecordBatchStream,
};
use ::parquet::errors::ParquetError;
use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use thalweg_types::{Split, graph::ColumnPredicate};

use super::{Kind, ObjectReader, OpenParquet, conform, damaged, int96, project, prune, sizes};
use crate::{
    ConnectorError, Read, SplitReader,
    filesystem::Location,
    notices::{Absent, TableNotices},
    sizes::fitting_rows,
};

/// What is read of the table's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParquetTable<'a> {
    pub(crate) location: &'a Location,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) predicates: &'a [ColumnPredicate],
    pub(crate) notices: &'a TableNotices,
}

/// What is left of a split of a Parquet file.
#[derive(Debug, Clone)]
pub(crate) struct RowGroups {
    pub(crate) groups: Range<usize>,
    /// Rows of the first of them that were read before.
    pub(crate) row: u64,
}

/// Opens a run of row groups behind the rows that were read before.
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
    // What the file's own schema says is another matter only for types that have no views.
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
        group: None,
        rest: None,
        place,
    }))
}

/// Where a reader is: told by group and row of the file, so that it means the same whatever is pruned.
#[derive(Debug)]
struct Place {
    /// The groups that are read, each with its rows; the current one first.
    groups: VecDeque<(usize, u64)>,
    /// Rows of the current group that were given.
    row: u64,
    /// Behind the last group of the split.
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

    /// Goes on behind the next rows.
    fn advance(&mut self, rows: u64) {
        self.row = self.row.saturating_add(rows);
        while let Some((_, rows)) = self.groups.front()
            && self.row >= *rows
        {
            self.row -= rows;
            self.groups.pop_front();
        }
    }

    /// The group that the next row is in, and how many of its rows are before it.
    fn next(&self) -> (usize, u64) {
        self.groups.front().map_or((self.end, 0), |(group, _)| (*group, self.row))
    }
}

enum Batches {
    Local(Box<ParquetRecordBatchReader>),
    Stored(Box<ParquetRecordBatchStream<ObjectReader>>),
}

struct ParquetReader {
    split: Split,
    file: OpenParquet,
    /// The leaves that are read.
    leaves: Vec<usize>,
    mask: ProjectionMask,
    schema: SchemaRef,
    batch_rows: usize,
    /// The reader of the current row group.
    group: Option<Batches>,
    /// Rows that are decoded and not given yet.
    rest: Option<RecordBatch>,
    place: Place,
}

impl ParquetReader {
    /// A reader of the current row group, behind the rows that were given.
    fn open_group(&self) -> Result<Batches, ConnectorError> {
        let metadata = self.file.metadata.clone();
        match &self.file.kind {
            Kind::Local(file) => {
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata);
                let built = catch_unwind(AssertUnwindSafe(|| self.plan(builder).build()));
                self.settle(built).map(|reader| Batches::Local(Box::new(reader)))
            }
            Kind::Stored(object) => {
                let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object.clone(), metadata);
                let built = catch_unwind(AssertUnwindSafe(|| self.plan(builder).build()));
                self.settle(built).map(|stream| Batches::Stored(Box::new(stream)))
            }
        }
    }

    fn plan<T>(&self, builder: ArrowReaderBuilder<T>) -> ArrowReaderBuilder<T> {
        let (group, row) = self.place.next();
        let about = self.file.metadata.metadata().row_groups().get(group);
        let rows = about.map_or(0, |about| u64::try_from(about.num_rows()).unwrap_or(0));
        let to_usize = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        builder
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_offset(to_usize(row))
            .with_limit(to_usize(rows.saturating_sub(row)))
            .with_batch_size(about.map_or(1, |about| sizes::batch_rows(about, &self.leaves, self.batch_rows)))
    }

    fn settle<T, E: Into<ParquetError>>(&self, result: thread::Result<Result<T, E>>) -> Result<T, ConnectorError> {
        self.file.kind.settle(&self.file.name, &self.here(), result)
    }

    /// Where the next rows are, for people.
    fn here(&self) -> String {
        let (group, row) = self.place.next();
        format!("row group {group} from row {row} of it")
    }

    /// Decodes the next rows; none at the end.
    async fn decode(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        while !self.place.groups.is_empty() {
            if self.group.is_none() {
                self.group = Some(self.open_group()?);
            }
            let decoded = match &mut self.group {
                Some(Batches::Local(reader)) => {
                    let next = catch_unwind(AssertUnwindSafe(|| reader.next().transpose()));
                    self.settle(next)?
                }
                Some(Batches::Stored(stream)) => {
                    let next = AssertUnwindSafe(stream.next()).catch_unwind().await;
                    self.settle(next.map(Option::transpose))?
                }
                None => None,
            };
            let Some(batch) = decoded else {
                return Err(damaged(&self.file.name, &self.here(), "it has fewer rows than its footer says"));
            };
            if batch.num_rows() > 0 {
                let conformed = conform::conform(&batch, &self.schema);
                return conformed.map(Some).map_err(|reason| damaged(&self.file.name, &self.here(), reason));
            }
        }
        Ok(None)
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
            None => match self.decode().await? {
                Some(batch) => batch,
                None => return Ok(Read::End),
            },
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
