use std::sync::Arc;

use thalweg_proto::{network::MemoryNetwork, testing::seams, v1};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, Incarnation, JobId, NodeId, SubtaskId,
    job::FailureKind,
    session::{Action, Order, Report, ReportBody, SubtaskState},
};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::{
    orders::{Limits, Orders},
    testing::{
        Asked, EngineProbe, FakeEngine, FakeLeader, FakeSession, deployment, graph, publication, registered,
        serve_follower,
    },
    worker::{Worker, WorkerExit},
};

const JOB: JobId = JobId(3);
const ONE: Attempt = Attempt(1);
const LIMITS: Limits = Limits { orphan_timeout: Duration::from_mins(10), stop_timeout: Duration::from_secs(30) };

/// A worker and its session client on a network in memory, with coordinators at the given addresses.
struct Rig {
    network: Arc<dyn Network>,
    probe: EngineProbe,
    worker: WorkerHandle,
    is_ready: watch::Receiver<bool>,
    stop: CancellationToken,
    worker_exit: mpsc::Receiver<WorkerExit>,
    session_exit: mpsc::Receiver<SessionExit>,
}

impl Rig {
    fn start(coordinators: &[&str]) -> Self {
        let seams = seams();
        let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
        let (engine, probe) = FakeEngine::new();
        let (ready, is_ready) = watch::channel(false);
        let stop = CancellationToken::new();
        let orders = Orders::new(LIMITS, seams.clock.monotonic());
        let (worker, handle) = Worker::new((NodeId(1), orders), engine, seams.clone(), ready);
        let client = SessionClient {
            registration: NodeRegistration {
                node: NodeId(1),
                incarnation: Incarnation(11),
                address: "node:1".to_owned(),
                http_address: String::new(),
                slots: 2,
                zone: String::new(),
                version: "0".to_owned(),
            },
            search: LeaderSearch::new(coordinators.iter().map(|&address| address.to_owned()).collect(), 0),
            network: network.clone(),
            entropy: seams.entropy.clone(),
            worker: handle.clone(),
            stop: stop.clone(),
        };
        let (worker_ended, worker_exit) = mpsc::channel(1);
        let (session_ended, session_exit) = mpsc::channel(1);
        let worker_stop = stop.clone();
        let run = async move { worker_ended.send(worker.run(worker_stop).await).await.unwrap_or(()) };
        seams.io.spawn("worker", Box::pin(run));
        let run = async move { session_ended.send(client.run().await).await.unwrap_or(()) };
        seams.io.spawn("session", Box::pin(run));
        Self { network, probe, worker: handle, is_ready, stop, worker_exit, session_exit }
    }

    async fn start_with_leader() -> (Self, FakeLeader, FakeSession) {
        let rig = Self::start(&["a:1"]);
        let mut leader = FakeLeader::serve(&rig.network, "a:1").await;
        let (session, _) = leader.register(1).await;
        (rig, leader, session)
    }
}

fn cluster() -> ClusterId {
    ClusterId("c".to_owned())
}

fn order(sequence: u64, action: Action) -> CoordinatorMessage {
    CoordinatorMessage::Order {
        sequence,
        order: Order { term: Term(1), cluster: cluster(), job: JOB, attempt: ONE, action, trace: None },
    }
}

fn taken(sequence: u64) -> NodeMessage {
    NodeMessage::Acknowledge { sequence, refused: None }
}

fn ready(sequence: u64) -> NodeMessage {
    NodeMessage::Report { sequence, report: Report { job: JOB, attempt: ONE, body: ReportBody::Ready } }
}

async fn deploy(rig: &mut Rig, session: &mut FakeSession) {
    session.say(order(1, Action::Deploy(deployment()))).await;
    assert_eq!(rig.probe.asked().await, Asked::Deploy(JOB, ONE));
    assert_eq!(session.hear_news().await, taken(1));
    rig.probe.say(JOB, ONE, ReportBody::Ready).await;
    assert_eq!(session.hear_news().await, ready(1));
}

#[tokio::test(start_paused = true)]
async fn orders_are_carried_out_acknowledged_and_reported() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    rig.is_ready.wait_for(|ready| *ready).await.expect("the worker lives");
    deploy(&mut rig, &mut session).await;
    session.say(order(2, Action::Start)).await;
    assert_eq!(rig.probe.asked().await, Asked::Start(JOB, ONE));
    assert_eq!(session.hear_news().await, taken(2));
    session.say(order(3, Action::Cancel)).await;
    assert_eq!(rig.probe.asked().await, Asked::Cancel(JOB, ONE));
    assert_eq!(session.hear_news().await, taken(3));
    rig.probe.say(JOB, ONE, ReportBody::Gone).await;
    let gone = NodeMessage::Report { sequence: 2, report: Report { job: JOB, attempt: ONE, body: ReportBody::Gone } };
    assert_eq!(session.hear_news().await, gone);
    assert_eq!(rig.probe.asked().await, Asked::Forget(JOB, ONE));
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
async fn heartbeats_come_four_times_a_lease_with_metrics() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    let start = time::Instant::now();
    for _ in 0..4 {
        let NodeMessage::Heartbeat { metrics } = session.hear().await else { panic!("nothing else happens") };
        assert_eq!(metrics[0].3.records_in, 5);
    }
    assert!(start.elapsed() <= Duration::from_secs(4));
    assert!(start.elapsed() > Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn the_leader_is_found_by_a_hint_even_outside_of_the_list() {
    let rig = Rig::start(&["a:1"]);
    serve_follower(&rig.network, "a:1", "b:1").await;
    let mut leader = FakeLeader::serve(&rig.network, "b:1").await;
    let (_session, registration) = leader.accept().await;
    assert_eq!((registration.node, registration.slots), (NodeId(1), 2));
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_cannot_be_reached_are_passed_over() {
    let rig = Rig::start(&["a:1", "b:1", "c:1"]);
    serve_follower(&rig.network, "b:1", "").await;
    let mut leader = FakeLeader::serve(&rig.network, "c:1").await;
    leader.register(1).await;
}

#[tokio::test(start_paused = true)]
async fn reports_are_sent_again_to_the_next_leader_until_acknowledged() {
    let (mut rig, _old, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    let mut leader = FakeLeader::serve(&rig.network, "b:1").await;
    session.step_down("b:1").await;
    let (mut session, reattach) = leader.register(2).await;
    let NodeMessage::Reattach { subtasks } = reattach else { unreachable!("register checks it") };
    assert_eq!(subtasks.len(), 1);
    assert_eq!((subtasks[0].job, subtasks[0].subtask), (JOB, SubtaskId::default()));
    assert_eq!(subtasks[0].state, SubtaskState::Running);
    assert_eq!(session.hear_news().await, ready(1));
    session.say(CoordinatorMessage::ReportAcknowledged { sequence: 1 }).await;
    // The order's answer shows that the acknowledgement before it was taken too.
    let start = Order { term: Term(2), cluster: cluster(), job: JOB, attempt: ONE, action: Action::Start, trace: None };
    session.say(CoordinatorMessage::Order { sequence: 1, order: start }).await;
    assert_eq!(session.hear_news().await, taken(1));
    session.step_down("b:1").await;
    let (mut session, _) = leader.register(2).await;
    rig.probe.say(JOB, ONE, ReportBody::Ready).await;
    assert_eq!(session.hear_news().await, ready(2), "the first report does not come again");
}

#[tokio::test(start_paused = true)]
async fn reports_made_without_a_leader_wait_for_one() {
    let (mut rig, mut leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    session.say(CoordinatorMessage::ReportAcknowledged { sequence: 1 }).await;
    session.say(order(2, Action::Start)).await;
    assert_eq!(session.hear_news().await, taken(2));
    session.step_down("").await;
    rig.is_ready.wait_for(|ready| !ready).await.expect("the worker lives");
    rig.probe.say(JOB, ONE, ReportBody::Ready).await;
    let (mut session, _) = leader.register(1).await;
    assert_eq!(session.hear_news().await, ready(2));
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_is_left() {
    let (_rig, mut leader, session) = Rig::start_with_leader().await;
    session.step_down("").await;
    let (session, _) = leader.register(5).await;
    session.step_down("").await;
    let (mut session, registration) = leader.accept().await;
    session.say(registered(registration.node, 4)).await;
    assert!(session.is_ended().await);
    leader.register(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_refused_ends_its_sessions() {
    let mut rig = Rig::start(&["a:1"]);
    let mut leader = FakeLeader::serve(&rig.network, "a:1").await;
    let (session, _) = leader.accept().await;
    session.say(CoordinatorMessage::Refused { reason: "wrong version".to_owned() }).await;
    let exit = rig.session_exit.recv().await;
    assert_eq!(exit, Some(SessionExit::Refused { reason: "wrong version".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_read_is_refused_and_the_session_goes_on() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    let order = v1::Order { sequence: 1, job: 1, ..v1::Order::default() };
    let message = Some(v1::coordinator_message::Message::Order(order));
    session.say_wire(v1::CoordinatorMessage { message }).await;
    let answer = session.hear_news().await;
    assert!(matches!(answer, NodeMessage::Acknowledge { sequence: 1, refused: Some(_) }), "{answer:?}");
    session.say(super::tests::order(2, Action::Deploy(deployment()))).await;
    assert_eq!(rig.probe.asked().await, Asked::Deploy(JOB, ONE));
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_is_reported_as_failed() {
    let (_rig, _leader, mut session) = Rig::start_with_leader().await;
    let discover = Action::Discover { graph: Box::new(graph()), sources: Vec::new() };
    session.say(order(1, discover)).await;
    assert_eq!(session.hear_news().await, taken(1));
    let discovered = Report { job: JOB, attempt: ONE, body: ReportBody::Discovered { splits: Ok(Vec::new()) } };
    assert_eq!(session.hear_news().await, NodeMessage::Report { sequence: 1, report: discovered });
    session.say(order(2, Action::Commit(Box::new(publication(graph(), CheckpointId(1)))))).await;
    assert_eq!(session.hear_news().await, taken(2));
    let NodeMessage::Report { report: Report { body: ReportBody::Committed { result: Err(failure), .. }, .. }, .. } =
        session.hear_news().await
    else {
        panic!("the commit panicked")
    };
    assert_eq!(failure.kind, FailureKind::Operator);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_without_a_word_has_failed() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    rig.probe.vanish(JOB, ONE);
    let failed = session.hear_news().await;
    assert!(
        matches!(failed, NodeMessage::Report { report: Report { body: ReportBody::Failed { .. }, .. }, .. }),
        "{failed:?}"
    );
    let gone = session.hear_news().await;
    assert!(matches!(gone, NodeMessage::Report { report: Report { body: ReportBody::Gone, .. }, .. }), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_until_nothing_runs_and_the_leader_knows() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    session.say(CoordinatorMessage::ReportAcknowledged { sequence: 1 }).await;
    let worker = rig.worker.clone();
    let leaving = worker.leave();
    tokio::pin!(leaving);
    let check = async {
        assert_eq!(session.hear_news().await, NodeMessage::Leaving);
        session.say(CoordinatorMessage::LeaveRecorded).await;
        session.say(order(2, Action::Cancel)).await;
        assert_eq!(session.hear_news().await, taken(2));
        rig.probe.say(JOB, ONE, ReportBody::Gone).await;
        session.hear_news().await;
    };
    tokio::select! {
        biased;
        () = &mut leaving => panic!("the leader does not know yet that the attempt is gone"),
        () = check => {}
    }
    session.say(CoordinatorMessage::ReportAcknowledged { sequence: 2 }).await;
    leaving.await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_end_ends_the_worker() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    session.say(order(2, Action::Cancel)).await;
    let exit = rig.worker_exit.recv().await;
    assert_eq!(exit, Some(WorkerExit::Stuck { job: JOB, attempt: ONE }));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_stopped_cancels_what_runs() {
    let (mut rig, _leader, mut session) = Rig::start_with_leader().await;
    deploy(&mut rig, &mut session).await;
    rig.stop.cancel();
    assert_eq!(rig.probe.asked().await, Asked::Cancel(JOB, ONE));
    rig.probe.say(JOB, ONE, ReportBody::Gone).await;
    assert_eq!(rig.worker_exit.recv().await, Some(WorkerExit::Stopped));
    assert_eq!(rig.session_exit.recv().await, Some(SessionExit::Stopped));
}
