//! What follows a table's reader: computed columns, rows without event time set aside, and what a batch promises about time.
//!
//! ```text
//! reader --physical batch--> process --> rows, with event times   --> observe: the watermark that they justify
//!                                    \-> dead rows, with the reason
//! ```
//!
//! Not an operator: the reader's loop calls it per split, since watermarks are per split.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, is_not_null, is_null};
use arrow::datatypes::SchemaRef;
use thalweg_types::graph::{SourceOperator, WatermarkGenerator, WatermarkStrategy};

use crate::{
    OperatorError, aggregate::check_timestamps, error::arrow_error, expr::Expression, project::Projector, time,
};

/// The greatest watermark that is not the end of input.
const LATEST: i64 = i64::MAX - 1;

/// The stage between a reader and the chain.
#[derive(Debug)]
pub struct SourceStage {
    table: String,
    projector: Projector,
    event_time: Option<EventTime>,
}

#[derive(Debug)]
struct EventTime {
    column: usize,
    name: String,
    promise: Promise,
}

#[derive(Debug)]
enum Promise {
    /// The column less so many microseconds.
    Delay(i64),
    Expression(Expression),
}

/// A batch of the source's output, and what could not be in it.
#[derive(Debug, Clone)]
pub struct StagedBatch {
    /// The source operator's output.
    pub rows: RecordBatch,
    /// Rows set aside.
    pub dead: Option<DeadRows>,
}

/// Rows that the job cannot use: for the dead-letter output.
#[derive(Debug, Clone)]
pub struct DeadRows {
    /// The rows as they were read.
    pub rows: RecordBatch,
    /// Why.
    pub reason: String,
}

impl SourceStage {
    /// The stage of a source whose output has this schema.
    ///
    /// # Errors
    /// When an expression cannot be compiled, or the event-time column is none.
    pub fn new(source: &SourceOperator, output: SchemaRef) -> Result<Self, OperatorError> {
        let operator = format!("source {}", source.table);
        let projector = Projector::new(source.projection.as_deref(), &source.physical, output.clone(), &operator)?;
        let event_time = source.watermark.as_ref().map(|strategy| EventTime::new(strategy, &output, &operator));
        Ok(Self { table: source.table.clone(), projector, event_time: event_time.transpose()? })
    }

    /// The source's output of a physical batch.
    ///
    /// # Errors
    /// When a computed column fails on the data.
    pub fn process(&self, physical: RecordBatch) -> Result<StagedBatch, OperatorError> {
        let rows = self.projector.project(physical.clone())?;
        let Some(event_time) = &self.event_time else { return Ok(StagedBatch { rows, dead: None }) };
        let times = rows.column(event_time.column);
        if times.null_count() == 0 {
            return Ok(StagedBatch { rows, dead: None });
        }
        let select = |batch: &RecordBatch, mask: &BooleanArray| {
            filter_record_batch(batch, mask).map_err(arrow_error("set rows without event time aside"))
        };
        let masks = is_null(times).and_then(|dead| Ok((dead, is_not_null(times)?)));
        let (dead, alive) = masks.map_err(arrow_error("find rows without event time"))?;
        let reason = format!("the event time {} of table {} is NULL", event_time.name, self.table);
        let dead = DeadRows { rows: select(&physical, &dead)?, reason };
        Ok(StagedBatch { rows: select(&rows, &alive)?, dead: Some(dead) })
    }

    /// The watermark that a batch of the output justifies, in microseconds; `None` for an empty batch and for tables without
    /// watermarks.
    ///
    /// # Errors
    /// When the watermark's expression fails on the data.
    pub fn observe(&self, rows: &RecordBatch) -> Result<Option<i64>, OperatorError> {
        let Some(event_time) = &self.event_time else { return Ok(None) };
        match &event_time.promise {
            Promise::Delay(delay) => {
                let latest = time::bounds(rows.column(event_time.column)).map(|(_, latest)| latest);
                Ok(latest.map(|latest| latest.saturating_sub(*delay).min(LATEST)))
            }
            Promise::Expression(expression) => {
                Ok(time::bounds(&expression.evaluate(rows)?).map(|(_, latest)| latest.min(LATEST)))
            }
        }
    }
}

impl EventTime {
    fn new(strategy: &WatermarkStrategy, output: &SchemaRef, operator: &str) -> Result<Self, OperatorError> {
        check_timestamps(operator, output, &[strategy.column])?;
        let promise = match &strategy.generator {
            WatermarkGenerator::BoundedDelay { delay_micros } => Promise::Delay(*delay_micros),
            WatermarkGenerator::Expression(bytes) => {
                let expression = Expression::compile(bytes, output, None, operator)?;
                let data_type = expression.data_type(output).map_err(crate::error::build_error(operator))?;
                if !matches!(data_type, arrow::datatypes::DataType::Timestamp(..)) {
                    return Err(crate::error::build_error(operator)("its watermark is not a timestamp"));
                }
                Promise::Expression(expression)
            }
        };
        Ok(Self { column: strategy.column, name: output.field(strategy.column).name().clone(), promise })
    }
}

#[cfg(test)]
mod tests;
