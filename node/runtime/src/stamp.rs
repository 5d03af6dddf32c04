//! Turns the rows of a reader into the source's output: computed columns, event time, and the watermark that a batch
//! allows.

use std::sync::Arc;

use arrow::{array::RecordBatch, error::ArrowError, json::LineDelimitedWriter};
use thalweg_connectors::{DeadLetter, RecordCheck};
use thalweg_operators::{DeadRows, FailedRows, OperatorError, SourceStage};
use thalweg_types::{Operator, SplitId, Watermark, graph::SourceOperator};

use crate::failure::SubtaskError;

/// The stage between the readers and the chain of one source subtask.
#[derive(Debug)]
pub(crate) struct Stamp {
    operator: String,
    stage: SourceStage,
}

/// A batch of the source's output.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) rows: RecordBatch,
    /// The watermark of the split after this batch.
    pub(crate) watermark: Option<Watermark>,
    /// Rows without an event time, if the table has a path for dead letters.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Rows that could not be evaluated. Without a path for dead letters, also those without an event time.
    pub(crate) failed: Vec<FailedRows>,
}

impl Stamp {
    pub(crate) fn new(operator: &Operator, spec: &SourceOperator) -> Result<Self, SubtaskError> {
        let name = operator.name.clone();
        match SourceStage::new(spec, operator.output.clone()) {
            Ok(stage) => Ok(Self { operator: name, stage }),
            Err(source) => Err(SubtaskError::Operator { operator: name, source }),
        }
    }

    /// Stamps a reader's batch. `takes_dead_letters` says that rows without an event time are dead letters.
    pub(crate) fn stamp(
        &self,
        split: &SplitId,
        physical: RecordBatch,
        takes_dead_letters: bool,
    ) -> Result<Stamped, SubtaskError> {
        let staged = self.stage.process(physical).map_err(|source| self.error(source))?;
        let mut failed = Vec::from_iter(staged.failed);
        let dead_letters = match staged.dead {
            None => Vec::new(),
            Some(dead) if takes_dead_letters => self.letters(split, dead)?,
            Some(dead) => {
                failed.push(dead.into());
                Vec::new()
            }
        };
        Ok(Stamped { rows: staged.rows, watermark: staged.watermark.map(Watermark), dead_letters, failed })
    }

    /// The check that records must pass before they are acknowledged.
    pub(crate) fn check(self, takes_dead_letters: bool) -> RecordCheck {
        RecordCheck(Arc::new(move |physical| self.stage.fault(physical, !takes_dead_letters)))
    }

    /// Wraps an Arrow error as one of this source.
    pub(crate) fn failed(&self, attempted: &'static str, source: ArrowError) -> SubtaskError {
        self.error(OperatorError::Arrow { attempted, source })
    }

    fn error(&self, source: OperatorError) -> SubtaskError {
        SubtaskError::Operator { operator: self.operator.clone(), source }
    }

    fn letters(&self, split: &SplitId, dead: DeadRows) -> Result<Vec<DeadLetter>, SubtaskError> {
        let mut lines = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut lines);
        let written = writer.write(&dead.rows).and_then(|()| writer.finish());
        written.map_err(|source| self.failed("write rows without event time", source))?;
        let text = String::from_utf8_lossy(&lines);
        let letter = |record: &str| DeadLetter {
            position: split.to_string(),
            reason: dead.reason.clone(),
            record: record.to_owned(),
        };
        Ok(text.lines().map(letter).collect())
    }
}
