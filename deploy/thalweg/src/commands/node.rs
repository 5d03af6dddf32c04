//! `thalweg node`: a worker, until the process is asked to end. It then gives its work away before it goes.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures::FutureExt;
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::Network;
use thalweg_types::NodeId;

use crate::{
    args::NodeArgs,
    config::Node as Checked,
    http,
    seams::{Surroundings, cores},
    serve, signals, streams,
    tcp::TcpNetwork,
};

pub(super) async fn run(args: NodeArgs) -> Result<()> {
    let checked = Checked::of(args, super::host_name().as_deref())?;
    let surroundings = Surroundings::of_system(cores()).context("could not start threads")?;
    let seams = surroundings.seams();
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let health_address = checked.health.clone();
    let connectors = streams::connectors(&seams, false);
    let node = Arc::new(serve::start_node(config(checked), &network, &seams, connectors).await?);
    if let Some(health_address) = &health_address {
        let served = http::serve(&network, &seams, health_address, readiness(&node)).await;
        let (health_address, _) = served.with_context(|| format!("could not listen at {health_address}"))?;
        tracing::info!(health_address, "health is answered");
    }
    tokio::select! {
        asked = signals::until_asked_to_end() => {
            asked.context("could not wait for signals")?;
            tracing::info!("the node leaves");
            node.leave().await;
            Ok(node.shutdown().await.context("the node did not end well")?)
        }
        ended = node.wait() => Ok(ended.context("the node cannot go on")?),
    }
}

/// A node is ready while a leader has it registered.
fn readiness(node: &Arc<Node>) -> http::Readiness {
    let node = node.clone();
    Arc::new(move || {
        let is_ready = node.ready();
        async move { if is_ready { Ok(()) } else { Err("no leader has registered this node".to_owned()) } }.boxed()
    })
}

fn config(checked: Checked) -> NodeConfig {
    // Records are POSTed to the same host that other nodes dial.
    let host =
        checked.advertise.as_deref().and_then(|address| address.rsplit_once(':')).map(|(host, _)| host.to_owned());
    let http_advertise = host.filter(|_| checked.http.is_some()).unwrap_or_default();
    NodeConfig {
        http_advertise,
        node: checked.node.map(NodeId),
        listen: checked.listen,
        advertise: checked.advertise.unwrap_or_default(),
        http_listen: checked.http.unwrap_or_default(),
        coordinators: checked.coordinators,
        slots: checked.slots.unwrap_or_default(),
        zone: checked.zone,
        memory_budget_bytes: checked.memory_bytes,
        ..NodeConfig::default()
    }
}
