//! Random or sequential rows for any declared columns.
//!
//! Row `n` depends only on the seed and `n`, as in `nexmark`: any number of splits gives the same rows. Options per
//! column (`fields.NAME.OPTION`; for fields of a ROW `fields.COLUMN.FIELD.OPTION`):
//!
//! | option | kinds | meaning |
//! |---|---|---|
//! | `kind` | | `random` (default), or `sequence` (default for timestamps) |
//! | `min`, `max` | random numbers | bounds; both inclusive for whole numbers |
//! | `start`, `end` | sequence | first and last value; the table ends when a sequence does; `start` applies to random timestamps too |
//! | `step` | sequence of timestamps | time between two rows; defaults to that of `rows-per-second`, or 1 ms |
//! | `max-past` | random timestamps | how far before `start` they may be |
//! | `length` | random text | number of letters |
//! | `null-rate` | all | share of rows that are NULL |

mod field;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_types::{Split, graph::SourceOperator, seam::Clock};

use self::field::FieldGenerator;
use crate::{
    ConnectorError, Read, Source, SplitReader,
    connector::Connector,
    interleave::{Interleaved, Pace, block_rows},
    options::Options,
    random::Random,
    sizes::BATCH_BYTES,
};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "datagen",
    source: Some(|table| {
        let clock = table.context.seams.clock.clone();
        Ok(Box::new(DatagenSource::new(table.spec, table.batch_rows, clock)?))
    }),
    sink: None,
};

#[derive(Debug)]
struct DatagenSource {
    table: Arc<Table>,
    clock: Arc<dyn Clock>,
    splits: u64,
}

#[derive(Debug)]
struct Table {
    schema: SchemaRef,
    fields: Vec<FieldGenerator>,
    rows: u64,
    rate: Option<f64>,
    batch_rows: usize,
}

impl DatagenSource {
    fn new(spec: &SourceOperator, batch_rows: usize, clock: Arc<dyn Clock>) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let rate: Option<f64> = options.number("rows-per-second")?;
        if rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
            return Err(options.error("option 'rows-per-second' must be above 0 and at most 1e9"));
        }
        let random = Random::new(options.number("seed")?.unwrap_or(42));
        let fields = spec.physical.fields().iter().map(|field| {
            FieldGenerator::new(&options, "fields.", field, random, rate).map_err(|reason| options.error(reason))
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let declared: Option<u64> = options.number("number-of-rows")?;
        let shortest = fields.iter().filter_map(FieldGenerator::rows).min();
        let rows = declared.unwrap_or(u64::MAX).min(shortest.unwrap_or(u64::MAX));
        let row_bytes = fields.iter().map(FieldGenerator::row_bytes).fold(1, u64::saturating_add);
        let fitting = usize::try_from(BATCH_BYTES as u64 / row_bytes).unwrap_or(usize::MAX);
        let batch_rows = batch_rows.min(fitting.max(1));
        let table = Table { schema: spec.physical.clone(), fields, rows, rate, batch_rows };
        Ok(Self { table: Arc::new(table), clock, splits: options.number("splits")?.unwrap_or(8) })
    }
}

#[async_trait]
impl Source for DatagenSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(Interleaved::splits(self.splits, block_rows(self.table.rate)))
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let place = Interleaved::of(split)?;
        let pace = self.table.rate.map(|rate| Pace::new(self.clock.clone(), rate, &place));
        Ok(Box::new(DatagenReader { split: split.clone(), table: self.table.clone(), place, pace }))
    }
}

struct DatagenReader {
    split: Split,
    table: Arc<Table>,
    place: Interleaved,
    pace: Option<Pace>,
}

#[async_trait]
impl SplitReader for DatagenReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        if self.place.next >= self.table.rows {
            return Ok(Read::End);
        }
        let batch_rows = u64::try_from(self.table.batch_rows).unwrap_or(u64::MAX);
        let end = self.place.next.saturating_add(batch_rows).min(self.place.block_end()).min(self.table.rows);
        if let Some(pace) = &mut self.pace {
            pace.wait(end - 1).await;
        }
        let rows: Vec<u64> = (self.place.next..end).collect();
        let failed = |error: arrow::error::ArrowError| ConnectorError::Data {
            attempted: "generate rows".to_owned(),
            reason: error.to_string(),
        };
        let arrays = self.table.fields.iter().map(|field| field.generate(&rows));
        let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.table.schema.clone(), arrays, &options).map_err(failed)?;
        self.place.advance(end);
        Ok(Read::Records { batch, dead_letters: Vec::new() })
    }

    fn position(&self) -> Split {
        Split { payload: self.place.to_value(), ..self.split.clone() }
    }
}

#[cfg(test)]
mod tests;
