//! Well-typed messages that no member sends, sent to members in the names of others.
//!
//! A forged leader can undo what was agreed, and a member that notices stops. But none panics.

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use thalweg_types::MemberId;

use super::group::Group;
use crate::{
    ConsensusExit,
    membership::{Roster, Seat},
    record_codec::{Origin, encode_snapshot},
};

const KINDS: [MessageType; 12] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
];

/// A number near one that the group knows, or far from all.
#[derive(Debug, Clone, Copy)]
enum Number {
    Zero,
    Near(i64),
    Far(u64),
}

impl Number {
    fn from(self, known: u64) -> u64 {
        match self {
            Self::Zero => 0,
            Self::Near(by) => known.saturating_add_signed(by),
            Self::Far(number) => number,
        }
    }
}

fn number() -> impl Strategy<Value = Number> {
    let far = prop::sample::select(vec![1_000_000, 1 << 40, 1 << 61, 1 << 63, u64::MAX]);
    prop_oneof![1 => Just(Number::Zero), 8 => (-2..3i64).prop_map(Number::Near), 2 => far.prop_map(Number::Far)]
}

#[derive(Debug, Clone)]
struct Forged {
    kind: MessageType,
    from: u64,
    to: u64,
    term: Number,
    numbers: [Number; 6],
    entries: usize,
    is_of_change: bool,
    reject: bool,
}

fn forged() -> impl Strategy<Value = Forged> {
    let kind = prop::sample::select(KINDS.to_vec());
    let numbers = prop::array::uniform6(number());
    let term = prop_oneof![6 => (0..2i64).prop_map(Number::Near), 1 => number()];
    (kind, 1..5u64, 1..4u64, term, numbers, 0..3usize, any::<bool>(), any::<bool>()).prop_map(
        |(kind, from, to, term, numbers, entries, is_of_change, reject)| Forged {
            kind,
            from,
            to,
            term,
            numbers,
            entries,
            is_of_change,
            reject,
        },
    )
}

impl Forged {
    /// `last` is the last index of the group's log.
    fn message(&self, term: u64, last: u64) -> Message {
        let [index, log_term, commit, commit_term, hint, other] = self.numbers;
        let is_read = matches!(self.kind, MessageType::MsgReadIndex | MessageType::MsgReadIndexResp);
        let mut message = Message {
            from: self.from,
            to: self.to,
            term: if self.kind == MessageType::MsgReadIndex { 0 } else { self.term.from(term) },
            index: index.from(last),
            log_term: log_term.from(term),
            commit: commit.from(last),
            commit_term: commit_term.from(term),
            reject_hint: hint.from(last),
            reject: self.reject,
            ..Message::default()
        };
        message.set_msg_type(self.kind);
        if is_read {
            let data = Origin { member: MemberId(self.from), incarnation: 1, number: last }.encode();
            message.set_entries(vec![Entry { data: data.into(), ..Entry::default() }].into());
        } else {
            message.set_entries(self.entries(message.index, other.from(term)).into());
        }
        if self.kind == MessageType::MsgSnapshot {
            message.set_snapshot(self.snapshot(message.index, message.log_term));
        }
        message
    }

    fn entries(&self, before: u64, term: u64) -> Vec<Entry> {
        let mut index = before;
        let entry = |_| {
            index = index.wrapping_add(1);
            let mut entry = Entry { index, term, data: "forged".into(), ..Entry::default() };
            if self.is_of_change {
                entry.set_entry_type(EntryType::EntryConfChange);
                // Removes member 4, which never existed.
                entry.data = vec![0x10, 1, 0x18, 4].into();
            }
            entry
        };
        (0..self.entries).map(entry).collect()
    }

    fn snapshot(&self, index: u64, term: u64) -> Snapshot {
        let seat = |member| Seat { address: format!("m{member}:7000"), is_promotable: true, application: None };
        let members: Vec<u64> = (1..=3 + u64::from(self.reject)).collect();
        let seats = members.iter().map(|member| (MemberId(*member), seat(*member))).collect();
        let mut snapshot = Snapshot::default();
        snapshot.set_data(encode_snapshot(&Roster { seats, ..Roster::default() }, b"forged"));
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, term);
        let mut configuration = ConfState::from((members, vec![]));
        configuration.auto_leave = self.is_of_change;
        metadata.set_conf_state(configuration);
        snapshot
    }
}

async fn throw(seed: u64, frames: &[Forged]) {
    let mut group = Group::new(3, seed);
    group.start_all().await;
    let leader = group.leader().await;
    for number in 0..3 {
        group.propose(leader, &number.to_string()).await.expect("committed");
    }
    group.converge(3).await;
    // The founding is followed by the leader's own entry and three commands.
    let last = group.stored(leader).await.entries.last().expect("entries").index;
    for frame in frames.iter().filter(|frame| frame.from != frame.to) {
        group.forge(frame.message(group.term(frame.to), last)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for member in 1..=3 {
        if let Some(ConsensusExit::Failed(why)) = group.consensus(member).exited().now_or_never() {
            assert!(!why.contains("panicked") && !why.contains("abnormally"), "{why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forged_places_in_the_log_harm_nobody() {
    let mut group = Group::new(3, 78);
    group.start_all().await;
    let leader = group.leader().await;
    group.propose(leader, "a").await.expect("committed");
    group.converge(1).await;
    let [victim, other] = group.others(leader)[..] else { panic!("three members") };
    let term = group.term(leader);
    let mut frames = Vec::new();
    let mut forge = |kind, from, to, change: &dyn Fn(&mut Message)| {
        let mut message = Message { from, to, term, ..Message::default() };
        message.set_msg_type(kind);
        change(&mut message);
        frames.push(message);
    };
    for commit in [1_000_000, u64::MAX] {
        forge(MessageType::MsgAppend, other, victim, &|m| (m.index, m.commit) = (commit, commit));
        forge(MessageType::MsgAppend, other, victim, &|m| (m.index, m.log_term, m.commit) = (1, 1, commit));
        forge(MessageType::MsgHeartbeat, other, victim, &|m| m.commit = commit);
        // A leader that is new: it has nothing acknowledged yet.
        forge(MessageType::MsgHeartbeat, other, victim, &|m| (m.term, m.commit) = (term + 1, commit));
    }
    for index in [1_000_000, 1 << 61, 1 << 63] {
        forge(MessageType::MsgAppendResponse, victim, leader, &|m| (m.index, m.commit) = (index, index));
        forge(MessageType::MsgAppendResponse, other, leader, &|m| (m.index, m.commit) = (index, index));
        forge(MessageType::MsgAppendResponse, other, leader, &|m| {
            (m.reject, m.reject_hint, m.log_term) = (true, index, 1)
        });
        forge(MessageType::MsgHeartbeatResponse, other, leader, &|m| m.commit = index);
    }
    for frame in frames {
        group.forge(frame).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    group.propose_until_done("b").await;
    group.converge(2).await;
    for member in 1..=3 {
        assert_eq!(group.consensus(member).exited().now_or_never(), None, "it goes on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_forged_message_makes_a_member_panic(seed in 0..1000u64, frames in prop::collection::vec(forged(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(throw(seed, &frames));
    }
}
