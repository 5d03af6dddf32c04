//! A sink at the end of a chain. If its parts stay open over checkpoints, their rows are state until they are
//! written.
//!
//! ```text
//! closes at each checkpoint:  rows ----------------------> writer --barrier--> sealed, in this checkpoint
//! stays open:                 rows --> held, as state --+
//!                                       large enough:   +-> writer --barrier--> sealed, in this checkpoint
//!                                       old enough, at a barrier or the end: --> the sealing writes them, in this checkpoint
//! ```
//!
//! At a barrier, rows are only handed over: the sealing writes them beside the record path, or they stay state.
//!
//! So an open part needs no bytes that could be continued later. A restored sink has the rows themselves, whatever
//! the format, the destination and the parallelism. Held rows are uploaded once, in one batch per checkpoint; a long
//! list of batches is merged.

use std::time::Duration;

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};
use thalweg_connectors::{ConnectorError, Rollover, Sealing, SinkWriter, Written};
use thalweg_keyed_state::{FrozenState, StateBatch};
use thalweg_types::{CheckpointId, Fault, KeyGroup, seam::Clock};

/// The table of the state that holds the rows.
const HELD: &str = "held";
/// The value of the state that says when the first held row came, in milliseconds since the Unix epoch.
const SINCE: &str = "held-since-millis";
/// Rows since the last barrier are concatenated when they take this many bytes, so that little is left to copy at the
/// barrier.
const FRESH_BYTES_MAX: usize = 4 << 20;
/// Batches that together take more bytes are not merged.
const MERGED_BYTES_MAX: usize = 8 << 20;

/// The writer of a table, and the rows that it has not been given yet.
pub(crate) struct RollingSink {
    writer: Box<dyn SinkWriter>,
    held: Option<Held>,
    /// Bytes that were sealed for checkpoints which are not known to be complete. If one of them is aborted, the next one has its
    /// rows too, and all are published at once.
    unconfirmed: Vec<(CheckpointId, u64)>,
}

/// What is known of a subtask's checkpoints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcomes {
    /// The newest complete one.
    pub(crate) confirmed: Option<CheckpointId>,
    /// The newest one that was given up.
    pub(crate) aborted: Option<CheckpointId>,
}

/// How much of the room is taken that a sink has for the rows of one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fill {
    /// There is room.
    Little,
    /// The next checkpoint should come soon.
    Much,
    /// It should be given no more rows before a checkpoint is complete.
    Full,
}

/// Rows of parts that stay open over checkpoints.
struct Held {
    rollover: Rollover,
    /// The key group of the rows in a checkpoint, one that the subtask owns.
    group: KeyGroup,
    /// Concatenated batches: those at the last barrier, and those made since.
    frozen: Vec<StateBatch>,
    /// Batches that are not concatenated yet.
    fresh: Vec<RecordBatch>,
    fresh_bytes: usize,
    bytes: usize,
    /// When the first held row came, since the Unix epoch. Restores keep it, so a part's age is measured by the wall
    /// clock of the first holder.
    since: Duration,
    /// The Unix time at the zero of the monotonic clock. Adding to it makes ages independent of later changes of the
    /// wall clock.
    unix_start: Duration,
}

impl RollingSink {
    /// Creates a sink with the rows that it held in a checkpoint.
    ///
    /// # Errors
    /// If there are such rows but the writer's parts end at each checkpoint. A job's tables never change, so the rows
    /// do not belong to this table and must not be written to it.
    pub(crate) fn new(
        writer: Box<dyn SinkWriter>,
        group: KeyGroup,
        states: &[FrozenState],
        clock: &dyn Clock,
    ) -> Result<Self, ConnectorError> {
        let restored: Vec<StateBatch> = states.iter().flat_map(|state| state.table(HELD)).cloned().collect();
        let Some(rollover) = writer.rollover() else {
            return if restored.is_empty() { Ok(Self::of(writer, None)) } else { Err(not_open()) };
        };
        let bytes = restored.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        let now = clock.unix_time();
        let unix_start = now.saturating_sub(clock.monotonic());
        let sinces = states.iter().filter_map(|state| state.values.get(SINCE)).filter_map(|at| u64::try_from(*at).ok());
        let since = sinces.min().map_or(now, |at| Duration::from_millis(at).min(now));
        let (fresh, fresh_bytes) = (Vec::new(), 0);
        let held = Held { rollover, group, frozen: restored, fresh, fresh_bytes, bytes, since, unix_start };
        Ok(Self::of(writer, Some(held)))
    }

    fn of(writer: Box<dyn SinkWriter>, held: Option<Held>) -> Self {
        Self { writer, held, unconfirmed: Vec::new() }
    }

    /// The faults of rows that the writer cannot write.
    pub(crate) fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.writer.unfit(batch)
    }

    /// Rows of the last batch that the writer has not written, since they are unfit. Told once.
    pub(crate) fn refused(&mut self) -> Vec<Fault> {
        // What is held is written with other batches, of which no row could be told.
        if self.held.is_some() { Vec::new() } else { self.writer.refused() }
    }

    /// How much of the room for one checkpoint is taken.
    pub(crate) fn fill(&self, known: Outcomes) -> Fill {
        let Some(Written { bytes, bytes_max }) = self.writer.written() else { return Fill::Little };
        let unconfirmed = self.unconfirmed.iter().filter(|(checkpoint, _)| Some(*checkpoint) > known.confirmed);
        let all = unconfirmed.map(|(_, sealed)| *sealed).sum::<u64>().saturating_add(bytes);
        // A checkpoint that is on its way may still take all that was sealed.
        let is_on_its_way = self.unconfirmed.last().is_some_and(|(newest, _)| Some(*newest) > known.aborted);
        let left = if is_on_its_way { bytes } else { all };
        match bytes_max {
            max if all >= max => Fill::Full,
            max if left >= max / 2 => Fill::Much,
            _ => Fill::Little,
        }
    }

    /// Takes rows, and writes all held ones once they are large enough.
    pub(crate) async fn write(&mut self, batch: &RecordBatch, now: Duration) -> Result<(), ConnectorError> {
        let Some(held) = &mut self.held else { return self.writer.write(batch).await };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if held.is_empty() {
            held.since = now + held.unix_start;
        }
        held.keep(batch).map_err(|error| not_kept(&error))?;
        if held.bytes as u64 >= held.rollover.bytes { self.pour().await } else { Ok(()) }
    }

    /// Seals the output of a checkpoint.
    pub(crate) async fn seal(
        &mut self,
        now: Duration,
        checkpoint: CheckpointId,
        known: Outcomes,
    ) -> Result<Sealing, ConnectorError> {
        self.unconfirmed.retain(|(sealed, _)| Some(*sealed) > known.confirmed);
        let written = self.writer.written().filter(|written| written.bytes > 0);
        self.unconfirmed.extend(written.map(|written| (checkpoint, written.bytes)));
        self.seal_held(now, false).await
    }

    /// Seals everything at the end.
    pub(crate) async fn seal_all(&mut self, now: Duration) -> Result<Sealing, ConnectorError> {
        self.seal_held(now, true).await
    }

    async fn seal_held(&mut self, now: Duration, is_end: bool) -> Result<Sealing, ConnectorError> {
        match self.held.as_mut().filter(|held| is_end || held.is_over(now)) {
            Some(held) => self.writer.seal_with(held.take()).await,
            None => self.writer.seal().await,
        }
    }

    /// The held rows at a barrier, after `seal`. `None` if the sink never holds rows.
    pub(crate) fn freeze(&mut self) -> Result<Option<FrozenState>, ConnectorError> {
        let Some(held) = &mut self.held else { return Ok(None) };
        held.freeze().map(Some).map_err(|error| not_kept(&error))
    }

    /// Bytes of the held rows.
    pub(crate) fn state_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// Writes all held rows, in order.
    async fn pour(&mut self) -> Result<(), ConnectorError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        for rows in held.take() {
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
        let is_old = self.rollover.age.is_some_and(|age| (now + self.unix_start).saturating_sub(self.since) >= age);
        !self.is_empty() && (is_old || self.bytes as u64 >= self.rollover.bytes)
    }

    fn keep(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let bytes = batch.get_array_memory_size();
        self.bytes += bytes;
        self.fresh_bytes += bytes;
        self.fresh.push(batch.clone());
        if self.fresh_bytes >= FRESH_BYTES_MAX { self.settle() } else { Ok(()) }
    }

    /// Takes all held rows, in order.
    fn take(&mut self) -> Vec<RecordBatch> {
        (self.bytes, self.fresh_bytes) = (0, 0);
        let frozen = std::mem::take(&mut self.frozen).into_iter().map(|batch| batch.rows);
        frozen.chain(std::mem::take(&mut self.fresh)).collect()
    }

    fn freeze(&mut self) -> Result<FrozenState, ArrowError> {
        self.settle()?;
        let mut frozen = FrozenState::default();
        if !self.is_empty() {
            let since = i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX);
            frozen.values.insert(SINCE.to_owned(), since);
        }
        frozen.extend(HELD, self.frozen.iter().cloned());
        Ok(frozen)
    }

    /// Concatenates the fresh batches.
    fn settle(&mut self) -> Result<(), ArrowError> {
        let Some(first) = self.fresh.first() else { return Ok(()) };
        let group = self.group;
        let state_batch = |rows: RecordBatch| StateBatch::new(vec![group; rows.num_rows()].into(), rows);
        let rows = concat_batches(&first.schema(), &self.fresh)?;
        self.fresh.clear();
        // Slices of a larger batch were each counted with the whole batch's bytes.
        self.bytes = self.bytes - std::mem::take(&mut self.fresh_bytes) + rows.get_array_memory_size();
        self.frozen.push(state_batch(rows));
        if let Some((before, after)) = StateBatch::shorten(&mut self.frozen, MERGED_BYTES_MAX, state_batch)? {
            self.bytes = self.bytes + after - before;
        }
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
    use std::sync::{Arc, Mutex};

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };
    use async_trait::async_trait;
    use serde_json::Value;

    use super::*;

    const AGE: Duration = Duration::from_secs(10);

    /// A clock: seconds since the start of the process, and since the Unix epoch.
    #[derive(Debug)]
    struct At(u64, u64);

    impl Clock for At {
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0)
        }

        fn unix_time(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    /// Counts the rows written before a barrier. The sealing counts the rows that come with it.
    struct Counting(Arc<Mutex<usize>>);

    #[async_trait]
    impl SinkWriter for Counting {
        async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
            *self.0.lock().unwrap() += batch.num_rows();
            Ok(())
        }

        async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
            self.seal_with(Vec::new()).await
        }

        async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
            let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
            Ok(Box::pin(async move { Ok(vec![Value::from(rows)]) }))
        }

        fn rollover(&self) -> Option<Rollover> {
            Some(Rollover { bytes: 64 << 20, age: Some(AGE) })
        }
    }

    /// A writer whose parts end at each checkpoint.
    struct Ending;

    #[async_trait]
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
        let mut state = FrozenState::default();
        let new = |state: &FrozenState| {
            RollingSink::new(Box::new(Ending), KeyGroup(0), std::slice::from_ref(state), &At(0, 0))
        };
        assert!(new(&state).is_ok());
        state.extend(HELD, [StateBatch::new(vec![KeyGroup(0); 2].into(), rows(2))]);
        assert!(new(&state).err().unwrap().to_string().contains("open parts"));
    }

    fn sink(states: &[FrozenState], at: &At) -> (RollingSink, Arc<Mutex<usize>>) {
        let written = Arc::default();
        let writer = Box::new(Counting(Arc::clone(&written)));
        (RollingSink::new(writer, KeyGroup(3), states, at).unwrap(), written)
    }

    fn rows(count: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from_iter_values(0..count))]).unwrap()
    }

    /// How many rows a barrier publishes, and the state afterwards.
    async fn barrier(sink: &mut RollingSink, second: u64) -> (Value, FrozenState) {
        let (at, checkpoint) = (Duration::from_secs(second), CheckpointId(second));
        let sealing = sink.seal(at, checkpoint, Outcomes::default()).await.unwrap();
        let state = sink.freeze().unwrap().unwrap();
        (sealing.await.unwrap().remove(0), state)
    }

    #[tokio::test]
    async fn rows_change_hands_at_a_barrier_and_are_written_by_the_sealing() {
        let (mut sink, written) = sink(&[], &At(0, 1000));
        sink.write(&rows(3), Duration::from_secs(1)).await.unwrap();
        sink.write(&rows(4), Duration::from_secs(2)).await.unwrap();
        let (sealed, state) = barrier(&mut sink, 10).await;
        assert_eq!((sealed, state.table(HELD).len()), (0.into(), 1), "all are state");
        sink.write(&rows(5), Duration::from_secs(10)).await.unwrap();
        let (sealed, state) = barrier(&mut sink, 11).await;
        assert_eq!((sealed, state.is_empty(), state.values.len()), (12.into(), true, 0), "none is");
        assert_eq!((*written.lock().unwrap(), sink.state_bytes()), (0, 0), "nothing was written on the record path");
    }

    #[tokio::test]
    async fn little_is_left_to_put_together_at_a_barrier() {
        let (mut sink, written) = sink(&[], &At(0, 1000));
        for _ in 0..40 {
            sink.write(&rows(64 << 10), Duration::ZERO).await.unwrap();
        }
        let held = sink.held.as_ref().unwrap();
        assert!(held.fresh_bytes < FRESH_BYTES_MAX && held.frozen.len() >= 4);
        let (_, state) = barrier(&mut sink, 1).await;
        let sizes = state.table(HELD).iter().map(|batch| batch.rows.get_array_memory_size());
        assert!(sizes.max() <= Some(MERGED_BYTES_MAX + FRESH_BYTES_MAX));
        assert_eq!(state.table(HELD).iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 40 << 16);
        assert_eq!(*written.lock().unwrap(), 0);
    }

    #[tokio::test]
    async fn the_age_of_held_rows_counts_over_restores() {
        let (mut first, _) = sink(&[], &At(500, 1000));
        first.write(&rows(3), Duration::from_secs(501)).await.unwrap();
        let (_, state) = barrier(&mut first, 504).await;
        assert_eq!(state.values[SINCE], 1_001_000);
        let mut younger = state.clone();
        younger.values.insert(SINCE.to_owned(), 1_008_000);

        // A process that has just started.
        let (mut second, _) = sink(&[younger.clone(), state.clone()], &At(0, 1009));
        let (sealed, again) = barrier(&mut second, 1).await;
        assert_eq!((sealed, again.values[SINCE]), (0.into(), 1_001_000), "the oldest counts");
        assert_eq!(barrier(&mut second, 2).await.0, 6);

        let (mut late, _) = sink(&[state], &At(0, 5000));
        assert_eq!(barrier(&mut late, 0).await.0, 3);

        // States without a time, or with one in the future.
        let (mut unknown, mut future) = (younger.clone(), younger);
        unknown.values.clear();
        future.values.insert(SINCE.to_owned(), i64::MAX);
        for state in [unknown, future] {
            let (mut third, _) = sink(&[state], &At(7, 2000));
            assert_eq!(barrier(&mut third, 16).await.0, 0);
            assert_eq!(barrier(&mut third, 17).await.0, 3);
        }
    }
}
