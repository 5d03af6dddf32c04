//! Members that join, leave, move and are replaced.

use std::time::Duration;

use super::{group::Group, id, world::eventually};
use crate::{ConsensusError, ConsensusExit, Member};

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

    // The new voters carry the group without the founder, and remember it all after restarts.
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

    // Two are left: a leader that removes itself hands over, and the last voter can't go.
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

    // The new one knows it from the snapshot that it began with.
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
