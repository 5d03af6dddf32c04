//! Facts of orders: each is answered once, older attempts and terms are refused, and reports are repeated until they
//! are acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{
    ChainId, SubtaskId,
    checkpoint::{Prepared, RecordCounts, SinkCommittables, SnapshotCost, SubtaskSnapshot},
    job::SubtaskMetrics,
    session::ALL_ATTEMPTS,
};

use super::*;
use crate::testing::{deployment, graph, publication};

mod properties;

const JOB: JobId = JobId(7);
const LIMITS: Limits = Limits { orphan_timeout: Duration::from_mins(10), stop_timeout: Duration::from_secs(30) };

fn cluster() -> ClusterId {
    ClusterId("c".to_owned())
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn order(attempt: u32, action: Action) -> Order {
    Order { term: Term(1), cluster: cluster(), job: JOB, attempt: Attempt(attempt), action, trace: None }
}

fn commit() -> Action {
    Action::Commit(Box::new(publication(graph(), CheckpointId::FINAL)))
}

fn discard() -> Action {
    sweep(ALL_ATTEMPTS.0)
}

/// Removes output of attempts older than this one.
fn sweep(before: u32) -> Action {
    let checkpoints = "memory://checkpoints".to_owned();
    Action::Discard { graph: Box::new(graph()), before: Attempt(before), checkpoints }
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Operator, message: "broke".to_owned() }
}

/// A machine with an open session, which numbers the orders that it gets.
struct Desk {
    orders: Orders,
    sequence: u64,
    now: Duration,
}

impl Desk {
    fn registered() -> Self {
        let mut orders = Orders::new(LIMITS, at(0));
        orders.on_registered(Term(1), Vec::new()).expect("the first leader");
        Self { orders, sequence: 0, now: at(0) }
    }

    /// The effects of an order without its answer, or why it is refused.
    fn order(&mut self, order: Order) -> Result<Vec<Effect>, String> {
        self.sequence += 1;
        let mut effects = self.orders.on_order(self.sequence, order, self.now);
        self.orders.check_invariants();
        match effects.pop() {
            Some(Effect::Send(NodeMessage::Acknowledge { sequence, refused })) => {
                assert_eq!(sequence, self.sequence);
                refused.map_or(Ok(effects), Err)
            }
            other => panic!("an order is answered last of all, but there was {other:?}"),
        }
    }

    fn report(&mut self, attempt: u32, report: ReportBody) -> Vec<Effect> {
        let effects = self.orders.on_report(JOB, Attempt(attempt), report, self.now);
        self.orders.check_invariants();
        effects
    }

    fn deployed(attempt: u32) -> Self {
        let mut desk = Self::registered();
        let effects = desk.order(order(attempt, Action::Deploy(deployment()))).expect("it is the first");
        assert_eq!(kinds(&effects), ["deploy 1"]);
        desk
    }
}

/// A word for each effect, with its attempt.
fn kinds(effects: &[Effect]) -> Vec<String> {
    let kind = |effect: &Effect| match effect {
        Effect::Discover { attempt, .. } => format!("discover {}", attempt.0),
        Effect::Deploy { attempt, .. } => format!("deploy {}", attempt.0),
        Effect::Start { attempt, .. } => format!("start {}", attempt.0),
        Effect::Cancel { attempt, .. } => format!("cancel {}", attempt.0),
        Effect::Stop { attempt, .. } => format!("stop {}", attempt.0),
        Effect::BeginCheckpoint { checkpoint, .. } => format!("begin {checkpoint}"),
        Effect::AbortCheckpoint { checkpoint, .. } => format!("abort {checkpoint}"),
        Effect::ConfirmCheckpoint { checkpoint, .. } => format!("confirm {checkpoint}"),
        Effect::Commit { attempt, .. } => format!("commit {}", attempt.0),
        Effect::Discard { attempt, .. } => format!("discard {}", attempt.0),
        Effect::Forget { attempt, .. } => format!("forget {}", attempt.0),
        Effect::Abandon { attempt, .. } => format!("abandon {}", attempt.0),
        Effect::Send(NodeMessage::Report { report, .. }) => match &report.body {
            ReportBody::Discovered { .. } => format!("discovered {}", report.attempt.0),
            ReportBody::Ready => format!("ready {}", report.attempt.0),
            ReportBody::Finished { .. } => format!("finished {}", report.attempt.0),
            ReportBody::Failed { .. } => format!("failed {}", report.attempt.0),
            ReportBody::Gone => format!("gone {}", report.attempt.0),
            ReportBody::Committed { .. } => format!("committed {}", report.attempt.0),
            ReportBody::Discarded { .. } => format!("discarded {}", report.attempt.0),
            ReportBody::Snapshot { checkpoint, .. } => format!("snapshot {checkpoint}"),
            ReportBody::SnapshotFailed { checkpoint, .. } => format!("no snapshot {checkpoint}"),
            ReportBody::CheckpointWanted => format!("wanted {}", report.attempt.0),
        },
        Effect::Send(NodeMessage::Reattach { subtasks }) => format!("reattach {}", subtasks.len()),
        Effect::Send(NodeMessage::Leaving) => "leaving".to_owned(),
        Effect::Send(other) => panic!("unexpected {other:?}"),
    };
    effects.iter().map(kind).collect()
}

fn finished(index: u32) -> ReportBody {
    let subtask = SubtaskId { chain: ChainId(0), index };
    ReportBody::Finished { subtask, metrics: SubtaskMetrics::default(), prepared: Vec::new() }
}

fn failed() -> ReportBody {
    ReportBody::Failed { subtask: None, failure: failure(), peer: None }
}

#[test]
fn splits_that_cannot_be_told_fail_their_discovery() {
    let mut orders = Desk::registered().orders;
    let split = Split {
        id: thalweg_types::SplitId("s".to_owned()),
        sequence: "s".to_owned(),
        ordinal: 0,
        payload: serde_json::Value::String("x".repeat(5 << 20)),
    };
    for (count, fits) in [(6, true), (7, false)] {
        let found = vec![(OperatorId(0), vec![split.clone(); count])];
        let effects = orders.on_discovered((JOB, Attempt(1), Vec::new()), Ok(found));
        let [
            Effect::Send(NodeMessage::Report {
                report: Report { body: ReportBody::Discovered { splits, .. }, .. },
                ..
            }),
        ] = &effects[..]
        else {
            panic!("{effects:?}")
        };
        let failed = splits.as_ref().err();
        assert_eq!(failed.is_none(), fits);
        assert!(failed.is_none_or(|failure| failure.kind == FailureKind::Data && failure.message.contains("7 splits")));
    }
}

/// What a sink subtask has prepared, of this size.
fn prepared(bytes: usize) -> Vec<Prepared> {
    let committables = vec![serde_json::Value::String("x".repeat(bytes))];
    let committables = SinkCommittables { sink: OperatorId(1), subtask: 0, committables };
    vec![Prepared { epoch: CheckpointId(1), committables }]
}

#[test]
fn what_no_message_can_hold_is_told_as_a_failure() {
    let snapshot = |bytes| {
        let snapshot = SubtaskSnapshot {
            subtask: SubtaskId::default(),
            is_finished: false,
            operators: Vec::new(),
            source: None,
            in_flight: Vec::new(),
            objects: Vec::new(),
            counts: RecordCounts::default(),
            prepared: prepared(bytes),
            cost: SnapshotCost::default(),
        };
        ReportBody::Snapshot { checkpoint: CheckpointId(1), snapshot: snapshot.into() }
    };
    let mut desk = Desk::deployed(1);
    assert_eq!(kinds(&desk.report(1, snapshot(1000))), [format!("snapshot {}", CheckpointId(1))]);
    let effects = desk.report(1, snapshot(MESSAGE_BYTES_MAX));
    let [
        Effect::Send(NodeMessage::Report {
            report: Report { body: ReportBody::SnapshotFailed { failure, .. }, .. },
            ..
        }),
    ] = &effects[..]
    else {
        panic!("{:?}", kinds(&effects))
    };
    assert!(failure.message.contains("more than the 67108864 bytes of a message"), "{}", failure.message);

    let finished = |bytes| ReportBody::Finished {
        subtask: SubtaskId::default(),
        metrics: SubtaskMetrics::default(),
        prepared: prepared(bytes),
    };
    assert_eq!(kinds(&desk.report(1, finished(1000))), ["finished 1"]);
    assert_eq!(kinds(&desk.report(1, finished(MESSAGE_BYTES_MAX))), ["failed 1", "cancel 1"]);
}

#[test]
fn a_newer_attempt_is_built_when_the_older_is_gone() {
    let mut desk = Desk::deployed(1);
    let effects = desk.order(order(2, Action::Deploy(deployment()))).expect("it is newer");
    assert_eq!(kinds(&effects), ["cancel 1"]);
    assert!(desk.order(order(2, Action::Start)).is_err(), "it is not built yet");
    assert_eq!(kinds(&desk.report(1, ReportBody::Gone)), ["forget 1", "gone 1", "deploy 2"]);
    assert_eq!(kinds(&desk.order(order(2, Action::Start)).expect("it is built")), ["start 2"]);
}

#[test]
fn orders_of_older_attempts_and_terms_are_refused() {
    let mut desk = Desk::deployed(1);
    desk.order(order(2, Action::Deploy(deployment()))).expect("it is newer");
    for action in [Action::Deploy(deployment()), Action::Start, Action::Cancel, Action::Stop, commit(), discard()] {
        assert!(desk.order(order(1, action)).is_err());
    }
    desk.order(Order { term: Term(3), ..order(2, Action::Cancel) }).expect("its term is newer");
    assert!(desk.order(order(3, Action::Deploy(deployment()))).is_err(), "its term is over");
    assert_eq!(desk.orders.on_registered(Term(2), Vec::new()), Err(DeposedLeader { offered: Term(2), seen: Term(3) }));
}

#[test]
fn an_order_that_comes_again_is_answered_again_and_does_nothing() {
    let mut desk = Desk::deployed(1);
    let again = desk.orders.on_order(1, order(1, Action::Deploy(deployment())), at(0));
    assert_eq!(again, [acknowledge(1, None)]);
    assert!(desk.order(order(0, Action::Start)).is_err());
    let again = desk.orders.on_order(2, order(0, Action::Start), at(0));
    assert!(matches!(&again[..], [Effect::Send(NodeMessage::Acknowledge { sequence: 2, refused: Some(_) })]));
}

#[test]
fn a_new_session_numbers_orders_anew_and_they_stay_idempotent() {
    let mut desk = Desk::deployed(1);
    desk.order(order(1, Action::Start)).expect("it is here");
    desk.orders.on_disconnected(at(1));
    desk.orders.on_registered(Term(2), Vec::new()).expect("a newer leader");
    desk.sequence = 0;
    for action in [Action::Deploy(deployment()), Action::Start] {
        let order = Order { term: Term(2), ..order(1, action) };
        assert_eq!(desk.order(order), Ok(Vec::new()));
    }
}

#[test]
fn reports_come_again_in_order_until_they_are_acknowledged() {
    let mut desk = Desk::deployed(1);
    desk.report(1, ReportBody::Ready);
    desk.report(1, finished(0));
    desk.orders.on_disconnected(at(1));
    let resent = desk.orders.on_registered(Term(1), Vec::new()).expect("the same leader");
    assert_eq!(kinds(&resent), ["reattach 0", "ready 1", "finished 1"]);
    desk.orders.on_acknowledged(1);
    let resent = desk.orders.on_registered(Term(1), Vec::new()).expect("the same leader");
    assert!(matches!(&resent[1..], [Effect::Send(NodeMessage::Report { sequence: 2, .. })]));
}

#[test]
fn an_attempt_that_has_finished_stays_and_does_not_hold_up_leaving() {
    let mut desk = Desk::deployed(1);
    desk.report(1, finished(0));
    desk.orders.on_acknowledged(1);
    assert!(!desk.orders.is_idle(|_, _| false));
    assert!(desk.orders.is_idle(|job, attempt| (job, attempt) == (JOB, Attempt(1))));
    assert_eq!(kinds(&desk.order(order(1, Action::Cancel)).expect("it is here")), ["cancel 1"]);
    assert!(!desk.orders.is_idle(|_, _| true), "what was cancelled has to be gone");
}

#[test]
fn an_end_that_nobody_ordered_is_a_failure() {
    let mut desk = Desk::deployed(1);
    assert_eq!(kinds(&desk.report(1, ReportBody::Gone)), ["failed 1", "forget 1", "gone 1"]);
    assert!(desk.report(1, ReportBody::Gone).is_empty());
}

#[test]
fn the_first_failure_is_reported_and_ends_the_attempt_here() {
    let mut desk = Desk::deployed(1);
    assert_eq!(kinds(&desk.report(1, failed())), ["failed 1", "cancel 1"]);
    assert!(desk.report(1, failed()).is_empty());
    assert!(desk.report(1, finished(0)).is_empty());
    assert_eq!(kinds(&desk.report(1, ReportBody::Gone)), ["forget 1", "gone 1"]);
    assert!(desk.order(order(1, Action::Deploy(deployment()))).is_err(), "an attempt is built once");
}

#[test]
fn what_was_cancelled_before_it_came_is_not_built() {
    let mut desk = Desk::registered();
    assert_eq!(kinds(&desk.order(order(1, Action::Cancel)).expect("it is the newest")), ["gone 1"]);
    assert_eq!(desk.order(order(1, Action::Cancel)), Ok(Vec::new()), "the report is kept already");
    assert!(desk.order(order(1, Action::Deploy(deployment()))).is_err());
    assert!(desk.order(order(1, Action::Start)).is_err());
}

#[test]
fn a_cancelled_attempt_that_waited_is_never_built() {
    let mut desk = Desk::deployed(1);
    desk.order(order(2, Action::Deploy(deployment()))).expect("it is newer");
    assert_eq!(kinds(&desk.order(order(2, Action::Cancel)).expect("it is here")), ["gone 2"]);
    assert_eq!(kinds(&desk.report(1, ReportBody::Gone)), ["forget 1", "gone 1"]);
}

#[test]
fn stop_and_start_are_done_once() {
    let mut desk = Desk::deployed(1);
    for (action, word) in [(Action::Start, "start 1"), (Action::Stop, "stop 1")] {
        assert_eq!(kinds(&desk.order(order(1, action.clone())).expect("it is here")), [word]);
        assert_eq!(desk.order(order(1, action)), Ok(Vec::new()));
    }
}

#[test]
fn discoveries_and_commits_are_answered_once_and_done_again_when_asked_again() {
    let mut desk = Desk::registered();
    let discover = || Action::Discover { graph: Box::new(graph()), sources: vec![OperatorId(0)] };
    assert_eq!(kinds(&desk.order(order(1, discover())).expect("it is new")), ["discover 1"]);
    assert_eq!(desk.order(order(1, discover())), Ok(Vec::new()), "it is under way");
    let effects = desk.orders.on_discovered((JOB, Attempt(1), vec![OperatorId(0)]), Ok(Vec::new()));
    assert_eq!(kinds(&effects), ["discovered 1"]);
    assert_eq!(kinds(&desk.order(order(1, discover())).expect("it may have changed")), ["discover 1"]);

    assert_eq!(kinds(&desk.order(order(1, commit())).expect("it is new")), ["commit 1"]);
    assert_eq!(desk.order(order(1, commit())), Ok(Vec::new()), "it is under way");
    let effects = desk.orders.on_committed(&(JOB, Attempt(1), CheckpointId::FINAL), Err(failure()));
    assert_eq!(kinds(&effects), ["committed 1"]);
    assert_eq!(kinds(&desk.order(order(1, commit())).expect("it failed before")), ["commit 1"]);
}

#[test]
fn what_is_left_of_a_job_is_removed_once_nothing_of_it_lives_here() {
    let mut desk = Desk::deployed(1);
    assert_eq!(desk.order(order(1, discard())), Err("job-7 is not gone from here".to_owned()));
    desk.order(order(1, Action::Cancel)).expect("it is here");
    assert!(desk.order(order(1, discard())).is_err(), "it still ends");
    desk.report(1, ReportBody::Gone);
    assert_eq!(kinds(&desk.order(order(1, discard())).expect("it is gone")), ["discard 1"]);
    assert_eq!(desk.order(order(1, discard())), Ok(Vec::new()), "it is under way");
    assert!(!desk.orders.is_idle(|_, _| false));
    let effects = desk.orders.on_discarded((JOB, Attempt(1), ALL_ATTEMPTS), Err(failure()));
    assert_eq!(kinds(&effects), ["discarded 1"]);
    assert_eq!(kinds(&desk.order(order(1, discard())).expect("it failed before")), ["discard 1"]);
}

#[test]
fn what_older_attempts_left_is_removed_beside_the_live_one() {
    let mut desk = Desk::deployed(1);
    assert_eq!(kinds(&desk.order(order(1, sweep(1))).expect("it is of older ones")), ["discard 1"]);
    assert_eq!(desk.order(order(1, sweep(1))), Ok(Vec::new()), "it is under way");
    desk.order(order(1, Action::Cancel)).expect("it is here");
    desk.report(1, ReportBody::Gone);
    assert_eq!(
        kinds(&desk.order(order(1, discard())).expect("it is gone")),
        ["discard 1"],
        "all of it is another matter"
    );
}

#[test]
fn a_checkpoint_that_was_given_up_here_is_not_begun_again() {
    let mut desk = Desk::deployed(1);
    let begin = |checkpoint| Action::BeginCheckpoint { checkpoint: CheckpointId(checkpoint) };
    assert!(desk.order(order(1, begin(1))).is_err(), "it is not started");
    desk.order(order(1, Action::Start)).expect("it is built");
    assert_eq!(kinds(&desk.order(order(1, begin(1))).unwrap()), ["begin checkpoint-1"]);
    assert_eq!(kinds(&desk.order(order(1, begin(1))).unwrap()), ["begin checkpoint-1"], "a new leader may not know");
    let abort = Action::AbortCheckpoint { checkpoint: CheckpointId(1) };
    assert_eq!(kinds(&desk.order(order(1, abort)).unwrap()), ["abort checkpoint-1"]);
    assert_eq!(desk.order(order(1, begin(1))), Err("checkpoint-1 was given up here".to_owned()));
    assert_eq!(kinds(&desk.order(order(1, begin(2))).unwrap()), ["begin checkpoint-2"]);
    let confirm = Action::ConfirmCheckpoint { checkpoint: CheckpointId(2), manifest: None };
    assert_eq!(kinds(&desk.order(order(1, confirm)).unwrap()), ["confirm checkpoint-2"]);
}

#[test]
fn a_job_whose_leftovers_are_removed_here_does_not_come_to_life_here() {
    let mut desk = Desk::registered();
    assert_eq!(kinds(&desk.order(order(3, discard())).expect("nothing of it is here")), ["discard 3"]);
    for attempt in [2, 3] {
        assert!(desk.order(order(attempt, Action::Deploy(deployment()))).is_err());
    }
}

#[test]
fn discovery_proves_nothing_about_attempts() {
    let mut desk = Desk::deployed(1);
    let discover = Action::Discover { graph: Box::new(graph()), sources: Vec::new() };
    assert_eq!(kinds(&desk.order(order(2, discover)).expect("it is newer")), ["discover 2"]);
    assert_eq!(kinds(&desk.order(order(1, Action::Start)).expect("it is here")), ["start 1"]);
}

#[test]
fn a_leaving_node_takes_no_more_work_and_is_idle_when_all_is_told() {
    let mut desk = Desk::deployed(1);
    assert_eq!(kinds(&desk.orders.on_leave()), ["leaving"]);
    let refused = desk.order(Order { job: JobId(8), ..order(1, Action::Deploy(deployment())) });
    assert_eq!(refused, Err("this node is leaving".to_owned()));
    desk.order(order(1, Action::Cancel)).expect("it is here");
    desk.report(1, ReportBody::Gone);
    assert!(!desk.orders.is_idle(|_, _| false), "the leader does not know it yet");
    let resent = desk.orders.on_registered(Term(1), Vec::new()).expect("the same leader");
    assert_eq!(kinds(&resent), ["reattach 0", "gone 1", "leaving"]);
    desk.orders.on_acknowledged(1);
    assert!(!desk.orders.is_idle(|_, _| false), "it is not recorded that it leaves");
    desk.orders.on_disconnected(desk.now);
    assert!(desk.orders.is_idle(|_, _| false), "nobody can be told");
    desk.orders.on_registered(Term(1), Vec::new()).expect("the same leader");
    desk.orders.on_leave_recorded();
    assert!(desk.orders.is_idle(|_, _| false));
}

#[test]
fn orphans_run_on_until_the_timeout_and_only_without_a_leader() {
    let mut desk = Desk::deployed(1);
    assert!(desk.orders.on_tick(at(10_000)).is_empty());
    desk.orders.on_disconnected(at(10_000));
    assert!(desk.orders.on_tick(at(10_599)).is_empty());
    assert_eq!(kinds(&desk.orders.on_tick(at(10_600))), ["failed 1", "cancel 1"]);
    assert!(desk.orders.on_tick(at(10_601)).is_empty());
}

#[test]
fn an_attempt_that_does_not_end_is_abandoned() {
    let mut desk = Desk::deployed(1);
    desk.now = at(5);
    desk.order(order(1, Action::Cancel)).expect("it is here");
    assert!(desk.orders.on_tick(at(34)).is_empty());
    assert_eq!(kinds(&desk.orders.on_tick(at(35))), ["abandon 1"]);
}

#[test]
fn one_that_does_not_end_has_longer_where_other_jobs_run() {
    let mut desk = Desk::deployed(1);
    desk.now = at(5);
    let other = Order { job: JobId(JOB.0 + 1), ..order(1, Action::Deploy(deployment())) };
    desk.order(other.clone()).expect("there is room");
    desk.order(order(1, Action::Cancel)).expect("it is here");
    assert!(desk.orders.on_tick(at(304)).is_empty());
    assert_eq!(kinds(&desk.orders.on_tick(at(305))), ["abandon 1"]);
    desk.now = at(20);
    desk.order(Order { action: Action::Cancel, ..other }).expect("it is here");
    assert_eq!(kinds(&desk.orders.on_tick(at(35))), ["abandon 1"], "none is left that runs");
}

#[test]
fn answers_are_bounded_and_old_ones_are_refused() {
    let mut answers = Answers::default();
    (1..=5000).for_each(|sequence| answers.remember(sequence, None));
    assert_eq!(answers.given(5001), None);
    assert_eq!(answers.given(5000), Some(None));
    assert!(matches!(answers.given(1), Some(Some(_))));
}

#[test]
fn fences_are_bounded_and_the_living_keep_theirs() {
    let mut desk = Desk::deployed(1);
    let cancelled = u64::try_from(FENCES_MAX).expect("it is small") + 20;
    for job in (1..=cancelled).map(|job| JobId(100 + job)) {
        let effects = desk.orders.on_order(job.0, Order { job, ..order(2, Action::Cancel) }, at(0));
        assert_eq!(kinds(&effects[..1]), ["gone 2"]);
        desk.orders.on_acknowledged(job.0 - 100);
    }
    desk.orders.check_invariants();
    desk.sequence = cancelled + 100;
    assert_eq!(desk.orders.jobs.len(), FENCES_MAX);
    assert!(desk.order(order(0, Action::Start)).is_err(), "the fence of what lives is kept");
    assert_eq!(kinds(&desk.order(order(1, Action::Start)).expect("it is here")), ["start 1"]);
}
