use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_may_be_spent_before_the_first_grant() {
    let mut ledger = CreditLedger::new();
    assert!(!ledger.try_spend(1) && !ledger.can_spend(u64::MAX));
    assert_eq!(ledger.on_grant(100), Ok(true));
    assert_eq!((ledger.window(), ledger.available()), (100, 100));
}

#[test]
fn one_oversized_row_goes_when_the_whole_window_is_free() {
    let mut ledger = CreditLedger::new();
    ledger.on_grant(100).unwrap();
    assert!(ledger.try_spend(1));
    assert!(!ledger.try_spend(500));
    ledger.on_grant(101).unwrap();
    assert!(ledger.try_spend(500));
    assert!(!ledger.can_spend(1) && !ledger.can_spend(500));
    ledger.on_grant(601).unwrap();
    assert_eq!(ledger.available(), 100);
}

#[test]
fn a_grant_of_what_was_never_spent_is_a_violation() {
    let mut ledger = CreditLedger::new();
    ledger.on_grant(100).unwrap();
    assert!(ledger.on_grant(101).is_err());
}

#[test]
fn overspending_is_found_by_the_receiver() {
    let mut ledger = GrantLedger::new(100);
    ledger.on_received(60).unwrap();
    assert!(ledger.on_received(41).is_err());
    ledger.on_received(40).unwrap();
    assert_eq!(ledger.release(60), 160);
    assert!(ledger.on_received(500).is_err());
    ledger.release(40);
    ledger.on_received(500).unwrap();
}

#[test]
fn a_row_that_is_larger_than_any_may_be_is_refused() {
    let mut ledger = GrantLedger::new(100);
    assert!(ledger.on_received(ROW_BYTES_MAX + 1).is_err());
    ledger.on_received(ROW_BYTES_MAX).unwrap();
    let mut wide = GrantLedger::new(2 * ROW_BYTES_MAX);
    wide.on_received(ROW_BYTES_MAX + 1).unwrap();
}

proptest! {
    /// Whatever is sent, and however grants are delayed, repeated and reordered, the receiver finds no violation, at
    /// most the window or one oversized batch is in flight, and at the end all credit has returned.
    #[test]
    fn both_sides_agree(
        window in 1u64..200,
        steps in prop::collection::vec((0u8..4, 1u64..400, 0usize..8), 1..200),
    ) {
        let (mut sender, mut receiver) = (CreditLedger::new(), GrantLedger::new(window));
        let (mut wire, mut grants) = (VecDeque::new(), vec![receiver.granted()]);
        let mut held = VecDeque::new();
        sender.on_grant(window).unwrap();
        for (kind, cost, pick) in steps {
            match kind {
                0 => if sender.try_spend(cost) { wire.push_back(cost) },
                1 => if let Some(cost) = wire.pop_front() { receiver.on_received(cost).unwrap(); held.push_back(cost) },
                2 => if let Some(cost) = held.pop_front() { grants.push(receiver.release(cost)) },
                _ => { sender.on_grant(grants[pick % grants.len()]).unwrap(); }
            }
            sender.check_invariants();
            let in_flight: u64 = wire.iter().chain(&held).sum();
            prop_assert!(in_flight <= window || wire.len() + held.len() == 1);
        }
        for cost in wire { receiver.on_received(cost).unwrap(); held.push_back(cost) }
        for cost in held { receiver.release(cost); }
        sender.on_grant(receiver.granted()).unwrap();
        prop_assert_eq!(sender.available(), window);
        prop_assert_eq!(receiver.outstanding(), 0);
    }
}
