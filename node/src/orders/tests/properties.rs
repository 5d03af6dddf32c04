//! Whatever arrives in whatever order, attempts are fenced forward: one at a time, each newer than the last, each
//! started and cancelled at most once. Output of an attempt that still writes is never removed.

use proptest::{collection::vec, prelude::*};
use thalweg_types::session::ALL_ATTEMPTS;

use super::*;

/// A step of the environment of the machine.
#[derive(Debug, Clone)]
enum Step {
    Order { term: u64, job: u64, attempt: u32, action: u8 },
    Repeat { back: u64 },
    Report { job: u64, report: u8 },
    WorkDone,
    Reconnect { term: u64 },
    AcknowledgeFirst,
    Tick { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..4, 1u64..3, 1u32..6, 0u8..11)
            .prop_map(|(term, job, attempt, action)| Step::Order { term, job, attempt, action }),
        1 => (0u64..6).prop_map(|back| Step::Repeat { back }),
        6 => (1u64..3, 0u8..5).prop_map(|(job, report)| Step::Report { job, report }),
        1 => Just(Step::WorkDone),
        1 => (1u64..4).prop_map(|term| Step::Reconnect { term }),
        2 => Just(Step::AcknowledgeFirst),
        1 => (0u64..700).prop_map(|seconds| Step::Tick { seconds }),
    ]
}

/// What a runtime and a leader would see.
#[derive(Default)]
struct World {
    /// Attempts that exist in the runtime.
    alive: BTreeSet<(JobId, Attempt)>,
    cancelled: BTreeSet<(JobId, Attempt)>,
    newest_deployed: BTreeMap<JobId, Attempt>,
    started: BTreeSet<(JobId, Attempt)>,
    sent: Vec<(u64, Order)>,
    work: Vec<Effect>,
    /// Reports that were sent and not acknowledged.
    unacknowledged: BTreeMap<u64, Report>,
}

impl World {
    fn see(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Deploy { job, attempt, .. } => {
                    assert!(self.alive.iter().all(|(of, _)| *of != job), "two attempts of {job} at once");
                    let newest = self.newest_deployed.insert(job, attempt);
                    assert!(newest < Some(attempt), "{attempt} of {job} after {newest:?}");
                    self.alive.insert((job, attempt));
                }
                Effect::Start { job, attempt, .. } => {
                    assert!(self.alive.contains(&(job, attempt)) && self.started.insert((job, attempt)));
                }
                Effect::Stop { job, attempt }
                | Effect::BeginCheckpoint { job, attempt, .. }
                | Effect::AbortCheckpoint { job, attempt, .. }
                | Effect::ConfirmCheckpoint { job, attempt, .. } => assert!(self.alive.contains(&(job, attempt))),
                Effect::Cancel { job, attempt } => {
                    assert!(self.alive.contains(&(job, attempt)) && self.cancelled.insert((job, attempt)));
                }
                Effect::Forget { job, attempt } => assert!(!self.alive.contains(&(job, attempt))),
                Effect::Discard { job, before, .. } => {
                    let writes = |(of, alive): &(JobId, Attempt)| *of == job && *alive < before;
                    let ends = |about: &(JobId, Attempt)| self.cancelled.contains(about) && before != ALL_ATTEMPTS;
                    assert!(self.alive.iter().all(|about| !writes(about) || ends(about)), "{job} still writes");
                    self.work.push(effect);
                }
                work @ (Effect::Discover { .. } | Effect::Commit { .. }) => self.work.push(work),
                Effect::Send(NodeMessage::Report { sequence, report }) => {
                    let before = self.unacknowledged.insert(sequence, report.clone());
                    assert!(before.is_none_or(|before| before == report), "a sequence names one report");
                }
                Effect::Send(_) | Effect::Abandon { .. } => {}
            }
        }
    }
}

fn action_of(number: u8) -> Action {
    match number {
        0 => Action::Discover { graph: Box::new(graph()), sources: Vec::new() },
        1 => Action::Deploy(deployment()),
        2 => Action::Start,
        3 => Action::Cancel,
        4 => Action::Stop,
        5 => discard(),
        6 => commit(),
        7 => sweep(2),
        8 => Action::BeginCheckpoint { checkpoint: CheckpointId(1) },
        9 => Action::AbortCheckpoint { checkpoint: CheckpointId(1) },
        _ => Action::ConfirmCheckpoint { checkpoint: CheckpointId(1), manifest: None },
    }
}

fn take(desk: &mut Desk, world: &mut World, step: Step) {
    match step {
        Step::Order { term, job, attempt, action } => {
            let action = action_of(action);
            let order = Order { job: JobId(job), term: Term(term), ..order(attempt, action) };
            world.sent.push((desk.sequence + 1, order.clone()));
            if let Ok(effects) = desk.order(order) {
                world.see(effects);
            }
        }
        Step::Repeat { back } => {
            let Some((sequence, order)) =
                world.sent.iter().rev().nth(usize::try_from(back).expect("it is small")).cloned()
            else {
                return;
            };
            let effects = desk.orders.on_order(sequence, order, desk.now);
            assert_eq!(effects.len(), 1, "a repeated order has no effect but its answer");
        }
        Step::Report { job, report } => {
            let Some(about) = world.alive.iter().find(|(of, _)| of.0 == job).copied() else { return };
            let report = match report {
                0 => ReportBody::Ready,
                1 | 2 => finished(u32::from(report)),
                3 => failed(),
                _ => ReportBody::Gone,
            };
            if matches!(report, ReportBody::Gone) {
                world.alive.remove(&about);
            }
            world.see(desk.orders.on_report(about.0, about.1, report, desk.now));
        }
        Step::WorkDone => match world.work.pop() {
            Some(Effect::Discover { job, attempt, sources, .. }) => {
                world.see(desk.orders.on_discovered((job, attempt, sources), Ok(Vec::new())));
            }
            Some(Effect::Commit { job, attempt, publication, .. }) => {
                world.see(desk.orders.on_committed(&(job, attempt, publication.checkpoint), Ok(())));
            }
            Some(Effect::Discard { job, attempt, before, .. }) => {
                world.see(desk.orders.on_discarded((job, attempt, before), Ok(())));
            }
            _ => {}
        },
        Step::Reconnect { term } => {
            desk.orders.on_disconnected(desk.now);
            if let Ok(effects) = desk.orders.on_registered(Term(term), Vec::new()) {
                (desk.sequence, world.sent) = (0, Vec::new());
                let resent = effects.iter().filter(|effect| matches!(effect, Effect::Send(NodeMessage::Report { .. })));
                assert_eq!(resent.count(), world.unacknowledged.len(), "every kept report comes again");
                world.see(effects);
            }
        }
        Step::AcknowledgeFirst => {
            if let Some((sequence, _)) = world.unacknowledged.pop_first() {
                desk.orders.on_acknowledged(sequence);
            }
        }
        Step::Tick { seconds } => {
            desk.now += at(seconds);
            let effects = desk.orders.on_tick(desk.now);
            world.see(effects);
        }
    }
    desk.orders.check_invariants();
}

proptest! {
    #[test]
    fn attempts_are_fenced_forward_whatever_happens(steps in vec(step(), 1..120)) {
        let (mut desk, mut world) = (Desk::registered(), World::default());
        for step in steps {
            take(&mut desk, &mut world, step);
        }
        // At the end the leader cancels everything, and the runtime obeys.
        for job in [1, 2] {
            let order = Order { job: JobId(job), term: Term(9), ..order(9, Action::Cancel) };
            let effects = desk.order(order);
            world.see(effects.expect("nothing is newer"));
        }
        for (job, attempt) in std::mem::take(&mut world.alive) {
            assert!(world.cancelled.contains(&(job, attempt)), "{attempt} of {job} was left running");
            world.see(desk.orders.on_report(job, attempt, ReportBody::Gone, desk.now));
        }
        while !world.work.is_empty() {
            take(&mut desk, &mut world, Step::WorkDone);
        }
        assert!(world.alive.is_empty(), "nothing is built any more");
        for sequence in world.unacknowledged.keys() {
            desk.orders.on_acknowledged(*sequence);
        }
        assert!(desk.orders.is_idle(|_, _| false));
    }
}
