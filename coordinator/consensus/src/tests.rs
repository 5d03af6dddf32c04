//! Whole members over a network in memory, on a paused clock. The same seed gives the same run.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::FutureExt;
use raft::eraftpb::{Message, MessageType};
use thalweg_types::{ClusterId, MemberId};

use crate::{
    COMMAND_BYTES_MAX, ConfigError, ConsensusConfig, ConsensusError, ConsensusExit, Member, StartError,
    store::{LogStore, RedbStore},
};

mod chaos;
mod disk;
mod forged;
mod group;
mod world;

use disk::Disk;
use group::Group;
use world::eventually;

fn id(member: u64) -> MemberId {
    MemberId(member)
}

#[tokio::test(start_paused = true)]
async fn a_group_of_one_leads_at_once_and_survives_a_restart() {
    let mut group = Group::new(1, 1);
    group.start(1).await;
    let started = group.now();
    group.leads(1).await;
    assert!(group.now() - started < Duration::from_millis(50), "it has nobody to wait for");
    assert_eq!(group.propose(1, "a").await, Ok(1));
    assert_eq!(group.propose(1, "b").await, Ok(2));
    assert_eq!(group.read(1).await, Ok(vec!["a".to_owned(), "b".to_owned()]));
    group.crash(1);
    group.start(1).await;
    group.leads(1).await;
    assert_eq!(group.read(1).await, Ok(vec!["a".to_owned(), "b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn three_elect_one_and_apply_alike() {
    let mut group = Group::new(3, 2);
    group.start_all().await;
    let leader = group.leader().await;
    for number in 1..=20 {
        assert_eq!(group.propose(leader, &format!("c{number}")).await, Ok(number));
    }
    group.converge(20).await;
    for follower in group.others(leader) {
        let expected = Some((id(leader), format!("m{leader}:7000")));
        assert_eq!(group.propose(follower, "x").await, Err(ConsensusError::NotLeader { leader: expected }));
        assert_eq!(group.read(follower).await.expect("followers read too").len(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_replaced_and_nothing_committed_is_lost() {
    let mut group = Group::new(3, 3);
    group.start_all().await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let leader = group.leader().await;
        for number in 0..10 {
            let command = format!("{round}/{number}");
            group.propose(leader, &command).await.expect("a leader with a quorum");
            acknowledged.push(command);
        }
        group.crash(leader);
        let next = group.leader().await;
        assert_ne!(next, leader);
        assert_eq!(group.read(next).await, Ok(acknowledged.clone()));
        group.start(leader).await;
        group.converge(acknowledged.len()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_without_an_election_timeout() {
    let mut group = Group::new(3, 4);
    group.start_all().await;
    let leader = group.leader().await;
    group.propose(leader, "a").await.expect("committed");
    let before = group.now();
    group.stop(leader).await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    assert!(group.now() - before < Duration::from_millis(500), "ten ticks is the least election timeout");
    group.propose(next, "b").await.expect("two of three are a quorum");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_member_says_so() {
    let mut group = Group::new(1, 5);
    group.start(1).await;
    group.leads(1).await;
    let consensus = group.consensus(1);
    group.stop(1).await;
    assert_eq!(consensus.exited().await, ConsensusExit::Stopped);
    assert_eq!(consensus.propose(b"late".to_vec()).await, Err(ConsensusError::Stopped));
    assert_eq!(consensus.read(|_| ()).await, Err(ConsensusError::Stopped));
    consensus.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_follower_catches_up_by_a_snapshot() {
    let mut group = Group::new(3, 6);
    group.snapshot_every_entries = 10;
    group.start_all().await;
    let leader = group.leader().await;
    let late = group.others(leader)[0];
    group.crash(late);
    for number in 0..55 {
        group.propose(leader, &format!("c{number}")).await.expect("two of three are a quorum");
    }
    let stored = group.stored(leader).await;
    assert!(stored.compacted.index > 30, "the log is cut: {:?}", stored.compacted);
    assert!(stored.entries.len() <= 15, "ten entries between snapshots and five for the late");
    group.start(late).await;
    group.converge(55).await;
    let stored = group.stored(late).await;
    assert!(stored.compacted.index > 30, "entries alone could not have brought it here: {:?}", stored.compacted);
    group.propose(leader, "after").await.expect("committed");
    group.converge(56).await;
    // A restart keeps the snapshot that it installed.
    group.crash(late);
    group.start(late).await;
    group.converge(56).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_many_pieces_arrives() {
    let mut group = Group::new(3, 7);
    group.snapshot_every_entries = 4;
    group.start_all().await;
    let leader = group.leader().await;
    let late = group.others(leader)[0];
    group.crash(late);
    for number in 0..8 {
        let command = format!("{number}").repeat(700_000);
        group.propose(leader, &command).await.expect("committed");
    }
    group.start(late).await;
    group.converge(8).await;
}

/// Decoding and encoding are blocked for many election timeouts, on every member.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the tasks are the test's own")]
async fn heartbeats_go_on_while_the_largest_command_is_decoded() {
    let mut group = Group::new(3, 31);
    group.start_all().await;
    let leader = group.leader().await;
    let led_by = |group: &Group, member| {
        let leadership = group.consensus(member).leadership().borrow().clone();
        (leadership.term, leadership.leader)
    };
    let before = led_by(&group, leader);
    (1..=3).for_each(|member| group.compute(member).hold());
    let consensus = group.consensus(leader);
    let large = tokio::spawn(async move { consensus.propose(vec![b'x'; COMMAND_BYTES_MAX]).await });
    let consensus = group.consensus(leader);
    let behind = tokio::spawn(async move { consensus.propose(b"small".to_vec()).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    for member in 1..=3 {
        assert_eq!(group.compute(member).waiting(), 1, "the command is there, and waits to be decoded");
        assert_eq!(led_by(&group, member), before, "nobody has missed the leader");
        group.consensus(member).beat().await.expect("it takes its turn");
    }
    assert!(!large.is_finished() && !behind.is_finished(), "commands are applied in their order");
    (1..=3).for_each(|member| group.compute(member).release());
    assert_eq!((large.await.expect("no panic"), behind.await.expect("no panic")), (Ok(1), Ok(2)));
    group.converge(2).await;
}

#[tokio::test(start_paused = true)]
async fn the_log_goes_on_while_a_snapshot_is_encoded() {
    let mut group = Group::new(3, 32);
    group.snapshot_every_entries = 10;
    group.start_all().await;
    let leader = group.leader().await;
    let start = group.stored(leader).await.compacted;
    (1..=3).for_each(|member| group.compute(member).hold());
    for number in 1..=50 {
        assert_eq!(group.propose(leader, &format!("c{number}")).await, Ok(number));
    }
    assert_eq!(group.compute(leader).waiting(), 1, "one at a time");
    assert_eq!(group.stored(leader).await.compacted, start);
    (1..=3).for_each(|member| group.compute(member).release());
    group.propose(leader, "later").await.expect("committed");
    group.converge(51).await;
    let stored = group.stored(leader).await;
    assert!(stored.compacted.index > start.index, "{:?}", stored.compacted);
    // Entries after the snapshot are still in the log.
    group.crash(leader);
    group.start(leader).await;
    group.converge(51).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_answers_while_it_decodes_a_snapshot() {
    let mut group = Group::new(3, 33);
    group.snapshot_every_entries = 10;
    group.start_all().await;
    let leader = group.leader().await;
    let (late, other) = (group.others(leader)[0], group.others(leader)[1]);
    group.crash(late);
    for number in 0..40 {
        group.propose(leader, &format!("c{number}")).await.expect("two of three are a quorum");
    }
    group.start(late).await;
    group.compute(late).hold();
    eventually("a snapshot", || (group.compute(late).waiting() > 0).then_some(())).await;
    let before = group.consensus(leader).leadership().borrow().clone();
    group.crash(other);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*group.consensus(leader).leadership().borrow(), before, "the leader hears of a majority");
    group.compute(late).release();
    group.converge(40).await;
    group.propose(leader, "by two").await.expect("the late one counts again");
}

#[tokio::test(start_paused = true)]
async fn learners_join_and_become_voters() {
    let mut group = Group::new(1, 8);
    group.snapshot_every_entries = 10;
    group.start(1).await;
    group.leads(1).await;
    for number in 0..25 {
        group.propose(1, &format!("c{number}")).await.expect("committed");
    }
    for member in [2, 3] {
        group.start_joining(member).await;
        group.add(1, member, true).await.expect("added");
        group.add(1, member, true).await.expect("adding again changes nothing");
        group.until_voter(1, member).await;
    }
    group.start_joining(4).await;
    group.add(1, 4, false).await.expect("added");
    group.converge(25).await;
    let votes: Vec<(u64, bool)> = group.members(4).iter().map(|m| (m.member.0, m.voter)).collect();
    assert_eq!(votes, [(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(group.members(4)[1].address, "m2:7000");

    // The new voters go on without the founder, and remember everything after restarts.
    group.crash(1);
    let leader = group.leader().await;
    assert!([2, 3].contains(&leader));
    group.propose(leader, "without the founder").await.expect("committed");
    group.crash(2);
    group.crash(3);
    group.start(2).await;
    group.start(3).await;
    group.converge(26).await;
}

#[tokio::test(start_paused = true)]
async fn removed_members_do_not_count_and_do_not_disturb() {
    let mut group = Group::new(3, 9);
    group.start_all().await;
    let leader = group.leader().await;
    let (removed, kept) = (group.others(leader)[0], group.others(leader)[1]);
    group.consensus(leader).remove_member(id(removed)).await.expect("removed");
    group.consensus(leader).remove_member(id(removed)).await.expect("it is gone already");
    let unknown = group.consensus(leader).remove_member(id(77)).await.expect_err("it never was there");
    assert_eq!(unknown.to_string(), "there is no member 77");
    eventually("the removed one learns of it", || {
        group.members(removed).iter().all(|m| m.member != id(removed)).then_some(())
    })
    .await;
    let mut leadership = group.consensus(leader).leadership();
    leadership.mark_unchanged();
    let several_elections = Duration::from_secs(5);
    let disturbed = tokio::time::timeout(several_elections, leadership.changed()).await;
    assert!(disturbed.is_err(), "the removed one starts no elections");
    assert!(group.propose(removed, "x").await.is_err());

    // Two are left. A leader that removes itself hands over, and the last voter cannot be removed.
    let answer = group.consensus(leader).remove_member(id(leader)).await;
    let successor = Some((id(kept), format!("m{kept}:7000")));
    assert_eq!(answer, Err(ConsensusError::NotLeader { leader: successor }));
    group.leads(kept).await;
    group.consensus(kept).remove_member(id(leader)).await.expect("removed");
    assert_eq!(group.consensus(kept).remove_member(id(kept)).await, Err(ConsensusError::LastVoter(id(kept))));
    group.propose(kept, "alone").await.expect("a group of one");
}

#[tokio::test(start_paused = true)]
async fn a_lost_member_is_replaced_under_a_number_that_was_never_used() {
    let mut group = Group::new(3, 10);
    group.start_all().await;
    let leader = group.leader().await;
    group.propose(leader, "a").await.expect("committed");
    group.converge(1).await;
    let lost = group.others(leader)[0];
    group.crash(lost);
    group.forget(lost);
    group.start(lost).await;
    let exit = group.consensus(lost).exited().await;
    assert!(matches!(&exit, ConsensusExit::Failed(why) if why.contains("its log was lost")), "{exit:?}");

    group.crash(lost);
    group.forget(lost);
    group.consensus(leader).remove_member(id(lost)).await.expect("removed");
    assert_eq!(group.add(leader, lost, true).await, Err(ConsensusError::Retired(id(lost))));
    group.start_joining(4).await;
    group.add(leader, 4, true).await.expect("added");
    group.until_voter(leader, 4).await;
    group.converge(1).await;

    // The new leader knows it from the snapshot that it began with.
    group.consensus(leader).remove_member(id(group.others(leader)[0])).await.expect("removed");
    group.consensus(leader).remove_member(id(leader)).await.expect_err("it hands over first");
    group.leads(4).await;
    assert_eq!(group.add(4, lost, true).await, Err(ConsensusError::Retired(id(lost))));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_moves_keeps_its_vote() {
    let mut group = Group::new(3, 21);
    group.start_all().await;
    let leader = group.leader().await;
    let moved = group.others(leader)[0];
    let at = |address: String| Member { member: id(moved), address, voter: true };
    let elsewhere = at("elsewhere:7000".to_owned());
    group.consensus(leader).add_member(elsewhere.clone()).await.expect("it moves");
    assert!(group.members(leader).contains(&elsewhere), "{:?}", group.members(leader));
    group.propose(leader, "a").await.expect("the other one is a quorum with the leader");
    assert!(group.peek(moved).is_empty(), "nobody is where it is said to be");
    group.consensus(leader).add_member(at(format!("m{moved}:7000"))).await.expect("it moves back");
    group.converge(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_starts_no_election() {
    let mut group = Group::new(3, 22);
    group.start_all().await;
    let leader = group.leader().await;
    let term = group.term(leader);
    for (number, seconds) in [1, 60, 86_400].into_iter().enumerate() {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        group.propose(leader, "a").await.expect("it leads still");
        group.converge(number + 1).await;
    }
    assert_eq!(group.term(leader), term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_gives_up_and_promises_nothing() {
    let mut group = Group::new(3, 11);
    group.start_all().await;
    let old = group.leader().await;
    group.propose(old, "a").await.expect("committed");
    group.converge(1).await;
    group.cut(old);
    let (proposed, read) = tokio::join!(group.propose(old, "lost"), group.read(old));
    assert_eq!(proposed, Err(ConsensusError::Dropped));
    assert_eq!(read, Err(ConsensusError::NotLeader { leader: None }));
    let leader = group.leader().await;
    assert_ne!(leader, old);
    group.propose(leader, "b").await.expect("two of three are a quorum");
    assert_eq!(group.peek(old), ["a"], "what it has is old and says so only by peeking");
    group.heal(old);
    group.converge(2).await;
    assert_eq!(group.peek(old), ["a", "b"]);
    let term = group.term(leader);
    assert_eq!(group.term(old), term, "it returned without an election");
}

#[tokio::test(start_paused = true)]
async fn reads_hold_all_that_was_acknowledged_before_them_through_changes_of_leader() {
    let mut group = Group::new(3, 12);
    group.start_all().await;
    for number in 1..=24 {
        let leader = group.leader().await;
        group.propose_until_done(&format!("c{number}")).await;
        for member in 1..=3 {
            // A member that just lost its leader has nobody to ask. A read that is answered must be right.
            if let Ok(state) = group.read(member).await {
                let distinct: BTreeSet<_> = state.iter().collect();
                assert_eq!(distinct.len(), number, "member {member} at {number}");
            }
        }
        if number % 6 == 0 {
            group.crash(leader);
            let next = group.leader().await;
            assert!(group.read(next).await.is_ok(), "a leader waits until it knows what is committed");
            group.start(leader).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_proposals_at_once_each_get_their_own_outcome() {
    let mut group = Group::new(3, 13);
    group.snapshot_every_entries = 50;
    group.start_all().await;
    let leader = group.leader().await;
    let calls = (0..500).map(|number| group.propose(leader, &format!("c{number}")));
    let outcomes = futures::future::join_all(calls).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let place = outcome.expect("committed");
        assert_eq!(group.peek(leader)[usize::try_from(place).expect("small") - 1], format!("c{number}"));
    }
    group.converge(500).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_elections() {
    async fn run(seed: u64) -> Vec<(u64, u64, Duration)> {
        let mut group = Group::new(5, seed);
        group.start_all().await;
        let started = group.now();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let leader = group.leader().await;
            seen.push((leader, group.term(leader), group.now() - started));
            group.crash(leader);
            let next = group.leader().await;
            group.propose(next, "x").await.expect("four of five are a quorum");
            group.start(leader).await;
        }
        seen
    }
    let runs: Vec<_> = [run(40).await, run(40).await, run(41).await].into();
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

// On the real clock: the store's thread is outside the runtime, and a paused clock would run ahead of it.
#[tokio::test]
async fn a_log_on_disk_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || RedbStore::open(directory.path()).expect("opens");
    let mut group = Group::new(1, 14);
    group.snapshot_every_entries = 8;
    let mut expected = Vec::new();
    for life in 0..3 {
        group.set_store(1, Arc::new(open()));
        group.start(1).await;
        group.leads(1).await;
        assert_eq!(group.read(1).await, Ok(expected.clone()));
        for number in 0..7 {
            let command = format!("{life}/{number}");
            group.propose(1, &command).await.expect("committed");
            expected.push(command);
        }
        group.stop(1).await;
        group.forget(1);
    }
    let stored = open().load().await.expect("loads");
    assert!(stored.compacted.index > 1, "snapshots were taken");
}

#[tokio::test(start_paused = true)]
async fn a_vote_is_on_disk_before_any_entry_of_its_term() {
    let mut group = Group::new(3, 19);
    let disks = [(); 3].map(|()| Disk::new(u64::MAX, 20));
    for (member, disk) in (1..).zip(&disks) {
        group.set_store(member, disk.clone());
    }
    group.start_all().await;
    let leader = group.leader().await;
    let term = group.term(leader);
    let has_voted = |disk: &&Arc<Disk>| {
        let journal = disk.journal();
        let vote = journal.iter().position(|w| w.hard_state.is_some_and(|s| (s.term, s.vote) == (term, leader)));
        let entries = journal.iter().position(|w| !w.entries.is_empty());
        vote.is_some_and(|vote| entries.is_none_or(|entries| vote < entries))
    };
    assert!(disks.iter().filter(has_voted).count() >= 2, "two votes of three made it the leader");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_the_member_and_acknowledges_nothing() {
    let mut group = Group::new(1, 18);
    group.set_store(1, Disk::new(6, 0));
    group.start(1).await;
    group.leads(1).await;
    let mut acknowledged = 0;
    while group.propose(1, "x").await.is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 5, "the disk is full");
    }
    let exit = group.consensus(1).exited().await;
    let expected = "could not keep the log: could not write the log: no space left on device";
    assert_eq!(exit, ConsensusExit::Failed(expected.to_owned()));
    assert_eq!(group.peek(1).len(), acknowledged);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_bound_to_its_member_and_cluster() {
    let mut group = Group::new(1, 15);
    group.start(1).await;
    group.leads(1).await;
    group.stop(1).await;

    let config = |member: u64| ConsensusConfig::single(id(member), format!("m{member}:7000"));
    let refused = group.try_start(1, config(2)).await.expect_err("another member");
    assert_eq!(
        refused.to_string(),
        "the log belongs to member-1, which the group knows at m1:7000, and this is member-2 at m2:7000: each member needs a \
         data directory of its own. To move member-1 here, start it under its own number (--member)"
    );
    let numbered = ConsensusConfig { member: id(2), ..config(1) };
    group.try_start(1, numbered).await.expect("the number in the store counts where the address is its own");
    assert_eq!(group.consensus(1).member(), id(1));
    group.leads(1).await;
    group.stop(1).await;
    let elsewhere = ConsensusConfig { cluster: Some(ClusterId("elsewhere".to_owned())), ..config(1) };
    assert!(matches!(group.try_start(1, elsewhere).await, Err(StartError::OtherCluster { .. })));
    group.try_start(1, config(1)).await.expect("its own store, and the cluster that it knows");
}

#[tokio::test(start_paused = true)]
async fn configurations_that_make_no_sense_are_refused() {
    let member = |member: u64, voter: bool| Member { member: id(member), address: format!("m{member}:1"), voter };
    let good = ConsensusConfig::single(id(1), "m1:1");
    let cases = [
        (ConsensusConfig { member: id(0), ..good.clone() }, ConfigError::MemberZero),
        (ConsensusConfig { election_ticks: 2, ..good.clone() }, ConfigError::Ticks),
        (ConsensusConfig { snapshot_every_entries: 0, ..good.clone() }, ConfigError::SnapshotEvery),
        (ConsensusConfig { bootstrap: vec![], ..good.clone() }, ConfigError::NothingToStart(id(1))),
        (ConsensusConfig { bootstrap: vec![member(2, true)], ..good.clone() }, ConfigError::NotAmongFirst(id(1))),
        (ConsensusConfig { bootstrap: vec![member(1, false)], ..good.clone() }, ConfigError::NoVoter),
        (
            ConsensusConfig { bootstrap: vec![member(1, true), member(1, true)], ..good.clone() },
            ConfigError::Twice(id(1)),
        ),
        (ConsensusConfig { bootstrap: vec![member(1, true), member(2, true)], ..good.clone() }, ConfigError::NoCluster),
        (ConsensusConfig { join: true, ..good.clone() }, ConfigError::NoCluster),
        (
            ConsensusConfig { address: "m1".to_owned(), ..good },
            ConfigError::Address { member: id(1), address: "m1".to_owned() },
        ),
    ];
    for (config, expected) in cases {
        let mut group = Group::new(1, 16);
        let refused = group.try_start(1, config).await.expect_err("it makes no sense");
        assert!(matches!(&refused, StartError::Config(found) if *found == expected), "{refused:?} for {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn envelopes_of_strangers_are_refused_with_a_reason() {
    use thalweg_proto::v1::{RaftEnvelope, raft_client::RaftClient};
    let mut group = Group::new(1, 17);
    group.start(1).await;
    group.leads(1).await;
    let channel = thalweg_proto::network::channel(&group.network(9), "m1:7000").expect("an address");
    for (cluster, to, reason) in [("other", 1, "cluster"), ("test", 2, "member-2")] {
        let envelope = RaftEnvelope {
            cluster: cluster.to_owned(),
            from: 9,
            to,
            from_address: "m9:7000".to_owned(),
            ..RaftEnvelope::default()
        };
        let refused = RaftClient::new(channel.clone())
            .send(futures::stream::iter([envelope]))
            .await
            .expect_err("it is a stranger's");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains(reason), "{}", refused.message());
    }
    assert!(matches!(
        group.propose(1, &"x".repeat(crate::COMMAND_BYTES_MAX + 1)).await,
        Err(ConsensusError::TooLarge { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_a_committed_command_stops_and_stays_stopped() {
    let mut group = Group::new(1, 77);
    group.start_all().await;
    group.leads(1).await;
    let unreadable = group.consensus(1).propose(vec![0xFF]).await;
    assert!(matches!(unreadable, Err(ConsensusError::Stopped | ConsensusError::Dropped)), "{unreadable:?}");
    let exit = group.consensus(1).exited().await;
    assert!(matches!(&exit, ConsensusExit::Failed(why) if why.contains("must run the same one")), "{exit:?}");
    group.crash(1);
    group.start(1).await;
    assert!(matches!(group.consensus(1).exited().await, ConsensusExit::Failed(_)), "it cannot pass over the command");
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
        // To a leader that is new to it, the member has acknowledged nothing yet.
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
