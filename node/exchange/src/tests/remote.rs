use std::{sync::Arc, time::Duration};

use thalweg_proto::{
    convert::exchange::Hello,
    network::{MemoryNetwork, Network},
    testing::TestSpawner,
};
use thalweg_types::{
    Attempt, CheckpointId, NodeId, Watermark, checkpoint::Barrier, graph::Distribution, seam::Spawner,
};
use tokio::sync::mpsc;

use super::rig::{ATTEMPT, JOB, Plan, address_of, batch, keys_in, serve};
use crate::{
    Control, Element, Endpoints, ExchangeError, ExchangeRegistry, Inbound, InboundChannel, OutboundBuilder,
    OutboundConfig, PeerFailure, connect, service::DEPLOYMENT_PATIENCE,
};

fn plan(receivers: &[u64], window: u64, lz4: bool) -> Plan {
    let receivers = receivers.iter().copied().map(NodeId).collect();
    Plan { distribution: Distribution::Hash { keys: vec![0] }, receivers, window, lz4 }
}

async fn check_transfer(lz4: bool) {
    let mut rig = plan(&[1, 2, 3], 20_000, lz4).build().await;
    let mut batches: Vec<_> = (0..30).map(|n| batch((0..400).map(|key| key * 7 + n), 25)).collect();
    // Single rows larger than the window, one of them larger than a frame.
    batches.push(batch([1], 50_000));
    batches.push(batch([2], 3_000_000));
    batches.push(batch([1, 2, 3, 4], 10));
    let expected: Vec<i64> = batches.iter().flat_map(super::rig::keys_of).collect();
    let seen = rig.transfer(&batches).await;
    assert!(seen.iter().all(|elements| elements.len() > 5));
    let mut arrived: Vec<i64> = seen.iter().flat_map(|elements| keys_in(elements)).collect();
    let mut sent = expected.clone();
    arrived.sort_unstable();
    sent.sort_unstable();
    assert_eq!(arrived, sent);
    for elements in &seen {
        let keys = keys_in(elements);
        let in_order: Vec<i64> = expected.iter().copied().filter(|key| keys.contains(key)).collect();
        assert_eq!(keys, in_order);
    }
    for failures in rig.failures.values_mut() {
        assert!(failures.try_recv().is_err());
    }
}

#[tokio::test]
async fn rows_of_all_sizes_arrive_in_order_by_hash_on_three_nodes() {
    check_transfer(false).await;
}

#[tokio::test]
async fn rows_arrive_when_packed() {
    check_transfer(true).await;
}

#[tokio::test]
async fn control_keeps_its_place_among_rows() {
    let mut rig = plan(&[2], 1 << 20, false).build().await;
    rig.outbound.push(&batch(0..3, 5)).unwrap();
    for control in [
        Control::Watermark(Watermark(-7)),
        Control::Idle,
        Control::Barrier(Barrier::aligned(CheckpointId(4))),
        Control::Watermark(Watermark::MAX),
        Control::End,
    ] {
        rig.outbound.broadcast(control).unwrap();
    }
    // The first grant arrives over the network.
    while !rig.outbound.is_drained() {
        std::future::poll_fn(|context| rig.outbound.poll_flush(context)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&Element::End) {
        seen.push(rig.inbounds[0].next().await.unwrap().1);
    }
    assert_eq!(keys_in(&seen), [0, 1, 2]);
    let control = [
        Element::Watermark(Watermark(-7)),
        Element::Idle,
        Element::Barrier(Barrier::aligned(CheckpointId(4))),
        Element::Watermark(Watermark::MAX),
        Element::End,
    ];
    assert_eq!(seen[1..], control);
}

/// A piece of a batch shares its buffers with the other pieces, and must not take all of them along.
#[tokio::test(start_paused = true)]
async fn wide_rows_that_are_cut_into_pieces_arrive() {
    let mut rig = plan(&[2], 256 << 10, false).build().await;
    let wide = [batch(0..4000, 500), batch(4000..4100, 20_000)];
    let seen = tokio::time::timeout(Duration::from_secs(60), rig.transfer(&wide)).await;
    let told = rig.failures.get_mut(&NodeId(2)).unwrap().try_recv();
    assert!(told.is_err(), "{told:?}");
    assert_eq!(keys_in(&seen.unwrap()[0]), (0..4100).collect::<Vec<_>>());
}

/// On a paused clock, which advances only when all tasks wait, so the sender is certainly full.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_bounds_memory_across_nodes() {
    let window = 50_000;
    let mut rig = plan(&[2], window, false).build().await;
    let mut pushed = 0i64;
    let filling = async {
        loop {
            std::future::poll_fn(|context| rig.outbound.poll_flush(context)).await.unwrap();
            rig.outbound.push(&batch(pushed..pushed + 50, 40)).unwrap();
            pushed += 50;
            assert!(pushed < 10_000, "nothing stops the sender");
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), filling).await.is_err());
    assert!(rig.inbounds[0].held_bytes() > window / 2);
    assert!(rig.inbounds[0].held_bytes() <= window);
}

#[tokio::test]
async fn a_broken_stream_is_told_at_both_ends() {
    let mut rig = plan(&[2], 1 << 20, false).build().await;
    rig.outbound.push(&batch(0..3, 5)).unwrap();
    rig.network.cut();
    let at_sender = rig.failures.get_mut(&NodeId(1)).unwrap().recv().await.unwrap();
    assert_eq!(at_sender.peer, NodeId(2));
    let at_receiver = rig.failures.get_mut(&NodeId(2)).unwrap().recv().await.unwrap();
    assert_eq!(at_receiver.peer, NodeId(1));
    assert!(at_receiver.message.contains("node-1 to node-2 broke"), "{}", at_receiver.message);
}

#[tokio::test]
async fn closing_an_attempt_ends_its_streams() {
    let mut rig = plan(&[2], 1 << 20, false).build().await;
    rig.endpoints[&NodeId(1)].close();
    let told = rig.failures.get_mut(&NodeId(2)).unwrap().recv().await.unwrap();
    assert!(told.message.contains("ended before the attempt"), "{}", told.message);
    assert!(rig.failures.get_mut(&NodeId(1)).unwrap().try_recv().is_err());
}

/// Dials node 2, whose attempts are in `registry`, as node 1 of an attempt.
async fn dial(registry: ExchangeRegistry, attempt: Attempt) -> Result<(), ExchangeError> {
    let network = Arc::new(MemoryNetwork::default());
    serve(&network, NodeId(2), registry).await;
    let (report, _told) = mpsc::channel(1);
    let endpoints = Arc::new(Endpoints::new(NodeId(1), JOB, attempt, [], report));
    let key_groups = thalweg_types::KeyGroupTable::even(1, 1);
    let mut builder = OutboundBuilder::new(&endpoints, OutboundConfig { batch_rows: 1, lz4: false, key_groups });
    let edge = thalweg_types::graph::Edge {
        from: thalweg_types::OperatorId(0),
        to: thalweg_types::OperatorId(1),
        port: 0,
        distribution: Distribution::Gather,
    };
    let (from, to) = (thalweg_types::ChainId(0), thalweg_types::ChainId(1));
    let channel = thalweg_types::ChannelId { exchange: 0, from: 0, to: 0 };
    builder.add(&thalweg_types::Exchange { index: 0, from, to, edge }, &[(channel, NodeId(2))]);
    let (_outbounds, mut links) = builder.build();
    let (network, io): (Arc<dyn Network>, Arc<dyn Spawner>) = (network, Arc::new(TestSpawner));
    connect(&network, &io, &endpoints, &address_of(NodeId(2)), links.remove(0)).await
}

fn receiver(attempt: Attempt, from: u64) -> Arc<Endpoints> {
    told_receiver(attempt, from).0
}

/// Endpoints on node 2, and the failures reported to them.
fn told_receiver(attempt: Attempt, from: u64) -> (Arc<Endpoints>, mpsc::Receiver<PeerFailure>) {
    let id = thalweg_types::ChannelId { exchange: 0, from: 0, to: 0 };
    let channel = InboundChannel { id, schema: batch([0], 1).schema(), from: NodeId(from) };
    let (report, told) = mpsc::channel(1);
    (Arc::new(Endpoints::new(NodeId(2), JOB, attempt, [&Inbound::new(vec![channel], 1000)], report)), told)
}

fn source_text(error: &ExchangeError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn streams_of_unknown_attempts_wait_for_the_deployment_and_are_then_refused() {
    let error = dial(ExchangeRegistry::default(), ATTEMPT).await.unwrap_err();
    assert_eq!(error.peer(), Some(NodeId(2)));
    assert!(source_text(&error).contains("does not run here"), "{}", source_text(&error));

    let registry = ExchangeRegistry::default();
    // On the paused clock, which advances once the stream waits.
    let late = async {
        tokio::time::sleep(DEPLOYMENT_PATIENCE / 2).await;
        registry.register(receiver(ATTEMPT, 1));
    };
    let (dialled, ()) = tokio::join!(dial(registry.clone(), ATTEMPT), late);
    dialled.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_of_older_attempts_and_strangers_are_refused_at_once() {
    let registry = ExchangeRegistry::default();
    registry.register(receiver(ATTEMPT.next(), 1));
    let waited = tokio::time::timeout(Duration::from_secs(1), dial(registry, ATTEMPT)).await;
    let error = waited.unwrap().unwrap_err();
    assert!(source_text(&error).contains("is over: attempt-"), "{}", source_text(&error));

    let registry = ExchangeRegistry::default();
    registry.register(receiver(ATTEMPT, 9));
    let error = dial(registry, ATTEMPT).await.unwrap_err();
    assert!(source_text(&error).contains("no channel leads"), "{}", source_text(&error));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_newer_attempt_ends_the_older_one_here() {
    let registry = ExchangeRegistry::default();
    let (older, mut told) = told_receiver(ATTEMPT, 1);
    registry.register(older);
    let ended = async {
        let failure = told.recv().await.unwrap();
        assert_eq!(failure.peer, NodeId(1));
        assert!(failure.message.contains("is over: node-1 runs"), "{}", failure.message);
        // Once its deployment arrives, the newer attempt is served.
        registry.register(receiver(ATTEMPT.next(), 1));
    };
    let (dialled, ()) = tokio::join!(dial(registry.clone(), ATTEMPT.next()), ended);
    dialled.unwrap();

    let registry = ExchangeRegistry::default();
    let (newer, mut told) = told_receiver(ATTEMPT.next(), 1);
    registry.register(newer);
    dial(registry, ATTEMPT).await.unwrap_err();
    assert!(told.try_recv().is_err(), "an older stream proves nothing");
}

#[test]
fn only_a_peer_of_an_attempt_proves_that_it_is_over() {
    let (running, mut told) = told_receiver(ATTEMPT, 1);
    let registry = ExchangeRegistry::default();
    registry.register(running);
    let version = thalweg_types::ENGINE_VERSION.to_owned();
    let proof = Hello { version, job: JOB, attempt: ATTEMPT.next(), from: NodeId(1), to: NodeId(2) };
    let forged = [
        Hello { from: NodeId(77), ..proof.clone() },
        Hello { from: NodeId(77), attempt: Attempt(u32::MAX), ..proof.clone() },
        Hello { attempt: Attempt(u32::MAX), ..proof.clone() },
        Hello { to: NodeId(3), ..proof.clone() },
        Hello { version: "0.0.1".to_owned(), ..proof.clone() },
    ];
    for forged in forged {
        registry.on_proof(&forged);
        assert!(told.try_recv().is_err(), "{forged:?}");
    }
    registry.on_proof(&proof);
    assert!(told.try_recv().is_ok());
}

#[test]
fn a_sender_of_another_version_is_refused_by_both_versions() {
    let hello = Hello { version: "0.0.1".to_owned(), job: JOB, attempt: ATTEMPT, from: NodeId(1), to: NodeId(2) };
    let refused = receiver(ATTEMPT, 1).accept(&hello).unwrap_err();
    assert_eq!(refused, format!("engine 0.0.1 sends to engine {}", thalweg_types::ENGINE_VERSION));
}
