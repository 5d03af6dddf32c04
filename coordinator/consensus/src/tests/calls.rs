//! Proposals and reads of many callers.

use std::collections::BTreeSet;

use super::group::Group;

#[tokio::test(start_paused = true)]
async fn reads_hold_all_that_was_acknowledged_before_them_through_changes_of_leader() {
    let mut group = Group::new(3, 12);
    group.start_all().await;
    for number in 1..=24 {
        let leader = group.leader().await;
        group.propose_until_done(&format!("c{number}")).await;
        for member in 1..=3 {
            // A member that just lost its leader has nobody to ask; a read that answers must be right.
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
