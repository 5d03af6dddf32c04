use std::sync::atomic::{AtomicU64, Ordering};

use raft::{
    Config,
    eraftpb::{ConfState, MessageType},
    storage::MemStorage,
};

use super::*;

/// Gives out 0, 1, 2, …
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn node() -> RawNode<MemStorage> {
    let config = Config { id: 1, election_tick: 10, heartbeat_tick: 2, pre_vote: true, ..Config::default() };
    let storage = MemStorage::new_with_conf_state(ConfState::from((vec![1, 2, 3], vec![])));
    RawNode::new(&config, storage, &slog::Logger::root(slog::Discard, slog::o!())).expect("a node")
}

/// Ticks until the member asks for pre-votes that nobody answers. Returns the number of ticks.
fn ticks_to_campaign(timer: &mut ElectionTimer, node: &mut RawNode<MemStorage>) -> usize {
    for ticks in 1..=100 {
        timer.tick(node);
        if !node.has_ready() {
            continue;
        }
        let mut ready = node.ready();
        let messages = ready.take_persisted_messages();
        node.advance(ready);
        if messages.iter().any(|message| message.get_msg_type() == MessageType::MsgRequestPreVote) {
            return ticks;
        }
    }
    panic!("it never campaigned");
}

#[test]
fn the_timeout_comes_from_the_seed_and_is_drawn_again_for_each_campaign() {
    let (mut timer, mut node) = (ElectionTimer::new(Arc::new(Counting::default()), 10), node());
    let campaigns: Vec<usize> = (0..12).map(|_| ticks_to_campaign(&mut timer, &mut node)).collect();
    // The first draw is 0. Later ones differ each time, and stay below twice the least timeout.
    assert_eq!(campaigns, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 10, 11]);
}
