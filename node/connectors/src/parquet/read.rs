//! Reads a run of row groups: local files directly, objects by range requests.

use std::{collections::VecDeque, fs::File, ops::Range};

use ::parquet::arrow::{
    ParquetRecordBatchStreamBuilder,
    arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    async_reader::ParquetRecordBatchStream,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use async_trait::async_trait;
use futures::StreamExt as _;
use serde_json::{Value, json};
use thalweg_types::{Split, graph::ColumnPredicate};

use super::{ObjectReader, failed, metadata, object_reader, project, prune};
use crate::{
    ConnectorError, Read, SplitReader,
    filesystem::{Location, store_error},
};

/// What is read of the table's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParquetTable<'a> {
    pub(crate) location: &'a Location,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) predicates: &'a [ColumnPredicate],
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
    let metadata = metadata(table.location, name).await?;
    let groups = prune::keep(&metadata, position.groups.clone(), table.predicates, table.schema.fields());
    let is_begun = groups.first() == Some(&position.groups.start);
    let row = if is_begun { position.row } else { 0 };
    let place = Place::new(&metadata, &groups, row, position.groups.end);
    let skipped = usize::try_from(row).unwrap_or(usize::MAX);
    let plan = Plan { metadata, groups, skipped, batch_rows };
    let batches = match table.location {
        Location::Local(_) => Batches::Local(Box::new(plan.local(name, table.schema)?)),
        Location::Stored { .. } => Batches::Stored(Box::new(plan.stored(table.location, name, table.schema).await?)),
    };
    Ok(Box::new(ParquetReader {
        split: split.clone(),
        name: name.to_owned(),
        schema: table.schema.clone(),
        batches,
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

struct Plan {
    metadata: ArrowReaderMetadata,
    groups: Vec<usize>,
    /// Rows of the first of them.
    skipped: usize,
    batch_rows: usize,
}

impl Plan {
    fn local(self, name: &str, schema: &SchemaRef) -> Result<ParquetRecordBatchReader, ConnectorError> {
        let file = File::open(name).map_err(store_error(format!("open {name}")))?;
        let mask = project::mask(schema.fields(), self.metadata.parquet_schema());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata)
            .with_projection(mask)
            .with_row_groups(self.groups)
            .with_offset(self.skipped)
            .with_batch_size(self.batch_rows)
            .build()
            .map_err(|error| failed(name, error))
    }

    async fn stored(
        self,
        location: &Location,
        name: &str,
        schema: &SchemaRef,
    ) -> Result<ParquetRecordBatchStream<ObjectReader>, ConnectorError> {
        let reader = object_reader(location, name).await?;
        let mask = project::mask(schema.fields(), self.metadata.parquet_schema());
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.metadata)
            .with_projection(mask)
            .with_row_groups(self.groups)
            .with_offset(self.skipped)
            .with_batch_size(self.batch_rows)
            .build()
            .map_err(|error| failed(name, error))
    }
}

enum Batches {
    Local(Box<ParquetRecordBatchReader>),
    Stored(Box<ParquetRecordBatchStream<ObjectReader>>),
}

struct ParquetReader {
    split: Split,
    name: String,
    schema: SchemaRef,
    batches: Batches,
    place: Place,
}

impl ParquetReader {
    fn conform(&self, batch: Result<RecordBatch, ArrowError>) -> Result<RecordBatch, ConnectorError> {
        batch.and_then(|batch| project::conform(&batch, &self.schema)).map_err(|error| ConnectorError::Data {
            attempted: format!("read {} as Parquet", self.name),
            reason: error.to_string(),
        })
    }
}

#[async_trait]
impl SplitReader for ParquetReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        let next = match &mut self.batches {
            Batches::Local(reader) => reader.next(),
            Batches::Stored(stream) => match stream.next().await.transpose() {
                Ok(batch) => batch.map(Ok),
                Err(error) => return Err(failed(&self.name, error)),
            },
        };
        let Some(batch) = next else { return Ok(Read::End) };
        let batch = self.conform(batch)?;
        self.place.advance(u64::try_from(batch.num_rows()).expect("a number of rows fits 64 bits"));
        Ok(Read::Records { batch, dead_letters: Vec::new() })
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
