//! Which coordinator to try next, and when.
//!
//! Coordinators are tried in turn. One that does not lead may name the leader, which is tried at once. That is only a
//! hint, so a chain of hints ends after a few. Delays double up to a maximum and are half random, so that the nodes of
//! a cluster do not all reconnect at the same moment.

use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(20);
/// An election takes about a second. A longer delay than this would noticeably add to it.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Failures in a row after which people are told, some 4 s: elections are over sooner. Then again some 30 s later each.
const TOLD_AFTER: u32 = 12;
const TOLD_EVERY: u32 = 80;
/// Two coordinators that each name the other as leader must not be asked in a tight loop.
const HINTS_IN_A_ROW_MAX: u32 = 3;

/// The state of a search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeaderSearch {
    coordinators: Vec<String>,
    turn: usize,
    hint: Option<String>,
    hints_in_a_row: u32,
    failures: u32,
}

impl LeaderSearch {
    /// A search that starts at a random place in the list, which must not be empty.
    pub(crate) fn new(coordinators: Vec<String>, random: u64) -> Self {
        assert!(!coordinators.is_empty(), "a node knows at least one coordinator");
        let length = u64::try_from(coordinators.len()).expect("a list fits the address space");
        let turn = usize::try_from(random % length).expect("less than the length");
        Self { coordinators, turn, hint: None, hints_in_a_row: 0, failures: 0 }
    }

    /// The address to try now.
    pub(crate) fn next_address(&mut self) -> String {
        if let Some(leader) = self.hint.take() {
            return leader;
        }
        let address = self.coordinators[self.turn].clone();
        self.turn = (self.turn + 1) % self.coordinators.len();
        address
    }

    /// Whether the failures have become so many that people should know of the last one.
    pub(crate) fn is_to_be_told(&self) -> bool {
        self.hint.is_none() && (self.failures == TOLD_AFTER || self.failures.is_multiple_of(TOLD_EVERY))
    }

    /// The coordinator that was tried leads.
    pub(crate) fn on_registered(&mut self) {
        self.failures = 0;
        self.hints_in_a_row = 0;
    }

    /// The coordinator that was tried does not lead, or no longer, and may have named the leader. Returns how long to
    /// wait.
    pub(crate) fn on_failed(&mut self, leader: Option<String>, random: u64) -> Duration {
        if leader.is_some() && self.hints_in_a_row < HINTS_IN_A_ROW_MAX {
            self.hints_in_a_row += 1;
            self.hint = leader;
            return Duration::ZERO;
        }
        self.hints_in_a_row = 0;
        let longest = FIRST_DELAY.saturating_mul(1 << self.failures.min(10)).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = longest / 2;
        let jitter = random % u64::try_from(half.as_micros()).expect("at most a second").max(1);
        half + Duration::from_micros(jitter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three() -> Vec<String> {
        ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn people_are_told_after_a_while_and_then_now_and_again() {
        let mut search = LeaderSearch::new(three(), 0);
        let told: Vec<u32> = (1..=200)
            .filter(|_| {
                search.on_failed(None, 0);
                search.is_to_be_told()
            })
            .collect();
        assert_eq!(told, [12, 80, 160]);
    }

    #[test]
    fn coordinators_are_tried_in_turn_and_a_hint_at_once() {
        let mut search = LeaderSearch::new(three(), 4);
        assert_eq!(search.next_address(), "b:1");
        assert!(search.on_failed(None, 7) >= FIRST_DELAY / 2);
        assert_eq!(search.next_address(), "c:1");
        assert_eq!(search.on_failed(Some("d:9".to_owned()), 7), Duration::ZERO);
        assert_eq!(search.next_address(), "d:9");
        search.on_failed(None, 7);
        assert_eq!(search.next_address(), "a:1");
    }

    #[test]
    fn hints_that_lead_in_a_circle_are_slowed_down() {
        let mut search = LeaderSearch::new(three(), 0);
        let delays = (0..8).map(|_| search.on_failed(Some("x:1".to_owned()), 0)).filter(|delay| !delay.is_zero());
        assert_eq!(delays.count(), 2);
    }

    proptest! {
        #[test]
        fn every_coordinator_is_tried_and_delays_are_bounded(start: u64, randoms in prop::collection::vec(any::<u64>(), 3..40)) {
            let mut search = LeaderSearch::new(three(), start);
            let mut tried = std::collections::BTreeSet::new();
            for random in randoms {
                tried.insert(search.next_address());
                let delay = search.on_failed(None, random);
                prop_assert!(delay >= FIRST_DELAY / 2 && delay <= DELAY_MAX);
            }
            prop_assert_eq!(tried.len(), 3);
        }
    }
}
