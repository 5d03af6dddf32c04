//! Decisions that are lost before they reach the log, and sessions of one leader term in another.

use super::*;
use crate::tests::TestCluster;

/// A second leader beside the real one. Tests can lose its proposals.
async fn leader_term(cluster: &TestCluster) -> LeaderTerm {
    cluster.leader().await;
    let config = LeaderConfig {
        lease: std::time::Duration::from_secs(3),
        control: thalweg_control::ControlConfig::default(),
        ended_jobs_max: 100,
        marks: true,
    };
    LeaderTerm::begin(Term(1), cluster.consensus(), config, cluster.checkpoints(), cluster.seams())
}

#[tokio::test(start_paused = true)]
async fn that_a_node_leaves_is_proposed_until_it_is_recorded() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut leader_term = leader_term(&cluster).await;
    let registration = cluster.registration(1);
    let node = registration.node;
    let command = Command::RegisterNode { registration };
    leader_term.consensus.propose(command.to_bytes(std::time::Duration::ZERO)).await.unwrap().into_result().unwrap();
    let state =
        |leader_term: &LeaderTerm| leader_term.consensus.peek(|machine| machine.state().node(node).unwrap().state);

    let (outgoing, mut said) = mpsc::channel(8);
    leader_term.open(&cluster.registration(1), outgoing).expect("it is the node's newest incarnation");
    said.try_recv().expect("a greeting");
    leader_term.receive(node, NodeMessage::Leaving);
    leader_term.proposals.clear();
    leader_term.on_tick();
    while !leader_term.proposals.is_empty() {
        let outcome = leader_term.proposals.next().await.unwrap();
        leader_term.on_outcome(outcome);
    }
    assert_eq!(state(&leader_term), NodeState::Leaving);
    assert!(said.try_recv().is_err(), "the node may end once it is told");
    leader_term.on_applied();
    assert!(leader_term.leaving.is_empty(), "it is recorded");
    assert_eq!(said.try_recv(), Ok(CoordinatorMessage::LeaveRecorded));
    leader_term.receive(node, NodeMessage::Leaving);
    assert_eq!(said.try_recv(), Ok(CoordinatorMessage::LeaveRecorded), "it may ask again");
    leader_term.on_tick();
    assert!(said.try_recv().is_err(), "once is enough");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_unusable_job_is_proposed_again_unless_it_was_judged() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut leader_term = leader_term(&cluster).await;
    let (lost, judged) = (JobId(1), JobId(2));
    leader_term.unusable.extend([lost, judged]);
    leader_term.on_outcome((Proposer::Unusable(lost), Err(ConsensusError::Busy)));
    let rejected = thalweg_cluster_state::Rejection::UnknownJob(judged);
    leader_term.on_outcome((Proposer::Unusable(judged), Ok(Outcome::Rejected(rejected))));
    assert_eq!(leader_term.unusable, BTreeSet::from([judged]));
}

#[tokio::test(start_paused = true)]
async fn what_a_session_of_an_earlier_term_says_last_is_not_heard() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut earlier = leader_term(&cluster).await;
    let registration = cluster.registration(1);
    let command = Command::RegisterNode { registration: registration.clone() };
    let _ =
        earlier.consensus.propose(command.to_bytes(std::time::Duration::ZERO)).await.unwrap().into_result().unwrap();
    let (outgoing, _said) = mpsc::channel(8);
    let old = earlier.open(&registration, outgoing).unwrap();

    let mut later =
        LeaderTerm::begin(Term(2), cluster.consensus(), earlier.config, cluster.checkpoints(), cluster.seams());
    let (outgoing, _said) = mpsc::channel(8);
    let new = later.open(&registration, outgoing).unwrap();
    let node = registration.node;
    later.on_request(LeaderRequest::Close { node, session: old });
    assert!(later.links[&node].is_open(new), "it is another session");
    later.on_request(LeaderRequest::Close { node, session: new });
    assert!(!later.links[&node].is_open(new));
}

async fn register(leader_term: &LeaderTerm, registration: &NodeRegistration) {
    let command = Command::RegisterNode { registration: registration.clone() };
    let _ = leader_term
        .consensus
        .propose(command.to_bytes(std::time::Duration::ZERO))
        .await
        .unwrap()
        .into_result()
        .unwrap();
}

/// Opens a session. Returns it and the numbers of the orders that are repeated over it.
fn open(leader_term: &mut LeaderTerm, registration: &NodeRegistration) -> (SessionId, Vec<u64>) {
    let (outgoing, mut said) = mpsc::channel(8);
    let session = leader_term.open(registration, outgoing).expect("it is the node's newest incarnation");
    let said = std::iter::from_fn(|| said.try_recv().ok());
    let number = |message| match message {
        CoordinatorMessage::Order { sequence, .. } => Some(sequence),
        _ => None,
    };
    (session, said.filter_map(number).collect())
}

#[tokio::test(start_paused = true)]
async fn an_order_is_repeated_until_it_is_acknowledged_over_the_session_that_is_open() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut leader_term = leader_term(&cluster).await;
    let registration = cluster.registration(1);
    register(&leader_term, &registration).await;
    let node = registration.node;
    let acknowledged = |session| {
        let message = NodeMessage::Acknowledge { sequence: 1, refused: None };
        LeaderRequest::Receive { node, session, message }
    };
    let (first, _) = open(&mut leader_term, &registration);
    leader_term.order(node, JobId(1), Attempt(1), Action::Start);
    let (_, repeated) = open(&mut leader_term, &registration);
    assert_eq!(repeated, [1]);
    leader_term.on_request(acknowledged(first));
    let (third, repeated) = open(&mut leader_term, &registration);
    assert_eq!(repeated, [1], "what was said over an old session counts for nothing");
    leader_term.on_request(acknowledged(third));
    assert_eq!(open(&mut leader_term, &registration).1, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_new_incarnation_of_a_node_gets_no_orders_of_the_old_one_which_gets_no_session() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut leader_term = leader_term(&cluster).await;
    let old = cluster.registration(1);
    register(&leader_term, &old).await;
    open(&mut leader_term, &old);
    leader_term.order(old.node, JobId(1), Attempt(1), Action::Start);
    let new = NodeRegistration { incarnation: old.incarnation.next(), ..old.clone() };
    register(&leader_term, &new).await;
    let (outgoing, _said) = mpsc::channel(8);
    assert_eq!(leader_term.open(&old, outgoing), None);
    assert_eq!(open(&mut leader_term, &new).1, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_ran_on_after_its_job_had_ended_is_cleared_away_once_it_is_gone() {
    let cluster = TestCluster::start(1, &[1]).await;
    let job = cluster.cancelled_job().await;
    let mut leader_term = leader_term(&cluster).await;
    leader_term.has_begun = true;
    let (node, incarnation) = leader_term.consensus.peek(|machine| {
        let (node, record) = machine.state().nodes().first_key_value().unwrap();
        (*node, record.registration.incarnation)
    });
    leader_term.links.insert(node, NodeLink::new(incarnation));
    let (attempt, subtask) = (Attempt(1), SubtaskId::default());
    let state = thalweg_types::session::SubtaskState::Running;
    leader_term.reattach(node, &[SubtaskReport { job, attempt, subtask, state }]);
    assert!(leader_term.jobs.is_empty() && leader_term.links[&node].leftovers.contains(&(job, attempt)));
    leader_term.report(node, 1, Report { job, attempt, body: ReportBody::Gone });
    assert!(leader_term.jobs.contains_key(&job), "it may have left files");

    let discarded = Report {
        job,
        attempt,
        body: ReportBody::Discarded { before: thalweg_types::session::ALL_ATTEMPTS, result: Ok(()) },
    };
    leader_term.report(node, 2, discarded);
    let before = leader_term.jobs[&job].clone();
    leader_term.reattach(node, &[SubtaskReport { job, attempt: Attempt(0), subtask, state }]);
    leader_term.report(node, 3, Report { job, attempt: Attempt(0), body: ReportBody::Gone });
    assert_ne!(leader_term.jobs[&job], before, "all was removed before it was gone");
}

#[tokio::test(start_paused = true)]
async fn a_second_process_waits_until_the_first_is_gone_or_its_lease_over() {
    let cluster = TestCluster::start(1, &[]).await;
    let mut leader_term = leader_term(&cluster).await;
    let first = cluster.registration(1);
    let second = Incarnation(u64::MAX);
    register(&leader_term, &first).await;
    assert_eq!(leader_term.occupant(first.node, second), None, "nobody has come");
    let (outgoing, said) = mpsc::channel(8);
    leader_term.open(&first, outgoing).expect("it leads");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let occupant = leader_term.occupant(first.node, second);
    assert_eq!(occupant.as_deref(), Some("node-1 is here, at node-1:7000, heard 0.2 s ago"));
    assert_eq!(leader_term.occupant(first.node, first.incarnation), None, "it may come again itself");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(leader_term.occupant(first.node, second), None, "its lease is over");
    leader_term.receive(first.node, NodeMessage::Heartbeat { metrics: Vec::new() });
    assert!(leader_term.occupant(first.node, second).is_some());
    drop(said);
    assert_eq!(leader_term.occupant(first.node, second), None, "its connection broke");
}
