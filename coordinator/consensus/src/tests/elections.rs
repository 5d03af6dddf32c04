//! Who leads, and what becomes of it.

use std::time::Duration;

use super::{group::Group, id};
use crate::{ConsensusError, ConsensusExit};

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
