//! `thalweg coordinator`: one member of a cluster's brain, until the process is asked to end.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use thalweg_consensus::ConsensusExit;
use thalweg_coordinator::{Coordinator, CoordinatorConfig, MemberConfig};
use thalweg_proto::network::Network;
use thalweg_types::{ClusterId, MemberId};

use crate::{
    args::CoordinatorArgs,
    config::Coordinator as Checked,
    http,
    seams::Surroundings,
    serve::{self, GrpcServer},
    signals,
    tcp::TcpNetwork,
};

pub(super) async fn run(args: CoordinatorArgs) -> Result<()> {
    let checked = Checked::of(args, super::host_name().as_deref())?;
    let surroundings = Surroundings::of_system(1).context("could not start threads")?;
    let seams = surroundings.seams();
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let listener = serve::listen(&network, &checked.listen).await?;
    let address = checked.advertise.clone().unwrap_or_else(|| listener.address.clone());
    let store = serve::open_store(&checked.data_dir)?;
    let coordinator = Coordinator::start(config(&checked, &address), store, network.clone(), seams.clone())
        .await
        .context("could not start the coordinator")?;
    let coordinator = Arc::new(coordinator);
    let server = GrpcServer::start(listener, coordinator.routes(), &seams);
    let mut health = None;
    if let Some(health_address) = &checked.health {
        let served = http::serve(&network, &seams, health_address, readiness(&coordinator)).await;
        health = Some(served.with_context(|| format!("could not listen at {health_address}"))?);
    }
    tracing::info!(
        member = checked.member,
        address,
        health = health.as_ref().map(|(at, _)| at),
        "the coordinator serves"
    );
    tokio::select! {
        asked = signals::until_asked_to_end() => asked.context("could not wait for signals")?,
        exit = coordinator.exited() => check_exit(exit)?,
    }
    tracing::info!("the coordinator ends");
    server.stop();
    coordinator.shutdown().await;
    Ok(())
}

fn config(checked: &Checked, address: &str) -> CoordinatorConfig {
    let members = checked.members.iter();
    CoordinatorConfig {
        member: MemberId(checked.member),
        address: address.to_owned(),
        cluster: checked.cluster.clone().map(ClusterId),
        members: members
            .map(|(id, address)| MemberConfig { member: MemberId(*id), address: address.clone() })
            .collect(),
        join: checked.join,
        lease_ms: u64::try_from(checked.lease.as_millis()).unwrap_or(u64::MAX),
        ..CoordinatorConfig::default()
    }
}

/// A member is ready while it knows who leads: then it can answer or forward.
fn readiness(coordinator: &Arc<Coordinator>) -> http::Readiness {
    let coordinator = coordinator.clone();
    Arc::new(move || {
        let known = coordinator.leadership().borrow().leader.is_some();
        async move { if known { Ok(()) } else { Err("no leader is known".to_owned()) } }.boxed()
    })
}

fn check_exit(exit: ConsensusExit) -> Result<()> {
    match exit {
        ConsensusExit::Stopped => Ok(()),
        ConsensusExit::Failed(reason) => bail!("the coordinator cannot go on: {reason}"),
    }
}
