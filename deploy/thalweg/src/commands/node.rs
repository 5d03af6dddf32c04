//! `thalweg node`: runs a node until the process is asked to end. It hands its work over before it stops.

use std::{sync::Arc, time::Duration};

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
    secrets::ProcessSecrets,
    serve, signals,
    streams::{self, ProcessOutput},
    tcp::TcpNetwork,
};

pub(super) async fn run(args: NodeArgs) -> Result<()> {
    let checked = Checked::of(args, super::host_name().as_deref())?;
    tracing::info!(memory_bytes = checked.memory_bytes, "the node's budget of memory");
    let surroundings = Surroundings::of_system(cores()).context("could not start threads")?;
    let seams = surroundings.seams();
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let (health_address, limits) = (checked.health.clone(), checked.limits);
    let tables = (checked.allowed.clone(), ProcessSecrets::new(checked.secrets.clone()));
    let connectors = streams::connectors(&seams, false, ProcessOutput::default(), tables);
    let node = Arc::new(serve::start_node(config(checked), &network, &seams, connectors).await?);
    node.answer_by(http::health(probes(&node)));
    if let Some(health_address) = &health_address {
        let served = http::serve(&network, &seams, (health_address, limits), probes(&node)).await;
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

/// A node is alive while its worker runs, and ready while a leader has it registered.
fn probes(node: &Arc<Node>) -> http::Probes {
    let (alive, registered, told_of) = (node.clone(), node.clone(), node.clone());
    let told = |is_well, otherwise: &str| if is_well { Ok(()) } else { Err(otherwise.to_owned()) };
    http::Probes {
        beat: Arc::new(move || {
            let node = alive.clone();
            async move { told(node.beat().await, "the node's worker has ended") }.boxed()
        }),
        ready: Arc::new(move || {
            let is_ready = registered.ready();
            async move { told(is_ready, "no leader has registered this node") }.boxed()
        }),
        waits: None,
        component: "node",
        metrics: Arc::new(move |mut families| {
            let node = told_of.clone();
            async move {
                node.tell_metrics(&mut families).await;
                families
            }
            .boxed()
        }),
    }
}

fn config(checked: Checked) -> NodeConfig {
    // By default, clients POST records to the host that other nodes dial.
    let host =
        checked.advertise.as_deref().and_then(|address| address.rsplit_once(':')).map(|(host, _)| host.to_owned());
    let host = host.filter(|_| checked.http.is_some());
    let http_advertise = checked.http_advertise.or(host).unwrap_or_default();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
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
        orphan_timeout_ms: millis(checked.orphan_timeout),
        stop_timeout_ms: millis(checked.stop_timeout),
        leave_grace_ms: millis(checked.leave_grace),
        connections_max: checked.limits.connections_max,
    }
}
