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

#[tokio::test(start_paused = true)]
async fn rows_are_given_again_until_acknowledged() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0);
    writer.push(batch(0..5)).await;
    writer.push(batch(5..8)).await;
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
async fn waits_for_the_first_row_and_no_longer_than_asked() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0);
    let rows = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT).await.unwrap();
    assert_eq!((rows.rows, rows.end), (0, false));
    let fetch = store.fetch(JOB, ATTEMPT, 0, 0, u64::MAX, WAIT);
    let (rows, ()) = tokio::join!(fetch, writer.push(batch(0..1)));
    assert_eq!(rows.unwrap().rows, 1);
    assert!(store.fetch(JOB, ATTEMPT, 1, 0, u64::MAX, WAIT).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_holds_the_writer_until_rows_are_acknowledged_or_gone() {
    let store = CollectStore::default();
    let writer = store.begin(JOB, ATTEMPT, 0);
    let mut pushed = 0;
    let big = batch(0..200_000);
    while tokio::time::timeout(WAIT, writer.push(big.clone())).await.is_ok() {
        pushed += 1;
        assert!(pushed < 20, "the buffer has no bound");
    }
    assert!(pushed >= 5);
    store.fetch(JOB, ATTEMPT, 0, 200_000, 1, WAIT).await.unwrap();
    tokio::time::timeout(WAIT, writer.push(big.clone())).await.unwrap();
    assert!(tokio::time::timeout(WAIT, writer.push(big.clone())).await.is_err());
    store.remove(JOB, ATTEMPT);
    tokio::time::timeout(WAIT, writer.push(big)).await.unwrap();
    assert!(store.fetch(JOB, ATTEMPT, 0, 0, 1, WAIT).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_newer_attempt_ends_the_wait_for_the_older() {
    let store = CollectStore::default();
    let _old = store.begin(JOB, ATTEMPT, 0);
    let fetch = store.fetch(JOB, ATTEMPT, 0, 0, 1, Duration::from_secs(100));
    let (rows, _new) = tokio::join!(fetch, async { store.begin(JOB, Attempt(2), 0) });
    assert_eq!(rows, None);
}
