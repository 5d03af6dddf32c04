//! Taking over a log: writers that are fenced, what is collected, and what is damaged.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_writer_whose_log_was_sealed_acknowledges_nothing_more() {
    let rig = Rig::new();
    let mut zombie = rig.start().await;
    assert_eq!(zombie.post("", &record(1)).await, ok(1));
    assert_eq!(zombie.read().await, [1]);
    let checkpoint = zombie.reader.position();
    let mut next = rig.open(2, &checkpoint).await;
    let (status, reason) = zombie.post("k", &record(2)).await;
    assert_eq!(status, 503);
    assert!(reason.contains("attempt-2 has taken it over"), "{reason}");
    assert_eq!(zombie.post("k", &record(2)).await.0, 503, "and so on");
    assert!(zombie.reader.next().await.is_err(), "it says so");
    assert_eq!(next.post("k", &record(2)).await, ok(1));
    assert_eq!(next.read().await, [2]);
    let error = rig.try_open(1, &checkpoint).await.err().expect("it is over");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Store);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_comes_back_after_its_segments_were_collected_is_fenced() {
    let rig = Rig::new();
    let mut zombie = rig.start().await;
    assert_eq!(zombie.post("", &record(1)).await, ok(1));
    assert_eq!(zombie.read().await, [1]);
    let mut next = rig.open(2, &zombie.reader.position()).await;
    for n in 2..6 {
        assert_eq!(next.post("", &record(n)).await, ok(1));
    }
    assert_eq!(next.read().await, [2, 3, 4, 5]);
    let position = next.reader.position();
    rig.collect(&[&position]).await;
    assert_eq!(rig.numbers().await, [1, 3, 7], "the seals, and the last segment that was read");
    assert_eq!(zombie.post("", &record(9)).await.0, 503);
    assert_eq!(next.post("", &record(6)).await, ok(1));
    assert_eq!(next.read().await, [6]);

    // One that has listed the log long ago finds a number that is free again, and then the seal of who came after it.
    let log = IngestLog::new(rig.store.clone(), rig.folder(&position));
    let third = rig.open(3, &next.reader.position()).await;
    rig.collect(&[&third.reader.position()]).await;
    let name = Some(LogName::of(IDENTITY, &position.id));
    let stale = LogPosition { segment: SegmentNumber(5), row: 0, keep: SegmentNumber(5), seals: Vec::new(), log: name };
    let split = Split { payload: stale.to_payload(), ..position };
    rig.faults.is_stale.store(true, Relaxed);
    let error = rig.try_open(2, &split).await.err().expect("it is over");
    assert!(thalweg_types::text::with_causes(&error).contains("a newer attempt has taken the log over"));
    assert!(log.list().await.expect("listed").contains_key(&SegmentNumber(3)));
}

#[tokio::test(start_paused = true)]
async fn segments_stay_while_a_checkpoint_or_a_promise_needs_them() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    let mut positions = Vec::new();
    for n in 1..=4 {
        let key = if n == 2 { "k" } else { "" };
        assert_eq!(running.post(key, &record(n)).await, ok(1));
        assert_eq!(running.read().await, [n]);
        positions.push(running.reader.position());
    }
    assert_eq!(rig.numbers().await, [1, 2, 3, 4, 5]);
    rig.collect(&[&positions[0], &positions[3]]).await;
    assert_eq!(rig.numbers().await, [1, 2, 3, 4, 5], "an older checkpoint is kept");
    rig.collect(&[&positions[3]]).await;
    assert_eq!(rig.numbers().await, [1, 3, 4, 5], "a key is promised");
    tokio::time::advance(RETENTION).await;
    rig.collect(&[&running.reader.position()]).await;
    assert_eq!(rig.numbers().await, [1, 5]);
    rig.collect(&[]).await;
    assert_eq!(rig.numbers().await, [0; 0], "the job is over");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_an_error_and_a_torn_last_segment_is_left_out() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    let start = running.reader.position();
    for n in 1..=3 {
        assert_eq!(running.post("", &record(n)).await, ok(1));
    }
    assert_eq!(running.read().await, [1, 2, 3]);
    drop(running);
    let torn = Path::from(segment_name(&rig.folder(&start), SegmentNumber(5)));
    rig.faults.inner.put(&torn, Bytes::from_static(&[0; 100]).into()).await.expect("put");
    let mut next = rig.open(2, &start).await;
    assert_eq!(next.read().await, [1, 2, 3]);
    drop(next);
    let mut next = rig.open(3, &start).await;
    assert_eq!(next.read().await, [1, 2, 3]);
    drop(next);
    let lost = Path::from(segment_name(&rig.folder(&start), SegmentNumber(3)));
    rig.faults.inner.delete(&lost).await.expect("deleted");
    let error = rig.try_open(4, &start).await.err().expect("a segment is missing").to_string();
    assert!(error.contains("000000000003.segment"), "{error}");
}
