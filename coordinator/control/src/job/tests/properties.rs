//! Whatever is lost and whenever, a job is published exactly once, and a cancelled one leaves nothing.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Fault {
    Deliver(u64),
    Progress(u64),
    Report(u64),
    Advance(u64),
    Lose(u64),
    Restart(u64),
    CutOff(u64),
    ComeBack(u64),
    Reattach(u64),
    FailSubtask(u64, FailureKind, Option<u64>),
    ChangeLeader,
    Stop,
    FailDiscards(u32),
    UseStore,
    FailStore(u32),
    FailSnapshots(u32),
    WantCheckpoint(u64),
    LoseProposals(u32),
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let node = || 1..4u64;
    let kind = prop_oneof![Just(FailureKind::Node), Just(FailureKind::Link), Just(FailureKind::Store)];
    let fault = prop_oneof![
        8 => node().prop_map(Fault::Deliver),
        8 => node().prop_map(Fault::Progress),
        8 => node().prop_map(Fault::Report),
        4 => (1..700u64).prop_map(Fault::Advance),
        1 => node().prop_map(Fault::Lose),
        2 => node().prop_map(Fault::Restart),
        1 => node().prop_map(Fault::CutOff),
        2 => node().prop_map(Fault::ComeBack),
        1 => node().prop_map(Fault::Reattach),
        1 => (node(), kind, prop::option::of(node()))
            .prop_map(|(node, kind, peer)| Fault::FailSubtask(node, kind, peer)),
        1 => Just(Fault::ChangeLeader),
        1 => Just(Fault::Stop),
        1 => (0..3u32).prop_map(Fault::FailDiscards),
        8 => Just(Fault::UseStore),
        1 => (0..3u32).prop_map(Fault::FailStore),
        1 => (0..3u32).prop_map(Fault::FailSnapshots),
        1 => node().prop_map(Fault::WantCheckpoint),
        2 => (1..3u32).prop_map(Fault::LoseProposals),
    ];
    prop::collection::vec(fault, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// The simulated nodes check the rules on each order they get. What is lost is repaired at the end.
    #[test]
    fn whatever_is_lost_the_job_is_published_exactly_once(
        faults in faults(), wish in prop::option::of(1..5u32), interval in prop::sample::select(vec![0u64, 200, 1000]),
        endless: bool,
    ) {
        let mut world = World::checkpointing(&[2, 2, 1], wish, Duration::from_millis(interval));
        world.endless = endless;
        let stopped_early = suffer(&mut world, faults);
        world.endless = false;
        for node in 1..4 {
            world.restart_node(NodeId(node));
            world.come_back(NodeId(node));
        }
        world.settle();
        let ended = world.status();
        prop_assert!(matches!(ended, JobStatus::Finished | JobStatus::Stopped), "{}", ended);
        prop_assert!(ended == JobStatus::Finished || stopped_early);
        let attempts: BTreeSet<Attempt> = world.published.iter().map(|(attempt, _)| *attempt).collect();
        prop_assert!(attempts.len() <= 1, "the ends of two attempts were published: {:?}", attempts);
        world.check_published();
        prop_assert!(world.record().checkpoints.is_empty(), "nobody goes on from them");
        prop_assert!(!world.has_leftovers());
    }

    /// Whenever it is cancelled, nothing is published and nothing stays hidden.
    #[test]
    fn a_cancelled_job_leaves_nothing(before in faults(), after in faults()) {
        let mut world = World::checkpointing(&[2, 2, 1], None, Duration::from_millis(300));
        world.endless = true;
        suffer(&mut world, before);
        let was_publishing = world.status() == JobStatus::Committing;
        let cancelled = world.end(EndMode::Cancel);
        suffer(&mut world, after);
        for node in 1..4 {
            world.restart_node(NodeId(node));
            world.come_back(NodeId(node));
        }
        world.settle();
        if was_publishing {
            prop_assert!(matches!(world.status(), JobStatus::Failed), "{}", world.status());
        } else if cancelled {
            prop_assert_eq!(world.status(), JobStatus::Cancelled);
            prop_assert!(world.published.is_empty());
            prop_assert!(!world.has_leftovers());
            world.check_published();
            prop_assert!(world.record().checkpoints.is_empty());
        }
    }
}

/// Returns whether a request to stop was taken.
fn suffer(world: &mut World, faults: Vec<Fault>) -> bool {
    let mut stopped_early = false;
    for fault in faults {
        match fault {
            Fault::Deliver(node) => world.deliver_order(NodeId(node)),
            Fault::Progress(node) => world.progress(NodeId(node)),
            Fault::Report(node) => world.deliver_reports(NodeId(node)),
            Fault::Advance(millis) => world.advance(Duration::from_millis(millis)),
            Fault::Lose(node) => world.lose_node(NodeId(node)),
            Fault::Restart(node) => world.restart_node(NodeId(node)),
            Fault::CutOff(node) => world.cut_off(NodeId(node)),
            Fault::ComeBack(node) => world.come_back(NodeId(node)),
            Fault::Reattach(node) => world.reattach(NodeId(node)),
            Fault::FailSubtask(node, kind, peer) => world.fail_subtask(NodeId(node), kind, peer.map(NodeId)),
            Fault::ChangeLeader => world.change_leader(),
            Fault::Stop => stopped_early |= world.end(EndMode::Stop),
            Fault::FailDiscards(count) => world.fail_discards(count),
            Fault::UseStore => world.use_store(),
            Fault::FailStore(count) => world.store_failures = vec![FailureKind::Store; count as usize],
            Fault::FailSnapshots(count) => world.snapshot_failures = count,
            Fault::WantCheckpoint(node) => world.want_checkpoint(NodeId(node)),
            Fault::LoseProposals(count) => world.lost_proposals = count,
        }
    }
    stopped_early
}
