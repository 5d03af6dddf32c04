//! Facts and properties of the replicated state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use thalweg_types::{
    Assignment, Attempt, CheckpointId, ClusterId, Incarnation, JobId, JobStatus, KeyGroupTable, NodeId, OperatorId,
    RequestId,
    checkpoint::{ManifestRef, SinkCommittables},
    graph::OperatorIdentity,
    job::{Failure, FailureKind},
    node::{NodeRegistration, NodeState},
};

use crate::{AttemptPlan, ClusterState, Command, EndMode, Event, JobSpec, Outcome, Rejection, Verdict};

mod checkpoints;
mod golden;

const GROUPS: u16 = 8;

fn registration(node: u64, incarnation: u64, slots: u32) -> NodeRegistration {
    NodeRegistration {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        address: format!("host-{node}:7000"),
        http_address: String::new(),
        slots,
        zone: String::new(),
        version: "1".to_owned(),
    }
}

fn register(node: u64, incarnation: u64, slots: u32) -> Command {
    Command::RegisterNode { registration: registration(node, incarnation, slots) }
}

fn submit(request: &str) -> Command {
    let spec = JobSpec {
        name: "a job".to_owned(),
        sql: "SELECT 1".to_owned(),
        graph: "{}".to_owned(),
        key_groups: GROUPS,
        parallelism: None,
        ingest_paths: BTreeSet::new(),
    };
    Command::SubmitJob { request: RequestId(request.to_owned()), spec: Arc::new(spec) }
}

/// A job that takes records at `paths`.
fn submit_taking(request: &str, paths: &[&str]) -> Command {
    let Command::SubmitJob { request, spec } = submit(request) else { unreachable!("it submits") };
    let ingest_paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Command::SubmitJob { request, spec: Arc::new(JobSpec { ingest_paths, ..spec.as_ref().clone() }) }
}

fn begin(job: u64, attempt: u32, slices: &[(u64, u64)]) -> Command {
    let parallelism = u32::try_from(slices.len()).unwrap().max(1);
    let assignment = Assignment {
        slices: slices.iter().map(|(node, _)| NodeId(*node)).collect(),
        key_groups: KeyGroupTable::even(GROUPS, parallelism),
    };
    let nodes = slices.iter().map(|(node, incarnation)| (NodeId(*node), Incarnation(*incarnation))).collect();
    let plan = Arc::new(AttemptPlan { assignment, nodes });
    Command::BeginAttempt { job: JobId(job), attempt: Attempt(attempt), plan }
}

fn fail(job: u64, attempt: u32, kind: FailureKind, verdict: Verdict) -> Command {
    let failure = Failure { kind, message: "it broke".to_owned() };
    Command::FailAttempt { job: JobId(job), attempt: Attempt(attempt), failure, verdict }
}

fn run(job: u64, attempt: u32) -> Command {
    Command::RunAttempt { job: JobId(job), attempt: Attempt(attempt) }
}

fn committables() -> Vec<SinkCommittables> {
    vec![SinkCommittables {
        sink: OperatorId(3),
        subtask: 0,
        committables: vec![serde_json::json!({"file": "part-0"})],
    }]
}

fn complete(job: u64, attempt: u32) -> Command {
    Command::CompleteAttempt { job: JobId(job), attempt: Attempt(attempt), committables: committables() }
}

fn begin_checkpoint(job: u64, attempt: u32, checkpoint: u64) -> Command {
    Command::BeginCheckpoint { job: JobId(job), attempt: Attempt(attempt), checkpoint: CheckpointId(checkpoint) }
}

fn manifest(checkpoint: u64) -> ManifestRef {
    let name = format!("c/job-1/manifest-{checkpoint}");
    ManifestRef { checkpoint: CheckpointId(checkpoint), name, bytes: 100, checksum: 7 }
}

fn complete_checkpoint(job: u64, attempt: u32, checkpoint: u64) -> Command {
    Command::CompleteCheckpoint { job: JobId(job), attempt: Attempt(attempt), manifest: manifest(checkpoint) }
}

fn committed(job: u64, checkpoint: u64) -> Command {
    published(job, checkpoint, &[])
}

/// As `committed`, with something of these sinks.
fn published(job: u64, checkpoint: u64, sinks: &[u64]) -> Command {
    let sinks = sinks.iter().copied().map(OperatorIdentity).collect();
    Command::SinksCommitted { job: JobId(job), checkpoint: CheckpointId(checkpoint), sinks }
}

fn forget(job: u64, checkpoints: &[u64]) -> Command {
    let checkpoints = checkpoints.iter().copied().map(CheckpointId).collect();
    Command::ForgetCheckpoints { job: JobId(job), checkpoints }
}

/// Applies commands in order. Each must be applied.
fn state_after(commands: Vec<Command>) -> ClusterState {
    let mut state = ClusterState::default();
    for (command, index) in commands.into_iter().zip(1..) {
        let shown = format!("{command:?}");
        let outcome = state.apply(index, command);
        assert!(matches!(outcome, Outcome::Applied(_)), "{shown}: {outcome:?}");
        state.check_invariants().unwrap();
    }
    state
}

fn rejection(state: &ClusterState, command: Command) -> Rejection {
    let mut copy = state.clone();
    let reason = copy.apply(1000, command).into_result().unwrap_err();
    assert_eq!(&copy, state, "a rejection changes nothing");
    reason
}

fn running() -> ClusterState {
    state_after(vec![register(1, 10, 2), register(2, 20, 2), submit("r"), begin(1, 1, &[(1, 10), (2, 20)]), run(1, 1)])
}

fn status(state: &ClusterState) -> JobStatus {
    state.job(JobId(1)).unwrap().status
}

#[test]
fn a_job_goes_from_created_to_finished() {
    let mut state = running();
    let _ = state.apply(6, complete(1, 1));
    assert_eq!(status(&state), JobStatus::Committing);
    let kept = state.job(JobId(1)).unwrap().attempt.clone().unwrap().committables;
    assert_eq!(kept.as_deref(), Some(&committables()));
    let outcome = state.apply(7, Command::FinishJob { job: JobId(1), attempt: Attempt(1) });
    let event = Event::JobChanged { job: JobId(1), attempt: Attempt(1), status: JobStatus::Finished };
    assert_eq!(outcome, Outcome::Applied(vec![event]));
    assert_eq!(state.job(JobId(1)).unwrap().revision, 7);
    assert_eq!(state.live_jobs().count(), 0);
    assert_eq!(state.slots_used(NodeId(1)), 0);
}

#[test]
fn a_repeated_request_is_answered_with_its_job_and_not_executed() {
    let mut state = state_after(vec![submit("r"), submit("s")]);
    let before = state.clone();
    assert_eq!(state.apply(3, submit("r")), Outcome::Applied(vec![Event::JobAccepted { job: JobId(1) }]));
    assert_eq!(state, before);
}

#[test]
fn a_path_belongs_to_one_job_that_lives() {
    let mut state = state_after(vec![submit_taking("r", &["ingest/a", "ingest/b"]), submit_taking("s", &["c"])]);
    let before = state.clone();
    let second = submit_taking("t", &["ingest/b", "d"]);
    let taken = Rejection::PathTaken { path: "ingest/b".to_owned(), job: JobId(1), name: "a job".to_owned() };
    assert_eq!(state.apply(10, second.clone()), Outcome::Rejected(taken.clone()));
    assert_eq!(state, before);
    assert_eq!(
        taken.to_string(),
        "records that are POSTed to /ingest/b go to job-1, \"a job\": end it first, or give the table another 'path'"
    );
    let asked = Rejection::PathTaken { path: "/tables/t".to_owned(), job: JobId(1), name: "a job".to_owned() };
    assert_eq!(
        asked.to_string(),
        "/tables/t is answered by job-1, \"a job\": end it first, or give the table another name"
    );
    // The same request is answered with the job that has the path.
    let again = state.apply(11, submit_taking("r", &["ingest/a", "ingest/b"]));
    assert_eq!(again, Outcome::Applied(vec![Event::JobAccepted { job: JobId(1) }]));
    let _ = state.apply(12, Command::EndJob { job: JobId(1), mode: EndMode::Cancel });
    assert_eq!(state.apply(13, second), Outcome::Applied(vec![Event::JobAccepted { job: JobId(3) }]));
    let bytes = submit_taking("u", &["e"]).to_bytes(Duration::from_millis(7));
    assert_eq!(Command::from_bytes(&bytes), Ok((submit_taking("u", &["e"]), 7)));
}

#[test]
fn a_job_id_is_not_reused_after_the_job_was_forgotten() {
    let end = Command::EndJob { job: JobId(1), mode: EndMode::Cancel };
    let state = state_after(vec![submit("r"), end, Command::ForgetJobs { jobs: vec![JobId(1)] }, submit("r")]);
    assert_eq!(state.jobs().keys().collect::<Vec<_>>(), vec![&JobId(2)]);
}

#[test]
fn a_new_incarnation_of_a_node_ends_the_old_one_for_good() {
    let mut state = state_after(vec![register(1, 10, 2)]);
    let events = state.apply(2, register(1, 11, 2)).into_result().unwrap();
    assert_eq!(
        events,
        vec![
            Event::NodeLost { node: NodeId(1), incarnation: Incarnation(10) },
            Event::NodeRegistered { node: NodeId(1), incarnation: Incarnation(11) },
        ]
    );
    assert_eq!(
        rejection(&state, register(1, 10, 2)),
        Rejection::Superseded { node: NodeId(1), given: Incarnation(10) }
    );
}

#[test]
fn a_lost_node_may_return_in_the_same_incarnation() {
    let lose = Command::LoseNode { node: NodeId(1), incarnation: Incarnation(10), reason: "silent".to_owned() };
    let state = state_after(vec![register(1, 10, 2), lose, register(1, 10, 2)]);
    assert_eq!(state.node(NodeId(1)).unwrap().state, NodeState::Alive);
}

#[test]
fn a_job_that_cannot_be_carried_out_fails_in_any_state_but_an_ended_one() {
    let failure = Failure { kind: FailureKind::Data, message: "unreadable".to_owned() };
    let fail = Command::FailJob { job: JobId(1), failure: failure.clone() };
    for mut state in [state_after(vec![submit("r")]), running()] {
        let _ = state.apply(9, fail.clone());
        assert_eq!(
            (status(&state), state.job(JobId(1)).unwrap().failure.as_ref()),
            (JobStatus::Failed, Some(&failure))
        );
        state.check_invariants().unwrap();
        assert!(matches!(rejection(&state, fail.clone()), Rejection::WrongStatus { .. }));
    }
}

#[test]
fn an_attempt_must_follow_the_last_one_on_present_nodes_with_free_slots() {
    let state = state_after(vec![register(1, 10, 2), register(2, 20, 1), submit("r"), submit("s")]);
    let wrong = |attempt, slices: &[(u64, u64)]| rejection(&state, begin(1, attempt, slices));
    let not_next = Rejection::NotCurrentAttempt { job: JobId(1), current: Attempt(0), given: Attempt(2) };
    assert_eq!(wrong(2, &[(1, 10)]), not_next);
    let old = Rejection::NotCurrentIncarnation { node: NodeId(1), current: Incarnation(10), given: Incarnation(9) };
    assert_eq!(wrong(1, &[(1, 9)]), old);
    assert_eq!(wrong(1, &[(5, 50)]), Rejection::UnknownNode(NodeId(5)));
    assert_eq!(wrong(1, &[(2, 20), (2, 20)]), Rejection::NoSlots { node: NodeId(2), free: 1, wanted: 2 });
    assert!(matches!(wrong(1, &[]), Rejection::BadAssignment(_)));
    let mut busy = state;
    let _ = busy.apply(5, begin(2, 1, &[(2, 20)]));
    assert_eq!(rejection(&busy, begin(1, 1, &[(2, 20)])), Rejection::NoSlots { node: NodeId(2), free: 0, wanted: 1 });
    let _ = busy.apply(6, Command::LeaveNode { node: NodeId(1), incarnation: Incarnation(10) });
    assert_eq!(rejection(&busy, begin(1, 1, &[(1, 10)])), Rejection::NotAvailable(NodeId(1)));
}

#[test]
fn failures_are_counted_and_restart_or_end_the_job_as_decided() {
    let mut state = running();
    let _ = state.apply(6, fail(1, 1, FailureKind::Node, Verdict::Restart));
    assert_eq!(status(&state), JobStatus::Restarting);
    let stale = fail(1, 1, FailureKind::Node, Verdict::Restart);
    assert!(matches!(rejection(&state, stale), Rejection::WrongStatus { .. }), "one failure counts per attempt");
    let _ = state.apply(7, begin(1, 2, &[(1, 10)]));
    let _ = state.apply(8, fail(1, 2, FailureKind::Operator, Verdict::Fail));
    let record = state.job(JobId(1)).unwrap();
    assert_eq!((record.status, record.failures, record.operator_failures), (JobStatus::Failed, 2, 1));
}

#[test]
fn what_is_being_published_is_neither_restarted_nor_stopped() {
    let mut state = running();
    let _ = state.apply(6, complete(1, 1));
    let stop = Command::EndJob { job: JobId(1), mode: EndMode::Stop };
    for command in [fail(1, 1, FailureKind::Store, Verdict::Restart), stop] {
        let expected = Rejection::WrongStatus { job: JobId(1), status: JobStatus::Committing };
        assert_eq!(rejection(&state, command), expected);
    }
}

#[test]
fn a_publication_can_be_given_up() {
    let mut state = running();
    let _ = state.apply(6, complete(1, 1));
    let outcome = state.apply(7, Command::EndJob { job: JobId(1), mode: EndMode::Cancel });
    assert!(matches!(outcome, Outcome::Applied(_)));
    let record = state.job(JobId(1)).unwrap();
    assert_eq!(record.status, JobStatus::Failed, "it is not as if nothing had happened");
    let message = record.failure.as_ref().unwrap().message.as_str();
    assert_eq!(message, "publishing was given up; some output may be visible");
    state.check_invariants().unwrap();
    let late = Command::FinishJob { job: JobId(1), attempt: Attempt(1) };
    assert!(matches!(rejection(&state, late), Rejection::WrongStatus { .. }));
}

#[test]
fn a_job_that_is_being_stopped_restarts_to_its_end() {
    let stop = || Command::EndJob { job: JobId(1), mode: EndMode::Stop };
    let mut state = running();
    let _ = state.apply(6, stop());
    let _ = state.apply(7, fail(1, 1, FailureKind::Node, Verdict::Restart));
    let record = state.job(JobId(1)).unwrap();
    assert_eq!((record.status, record.ending, record.failures), (JobStatus::Restarting, Some(EndMode::Stop), 1));
    state.check_invariants().unwrap();

    let mut state = running();
    let _ = state.apply(6, fail(1, 1, FailureKind::Node, Verdict::Restart));
    let _ = state.apply(7, stop());
    assert_eq!(status(&state), JobStatus::Restarting, "what was read before is read again");
    assert_eq!(state_after(vec![submit("r"), stop()]).job(JobId(1)).unwrap().status, JobStatus::Stopped);

    let mut state = running();
    let _ = state.apply(6, Command::EndJob { job: JobId(1), mode: EndMode::Stop });
    let _ = state.apply(7, fail(1, 1, FailureKind::Data, Verdict::Fail));
    assert_eq!(status(&state), JobStatus::Failed);
}

#[test]
fn a_stopped_job_runs_to_its_publication() {
    let mut state = running();
    let _ = state.apply(6, Command::EndJob { job: JobId(1), mode: EndMode::Stop });
    assert_eq!(status(&state), JobStatus::Running);
    let _ = state.apply(7, complete(1, 1));
    let _ = state.apply(8, Command::FinishJob { job: JobId(1), attempt: Attempt(1) });
    assert_eq!(status(&state), JobStatus::Stopped);
}

#[test]
fn a_repeated_request_to_end_a_job_changes_nothing() {
    for (mode, publishes) in [(EndMode::Cancel, false), (EndMode::Cancel, true), (EndMode::Stop, false)] {
        let mut state = running();
        if publishes {
            let _ = state.apply(6, complete(1, 1));
        }
        let end = Command::EndJob { job: JobId(1), mode };
        let _ = state.apply(7, end.clone()).into_result().unwrap();
        let before = state.clone();
        assert_eq!(state.apply(8, end), Outcome::Applied(Vec::new()));
        assert_eq!(state, before);
    }
    // A job that was to be stopped still shows that it failed.
    let mut state = running();
    let stop = Command::EndJob { job: JobId(1), mode: EndMode::Stop };
    let _ = state.apply(6, stop.clone());
    let _ = state.apply(7, fail(1, 1, FailureKind::Data, Verdict::Fail));
    assert_eq!(rejection(&state, stop), Rejection::WrongStatus { job: JobId(1), status: JobStatus::Failed });
}

#[test]
fn bytes_that_are_no_command_are_an_error() {
    for bytes in [&b""[..], b"{}", b"{\"format\":7,\"command\":{\"init_cluster\":{\"cluster\":\"c\"}}}"] {
        assert!(Command::from_bytes(bytes).is_err());
    }
}

/// Commands over few ids, so that many of them fit the state that earlier ones made.
fn any_command() -> impl Strategy<Value = Command> {
    let node = || 1..4u64;
    let incarnation = || 1..4u64;
    let job = || 1..4u64;
    let attempt = || 0..5u32;
    let kind = prop_oneof![Just(FailureKind::Node), Just(FailureKind::Operator), Just(FailureKind::Data)];
    let sinks = prop::collection::vec(1..4u64, 0..3);
    let verdict = prop_oneof![3 => Just(Verdict::Restart), 1 => Just(Verdict::Fail)];
    let slices = prop::collection::vec((1..4u64, 1..3u64), 1..4).prop_map(|slices| {
        let incarnations: BTreeMap<u64, u64> = slices.iter().copied().collect();
        slices.into_iter().map(|(node, _)| (node, incarnations[&node])).collect::<Vec<_>>()
    });
    prop_oneof![
        1 => "[a-c]".prop_map(|name| Command::InitCluster { cluster: ClusterId(name) }),
        4 => (node(), 1..3u64, 1..4u32).prop_map(|(node, incarnation, slots)| register(node, incarnation, slots)),
        1 => (node(), incarnation()).prop_map(|(node, incarnation)| Command::LeaveNode {
            node: NodeId(node),
            incarnation: Incarnation(incarnation)
        }),
        1 => (node(), incarnation()).prop_map(|(node, incarnation)| Command::LoseNode {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            reason: "silent".to_owned()
        }),
        1 => prop::collection::vec(node().prop_map(NodeId), 0..3).prop_map(|nodes| Command::ForgetNodes { nodes }),
        3 => "[a-e]".prop_map(|request| submit(&request)),
        8 => (job(), 1..4u32, slices).prop_map(|(job, attempt, slices)| begin(job, attempt, &slices)),
        5 => (job(), attempt()).prop_map(|(job, attempt)| run(job, attempt)),
        4 => (job(), attempt()).prop_map(|(job, attempt)| complete(job, attempt)),
        4 => (job(), attempt(), kind, verdict).prop_map(|(job, attempt, kind, verdict)| fail(job, attempt, kind, verdict)),
        1 => job().prop_map(|job| Command::FailJob {
            job: JobId(job),
            failure: Failure { kind: FailureKind::Data, message: String::new() }
        }),
        6 => (job(), attempt(), 1..6u64).prop_map(|(job, attempt, id)| begin_checkpoint(job, attempt, id)),
        6 => (job(), attempt(), 1..6u64).prop_map(|(job, attempt, id)| complete_checkpoint(job, attempt, id)),
        6 => (job(), 1..6u64, sinks).prop_map(|(job, id, sinks)| published(job, id, &sinks)),
        3 => (job(), prop::collection::vec(1..6u64, 0..3)).prop_map(|(job, ids)| forget(job, &ids)),
        3 => (job(), attempt()).prop_map(|(job, attempt)| Command::FinishJob {
            job: JobId(job),
            attempt: Attempt(attempt)
        }),
        1 => (job(), prop_oneof![Just(EndMode::Cancel), Just(EndMode::Stop), Just(EndMode::Abandon)])
            .prop_map(|(job, mode)| Command::EndJob { job: JobId(job), mode }),
        1 => prop::collection::vec(job().prop_map(JobId), 0..3).prop_map(|jobs| Command::ForgetJobs { jobs }),
    ]
}

/// The rules that bind a state to its predecessor.
fn check_step(before: &ClusterState, after: &ClusterState, outcome: &Outcome) {
    if matches!(outcome, Outcome::Rejected(_)) {
        assert_eq!(before, after);
    }
    after.check_invariants().unwrap();
    assert!(after.last_job >= before.last_job);
    for (job, old) in before.jobs() {
        let Some(new) = after.job(*job) else {
            assert!(old.status.is_terminal(), "only jobs that have ended are forgotten");
            continue;
        };
        let (from, to) = (old.last_attempt(), new.last_attempt());
        assert!(to == from || to == from.next(), "attempts go forward by one");
        assert!(to == from || old.live_attempt().is_none(), "one live attempt at a time");
        assert!(!old.status.is_terminal() || old.status == new.status, "the end of a job is final");
        checkpoints::check_step(old, new);
        assert!(new.revision >= old.revision && (**old == *new || new.revision > old.revision));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_and_invariants_hold(
        commands in prop::collection::vec(any_command(), 0..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut one, mut two) = (ClusterState::default(), ClusterState::default());
        let cut = cut.index(commands.len() + 1);
        let mut from_snapshot = (cut == 0).then(ClusterState::default);
        for (command, index) in commands.iter().zip(1u64..) {
            let before = one.clone();
            let outcome = one.apply(index, command.clone());
            check_step(&before, &one, &outcome);
            let (read, at_ms) = Command::from_bytes(&command.to_bytes(Duration::ZERO)).unwrap();
            prop_assert_eq!(&outcome, &two.apply_at(index, read, at_ms));
            if let Some(state) = &mut from_snapshot {
                prop_assert_eq!(&outcome, &state.apply(index, command.clone()));
            }
            if index == cut as u64 {
                from_snapshot = Some(ClusterState::from_bytes(&one.to_bytes()).unwrap());
            }
        }
        prop_assert_eq!(one.to_bytes(), two.to_bytes());
        prop_assert_eq!(&from_snapshot.expect("the cut lies within the log"), &one);
    }

    #[test]
    fn commands_survive_their_persisted_form(command in any_command()) {
        prop_assert_eq!(Command::from_bytes(&command.to_bytes(Duration::ZERO)).unwrap(), (command, 0));
    }

    #[test]
    fn bytes_that_cannot_be_read_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Command::from_bytes(&bytes).is_err());
        prop_assert!(ClusterState::from_bytes(&bytes).is_err());
    }
}

fn restart(state: &ClusterState, request: &str, job: u64) -> Command {
    let spec = state.job(JobId(job)).unwrap().spec.as_ref().clone();
    let spec = Arc::new(JobSpec { graph: "{\"other\":\"settings\"}".to_owned(), ..spec });
    Command::RestartJob { request: RequestId(request.to_owned()), job: JobId(job), spec }
}

#[test]
fn a_failed_job_is_started_again_once_a_request_and_goes_on_from_its_newest_checkpoint() {
    let mut state = ClusterState::default();
    let mut index = 0;
    let mut apply = |state: &mut ClusterState, command: Command| {
        index += 1;
        state.apply(index, command)
    };
    for command in [register(1, 1, 4), submit("a"), begin(1, 1, &[(1, 1)]), run(1, 1), begin_checkpoint(1, 1, 1)] {
        assert!(matches!(apply(&mut state, command), Outcome::Applied(_)));
    }
    let again = restart(&state, "r", 1);
    let refused = Rejection::NotFailed { job: JobId(1), status: JobStatus::Running };
    assert_eq!(apply(&mut state, again.clone()), Outcome::Rejected(refused));
    let _ = apply(&mut state, complete_checkpoint(1, 1, 1));
    let _ = apply(&mut state, fail(1, 1, FailureKind::Data, Verdict::Fail));
    let waits = Rejection::NotCommitted { job: JobId(1), checkpoint: CheckpointId(1) };
    assert_eq!(apply(&mut state, again.clone()), Outcome::Rejected(waits), "it would be published by other settings");
    let _ = apply(&mut state, committed(1, 1));
    assert!(matches!(apply(&mut state, again.clone()), Outcome::Applied(events) if events.len() == 1));
    let record = state.job(JobId(1)).unwrap();
    assert_eq!((record.status, record.restarts, record.failures), (JobStatus::Restarting, 1, 0));
    assert!(record.spec.graph.contains("other"));
    assert_eq!(apply(&mut state, again), Outcome::Applied(Vec::new()), "it is the same request");
    let _ = apply(&mut state, begin(1, 2, &[(1, 1)]));
    let attempt = state.job(JobId(1)).unwrap().attempt.clone().unwrap();
    assert_eq!((attempt.attempt, attempt.restored), (Attempt(2), Some(CheckpointId(1))));
}

#[test]
fn a_job_whose_output_may_be_visible_in_part_is_not_started_again() {
    let mut state = ClusterState::default();
    let commands = [register(1, 1, 4), submit("a"), begin(1, 1, &[(1, 1)]), run(1, 1), complete(1, 1)];
    for (command, index) in commands.into_iter().chain([fail(1, 1, FailureKind::Data, Verdict::Fail)]).zip(1..) {
        assert!(matches!(state.apply(index, command), Outcome::Applied(_)));
    }
    let again = restart(&state, "r", 1);
    assert_eq!(state.apply(9, again), Outcome::Rejected(Rejection::PartlyPublished(JobId(1))));
}
