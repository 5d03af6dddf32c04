//! What is told of a job's addresses.

use thalweg_cluster_state::{AttemptPlan, Command, JobSpec, Outcome};
use thalweg_types::{Assignment, Incarnation, KeyGroupTable, RequestId, node::NodeRegistration};

use super::*;

fn apply(state: &mut ClusterState, command: Command) {
    let index = state.jobs().values().map(|record| record.revision).max().unwrap_or_default() + 1;
    let name = command.name();
    assert!(matches!(state.apply(index, command), Outcome::Applied(_)), "{name}");
}

/// Nodes with these HTTP addresses.
fn state(addresses: &[&str]) -> ClusterState {
    let mut state = ClusterState::default();
    for (number, address) in (1..).zip(addresses) {
        let registration = NodeRegistration {
            node: NodeId(number),
            incarnation: Incarnation(number),
            address: format!("grpc-{number}:1"),
            http_address: (*address).to_owned(),
            slots: 1,
            zone: String::new(),
            version: String::new(),
        };
        apply(&mut state, Command::RegisterNode { registration });
    }
    state
}

#[test]
fn a_tables_urls_are_those_of_some_nodes_while_its_job_runs() {
    let mut state = state(&["", "a:80", "b:80"]);
    let spec = JobSpec {
        name: String::new(),
        sql: String::new(),
        graph: "{}".to_owned(),
        key_groups: 1,
        parallelism: None,
        ingest_paths: ["/tables/top ten", "/tables/t", "ingest/x"].map(str::to_owned).into(),
    };
    let (job, attempt) = (JobId(1), Attempt(1));
    apply(&mut state, Command::SubmitJob { request: RequestId("r".to_owned()), spec: Arc::new(spec) });
    let told = |state: &ClusterState| asked_urls(state.job(job).expect("a job"), state);
    assert!(told(&state).is_empty(), "no attempt runs");
    let assignment = Assignment { slices: vec![NodeId(1)], key_groups: KeyGroupTable::even(1, 1) };
    let plan = Arc::new(AttemptPlan { assignment, nodes: [(NodeId(1), Incarnation(1))].into() });
    apply(&mut state, Command::BeginAttempt { job, attempt, plan });
    apply(&mut state, Command::RunAttempt { job, attempt });
    let urls = ["a:80/tables/t", "b:80/tables/t", "a:80/tables/top%20ten", "b:80/tables/top%20ten"];
    assert_eq!(told(&state), urls.map(|url| format!("http://{url}")));
}

#[test]
fn a_few_nodes_are_enough() {
    let many = state(&["a", "b", "c", "d", "e", "f"]);
    assert_eq!(many.nodes().len(), 6);
    assert_eq!(addresses(&many), ["a", "b", "c", "d"]);
}
