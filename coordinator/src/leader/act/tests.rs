//! Which ended jobs a new leader takes charge of, and which it forgets.

use std::{collections::BTreeSet, sync::Arc};

use thalweg_cluster_state::{AttemptPlan, EndMode, JobSpec, Outcome};
use thalweg_types::{Assignment, Attempt, Incarnation, KeyGroupTable, RequestId, node::NodeRegistration};

use super::*;

/// A state with a node, in which jobs can begin.
fn state() -> ClusterState {
    let registration = NodeRegistration {
        node: NodeId(1),
        incarnation: Incarnation(1),
        address: "a:1".to_owned(),
        http_address: String::new(),
        slots: 1,
        zone: String::new(),
        version: String::new(),
    };
    let mut state = ClusterState::default();
    apply(&mut state, Command::RegisterNode { registration });
    state
}

fn apply(state: &mut ClusterState, command: Command) {
    let index = state.jobs().values().map(|record| record.revision).max().unwrap_or_default() + 1;
    let name = command.name();
    assert!(matches!(state.apply(index, command), Outcome::Applied(_)), "{name}");
}

/// Adds a job that is cancelled, with or without a checkpoint before.
fn cancelled(state: &mut ClusterState, number: u64, has_checkpoint: bool) -> JobId {
    let (job, attempt, checkpoint) = (JobId(number), Attempt(1), CheckpointId(1));
    let spec = JobSpec {
        name: String::new(),
        sql: String::new(),
        graph: "{}".to_owned(),
        key_groups: 1,
        parallelism: None,
        ingest_paths: BTreeSet::new(),
    };
    apply(state, Command::SubmitJob { request: RequestId(number.to_string()), spec: Arc::new(spec) });
    let assignment = Assignment { slices: vec![NodeId(1)], key_groups: KeyGroupTable::even(1, 1) };
    let plan = Arc::new(AttemptPlan { assignment, nodes: [(NodeId(1), Incarnation(1))].into() });
    apply(state, Command::BeginAttempt { job, attempt, plan });
    apply(state, Command::RunAttempt { job, attempt });
    if has_checkpoint {
        let manifest = ManifestRef { checkpoint, name: "m".to_owned(), bytes: 1, checksum: 1 };
        apply(state, Command::BeginCheckpoint { job, attempt, checkpoint });
        apply(state, Command::CompleteCheckpoint { job, attempt, manifest });
    }
    apply(state, Command::EndJob { job, mode: EndMode::Cancel });
    job
}

#[test]
fn a_job_with_something_to_publish_is_always_looked_after_and_never_forgotten() {
    let mut state = state();
    let unpublished = cancelled(&mut state, 1, true);
    for number in 2..100 {
        cancelled(&mut state, number, false);
    }
    let uncleared = |state: &ClusterState| {
        let (first, others) = uncleared_jobs(state);
        (first.into_iter().map(|(job, _)| job).collect::<Vec<_>>(), others)
    };
    assert_eq!(uncleared(&state), (vec![unpublished], (2..100).rev().map(JobId).collect()), "none is left out");
    let first = |state: &ClusterState, max| forgettable_job(state, max, |_| false).map(|(job, _)| job);
    assert_eq!(first(&state, 10), Some(JobId(2)));
    let committed = Command::SinksCommitted { job: unpublished, checkpoint: CheckpointId(1), sinks: Vec::new() };
    apply(&mut state, committed);
    assert_eq!(uncleared(&state).1[0], unpublished, "its objects are there");
    assert_eq!(first(&state, 98), Some(JobId(2)), "it has changed last");
    assert_eq!(first(&state, 99), None);
}

#[test]
fn a_job_that_is_being_cleared_away_is_forgotten_only_where_very_many_are_remembered() {
    let mut state = state();
    for number in 1..=4 {
        cancelled(&mut state, number, false);
    }
    let first = |max, busy: u64| forgettable_job(&state, max, |job| job.0 <= busy).map(|(job, _)| job.0);
    assert_eq!((first(3, 0), first(3, 2), first(3, 4)), (Some(1), Some(3), None));
    assert_eq!((first(1, 4), first(4, 0)), (None, None));
    for number in 5..=11 {
        cancelled(&mut state, number, false);
    }
    let first = |max| forgettable_job(&state, max, |_| true).map(|(job, _)| job.0);
    assert_eq!((first(1), first(2)), (Some(1), None));
}
