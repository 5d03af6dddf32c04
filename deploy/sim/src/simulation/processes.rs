//! The processes of a simulated cluster: what the binary's commands would start on real machines.

use std::{collections::BTreeMap, io, sync::Arc};

use async_trait::async_trait;
use thalweg_connectors::{
    ConnectorContext, ObjectStores, StandardOutput,
    http::{HttpAnswer, HttpClient, HttpPost, IngestRegistry},
};
use thalweg_consensus::store::MemoryStore;
use thalweg_coordinator::{Coordinator, CoordinatorConfig, MemberConfig};
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::Network;
use thalweg_types::{ClusterId, MemberId, NodeId, seam::Seams};

use super::{SimulatedNetwork, seams_for};

const PORT: u16 = 7070;

/// How a process ends; turmoil's own type for it.
type HostResult = Result<(), Box<dyn std::error::Error>>;

pub(super) fn coordinator_name(member: u32) -> String {
    format!("coordinator-{member}")
}

pub(super) fn node_name(node: u32) -> String {
    format!("node-{node}")
}

pub(super) fn address(host: &str) -> String {
    format!("{host}:{PORT}")
}

/// `thalweg coordinator`
pub(super) async fn coordinator(member: u32, count: u32, disk: Arc<MemoryStore>, seed: u64) -> HostResult {
    let name = coordinator_name(member);
    let members = (1..=count)
        .map(|member| MemberConfig { member: MemberId(u64::from(member)), address: address(&coordinator_name(member)) })
        .collect();
    let config = CoordinatorConfig {
        member: MemberId(u64::from(member)),
        address: address(&name),
        cluster: Some(ClusterId("simulated".to_owned())),
        members,
        checkpoints: "memory:///".to_owned(),
        checkpoint_interval_ms: 0,
        ..CoordinatorConfig::default()
    };
    let (network, seams) = (Arc::new(SimulatedNetwork), seams_for(&name, seed));
    let listener = network.listen(&address(&name)).await?;
    let coordinator = Coordinator::start(config, disk, network, &ObjectStores::default(), seams).await?;
    thalweg_proto::network::server().add_routes(coordinator.routes()).serve_with_incoming(listener.incoming).await?;
    Ok(())
}

/// `thalweg node`
pub(super) async fn node(number: u32, coordinators: Vec<String>, seed: u64) -> HostResult {
    let name = node_name(number);
    let config = NodeConfig {
        node: Some(NodeId(u64::from(number))),
        listen: address(&name),
        advertise: address(&name),
        coordinators,
        slots: 2,
        ..NodeConfig::default()
    };
    let seams = seams_for(&name, seed);
    let node = Node::start(config, Arc::new(SimulatedNetwork), seams.clone(), connectors(seams)).await?;
    node.wait().await?;
    Ok(())
}

fn connectors(seams: Seams) -> ConnectorContext {
    ConnectorContext {
        seams,
        stdin: None,
        stdout: Arc::new(NoOutput),
        ingest: IngestRegistry::default(),
        http: Arc::new(NoHttp),
        stores: ObjectStores::new(BTreeMap::new()),
    }
}

/// A simulated process has no terminal.
#[derive(Debug)]
struct NoOutput;

impl StandardOutput for NoOutput {
    fn write_lines(&self, _lines: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A simulated process reaches no web server.
#[derive(Debug)]
struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn post(&self, request: HttpPost) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{} cannot be reached from a simulation", request.url).into())
    }
}
