//! Drawn quantities that several kinds of faults need.

use std::time::Duration;

use crate::input::Dice;

/// A number from 1 to `count`.
pub(super) fn number(dice: &mut Dice, count: u32) -> u32 {
    1 + u32::try_from(dice.below(u64::from(count))).expect("below a 32-bit number")
}

/// A time from `low` milliseconds to less than `high`.
pub(super) fn millis(dice: &mut Dice, low: u64, high: u64) -> Duration {
    Duration::from_millis(low + dice.below(high.saturating_sub(low).max(1)))
}
