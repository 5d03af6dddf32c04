//! The stage behind a table's reader: adds computed columns, takes out rows without event time, and derives
//! watermarks.
//!
//! ```text
//! reader --physical batch--> process --> rows, with event times, and the watermark that they justify
//!                                    |-> rows without event time
//!                                    '-> rows that could not be evaluated, with the reason
//! ```
//!
//! Not an operator: the reader's loop calls it per split, since each split has its own watermark.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, is_not_null, is_null};
use arrow::datatypes::SchemaRef;
use thalweg_types::{
    Fault,
    graph::{SourceOperator, WatermarkGenerator, WatermarkStrategy},
    text::with_causes,
};

use crate::{
    FailedRows, OperatorError,
    error::arrow_error,
    event_time::check_timestamps,
    expr::Expression,
    project::Projector,
    sift::{Sifted, sift},
    time,
};

/// The greatest watermark that is not the end of input.
const LATEST: i64 = i64::MAX - 1;

/// How many evaluations (each within its own budget) a record check may take, since a client waits for it.
const CHECK_EVALUATIONS: usize = 32;

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
    /// The column minus this many microseconds.
    Delay(i64),
    Expression(Expression),
}

/// A batch of the source's output, and the rows that could not be in it.
#[derive(Debug, Clone)]
pub struct StagedBatch {
    /// The source operator's output.
    pub rows: RecordBatch,
    /// The watermark that the rows justify, in microseconds; `None` if the batch is empty or the table has no
    /// watermarks.
    pub watermark: Option<i64>,
    /// Rows without event time.
    pub dead: Option<DeadRows>,
    /// Rows with a computed column or watermark that could not be evaluated.
    pub failed: Option<FailedRows>,
}

/// Rows without event time, which go to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadRows {
    /// The rows as read.
    pub rows: RecordBatch,
    /// The index in the batch of the first of them.
    pub first: usize,
    /// Why.
    pub reason: String,
}

impl From<DeadRows> for FailedRows {
    fn from(dead: DeadRows) -> Self {
        let fault = |row| Fault { row, expression: String::new(), place: None, reason: dead.reason.clone() };
        let faults = (0..dead.rows.num_rows()).map(fault).collect();
        Self { rows: dead.rows, faults }
    }
}

impl SourceStage {
    /// The stage of a source whose output has the schema `output`.
    ///
    /// # Errors
    /// If an expression cannot be compiled, or the event-time column is not a timestamp.
    pub fn new(source: &SourceOperator, output: SchemaRef) -> Result<Self, OperatorError> {
        let operator = format!("source {}", source.table);
        let projector = Projector::new(source.projection.as_deref(), &source.physical, output.clone(), &operator)?;
        let event_time = source.watermark.as_ref().map(|strategy| EventTime::new(strategy, &output, &operator));
        Ok(Self { table: source.table.clone(), projector, event_time: event_time.transpose()? })
    }

    /// Converts a physical batch to the source's output.
    ///
    /// # Errors
    /// If something fails that is not the fault of a single row, or if several rows exceed the budget of one
    /// evaluation.
    pub fn process(&self, physical: RecordBatch) -> Result<StagedBatch, OperatorError> {
        let schema = physical.schema();
        let Sifted { value, failed, .. } = sift(physical, |physical| self.stage(physical))?;
        let staged = match value {
            Some(staged) => staged,
            None => self.stage(&RecordBatch::new_empty(schema))?,
        };
        Ok(StagedBatch { failed, ..staged })
    }

    /// The index of the first row that the table cannot accept, and why. Rows without event time count if `with_time`.
    #[must_use]
    pub fn fault(&self, physical: &RecordBatch, with_time: bool) -> Option<(usize, String)> {
        // A stack of parts; the next part is the last.
        let (mut parts, mut evaluations) = (vec![(0, physical.num_rows())], 0);
        while let Some((from, rows)) = parts.pop() {
            evaluations += 1;
            match self.fault_of_part(&physical.slice(from, rows), with_time) {
                Ok(None) => {}
                Ok(Some((row, reason))) => return Some((from + row, reason)),
                Err(_) if evaluations > CHECK_EVALUATIONS => {
                    return Some((from, "the records make too much together: send fewer of them at once".to_owned()));
                }
                Err(_) => parts.extend([(from + rows / 2, rows - rows / 2), (from, rows / 2)]),
            }
        }
        None
    }

    /// As `fault`; an error if the rows exceed the budget of one evaluation.
    fn fault_of_part(&self, physical: &RecordBatch, with_time: bool) -> Result<Option<(usize, String)>, OperatorError> {
        let sifted = match sift(physical.clone(), |physical| self.stage(physical)) {
            Ok(sifted) => sifted,
            Err(error @ OperatorError::TooMuch { .. }) => return Err(error),
            Err(error) => return Ok(Some((0, with_causes(&error)))),
        };
        if let Some(fault) = sifted.failed.as_ref().and_then(|failed| failed.faults.first()) {
            return Ok(Some((fault.row, Fault { place: None, ..fault.clone() }.to_string())));
        }
        let dead = sifted.value.and_then(|staged| staged.dead).filter(|_| with_time);
        Ok(dead.map(|dead| (dead.first, dead.reason)))
    }

    fn stage(&self, physical: &RecordBatch) -> Result<StagedBatch, OperatorError> {
        let rows = self.projector.project(physical.clone())?;
        let all = |rows: RecordBatch| {
            let watermark = self.observe(&rows)?;
            Ok(StagedBatch { rows, watermark, dead: None, failed: None })
        };
        let Some(event_time) = &self.event_time else { return all(rows) };
        let times = rows.column(event_time.column);
        if times.null_count() == 0 {
            return all(rows);
        }
        let select = |batch: &RecordBatch, mask: &BooleanArray| {
            filter_record_batch(batch, mask).map_err(arrow_error("take out rows without event time"))
        };
        let masks = is_null(times).and_then(|dead| Ok((dead, is_not_null(times)?)));
        let (dead, alive) = masks.map_err(arrow_error("find rows without event time"))?;
        let reason = format!("the event time {} of table {} is NULL", event_time.name, self.table);
        let first = dead.values().set_indices().next().unwrap_or_default();
        let dead = DeadRows { rows: select(physical, &dead)?, first, reason };
        Ok(StagedBatch { dead: Some(dead), ..all(select(&rows, &alive)?)? })
    }

    fn observe(&self, rows: &RecordBatch) -> Result<Option<i64>, OperatorError> {
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
