//! The faults of a run, and how a schedule of them is drawn. Every fault ends, but a lost disk stays lost.

use std::{fmt, time::Duration};

use super::{
    draw::{millis, number},
    kafka::KafkaFault,
    kinesis::KinesisFault,
    store::{Call, Trouble},
};
use crate::input::Dice;

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A process dies and is started again later. Its disk survives.
    Crash {
        host: Host,
        /// How long it stays down.
        down: Duration,
    },
    /// A process is paused, and later resumes where it was.
    Pause {
        host: Host,
        /// How long it is paused.
        lasts: Duration,
    },
    /// Messages between hosts are lost.
    Partition {
        /// The senders.
        from: Vec<Host>,
        /// The receivers.
        to: Vec<Host>,
        /// Whether messages in the other direction are lost too.
        is_mutual: bool,
        lasts: Duration,
    },
    /// Messages between two hosts take longer.
    Delay {
        a: Host,
        b: Host,
        /// The longest delay.
        latency: Duration,
        lasts: Duration,
    },
    /// The object store has a problem.
    Store {
        /// Its behaviour meanwhile.
        trouble: Trouble,
        lasts: Duration,
    },
    /// Hosts crash at the n-th call of one kind after the fault begins. If there are fewer calls, nothing happens.
    AtCall {
        /// The kind of call.
        call: Call,
        /// Counts from 1.
        nth: u64,
        /// Whether the store refuses this call.
        is_refused: bool,
        /// The hosts that crash.
        hosts: Vec<Host>,
        /// How long they stay down.
        down: Duration,
    },
    /// A coordinator crashes, and its disk is lost or damaged. Skipped if the group has not recovered from an earlier
    /// lost disk: without a majority of disks, acknowledged data may rightly be lost.
    Disk {
        /// The coordinator's number, from 1.
        coordinator: u32,
        loss: Loss,
        /// How long the process stays down. A damaged disk is replaced a while after that.
        down: Duration,
    },
    /// All processes die together, and restart one after the other.
    Blackout {
        /// How long before the first one restarts.
        down: Duration,
    },
    /// The wall clock of a host jumps, and later jumps back. Its monotonic clock is not affected.
    Clock {
        host: Host,
        /// The jump, in milliseconds.
        by_ms: i64,
        lasts: Duration,
    },
    /// Something is wrong with Kafka. It begins once all jobs have run: what does not answer before is not waited for.
    Kafka(KafkaFault),
    /// Something is wrong with Kinesis. It begins when one of Kafka would.
    Kinesis(KinesisFault),
}

/// What happens to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It comes back empty.
    Wiped,
    /// It is unreadable, as after a torn write, until it is replaced by an empty one.
    Damaged,
}

/// A host of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// A coordinator, from 1.
    Coordinator(u32),
    /// A node, from 1.
    Node(u32),
    /// The coordinator that leads when the fault begins.
    Leader,
}

impl Fault {
    /// How long the fault lasts.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Crash { down, .. } | Self::AtCall { down, .. } | Self::Disk { down, .. } => *down,
            Self::Blackout { down } => *down + BLACKOUT_SPREAD,
            Self::Pause { lasts, .. }
            | Self::Partition { lasts, .. }
            | Self::Delay { lasts, .. }
            | Self::Clock { lasts, .. }
            | Self::Store { lasts, .. } => *lasts,
            Self::Kafka(fault) => fault.lasts(),
            Self::Kinesis(fault) => fault.lasts,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(member) => write!(f, "coordinator-{member}"),
            Self::Node(node) => write!(f, "node-{node}"),
            Self::Leader => f.write_str("the leader"),
        }
    }
}

/// The processes of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    pub coordinators: u32,
    pub nodes: u32,
    /// Slots of each node.
    pub slots: u32,
}

/// The time over which restarts are spread after all processes have died.
pub(super) const BLACKOUT_SPREAD: Duration = Duration::from_secs(2);
/// The most faults of one run.
const FAULTS_MAX: usize = 8;

/// Draws the faults of a run of length `over`, at most `FAULTS_MAX` and possibly none. Each has its start time.
#[must_use]
pub fn draw_faults(dice: &mut Dice, cast: Cast, over: Duration) -> Vec<(Duration, Fault)> {
    let count = if dice.percent(12) { 0 } else { 1 + dice.below(4) };
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = millis(dice, 0, over.as_millis().try_into().unwrap_or(u64::MAX));
        let fault = draw_fault(dice, cast);
        if let Fault::Crash { host, .. } = fault
            && dice.percent(35)
        {
            // A second crash: of the same host afterwards, or of another one during the recovery.
            let again = if dice.percent(40) { host } else { draw_host(dice, cast) };
            let later = at + fault.lasts() + millis(dice, 0, 1500);
            let later = if again == host { later } else { at + millis(dice, 50, 1500) };
            faults.push((later, Fault::Crash { host: again, down: millis(dice, 50, 4000) }));
        }
        if let Fault::Crash { host: Host::Node(first), down } = fault
            && dice.percent(20)
        {
            // A second node fails together with the first.
            let second = 1 + first % cast.nodes;
            faults.push((at, Fault::Crash { host: Host::Node(second), down }));
        }
        if let Fault::Crash { host: Host::Leader | Host::Coordinator(_), down } = fault
            && dice.percent(30)
        {
            // All coordinators crash together, so that only their disks are left.
            for member in 1..=cast.coordinators {
                faults.push((at, Fault::Crash { host: Host::Coordinator(member), down }));
            }
            continue;
        }
        if let Fault::Store { lasts, .. } = fault
            && dice.percent(50)
        {
            // A crash while the store fails: others must undo what was begun.
            let meanwhile = at + millis(dice, 0, lasts.as_millis().try_into().unwrap_or(u64::MAX));
            faults.push((meanwhile, Fault::Crash { host: draw_host(dice, cast), down: millis(dice, 50, 3000) }));
        }
        faults.push((at, fault));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults.truncate(FAULTS_MAX);
    faults
}

/// Draws faults of disks and clocks, and power cuts. They come in addition to other faults, from dice of their own.
#[must_use]
pub fn draw_disasters(dice: &mut Dice, cast: Cast, over: Duration) -> Vec<(Duration, Fault)> {
    let at = |dice: &mut Dice| millis(dice, 0, over.as_millis().try_into().unwrap_or(u64::MAX));
    let mut disasters = Vec::new();
    if dice.percent(25) {
        let loss = if dice.percent(70) { Loss::Wiped } else { Loss::Damaged };
        let coordinator = number(dice, cast.coordinators);
        let when = at(dice);
        disasters.push((when, Fault::Disk { coordinator, loss, down: millis(dice, 10, 3000) }));
        if dice.percent(40) {
            // All processes die at the same time. The coordinator with the lost disk may be the first or the last to
            // restart.
            disasters.push((when, Fault::Blackout { down: millis(dice, 10, 3000) }));
        }
        if dice.percent(30) {
            let coordinator = number(dice, cast.coordinators);
            let later = when + millis(dice, 500, 6000);
            disasters.push((later, Fault::Disk { coordinator, loss: Loss::Wiped, down: millis(dice, 10, 2000) }));
        }
    } else if dice.percent(10) {
        disasters.push((at(dice), Fault::Blackout { down: millis(dice, 10, 3000) }));
    }
    if dice.percent(25) {
        for _ in 0..1 + dice.below(3) {
            let hours = i64::try_from(dice.below(3)).expect("below three");
            let ms = hours * 3_600_000 + i64::try_from(dice.below(90_000)).expect("below 90,000");
            let by_ms = if dice.percent(50) { ms } else { -ms };
            let (when, host) = (at(dice), draw_host(dice, cast));
            disasters.push((when, Fault::Clock { host, by_ms, lasts: millis(dice, 100, 7000) }));
        }
    }
    disasters.sort_by_key(|(at, _)| *at);
    disasters
}

/// Draws, for some runs, delays that make barriers late on some inputs, and a node's crash while the newest
/// checkpoint is from that time.
#[must_use]
pub fn draw_skew(dice: &mut Dice, cast: Cast, over: Duration) -> Vec<(Duration, Fault)> {
    if cast.nodes < 2 || !dice.percent(25) {
        return Vec::new();
    }
    let at = millis(dice, 0, over.as_millis().try_into().unwrap_or(u64::MAX));
    let a = number(dice, cast.nodes);
    let (lasts, latency) = (millis(dice, 1500, 4000), millis(dice, 200, 800));
    let delay = Fault::Delay { a: Host::Node(a), b: Host::Node(1 + a % cast.nodes), latency, lasts };
    let fails = at + millis(dice, 700, lasts.as_millis().try_into().unwrap_or(u64::MAX));
    vec![
        (at, delay),
        (fails, Fault::Crash { host: Host::Node(number(dice, cast.nodes)), down: millis(dice, 50, 1500) }),
    ]
}

fn draw_fault(dice: &mut Dice, cast: Cast) -> Fault {
    match dice.below(100) {
        0..25 => {
            let down = if dice.percent(30) { millis(dice, 1, 100) } else { millis(dice, 100, 5000) };
            Fault::Crash { host: draw_host(dice, cast), down }
        }
        25..35 => draw_at_call(dice, cast),
        35..55 => draw_partition(dice, cast),
        55..70 => Fault::Pause { host: draw_host(dice, cast), lasts: millis(dice, 100, 6000) },
        70..78 => {
            let (a, b) = draw_pair(dice, cast);
            Fault::Delay { a, b, latency: millis(dice, 50, 800), lasts: millis(dice, 200, 4000) }
        }
        _ => {
            let trouble = match dice.below(6) {
                0 => Trouble::Slow,
                1 => Trouble::Failing(5 + dice.below(60)),
                2 => Trouble::Ambiguous(5 + dice.below(60)),
                3 => Trouble::Out,
                4 => Trouble::Refusing(Call::Publish),
                _ => Trouble::Refusing(dice.pick(&[
                    Call::Manifest,
                    Call::State,
                    Call::Prepare,
                    Call::Delete,
                    Call::Read,
                ])),
            };
            Fault::Store { trouble, lasts: millis(dice, 200, 5000) }
        }
    }
}

/// Crashes at calls that other steps follow, where it matters which process is gone.
fn draw_at_call(dice: &mut Dice, cast: Cast) -> Fault {
    let call = dice.pick(&[Call::Manifest, Call::Manifest, Call::Publish, Call::Publish, Call::State, Call::Delete]);
    let hosts = match dice.below(4) {
        0 => vec![Host::Leader],
        1 => vec![Host::Node(number(dice, cast.nodes))],
        _ => vec![Host::Leader, Host::Node(number(dice, cast.nodes))],
    };
    let (nth, is_refused) = (1 + dice.below(4), dice.percent(40));
    Fault::AtCall { call, nth, is_refused, hosts, down: millis(dice, 1, 3000) }
}

fn draw_partition(dice: &mut Dice, cast: Cast) -> Fault {
    let (is_mutual, lasts) = (dice.percent(70), millis(dice, 100, 6000));
    if dice.percent(60) {
        let (a, b) = draw_pair(dice, cast);
        return Fault::Partition { from: vec![a], to: vec![b], is_mutual, lasts };
    }
    // One host against all coordinators, all nodes, or all hosts.
    let alone = draw_host(dice, cast);
    let coordinators = (1..=cast.coordinators).map(Host::Coordinator);
    let nodes = (1..=cast.nodes).map(Host::Node);
    let others: Vec<Host> = match dice.below(3) {
        0 => coordinators.collect(),
        1 => nodes.collect(),
        _ => coordinators.chain(nodes).collect(),
    };
    Fault::Partition { from: vec![alone], to: others, is_mutual, lasts }
}

fn draw_host(dice: &mut Dice, cast: Cast) -> Host {
    match dice.below(10) {
        0..2 => Host::Leader,
        2..4 => Host::Coordinator(number(dice, cast.coordinators)),
        _ => Host::Node(number(dice, cast.nodes)),
    }
}

fn draw_pair(dice: &mut Dice, cast: Cast) -> (Host, Host) {
    let a = draw_host(dice, cast);
    loop {
        let b = draw_host(dice, cast);
        if a != b {
            return (a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_in_order_of_time_and_end() {
        let cast = Cast { coordinators: 3, nodes: 4, slots: 2 };
        let over = Duration::from_secs(8);
        let all: Vec<_> = (0..300).map(|seed| draw_faults(&mut Dice::new(seed), cast, over)).collect();
        for faults in &all {
            assert!(faults.len() <= FAULTS_MAX && faults.is_sorted_by_key(|(at, _)| *at), "{faults:?}");
            assert!(faults.iter().all(|(_, fault)| fault.lasts() <= Duration::from_secs(7)), "{faults:?}");
        }
        assert!(all.iter().any(Vec::is_empty));
        for kind in [
            "Crash",
            "Pause",
            "Partition",
            "Delay",
            "Slow",
            "Failing",
            "Ambiguous",
            "Out",
            "Refusing",
            "AtCall",
            "Leader",
        ] {
            assert!(all.iter().any(|faults| format!("{faults:?}").contains(kind)), "no {kind}");
        }
    }

    #[test]
    fn skew_is_drawn_for_some_runs_and_a_node_fails_in_it() {
        let cast = Cast { coordinators: 3, nodes: 3, slots: 1 };
        let all: Vec<_> = (0..300).map(|seed| draw_skew(&mut Dice::new(seed), cast, Duration::from_secs(5))).collect();
        let drawn: Vec<_> = all.iter().filter(|skew| !skew.is_empty()).collect();
        assert!((40..120).contains(&drawn.len()), "{} of 300 runs have one", drawn.len());
        for skew in drawn {
            let [(from, delay), (fails, Fault::Crash { host: Host::Node(_), .. })] = skew.as_slice() else {
                panic!("{skew:?}");
            };
            assert!(*from < *fails && *fails < *from + delay.lasts(), "{skew:?}");
        }
    }

    #[test]
    fn disasters_of_each_kind_are_drawn_and_most_runs_have_none() {
        let cast = Cast { coordinators: 3, nodes: 4, slots: 2 };
        let over = Duration::from_secs(8);
        let all: Vec<_> = (0..300).map(|seed| draw_disasters(&mut Dice::new(seed), cast, over)).collect();
        let none = all.iter().filter(|disasters| disasters.is_empty()).count();
        assert!((100..200).contains(&none), "{none} of 300 runs have none");
        for disasters in &all {
            assert!(disasters.is_sorted_by_key(|(at, _)| *at), "{disasters:?}");
        }
        for kind in ["Wiped", "Damaged", "Blackout", "Clock"] {
            assert!(all.iter().any(|disasters| format!("{disasters:?}").contains(kind)), "no {kind}");
        }
    }
}
