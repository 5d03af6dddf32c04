use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};

use super::*;

const JOB: JobId = JobId(1);
const ATTEMPT: Attempt = Attempt(1);
const WAIT: Duration = Duration::from_secs(1);

fn batch(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn values(rows: &CollectedRows) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    rows.batches.iter().flat_map(column).collect()
}

/// Waits for room and pushes rows, and completes a checkpoint after them.
async fn push_frozen(store: &CollectStore, writer: &CollectWriter, batch: RecordBatch) {
    writer.room().await;
    writer.push(batch, || {});
    let _ = writer.freeze(CheckpointId(1));
    store.release(JOB, ATTEMPT, CheckpointId(1));
}

#[tokio::test(start_paused = true)]
async fn rows_are_given_again_until_acknowledged() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    push_frozen(&store, &writer, batch(0..5)).await;
    push_frozen(&store, &writer, batch(5..8)).await;
    for _ in 0..2 {
        let rows = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT).await.unwrap();
        assert_eq!((rows.offset, rows.rows, rows.end), (0, 8, false));
    }
    let rows = store.fetch(JOB, ATTEMPT, 0, 3, 1, WAIT).await.unwrap();
    assert_eq!((rows.offset, values(&rows)), (3, vec![3, 4]));
    writer.end();
    let rows = store.fetch(JOB, ATTEMPT, 0, 5, u64::MAX, WAIT).await.unwrap();
    assert_eq!((values(&rows), rows.end), (vec![5, 6, 7], true));
    let rows = store.fetch(JOB, ATTEMPT, 0, 8, u64::MAX, WAIT).await.unwrap();
    assert_eq!((rows.offset, rows.rows, rows.end), (8, 0, true));
}

#[tokio::test(start_paused = true)]
async fn rows_are_given_once_a_complete_checkpoint_holds_them() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    let fetch = async |offset| store.fetch(JOB, ATTEMPT, 0, offset, u64::MAX, WAIT).await.unwrap();
    writer.push(batch(0..5), || {});
    let first = writer.freeze(CheckpointId(1));
    writer.push(batch(5..8), || {});
    assert_eq!(fetch(0).await.rows, 0);
    store.release(JOB, ATTEMPT, CheckpointId(1));
    assert_eq!(values(&fetch(0).await), [0, 1, 2, 3, 4]);
    // An aborted checkpoint releases nothing. The next complete one releases its rows too.
    let _aborted = writer.freeze(CheckpointId(2));
    writer.push(batch(8..9), || {});
    assert_eq!(fetch(2).await.rows, 3);
    let third = writer.freeze(CheckpointId(3));
    writer.push(batch(9..10), || {});
    writer.end();
    store.release(JOB, ATTEMPT, CheckpointId(3));
    let rows = fetch(5).await;
    assert_eq!((values(&rows), rows.end), (vec![5, 6, 7, 8], false));
    // A new attempt resumes from either checkpoint, with the same offsets.
    for (state, offset, expected) in [(&first, 3, vec![3, 4]), (&third, 4, vec![4, 5, 6, 7, 8])] {
        let _writer = store.begin(JOB, Attempt(2), 0, std::slice::from_ref(state));
        let rows = store.fetch(JOB, Attempt(2), 0, offset, u64::MAX, WAIT).await.unwrap();
        assert_eq!((rows.offset, values(&rows)), (offset, expected));
    }
    assert!(third.batches().next().unwrap().1.is_same(first.batches().next().unwrap().1));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_job_releases_the_rest() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    writer.push(batch(0..5), || {});
    writer.end();
    assert_eq!(store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT).await.unwrap().rows, 0);
    store.release(JOB, ATTEMPT, CheckpointId::FINAL);
    let rows = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT).await.unwrap();
    assert_eq!((rows.rows, rows.end), (5, true));
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_a_checkpoint_ask_for_one() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    let wanted = std::cell::Cell::new(0);
    for _ in 0..10 {
        writer.push(batch(0..200_000), || wanted.set(wanted.get() + 1));
    }
    assert!((3..8).contains(&wanted.get()), "{}", wanted.get());
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_first_row_and_no_longer_than_asked() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    let rows = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT).await.unwrap();
    assert_eq!((rows.rows, rows.end), (0, false));
    let fetch = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT);
    let (rows, ()) = tokio::join!(fetch, push_frozen(&store, &writer, batch(0..1)));
    assert_eq!(rows.unwrap().rows, 1);
    assert!(store.fetch(JOB, ATTEMPT, 1, 0, u64::MAX, WAIT).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_holds_the_writer_until_rows_are_acknowledged_or_gone() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0, &[]);
    let mut pushed = 0;
    let big = batch(0..200_000);
    while tokio::time::timeout(WAIT, push_frozen(&store, &writer, big.clone())).await.is_ok() {
        pushed += 1;
        assert!(pushed < 90, "the buffer has no bound");
    }
    assert!(pushed >= 5);
    store.fetch(JOB, ATTEMPT, 0, 200_000, 1, WAIT).await.unwrap();
    tokio::time::timeout(WAIT, push_frozen(&store, &writer, big.clone())).await.unwrap();
    assert!(tokio::time::timeout(WAIT, push_frozen(&store, &writer, big.clone())).await.is_err());
    store.remove(JOB, ATTEMPT);
    tokio::time::timeout(WAIT, push_frozen(&store, &writer, big)).await.unwrap();
    assert!(store.fetch(JOB, ATTEMPT, 0, 0, 1, WAIT).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_newer_attempt_ends_the_wait_for_the_older() {
    let store = CollectStore::default();
    let _old = store.begin(JOB, ATTEMPT, 0, &[]);
    let fetch = store.fetch(JOB, ATTEMPT, 0, 0, 1, Duration::from_secs(100));
    let (rows, _new) = tokio::join!(fetch, async { store.begin(JOB, Attempt(2), 0, &[]) });
    assert_eq!(rows, None);
}
