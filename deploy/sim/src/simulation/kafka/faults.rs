//! Faults of the brokers and of the ways to them, and how a schedule of them is drawn. Every fault ends.

use std::{fmt, time::Duration};

use thalweg_kafka::model::Call;

use super::super::draw::{millis, number};
use crate::input::Dice;

/// A fault of Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaFault {
    /// The brokers, or the ways to them, have a problem.
    Trouble { trouble: KafkaTrouble, lasts: Duration },
    /// The brokers abort the open transactions of the cluster's nodes, as they do after their timeout.
    Expiry,
    /// The n-th call of one kind after the fault begins goes wrong. If there are fewer calls, nothing happens.
    AtCall {
        call: Call,
        /// Counts from 1.
        nth: u64,
        message: Message,
        sender: Sender,
    },
    /// A committer freezes when it sends its n-th batch after the fault begins. If another takes over meanwhile, that is held up
    /// when it takes the transactional id, until the first has gone on and committed.
    Overtaken {
        /// Counts from 1.
        nth: u64,
        /// How long the first stands still.
        freezes: Duration,
    },
}

/// A temporary problem of the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaTrouble {
    /// No broker answers.
    Out,
    /// A node reaches no broker.
    CutOff(u32),
    /// One partition has no leader: the n-th of all, counted round and round.
    Leaderless(u64),
    /// Calls take up to a second and a half.
    Slow,
    /// This percentage of calls fails.
    Failing(u64),
    /// This percentage of calls is executed, but answered with an error.
    Unanswered(u64),
    /// Calls of one kind are not executed before the trouble ends.
    Hanging(Call),
    /// The marks at the ends of transactions are written so long after them.
    LateMarks(Duration),
}

/// What happens to the message of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The brokers execute it. The answer is lost.
    Delivered,
    /// Its sender sends it only after what happens to it, if at all.
    Unsent,
    /// The network holds it up until just before a call of this kind by another client, or for some seconds.
    HeldUntil(Call),
    /// The network holds it up until right behind a call of this kind by another client, or for some seconds.
    HeldBehind(Call),
}

/// What happens to the process that has called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Stays,
    /// It dies, and is started again after so long.
    Crashes(Duration),
    /// It stands still for so long.
    Freezes(Duration),
}

impl KafkaFault {
    /// How long the fault lasts.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Trouble { lasts, .. } => *lasts,
            Self::Expiry => Duration::ZERO,
            Self::Overtaken { freezes, .. } => *freezes,
            Self::AtCall { sender, .. } => match sender {
                Sender::Stays => Duration::ZERO,
                Sender::Crashes(lasts) | Sender::Freezes(lasts) => *lasts,
            },
        }
    }
}

impl fmt::Display for KafkaTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out => f.write_str("no broker answers"),
            Self::CutOff(node) => write!(f, "node-{node} reaches no broker"),
            Self::Leaderless(nth) => write!(f, "partition {nth} of all has no leader"),
            Self::Slow => f.write_str("brokers are slow"),
            Self::Failing(percent) => write!(f, "brokers fail {percent} % of calls"),
            Self::Unanswered(percent) => write!(f, "answers to {percent} % of calls to brokers are lost"),
            Self::Hanging(call) => write!(f, "calls of the kind {call:?} hang"),
            Self::LateMarks(by) => write!(f, "the ends of transactions show after {by:?}"),
        }
    }
}

/// Draws the faults of Kafka in a run of length `over`: most runs have some. Each has its start time.
#[must_use]
pub fn draw_kafka_faults(dice: &mut Dice, nodes: u32, over: Duration) -> Vec<(Duration, KafkaFault)> {
    let count = if dice.percent(15) { 0 } else { 1 + dice.below(4) };
    let mut faults: Vec<(Duration, KafkaFault)> = (0..count)
        .map(|_| {
            let at = millis(dice, 200, over.as_millis().try_into().unwrap_or(u64::MAX));
            (at, draw_fault(dice, nodes))
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn draw_fault(dice: &mut Dice, nodes: u32) -> KafkaFault {
    match dice.below(100) {
        0..40 => draw_at_call(dice),
        40..60 => KafkaFault::Overtaken { nth: 1 + dice.below(4), freezes: millis(dice, 2000, 4500) },
        60..66 => KafkaFault::Expiry,
        _ => KafkaFault::Trouble { trouble: draw_trouble(dice, nodes), lasts: millis(dice, 200, 4000) },
    }
}

fn draw_trouble(dice: &mut Dice, nodes: u32) -> KafkaTrouble {
    match dice.below(8) {
        0 => KafkaTrouble::Out,
        1 => KafkaTrouble::CutOff(number(dice, nodes)),
        2 => KafkaTrouble::Leaderless(dice.below(1000)),
        3 => KafkaTrouble::Slow,
        4 => KafkaTrouble::Failing(5 + dice.below(50)),
        5 => KafkaTrouble::Unanswered(5 + dice.below(50)),
        6 => KafkaTrouble::Hanging(dice.pick(&[Call::Init, Call::Commit, Call::Offsets, Call::Topics, Call::Produce])),
        _ => KafkaTrouble::LateMarks(millis(dice, 50, 2000)),
    }
}

/// Most are about transactions that have been begun, where it matters who has got how far.
fn draw_at_call(dice: &mut Dice) -> KafkaFault {
    let call = match dice.below(10) {
        0..5 => Call::Commit,
        5..8 => Call::Produce,
        8 => Call::Init,
        _ => Call::CommitGroupOffsets,
    };
    let sender = match dice.below(10) {
        0..4 => Sender::Crashes(millis(dice, 1, 3000)),
        4..9 => Sender::Freezes(millis(dice, 500, 6000)),
        _ => Sender::Stays,
    };
    let message = match (dice.below(4), sender) {
        (0, _) | (1, Sender::Stays) => Message::Delivered,
        (1, _) => Message::Unsent,
        _ => Message::HeldUntil(dice.pick(&[Call::Init, Call::Init, Call::Produce, Call::Commit])),
    };
    KafkaFault::AtCall { call, nth: 1 + dice.below(4), message, sender }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_each_kind_are_drawn_in_order_of_time() {
        let over = Duration::from_secs(8);
        let all: Vec<_> = (0..400).map(|seed| draw_kafka_faults(&mut Dice::new(seed), 4, over)).collect();
        for faults in &all {
            assert!(faults.is_sorted_by_key(|(at, _)| *at), "{faults:?}");
            assert!(faults.iter().all(|(_, fault)| fault.lasts() <= Duration::from_secs(6)), "{faults:?}");
        }
        assert!(all.iter().any(Vec::is_empty));
        let shown = format!("{all:?}");
        for kind in [
            "Out",
            "CutOff",
            "Leaderless",
            "Slow",
            "Failing",
            "Unanswered",
            "Hanging",
            "LateMarks",
            "Expiry",
            "Delivered",
            "Unsent",
            "HeldUntil(Init)",
            "Overtaken",
            "HeldUntil(Produce)",
            "Stays",
            "Crashes",
            "Freezes",
            "CommitGroupOffsets",
        ] {
            assert!(shown.contains(kind), "no {kind}");
        }
    }
}
