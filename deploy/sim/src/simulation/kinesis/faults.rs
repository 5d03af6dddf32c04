//! What goes wrong with Kinesis, and how it is drawn.

use std::{fmt, time::Duration};

use super::super::draw::{millis, number};
use crate::input::Dice;

/// A fault of Kinesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KinesisFault {
    pub trouble: KinesisTrouble,
    pub lasts: Duration,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KinesisTrouble {
    /// Nobody answers.
    Out,
    /// Nobody answers this node.
    CutOff(u32),
    /// So many of a hundred records that are put, and of calls that read, are throttled.
    Throttled(u8),
    /// So many of a hundred calls that read return nothing although there is something.
    Empty(u8),
    /// All iterators expire.
    Expired,
    /// All subscriptions break.
    Broken,
    /// The next records of this node are written, and it is not answered.
    Unanswered(u32),
}

impl fmt::Display for KinesisTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out => f.write_str("Kinesis does not answer"),
            Self::CutOff(node) => write!(f, "node-{node} does not reach Kinesis"),
            Self::Throttled(percent) => write!(f, "Kinesis throttles {percent} %"),
            Self::Empty(percent) => write!(f, "{percent} % of reads find nothing"),
            Self::Expired => f.write_str("iterators expire"),
            Self::Broken => f.write_str("subscriptions break"),
            Self::Unanswered(node) => write!(f, "node-{node} is not answered when it writes"),
        }
    }
}

/// Draws the faults of Kinesis in a run of length `over`: most runs have some. Each has its start time.
#[must_use]
pub fn draw_kinesis_faults(dice: &mut Dice, nodes: u32, over: Duration) -> Vec<(Duration, KinesisFault)> {
    let count = if dice.percent(10) { 0 } else { 1 + dice.below(5) };
    let mut faults: Vec<(Duration, KinesisFault)> = (0..count)
        .map(|_| {
            let at = millis(dice, 200, over.as_millis().try_into().unwrap_or(u64::MAX));
            (at, KinesisFault { trouble: draw_trouble(dice, nodes), lasts: millis(dice, 200, 4000) })
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// Kinesis throttles more often than anything else.
fn draw_trouble(dice: &mut Dice, nodes: u32) -> KinesisTrouble {
    let mut percent = || u8::try_from(10 + dice.below(60)).expect("below a hundred");
    let percent = percent();
    match dice.below(10) {
        0 => KinesisTrouble::Out,
        1 => KinesisTrouble::CutOff(number(dice, nodes)),
        2 => KinesisTrouble::Empty(percent),
        3 => KinesisTrouble::Expired,
        4 => KinesisTrouble::Broken,
        5 => KinesisTrouble::Unanswered(number(dice, nodes)),
        _ => KinesisTrouble::Throttled(percent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_each_kind_are_drawn_in_order_of_time() {
        let over = Duration::from_secs(8);
        let all: Vec<_> = (0..200).map(|seed| draw_kinesis_faults(&mut Dice::new(seed), 4, over)).collect();
        for faults in &all {
            assert!(faults.is_sorted_by_key(|(at, _)| *at), "{faults:?}");
        }
        let shown = format!("{all:?}");
        for kind in ["Out", "CutOff", "Throttled", "Empty", "Expired", "Broken", "Unanswered"] {
            assert!(shown.contains(kind), "no {kind}");
        }
    }
}
