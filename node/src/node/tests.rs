use thalweg_connectors::{Notices, ObjectStores, StandardOutput, http_client::ReqwestClient, ingest::IngestRegistry};
use thalweg_proto::{
    network::{MemoryNetwork, channel},
    testing::{seams, seeded_seams},
    v1,
};
use thalweg_types::session::{CoordinatorMessage, NodeMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::{FakeLeader, FakeSession, registered};

#[derive(Debug)]
struct Silent;

impl StandardOutput for Silent {
    fn write_lines(&self, _lines: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

fn connectors(seams: Seams) -> ConnectorContext {
    ConnectorContext {
        seams,
        stdin: None,
        stdout: Arc::new(Silent),
        ingest: IngestRegistry::default(),
        http: Arc::new(ReqwestClient::default()),
        stores: ObjectStores::default(),
        notices: Notices::default(),
        resent: thalweg_connectors::ResentRecords::default(),
        allowed: thalweg_connectors::AllowedPaths::everywhere(),
        kafka: None,
        kinesis: None,
        kept: thalweg_connectors::KeptSessions::default(),
        secrets: Arc::new(thalweg_connectors::NoSecrets),
    }
}

fn config() -> NodeConfig {
    NodeConfig {
        listen: "node-a:0".to_owned(),
        http_listen: "0.0.0.0:0".to_owned(),
        http_advertise: "node-a".to_owned(),
        coordinators: vec!["a:1".to_owned()],
        slots: 3,
        ..NodeConfig::default()
    }
}

async fn start(config: NodeConfig) -> (Arc<dyn Network>, FakeLeader, Node) {
    start_with(config, seams()).await
}

async fn start_with(config: NodeConfig, seams: Seams) -> (Arc<dyn Network>, FakeLeader, Node) {
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let leader = FakeLeader::serve(&network, "a:1").await;
    let connectors = connectors(seams.clone());
    let node = Node::start(config, network.clone(), seams, connectors).await.expect("the configuration is sound");
    (network, leader, node)
}

async fn start_registered() -> (Arc<dyn Network>, FakeLeader, FakeSession, Node) {
    let (network, mut leader, node) = start(config()).await;
    let (session, _) = leader.register(1).await;
    node.wait_ready().await;
    (network, leader, session, node)
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_with_the_addresses_that_it_bound_and_is_ready_then() {
    let (_network, mut leader, node) = start(config()).await;
    assert!(!node.ready());
    let (mut session, registration) = leader.accept().await;
    assert_eq!(registration.node, node.id());
    assert_ne!(registration.node, NodeId(0));
    assert_eq!((registration.address.as_str(), registration.slots), (node.address(), 3));
    assert_eq!(node.address(), "node-a:1024");
    assert_eq!(node.http_address(), Some("node-a:1025"));
    assert_eq!(registration.http_address, "node-a:1025");
    session.say(registered(registration.node, 1)).await;
    assert!(matches!(session.hear().await, NodeMessage::Reattach { subtasks } if subtasks.is_empty()));
    node.wait_ready().await;
    assert!(node.ready());
}

#[tokio::test(start_paused = true)]
async fn its_services_answer_until_it_is_shut_down() {
    let (network, _leader, _session, node) = start_registered().await;
    let collect = channel(&network, node.address()).expect("it is an address");
    let mut collect = v1::collect_client::CollectClient::new(collect);
    let status = collect.fetch(v1::CollectRequest::default()).await.expect_err("nothing is collected");
    assert_eq!(status.code(), tonic::Code::NotFound);

    let mut http = network.connect("0.0.0.0:1025").await.expect("it listens");
    let request = b"POST /nowhere HTTP/1.1\r\nhost: node-a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    http.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    http.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no coordinator says"), "{answer}");

    assert_eq!(node.shutdown().await, Ok(()));
    assert_eq!(node.wait().await, Ok(()));
    let status = collect.fetch(v1::CollectRequest::default()).await.expect_err("nobody listens");
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_refused_node_ends_with_the_reason() {
    let (_network, mut leader, node) = start(config()).await;
    let (session, _) = leader.accept().await;
    session.say(CoordinatorMessage::Refused { reason: "wrong version".to_owned() }).await;
    assert_eq!(node.wait().await, Err(NodeFailure::Refused { reason: "wrong version".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_work_leaves_once_the_leader_has_recorded_it() {
    let (_network, _leader, mut session, node) = start_registered().await;
    let leave = node.leave();
    tokio::pin!(leave);
    let hear = async {
        loop {
            match session.hear().await {
                NodeMessage::Heartbeat { .. } => {}
                other => break assert_eq!(other, NodeMessage::Leaving),
            }
        }
    };
    tokio::select! {
        biased;
        _ = &mut leave => panic!("a node that ends now would look lost"),
        () = hear => {}
    }
    session.say(CoordinatorMessage::LeaveRecorded).await;
    assert!(leave.await);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_work_or_leader_leaves_at_once() {
    let (_network, _leader, node) = start(config()).await;
    assert!(node.leave().await);
}

#[tokio::test(start_paused = true)]
async fn an_address_in_use_and_a_wrong_configuration_are_named() {
    let (network, _leader, node) = start(config()).await;
    let seams = seams();
    let taken = NodeConfig { listen: node.address().to_owned(), ..config() };
    let error = Node::start(taken, network.clone(), seams.clone(), connectors(seams.clone())).await;
    assert!(matches!(error, Err(StartError::Listen { address, .. }) if address == node.address()));
    let hidden = NodeConfig { http_advertise: String::new(), ..config() };
    let error = Node::start(hidden, network, seams.clone(), connectors(seams)).await;
    assert!(matches!(error, Err(StartError::Config(error)) if error.field == "http_advertise"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_ends_the_node() {
    let (_network, _leader, _session, node) = start_registered().await;
    drop(node.lifecycle.guard("worker"));
    assert_eq!(node.wait().await, Err(NodeFailure::Panicked { task: "worker" }));
}

#[tokio::test(start_paused = true)]
async fn each_start_of_a_node_has_a_greater_incarnation_and_no_two_the_same() {
    let seams = seeded_seams(1);
    assert_ne!(incarnation(&seams), incarnation(&seams), "the clock stood still");
    let mut incarnations = Vec::new();
    for _ in 0..8 {
        time::sleep(time::Duration::from_millis(1)).await;
        let config = NodeConfig { node: Some(NodeId(1)), ..config() };
        let (_network, mut leader, node) = start_with(config, seams.clone()).await;
        let (_session, registration) = leader.accept().await;
        incarnations.push(registration.incarnation);
        node.shutdown().await.expect("it was told to");
    }
    assert!(incarnations.is_sorted_by(|before, after| before < after), "{incarnations:?}");
}
