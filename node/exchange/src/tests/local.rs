use std::collections::BTreeMap;

use futures::FutureExt;
use proptest::prelude::*;
use thalweg_types::{CheckpointId, NodeId, Watermark, checkpoint::Barrier, graph::Distribution};

use super::rig::{Plan, batch, keys_in};
use crate::{Control, Element, GivenUp};

const HERE: NodeId = NodeId(1);

fn plan(distribution: Distribution, receivers: usize, window: u64) -> Plan {
    Plan { distribution, receivers: vec![HERE; receivers], window, lz4: false }
}

fn by_key() -> Distribution {
    Distribution::Hash { keys: vec![0] }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Every row arrives once. All rows of a key arrive at one receiver, in the order in which they were sent.
    #[test]
    fn rows_arrive_once_at_the_owner_of_their_key_in_order(
        batches in prop::collection::vec(prop::collection::vec(0i64..50, 0..200), 0..20),
        receivers in 1usize..4,
        window in 1024u64..20_000,
        width in 1usize..60,
    ) {
        let sent: Vec<_> = batches.iter().map(|keys| batch(keys.clone(), width)).collect();
        let seen = block_on(async { plan(by_key(), receivers, window).build().await.transfer(&sent).await });
        let mut owner = BTreeMap::new();
        for (receiver, elements) in seen.iter().enumerate() {
            for key in keys_in(elements) {
                prop_assert_eq!(*owner.entry(key).or_insert(receiver), receiver);
            }
        }
        for (receiver, elements) in seen.iter().enumerate() {
            let expected: Vec<i64> = batches.iter().flatten().copied().filter(|key| owner.get(key) == Some(&receiver)).collect();
            prop_assert_eq!(keys_in(elements), expected);
        }
        prop_assert_eq!(owner.len(), batches.iter().flatten().collect::<std::collections::BTreeSet<_>>().len());
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_read_bounds_what_is_sent_and_pending() {
    let mut rig = plan(by_key(), 1, 10_000).build().await;
    let mut pushed = 0i64;
    while rig.outbound.is_ready() {
        rig.outbound.push(&batch(pushed..pushed + 10, 20)).unwrap();
        pushed += 10;
        assert!(pushed < 2000, "nothing stops the sender");
    }
    let inbound = &mut rig.inbounds[0];
    assert!(inbound.held_bytes() <= 10_000);
    assert!(!rig.outbound.is_drained());
    rig.outbound.broadcast(Control::Watermark(Watermark(5))).unwrap();
    rig.outbound.broadcast(Control::Barrier(Barrier::aligned(CheckpointId(1)))).unwrap();
    rig.outbound.broadcast(Control::End).unwrap();
    let mut seen = Vec::new();
    while let Some(next) = inbound.next().now_or_never() {
        let (channel, element) = next.unwrap();
        if let Element::Batch { cost, .. } = &element {
            inbound.release(channel, *cost);
            rig.outbound.flush().unwrap();
        }
        seen.push(element);
    }
    assert_eq!(keys_in(&seen), (0..pushed).collect::<Vec<_>>());
    let control = [Element::Watermark(Watermark(5)), Element::Barrier(Barrier::aligned(CheckpointId(1))), Element::End];
    assert_eq!(seen[seen.len() - 3..], control);
    assert!(rig.outbound.is_drained() && inbound.held_bytes() == 0);
}

#[tokio::test]
async fn one_channel_without_credit_does_not_hold_up_the_others() {
    let mut rig = plan(by_key(), 2, 4096).build().await;
    let rows = batch(0..100, 30);
    while rig.outbound.is_ready() {
        rig.outbound.push(&rows).unwrap();
    }
    let (first, second) = rig.inbounds.split_at_mut(1);
    // Only the first receiver reads. Everything of its keys that was pushed arrives.
    let (mut before, mut rounds) = (0, 0);
    loop {
        while let Some(next) = first[0].next().now_or_never() {
            let (channel, element) = next.unwrap();
            let Element::Batch { batch, cost } = element else { panic!("only rows were sent") };
            before += batch.num_rows();
            first[0].release(channel, cost);
        }
        rig.outbound.flush().unwrap();
        rounds += 1;
        if rounds > 50 {
            break;
        }
    }
    assert!(before > 0 && !rig.outbound.is_ready());
    assert!(second[0].held_bytes() <= 4096 && second[0].held_bytes() > 0);
}

#[tokio::test]
async fn while_there_is_no_credit_small_batches_become_big_ones() {
    let mut rig = plan(by_key(), 1, 100_000).build().await;
    for n in 0..600 {
        rig.outbound.push(&batch(n..n + 1, 300)).unwrap();
    }
    let inbound = &mut rig.inbounds[0];
    let mut sizes = Vec::new();
    while let Some(next) = inbound.next().now_or_never() {
        let (channel, element) = next.unwrap();
        let Element::Batch { batch, cost } = element else { panic!("only rows were sent") };
        sizes.push(batch.num_rows());
        inbound.release(channel, cost);
        if inbound.held_bytes() == 0 {
            rig.outbound.flush().unwrap();
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 600);
    assert_eq!(sizes[0], 1, "with credit, a row goes at once");
    assert!(sizes.iter().max().unwrap() > &20, "{sizes:?}");
}

#[tokio::test]
async fn rebalance_takes_turns_and_passes_over_a_channel_without_credit() {
    let mut rig = plan(Distribution::Rebalance, 2, 1 << 20).build().await;
    for n in 0..10 {
        rig.outbound.push(&batch(n..n + 1, 10)).unwrap();
    }
    for inbound in &mut rig.inbounds {
        let mut rows = 0;
        while let Some(next) = inbound.next().now_or_never() {
            next.unwrap();
            rows += 1;
        }
        assert_eq!(rows, 5);
    }
}

#[tokio::test]
async fn blocked_channels_are_not_read_and_control_costs_no_credit() {
    let mut rig = plan(Distribution::Gather, 1, 1024).build().await;
    let inbound = &mut rig.inbounds[0];
    inbound.set_blocked(0, true);
    for n in 0..1000 {
        rig.outbound.broadcast(Control::Watermark(Watermark(n))).unwrap();
    }
    assert!(rig.outbound.is_ready() && rig.outbound.is_drained());
    assert!(inbound.next().now_or_never().is_none());
    inbound.set_blocked(0, false);
    assert_eq!(inbound.next().await.unwrap(), (0, Element::Watermark(Watermark(999))));
    assert!(inbound.next().now_or_never().is_none());
}

/// Captures what is in the queues of channels that have not delivered the barrier, and what arrives there before it.
#[tokio::test]
async fn a_barrier_overtakes_what_it_finds_and_what_comes_before_it() {
    let mut rig = plan(by_key(), 1, 1 << 20).build().await;
    let barrier = |id| Control::Barrier(Barrier::aligned(CheckpointId(id)));
    rig.outbound.push(&batch(0..3, 5)).unwrap();
    let inbound = &mut rig.inbounds[0];
    inbound.overtake(CheckpointId(1), |_| false);
    rig.outbound.push(&batch(3..5, 5)).unwrap();
    assert_eq!(inbound.take_overtaken(CheckpointId(1)).unwrap().map(|rows| rows.len()), None);
    rig.outbound.broadcast(barrier(1)).unwrap();
    rig.outbound.push(&batch(5..9, 5)).unwrap();
    let overtaken = inbound.take_overtaken(CheckpointId(1)).unwrap().unwrap();
    let rows: Vec<Element> =
        overtaken.iter().map(|rows| Element::Batch { batch: rows.decode().unwrap(), cost: 0 }).collect();
    assert_eq!(keys_in(&rows), (0..5).collect::<Vec<_>>());
    // All rows are delivered, and the barrier is not.
    let mut seen = Vec::new();
    rig.outbound.broadcast(Control::End).unwrap();
    while seen.last() != Some(&Element::End) {
        seen.push(inbound.next().await.unwrap().1);
    }
    assert_eq!(keys_in(&seen), (0..9).collect::<Vec<_>>());
    assert!(!seen.iter().any(|element| matches!(element, Element::Barrier(_))));
    // A barrier in the queue ends the capture at its position. A barrier of a newer checkpoint ends it for good.
    rig.outbound.push(&batch(9..10, 5)).unwrap();
    rig.outbound.broadcast(barrier(2)).unwrap();
    rig.outbound.push(&batch(10..11, 5)).unwrap();
    inbound.overtake(CheckpointId(2), |_| false);
    assert_eq!(inbound.take_overtaken(CheckpointId(2)).unwrap().unwrap().len(), 1);
    inbound.overtake(CheckpointId(3), |_| false);
    rig.outbound.broadcast(barrier(4)).unwrap();
    assert_eq!(inbound.take_overtaken(CheckpointId(3)).unwrap_err(), GivenUp);
}

#[tokio::test]
async fn rows_go_where_they_are_assigned_and_a_probe_tells_when_they_are_processed() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, UInt32Array};

    let mut rig = plan(Distribution::Assigned, 3, 10_000).build().await;
    let rows = |subtasks: Vec<u32>| {
        let column: ArrayRef = Arc::new(UInt32Array::from(subtasks));
        RecordBatch::try_from_iter([("subtask", column)]).unwrap()
    };
    rig.outbound.push(&rows(vec![2, 0, 2])).unwrap();
    assert!(rig.outbound.push(&rows(vec![3])).unwrap_err().to_string().contains("assign"), "there is no such subtask");
    assert!(rig.outbound.push(&batch(0..1, 1)).is_err(), "the first column is no index");
    rig.outbound.broadcast(Control::Watermark(Watermark(5))).unwrap();
    rig.outbound.probe(&rows(vec![]).schema()).unwrap();
    let carried = rig.outbound.carried();
    let mut seen = Vec::new();
    for inbound in &mut rig.inbounds {
        assert!(!rig.outbound.has_processed(&carried));
        let mut sizes = Vec::new();
        while let Some(next) = inbound.next().now_or_never() {
            match next.unwrap() {
                (channel, Element::Batch { batch, cost }) => {
                    sizes.push(batch.num_rows());
                    inbound.release(channel, cost);
                }
                (_, element) => assert_eq!(element, Element::Watermark(Watermark(5))),
            }
        }
        rig.outbound.flush().unwrap();
        seen.push(sizes);
    }
    assert_eq!(seen, [vec![1, 0], vec![0], vec![2, 0]], "the probe comes alone, behind all else");
    assert!(rig.outbound.has_processed(&carried));
}
