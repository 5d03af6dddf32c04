//! A sink as an end of a chain. Where its parts go on over checkpoints, their rows are state until they are written.
//!
//! ```text
//! closes at each checkpoint:  rows ----------------------> writer --barrier--> sealed, in this checkpoint
//! goes on:                    rows --> held, as state --+
//!                                       large enough:   +-> writer --barrier--> sealed, in this checkpoint
//!                                       old enough, at a barrier or the end: the same
//! ```
//!
//! So a part that is open over a checkpoint needs no bytes that could be continued: a restored sink has the rows, in whatever format
//! and to whatever destination they go, and at any parallelism. What is held is uploaded once, by one batch for each checkpoint;
//! a run of batches becomes one when it is long.

use std::time::Duration;

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};
use thalweg_connectors::{ConnectorError, Rollover, Sealing, SinkWriter};
use thalweg_keyed_state::{FrozenState, StateBatch};
use thalweg_types::KeyGroup;

/// The name of the table of held rows.
const HELD: &str = "held";
/// So many batches in a row are one from then on, unless the first outweighs the others.
const RUN: usize = 8;

/// The writer of a table, and what it is not given yet.
pub(crate) struct RollingSink {
    writer: Box<dyn SinkWriter>,
    held: Option<Held>,
}

/// Rows of parts that are open over checkpoints.
struct Held {
    rollover: Rollover,
    /// Under which they lie in a checkpoint: one that the subtask owns.
    group: KeyGroup,
    /// As of the last barrier.
    frozen: Vec<StateBatch>,
    /// Since then.
    fresh: Vec<RecordBatch>,
    bytes: usize,
    /// When the first of them came.
    since: Duration,
}

impl RollingSink {
    /// A sink that has rows which it held in a checkpoint.
    ///
    /// # Errors
    /// When there are such rows and the writer's parts end at each checkpoint: a job's tables stay as they are, so the rows are not
    /// of this table, and giving them to the writer would be a guess.
    pub(crate) fn new(
        writer: Box<dyn SinkWriter>,
        group: KeyGroup,
        states: &[FrozenState],
        now: Duration,
    ) -> Result<Self, ConnectorError> {
        let restored: Vec<StateBatch> = states.iter().flat_map(|state| state.table(HELD)).cloned().collect();
        let Some(rollover) = writer.rollover() else {
            return if restored.is_empty() { Ok(Self { writer, held: None }) } else { Err(not_open()) };
        };
        let bytes = restored.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        let held = Held { rollover, group, frozen: restored, fresh: Vec::new(), bytes, since: now };
        Ok(Self { writer, held: Some(held) })
    }

    /// Takes rows.
    pub(crate) async fn write(&mut self, batch: &RecordBatch, now: Duration) -> Result<(), ConnectorError> {
        let Some(held) = &mut self.held else { return self.writer.write(batch).await };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if held.is_empty() {
            held.since = now;
        }
        held.bytes += batch.get_array_memory_size();
        held.fresh.push(batch.clone());
        if held.bytes as u64 >= held.rollover.bytes { self.pour().await } else { Ok(()) }
    }

    /// Cuts off what is to be published by the next checkpoint; at the end of all rows that is everything.
    pub(crate) async fn seal(&mut self, now: Duration, is_end: bool) -> Result<Sealing, ConnectorError> {
        if self.held.as_ref().is_some_and(|held| is_end || held.is_over(now)) {
            self.pour().await?;
        }
        self.writer.seal().await
    }

    /// What is held at a barrier, after `seal`. None where nothing ever is.
    pub(crate) fn freeze(&mut self) -> Result<Option<FrozenState>, ConnectorError> {
        let Some(held) = &mut self.held else { return Ok(None) };
        held.freeze().map(Some).map_err(|error| not_kept(&error))
    }

    /// Bytes that are held.
    pub(crate) fn state_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// Gives all that is held to the writer, in its order.
    async fn pour(&mut self) -> Result<(), ConnectorError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.bytes = 0;
        let frozen = std::mem::take(&mut held.frozen).into_iter().map(|batch| batch.rows);
        for rows in frozen.chain(std::mem::take(&mut held.fresh)) {
            self.writer.write(&rows).await?;
        }
        Ok(())
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.fresh.is_empty()
    }

    fn is_over(&self, now: Duration) -> bool {
        let is_old = self.rollover.age.is_some_and(|age| now.saturating_sub(self.since) >= age);
        !self.is_empty() && (is_old || self.bytes as u64 >= self.rollover.bytes)
    }

    fn freeze(&mut self) -> Result<FrozenState, ArrowError> {
        if let Some(first) = self.fresh.first() {
            let rows = concat_batches(&first.schema(), &self.fresh)?;
            self.frozen.push(StateBatch::new(vec![self.group; rows.num_rows()].into(), rows));
            self.fresh.clear();
            self.shorten()?;
        }
        let mut frozen = FrozenState::default();
        frozen.extend(HELD, self.frozen.iter().cloned());
        Ok(frozen)
    }

    /// Makes one batch of the last ones where they are many.
    fn shorten(&mut self) -> Result<(), ArrowError> {
        let Some(at) = self.frozen.len().checked_sub(RUN) else { return Ok(()) };
        let run = &self.frozen[at..];
        let rows = |batch: &StateBatch| batch.rows.num_rows();
        if rows(&run[0]) > run[1..].iter().map(rows).sum() {
            return Ok(());
        }
        let merged = concat_batches(&run[0].rows.schema(), run.iter().map(|batch| &batch.rows))?;
        let key_groups = run.iter().flat_map(|batch| batch.key_groups.iter().copied()).collect();
        self.frozen.truncate(at);
        self.frozen.push(StateBatch::new(key_groups, merged));
        self.bytes = self.frozen.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        Ok(())
    }
}

fn not_kept(error: &ArrowError) -> ConnectorError {
    ConnectorError::Data { attempted: "keep rows of open parts".to_owned(), reason: error.to_string() }
}

fn not_open() -> ConnectorError {
    let reason = "the table's parts end at each checkpoint, so none was open".to_owned();
    ConnectorError::Data { attempted: "take over rows of open parts".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    struct Ending;

    #[async_trait::async_trait]
    impl SinkWriter for Ending {
        async fn write(&mut self, _batch: &RecordBatch) -> Result<(), ConnectorError> {
            Ok(())
        }

        async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
            Ok(Box::pin(std::future::ready(Ok(Vec::new()))))
        }
    }

    #[test]
    fn rows_of_open_parts_are_refused_by_a_table_that_has_none() {
        let now = Duration::ZERO;
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        let column = std::sync::Arc::new(Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_new(schema.into(), vec![column]).unwrap();
        let mut state = FrozenState::default();
        assert!(RollingSink::new(Box::new(Ending), KeyGroup(0), std::slice::from_ref(&state), now).is_ok());
        state.extend(HELD, [StateBatch::new(vec![KeyGroup(0); 2].into(), rows)]);
        let refused = RollingSink::new(Box::new(Ending), KeyGroup(0), &[state], now).err().unwrap();
        assert!(refused.to_string().contains("take over rows of open parts"), "{refused}");
    }
}
