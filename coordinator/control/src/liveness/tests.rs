//! Facts and properties of leases.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_millis(3000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id(node: u64) -> (NodeId, Incarnation) {
    (NodeId(node), Incarnation(node * 10))
}

/// Ticks at a leader's interval from one moment to another, and returns the nodes whose lease has run out by then.
fn tick_until(liveness: &mut NodeLiveness, from: u64, until: u64) -> Vec<(NodeId, Incarnation)> {
    let step = u64::try_from(NodeLiveness::tick_interval(LEASE).as_millis()).unwrap();
    let mut expired = Vec::new();
    for at in (from..=until).step_by(usize::try_from(step).unwrap()) {
        expired = liveness.on_tick(ms(at));
        liveness.check_invariants().unwrap();
    }
    expired
}

#[test]
fn a_new_leader_grants_a_full_lease_and_no_more() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1)], ms(1000));
    assert_eq!(tick_until(&mut liveness, 1000, 3999), vec![]);
    assert_eq!(tick_until(&mut liveness, 3999, 4000 + 150), vec![id(1)]);
}

#[test]
fn whatever_is_heard_renews_the_lease() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1), id(2)], ms(0));
    tick_until(&mut liveness, 0, 2000);
    liveness.on_heard(NodeId(1), Incarnation(10), ms(2000));
    assert_eq!(tick_until(&mut liveness, 2000, 3500), vec![id(2)]);
}

#[test]
fn a_broken_session_leaves_a_sixth_of_the_lease_unless_it_is_opened_again() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1), id(2)], ms(0));
    liveness.on_disconnected(NodeId(1), Incarnation(10), ms(0));
    liveness.on_disconnected(NodeId(2), Incarnation(20), ms(0));
    liveness.on_heard(NodeId(2), Incarnation(20), ms(400));
    assert_eq!(tick_until(&mut liveness, 0, 450), vec![]);
    assert_eq!(tick_until(&mut liveness, 450, 600), vec![id(1)]);
}

#[test]
fn a_leader_that_was_away_itself_blames_no_node() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1)], ms(0));
    assert_eq!(liveness.on_tick(ms(100_000)), vec![]);
    assert_eq!(tick_until(&mut liveness, 100_000, 102_900), vec![]);
    assert_eq!(tick_until(&mut liveness, 102_900, 103_200), vec![id(1)]);
}

/// Only a delay of more than half a lease means that the leader was away.
#[test]
fn a_tick_that_is_late_by_more_than_half_a_lease_restarts_all_leases() {
    let mut late = NodeLiveness::new(LEASE, [id(1), id(2)], ms(0));
    assert_eq!(tick_until(&mut late, 0, 1350), vec![]);
    assert_eq!(late.on_tick(ms(1400)), vec![]);
    assert_eq!(late.on_tick(ms(3000)), vec![], "1600 ms after the last one");
    assert_eq!(tick_until(&mut late, 3000, 5999), vec![]);
    assert_eq!(late.on_tick(ms(6000)), vec![id(1), id(2)]);

    let mut slow = NodeLiveness::new(LEASE, [id(1)], ms(0));
    assert_eq!(slow.on_tick(ms(1499)), vec![]);
    assert_eq!(slow.on_tick(ms(2998)), vec![]);
    assert_eq!(slow.on_tick(ms(4497)), vec![id(1)], "each was late by less");
}

#[test]
fn a_heartbeat_processed_just_before_a_late_tick_does_not_hide_that_it_is_late() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1), id(2)], ms(0));
    liveness.on_heard(NodeId(1), Incarnation(10), ms(9_999));
    assert_eq!(liveness.on_tick(ms(10_000)), vec![]);
}

#[test]
fn news_of_an_old_incarnation_does_not_touch_the_new_one() {
    let mut liveness = NodeLiveness::new(LEASE, [id(1)], ms(0));
    liveness.on_heard(NodeId(1), Incarnation(11), ms(0));
    liveness.on_left(NodeId(1), Incarnation(10), ms(10));
    liveness.forget(NodeId(1), Incarnation(10));
    assert_eq!(liveness.on_tick(ms(20)), vec![]);
    liveness.on_left(NodeId(1), Incarnation(11), ms(30));
    assert_eq!(liveness.on_tick(ms(30)), vec![(NodeId(1), Incarnation(11))]);
    liveness.forget(NodeId(1), Incarnation(11));
    assert_eq!(liveness.on_tick(ms(40)), vec![]);
}

proptest! {
    /// Nodes that are heard often enough never expire. Others always do, however times and ticks are ordered.
    #[test]
    fn exactly_the_silent_expire(
        heard in prop::collection::vec((1..4u64, 0..400u64), 0..60), back in 0..500u64,
    ) {
        let mut liveness = NodeLiveness::new(LEASE, [id(1), id(2), id(3)], ms(0));
        let mut last = [0u64; 4];
        let mut now = 0;
        for (node, gap) in heard {
            now += gap;
            // A time that was read out of order.
            let stale = now.saturating_sub(back);
            let expired = liveness.on_tick(ms(now));
            prop_assert_eq!(liveness.on_tick(ms(stale)), expired.clone());
            for (at, heard) in last.iter().enumerate().skip(1) {
                let node = u64::try_from(at).unwrap();
                let silent = now - heard >= 3000;
                prop_assert_eq!(expired.contains(&id(node)), silent, "node {} at {}", node, now);
            }
            let (id, incarnation) = id(node);
            liveness.on_heard(id, incarnation, ms(now));
            last[usize::try_from(node).unwrap()] = now;
            prop_assert_eq!(liveness.check_invariants(), Ok(()));
        }
    }
}
