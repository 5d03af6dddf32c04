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
//! Each partition's rows are large or old enough for themselves (`held`). At a barrier, rows are only handed over: the
//! sealing writes them beside the record path, or they stay state.
//!
//! So an open part needs no bytes that could be continued later. A restored sink has the rows themselves, whatever
//! the format, the destination and the parallelism.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use thalweg_connectors::{ConnectorError, Sealing, SinkWriter, Written};
use thalweg_keyed_state::FrozenState;
use thalweg_types::{CheckpointId, Fault, OperatorId, Watermark, seam::Clock};

use crate::{
    held::{Held, held_rows, not_kept},
    home::Home,
};

/// What the names of the writer's own values begin with, in the state.
const OF_WRITER: &str = "writer/";

/// The writer of a table, and the rows that it has not been given yet.
pub(crate) struct RollingSink {
    writer: Box<dyn SinkWriter>,
    home: Arc<Home>,
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

impl RollingSink {
    /// Creates a sink with the rows that it held in a checkpoint.
    ///
    /// # Errors
    /// If there are such rows but the writer's parts end at each checkpoint. A job's tables never change, so the rows
    /// do not belong to this table and must not be written to it.
    pub(crate) fn new(
        mut writer: Box<dyn SinkWriter>,
        home: Home,
        states: &[FrozenState],
        clock: &dyn Clock,
    ) -> Result<Self, ConnectorError> {
        let own = |state: &FrozenState| -> BTreeMap<String, i64> {
            let values = state.values.iter();
            values.filter_map(|(key, value)| Some((key.strip_prefix(OF_WRITER)?.to_owned(), *value))).collect()
        };
        let former: Vec<BTreeMap<String, i64>> = states.iter().map(own).filter(|own| !own.is_empty()).collect();
        if !former.is_empty() {
            writer.restore(&former, &|group| home.owns(group));
        }
        let home = Arc::new(home);
        let held = match writer.rollover() {
            Some(rollover) => Some(Held::new(rollover, home.clone(), states, (&*writer, clock))?),
            None if held_rows(states).next().is_some() => return Err(not_open()),
            None => None,
        };
        Ok(Self { writer, home, held, unconfirmed: Vec::new() })
    }

    /// The faults of rows that the writer cannot write.
    pub(crate) fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.writer.unfit(batch)
    }

    /// Whether the writer sets these rows aside itself.
    pub(crate) fn keeps_unfit(&self) -> bool {
        self.writer.keeps_unfit()
    }

    /// Lets the writer set rows aside.
    pub(crate) async fn set_aside(
        &mut self,
        operator: (OperatorId, &str),
        rows: &RecordBatch,
        faults: &[Fault],
    ) -> Result<(), ConnectorError> {
        self.writer.set_aside(operator, rows, faults).await
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

    /// All rows with an earlier event time have come.
    pub(crate) fn on_watermark(&mut self, watermark: Watermark) {
        self.writer.on_watermark(watermark);
    }

    /// Takes rows, and writes the held ones of partitions that are large enough.
    pub(crate) async fn write(&mut self, batch: &RecordBatch, now: Duration) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.writer.arrive(batch, &|row| self.home.group_of(batch, row))?;
        let Some(held) = &mut self.held else { return self.writer.write(&batch).await };
        held.keep(&batch, &*self.writer, now)?;
        let large = held.take_large(&*self.writer)?;
        for rows in large {
            self.writer.write(&rows).await?;
        }
        Ok(())
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

    /// `is_end` seals everything.
    async fn seal_held(&mut self, now: Duration, is_end: bool) -> Result<Sealing, ConnectorError> {
        let complete = self.writer.completing(is_end);
        let Some(held) = &mut self.held else { return self.writer.seal().await };
        let rows = if is_end { held.take() } else { held.take_due(&complete, &*self.writer, now)? };
        if rows.is_empty() { self.writer.seal().await } else { self.writer.seal_with(rows).await }
    }

    /// The held rows and the writer's own values at a barrier, after `seal`. `None` if the sink never has any.
    pub(crate) fn freeze(&mut self) -> Result<Option<FrozenState>, ConnectorError> {
        let own = self.writer.freeze();
        if self.held.is_none() && own.is_empty() {
            return Ok(None);
        }
        let mut frozen = match &mut self.held {
            Some(held) => held.freeze().map_err(|error| not_kept(&error))?,
            None => FrozenState::default(),
        };
        frozen.values.extend(own.into_iter().map(|(key, value)| (format!("{OF_WRITER}{key}"), value)));
        Ok(Some(frozen))
    }

    /// Bytes of the held rows and of the writer's own values.
    pub(crate) fn state_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, Held::bytes) + self.writer.state_bytes()
    }
}

fn not_open() -> ConnectorError {
    let reason = "the table's parts end at each checkpoint, so none was open".to_owned();
    ConnectorError::Data { attempted: "take over rows of open parts".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow::{
        array::{AsArray as _, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    };
    use async_trait::async_trait;
    use serde_json::Value;

    use super::*;
    use crate::held::{FRESH_BYTES_MAX, HELD, MERGED_BYTES_MAX, SINCE};
    use thalweg_connectors::Rollover;
    use thalweg_keyed_state::StateBatch;
    use thalweg_types::KeyGroup;

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
            let (inactivity, check) = (None, Duration::ZERO);
            Some(Rollover { bytes: 64 << 20, held_bytes: 64 << 20, age: Some(AGE), inactivity, check })
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

        fn state_bytes(&self) -> usize {
            7
        }
    }

    #[test]
    fn rows_of_open_parts_are_refused_by_a_table_that_has_none() {
        let mut state = FrozenState::default();
        let new = |state: &FrozenState| {
            RollingSink::new(Box::new(Ending), Home::any(KeyGroup(0)), std::slice::from_ref(state), &At(0, 0))
        };
        assert_eq!(new(&state).ok().map(|sink| sink.state_bytes()), Some(7), "the writer's own values count");
        state.extend(HELD, [StateBatch::new(vec![KeyGroup(0); 2].into(), rows(2))]);
        assert!(new(&state).err().unwrap().to_string().contains("open parts"));
    }

    fn sink(states: &[FrozenState], at: &At) -> (RollingSink, Arc<Mutex<usize>>) {
        let written = Arc::default();
        let writer = Box::new(Counting(Arc::clone(&written)));
        (RollingSink::new(writer, Home::any(KeyGroup(3)), states, at).unwrap(), written)
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
        let (fresh, frozen) = sink.held.as_ref().unwrap().fresh_and_frozen();
        assert!(fresh < FRESH_BYTES_MAX && frozen >= 4);
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

    /// A writer whose rows lie in partitions by the tens of their number. The sealing returns the numbers.
    struct ByTens(Rollover, Vec<i64>);

    #[async_trait]
    impl SinkWriter for ByTens {
        async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
            self.1.extend(batch.column(0).as_primitive::<Int64Type>().values());
            Ok(())
        }

        async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
            let written = std::mem::take(&mut self.1);
            Ok(Box::pin(async move { Ok(vec![Value::from(written)]) }))
        }

        fn partitions(&self, rows: &RecordBatch) -> Result<Option<BTreeMap<String, Vec<u32>>>, ConnectorError> {
            let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for (value, row) in rows.column(0).as_primitive::<Int64Type>().values().iter().zip(0..) {
                found.entry((value / 10).to_string()).or_default().push(row);
            }
            Ok(Some(found))
        }

        fn rollover(&self) -> Option<Rollover> {
            Some(self.0)
        }
    }

    fn by_tens(rollover: Rollover, states: &[FrozenState], at: &At) -> RollingSink {
        RollingSink::new(Box::new(ByTens(rollover, Vec::new())), Home::any(KeyGroup(3)), states, at).unwrap()
    }

    async fn write(sink: &mut RollingSink, values: &[i64], second: u64) {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        let rows = RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap();
        sink.write(&rows, Duration::from_secs(second)).await.unwrap();
    }

    const BY_AGE: Rollover = Rollover {
        bytes: 1 << 20,
        held_bytes: 64 << 20,
        age: Some(AGE),
        inactivity: Some(Duration::from_secs(4)),
        check: Duration::ZERO,
    };

    #[tokio::test]
    async fn each_partition_is_old_enough_for_itself() {
        let mut sink = by_tens(BY_AGE, &[], &At(0, 1000));
        write(&mut sink, &[1, 11, 21, 2], 0).await;
        write(&mut sink, &[12, 3], 3).await;
        assert_eq!(barrier(&mut sink, 3).await.0, serde_json::json!([]), "all stay");
        write(&mut sink, &[13, 4], 4).await;
        assert_eq!(barrier(&mut sink, 4).await.0, serde_json::json!([21]), "no row came for 4 s");
        write(&mut sink, &[5], 7).await;
        let (sealed, state) = barrier(&mut sink, 8).await;
        assert_eq!(sealed, serde_json::json!([11, 12, 13]), "in their order");
        assert_eq!(state.values["held-since-millis/0"], 1_000_000);
        assert_eq!(state.values["held-last-millis/0"], 1_007_000);
        assert_eq!(state.values.len(), 2, "nothing else is held");

        // By another process, which goes on counting.
        let mut restored = by_tens(BY_AGE, &[state], &At(50, 1009));
        write(&mut restored, &[31], 50).await;
        assert_eq!(barrier(&mut restored, 50).await.0, serde_json::json!([]));
        let (sealed, state) = barrier(&mut restored, 51).await;
        assert_eq!(sealed, serde_json::json!([1, 2, 3, 4, 5]), "10 s old");
        assert_eq!(state.table(HELD).iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 1);
        let sealing = restored.seal_all(Duration::from_secs(51)).await.unwrap();
        assert_eq!(sealing.await.unwrap(), [serde_json::json!([31])], "the end");
    }

    /// Earlier releases had one time for the rows of all partitions.
    #[tokio::test]
    async fn rows_of_a_state_without_partitions_are_as_old_as_all_of_it() {
        let mut first = by_tens(BY_AGE, &[], &At(0, 1000));
        write(&mut first, &[1, 11], 0).await;
        let (_, mut state) = barrier(&mut first, 1).await;
        state.values = BTreeMap::from([(SINCE.to_owned(), 1_000_000)]);
        let mut restored = by_tens(Rollover { inactivity: None, ..BY_AGE }, &[state], &At(0, 1008));
        write(&mut restored, &[21], 1).await;
        assert_eq!(barrier(&mut restored, 1).await.0, serde_json::json!([]));
        assert_eq!(barrier(&mut restored, 2).await.0, serde_json::json!([1, 11]), "10 s old");
    }

    /// A writer that says at each seal that the partition is complete up to which the watermark has come.
    struct Completing(ByTens, Vec<String>, BTreeMap<String, i64>);

    #[async_trait]
    impl SinkWriter for Completing {
        async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
            self.0.write(batch).await
        }

        async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
            self.0.seal().await
        }

        fn partitions(&self, rows: &RecordBatch) -> Result<Option<BTreeMap<String, Vec<u32>>>, ConnectorError> {
            self.0.partitions(rows)
        }

        fn rollover(&self) -> Option<Rollover> {
            self.0.rollover()
        }

        fn on_watermark(&mut self, watermark: Watermark) {
            self.1.push(watermark.0.to_string());
        }

        fn completing(&mut self, _is_end: bool) -> Vec<String> {
            std::mem::take(&mut self.1)
        }

        fn freeze(&self) -> BTreeMap<String, i64> {
            self.2.clone()
        }

        fn restore(&mut self, former: &[BTreeMap<String, i64>], _owns: &dyn Fn(KeyGroup) -> bool) {
            former.iter().for_each(|former| self.2.extend(former.clone()));
        }
    }

    #[tokio::test]
    async fn rows_of_a_complete_partition_are_not_held_and_the_writers_values_are_state() {
        let new = |own: &[(&str, i64)], states: &[FrozenState]| {
            let own = own.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            let writer = Completing(ByTens(BY_AGE, Vec::new()), Vec::new(), own);
            RollingSink::new(Box::new(writer), Home::any(KeyGroup(3)), states, &At(0, 1000)).unwrap()
        };
        let mut sink = new(&[("p=1", 7)], &[]);
        write(&mut sink, &[1, 11, 2], 0).await;
        sink.on_watermark(Watermark(0));
        let (sealed, state) = barrier(&mut sink, 0).await;
        assert_eq!(sealed, serde_json::json!([1, 2]));
        assert_eq!(state.values["writer/p=1"], 7);
        let mut restored = new(&[], &[state]);
        sink.on_watermark(Watermark(9));
        assert_eq!(barrier(&mut restored, 1).await.1.values["writer/p=1"], 7);
    }

    /// What is held moves with its key group, and so does what the writer knows of it.
    #[tokio::test]
    async fn rows_that_are_routed_by_key_are_state_of_their_key_group() {
        let groups: Vec<KeyGroup> = (0..8).map(KeyGroup).collect();
        let home = Home::keyed(0, &groups, 8);
        let mut sink = RollingSink::new(Box::new(ByTens(BY_AGE, Vec::new())), home.clone(), &[], &At(0, 1000)).unwrap();
        write(&mut sink, &[1, 11, 2, 12, 31], 0).await;
        let (_, state) = barrier(&mut sink, 1).await;
        let held = &state.table(HELD)[0];
        let expected: Vec<KeyGroup> = (0..5).filter_map(|row| home.group_of(&held.rows, row)).collect();
        assert_eq!(held.key_groups(), expected);
        assert!(expected.iter().any(|group| *group != expected[0]), "{expected:?}");
    }

    #[tokio::test]
    async fn ages_are_looked_at_no_more_often_than_the_table_says() {
        let mut sink = by_tens(Rollover { check: Duration::from_secs(60), ..BY_AGE }, &[], &At(0, 1000));
        assert_eq!(barrier(&mut sink, 1).await.0, serde_json::json!([]));
        write(&mut sink, &[1], 2).await;
        assert_eq!(barrier(&mut sink, 60).await.0, serde_json::json!([]));
        assert_eq!(barrier(&mut sink, 61).await.0, serde_json::json!([1]));
    }

    #[tokio::test]
    async fn a_large_partition_is_written_and_the_others_stay() {
        let mut sink = by_tens(Rollover { bytes: 3000, ..BY_AGE }, &[], &At(0, 1000));
        write(&mut sink, &[11, 12], 0).await;
        write(&mut sink, &[1; 200], 0).await;
        write(&mut sink, &[2; 200], 1).await;
        write(&mut sink, &[13], 1).await;
        let (sealed, state) = barrier(&mut sink, 1).await;
        assert_eq!(sealed, serde_json::json!([vec![1; 200], vec![2; 200]].concat()));
        let left: Vec<i64> = state.table(HELD).iter().flat_map(|batch| numbers(&batch.rows)).collect();
        assert_eq!(left, [11, 12, 13]);
        assert!(sink.state_bytes() < 3000);
    }

    fn numbers(rows: &RecordBatch) -> Vec<i64> {
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[tokio::test]
    async fn memory_is_bounded_by_the_partitions_that_got_rows_least_recently() {
        let mut sink = by_tens(Rollover { held_bytes: 8000, ..BY_AGE }, &[], &At(0, 1000));
        for partition in 0..20i64 {
            write(&mut sink, &[10 * partition; 100], u64::try_from(partition).unwrap() / 10).await;
            assert!(sink.state_bytes() < 8000, "{}", sink.state_bytes());
        }
        let (sealed, state) = barrier(&mut sink, 2).await;
        let written: Vec<i64> = sealed.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
        let left: Vec<i64> = state.table(HELD).iter().flat_map(|batch| numbers(&batch.rows)).collect();
        assert!(written.first() == Some(&0) && !written.is_empty() && written.iter().max() < left.iter().min());
        assert_eq!(written.len() + left.len(), 2000);
    }

    #[tokio::test]
    async fn batches_without_rows_of_a_due_partition_are_not_made_anew() {
        let mut sink = by_tens(BY_AGE, &[], &At(0, 1000));
        write(&mut sink, &[1, 2], 0).await;
        let (_, before) = barrier(&mut sink, 0).await;
        write(&mut sink, &[11], 1).await;
        barrier(&mut sink, 1).await;
        write(&mut sink, &[3], 4).await;
        let (sealed, after) = barrier(&mut sink, 5).await;
        assert_eq!(sealed, serde_json::json!([11]));
        assert!(before.table(HELD)[0].is_same(&after.table(HELD)[0]));
    }
}
