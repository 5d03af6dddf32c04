//! When a shard may be asked for records again. A pure machine; times are handed in.
//!
//! Kinesis allows five calls a second per shard, and 2 MB of records: after a call with more, the next ones are refused until
//! that many seconds have passed. Whoever else reads the shard shares in both, so that refusals come all the same.

use std::time::Duration;

use super::options::POLLS_APART_MIN;

/// Bytes that a shard gives in a second.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// When a shard may be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    /// How long after a call without records the next one follows.
    empty_interval: Duration,
    due: Duration,
}

impl Pace {
    pub(super) fn new(empty_interval: Duration) -> Self {
        Self { empty_interval, due: Duration::ZERO }
    }

    /// How long to wait.
    pub(super) fn left(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// A call that began at `began` gave so many bytes of records. `is_all`: there are no more.
    pub(super) fn on_page(&mut self, began: Duration, bytes: u64, is_all: bool) {
        let of_calls = if is_all && bytes == 0 { self.empty_interval } else { POLLS_APART_MIN };
        let of_bytes = Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND);
        self.due = began.saturating_add(of_calls.max(of_bytes));
    }

    /// A call was refused or not answered: wait so long.
    pub(super) fn on_failure(&mut self, now: Duration, pause: Duration) {
        self.due = now.saturating_add(pause.max(POLLS_APART_MIN));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn calls_without_records_follow_each_other_more_slowly() {
        let mut pace = Pace::new(Duration::from_millis(900));
        assert_eq!(pace.left(SECOND), Duration::ZERO);
        pace.on_page(SECOND, 0, true);
        assert_eq!(pace.left(SECOND), Duration::from_millis(900));
        pace.on_page(SECOND, 0, false);
        assert_eq!(pace.left(SECOND), Duration::from_millis(200), "there are records behind those that are missing");
        pace.on_page(SECOND, 10_000_000, false);
        assert_eq!(pace.left(SECOND), 5 * SECOND);
        pace.on_failure(SECOND, Duration::ZERO);
        assert_eq!(pace.left(SECOND), Duration::from_millis(200));
    }

    proptest! {
        /// Whatever calls give: no more than five calls and 2 MB in a second, but for what the last call brings.
        #[test]
        fn a_shard_is_asked_for_no_more_than_it_allows(pages in proptest::collection::vec((0u64..12_000_000, any::<bool>()), 1..60)) {
            let (mut pace, mut now, mut calls) = (Pace::new(POLLS_APART_MIN), Duration::ZERO, Vec::new());
            for (bytes, is_all) in pages {
                now += pace.left(now);
                calls.push((now, bytes));
                pace.on_page(now, bytes, is_all);
            }
            for (at, (began, _)) in calls.iter().enumerate() {
                let within: Vec<u64> = calls[..at].iter().filter(|(other, _)| *other + SECOND > *began).map(|(_, bytes)| *bytes).collect();
                prop_assert!(within.len() < 5, "{} calls before {began:?}", within.len());
                prop_assert!(within.iter().sum::<u64>() <= BYTES_PER_SECOND);
            }
        }
    }
}
