//! Snapshots, and what else is done beside the driver.

use std::time::Duration;

use super::{group::Group, world::eventually};
use crate::COMMAND_BYTES_MAX;

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
    // What it took over, it keeps.
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

/// What decodes and encodes is kept from doing so for many election timeouts, on every member.
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
    // What follows the snapshot is in the log still.
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
