//! Idempotency keys: what they promise, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_key_of_a_request_without_records_is_remembered() {
    let rig = Rig::new();
    let mut first = rig.start().await;
    let position = first.reader.position();
    for (key, body) in [("k", "[]"), ("l", "")] {
        assert_eq!(first.post(key, body).await, ok(0));
        assert_eq!(first.post(key, body).await, ok(0));
        assert_eq!(first.post(key, &record(1)).await.0, 422);
    }
    assert_eq!(first.post("", &record(2)).await, ok(1));
    assert_eq!(first.read_batch().await, Some(vec![2]));
    drop(first);
    let mut second = rig.open(2, &position).await;
    assert_eq!(second.post("k", &record(1)).await.0, 422);
    assert_eq!(second.post("l", "").await, ok(0));
    assert_eq!(second.read_batch().await, Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_the_same_key_is_answered_again_and_adds_nothing() {
    let rig = Rig::new();
    let mut first = rig.start().await;
    let start = first.reader.position();
    let body = "{\"a\":1}\n{\"a\":2}\n";
    assert_eq!(first.post("k", body).await, ok(2));
    assert_eq!(first.post("k", body).await, ok(2));
    assert_eq!(first.post("other", body).await, ok(2), "it is another request");
    let (status, reason) = first.post("k", &record(3)).await;
    assert_eq!((status, reason.as_str()), (422, "this Idempotency-Key came before, with another body\n"));
    assert_eq!(first.post(&"k".repeat(256), body).await.0, 400);
    assert_eq!(first.read().await, [1, 2, 1, 2]);
    let read = first.reader.position();
    drop(first);

    // Also after a restart, from before the records and from behind them.
    let mut second = rig.open(2, &start).await;
    assert_eq!(second.post("k", body).await, ok(2));
    assert_eq!(second.read().await, [1, 2, 1, 2]);
    drop(second);
    rig.collect(&[&read]).await;
    let mut third = rig.open(3, &read).await;
    assert_eq!(third.post("k", body).await, ok(2));
    assert_eq!(third.post("k", &record(3)).await.0, 422);
    assert_eq!(third.read().await, [0; 0]);

    // For the time that was stated, and no longer.
    tokio::time::advance(RETENTION).await;
    assert_eq!(third.post("k", &record(3)).await, ok(1));
    assert_eq!(third.read().await, [3]);
}

/// A node's clock that is wrong by so much.
#[derive(Debug)]
struct Wrong(Arc<dyn Clock>, Duration);

impl Clock for Wrong {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time() + self.1
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_promised_for_as_long_on_nodes_whose_clocks_are_wrong() {
    let mut rig = Rig::new();
    let right = rig.clock.seams.clock.clone();
    let mut first = rig.start().await;
    assert_eq!(first.post("k", &record(1)).await, ok(1));
    assert_eq!(first.read().await, [1]);
    let read = first.reader.position();
    drop(first);
    // Hours ahead, then right again: hours behind the one before.
    for (attempt, ahead) in [(2, Duration::from_secs(5 * 3600)), (3, Duration::ZERO)] {
        rig.clock.seams.clock = Arc::new(Wrong(right.clone(), ahead));
        let mut later = rig.open(attempt, &read).await;
        assert_eq!(later.post("k", &record(1)).await, ok(1));
        assert_eq!(later.read().await, [0; 0], "it is the same request");
        tokio::time::advance(RETENTION / 2).await;
        assert_eq!(later.post("k", &record(1)).await, ok(1));
        assert_eq!(later.read().await, [0; 0], "the clock of the log stood still in between");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_found_with_another_body_is_refused() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    rig.faults.set(Fault::Ambiguous);
    assert_eq!(running.post("k", &record(1)).await.0, 503);
    rig.faults.set(Fault::None);
    assert_eq!(running.post("k", &record(2)).await.0, 422, "the first has turned out to be taken");
    assert_eq!(running.read().await, [1]);
}
