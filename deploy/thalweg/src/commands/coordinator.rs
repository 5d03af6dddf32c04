//! `thalweg coordinator`: runs one member of the coordinator group until the process is asked to end.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::FutureExt;
use thalweg_consensus::ConsensusExit;
use thalweg_coordinator::{Coordinator, CoordinatorConfig, MemberConfig, Opening};
use thalweg_proto::network::{Listener, Network};
use thalweg_storage::ObjectStores;
use thalweg_types::{ClusterId, MemberId};
use tokio::sync::watch;

use crate::{
    args::CoordinatorArgs,
    config::Coordinator as Checked,
    http,
    seams::Surroundings,
    serve::{self, GrpcServer, GrpcServers},
    signals, streams,
    tcp::TcpNetwork,
};

/// One thread to plan scripts, and one for manifests.
const COMPUTE_THREADS: usize = 2;

pub(super) async fn run(args: CoordinatorArgs) -> Result<()> {
    let checked = Checked::of(args, super::host_name().as_deref())?;
    let surroundings = Surroundings::of_system(COMPUTE_THREADS).context("could not start threads")?;
    let seams = surroundings.seams();
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let listener = serve::listen(&network, &checked.listen).await?;
    let clients = listen_for_clients(&checked, &network).await?;
    let address = checked.advertise.clone().unwrap_or_else(|| listener.address.clone());
    let store = serve::open_store(&checked.data_dir)?;
    let stores = ObjectStores::new(streams::store_options());
    if !checked.checkpoint_interval.is_zero() {
        serve::check_checkpoints(&checked.checkpoints, &stores).await?;
    }
    let opening = Opening::open(config(&checked, &address), store, network.clone(), &stores, seams.clone())
        .await
        .context("could not start the coordinator")?;
    let clients_address = clients.as_ref().map(|clients| clients.address.clone());
    let of_clients = clients.map(|clients| GrpcServer::start(clients, checked.limits, opening.client_routes(), &seams));
    let of_all = GrpcServer::start(listener, checked.limits, opening.routes(), &seams);
    let servers = GrpcServers::new([of_all].into_iter().chain(of_clients));
    let phase = Arc::new(Phase { waits_for: opening.waits_for(), coordinator: OnceLock::new() });
    let mut health = None;
    if let Some(health_address) = &checked.health {
        let served = http::serve(&network, &seams, (health_address, checked.limits), probes(&phase)).await;
        health = Some(served.with_context(|| format!("could not listen at {health_address}"))?);
    }
    let health = health.as_ref().map(|(at, _)| at);
    tracing::info!(address, clients = clients_address, health, "the coordinator listens");
    let started = tokio::select! {
        asked = signals::until_asked_to_end() => {
            asked.context("could not wait for signals")?;
            servers.stop();
            return Ok(());
        }
        started = opening.start() => started.context("could not start the coordinator")?,
        reason = servers.failed() => bail!("the coordinator's server has failed: {reason}"),
    };
    let coordinator = phase.coordinator.get_or_init(|| started);
    tracing::info!(member = %coordinator.consensus().member(), address, health, "the coordinator serves");
    tokio::select! {
        asked = signals::until_asked_to_end() => asked.context("could not wait for signals")?,
        exit = coordinator.exited() => check_exit(exit)?,
        reason = servers.failed() => bail!("the coordinator's server has failed: {reason}"),
    }
    tracing::info!("the coordinator ends");
    servers.stop();
    coordinator.shutdown().await;
    Ok(())
}

async fn listen_for_clients(checked: &Checked, network: &Arc<dyn Network>) -> Result<Option<Listener>> {
    match &checked.client_listen {
        Some(address) => serve::listen(network, address).await.map(Some),
        None => Ok(None),
    }
}

/// A coordinator that is starting, or has started.
struct Phase {
    waits_for: watch::Receiver<Option<String>>,
    coordinator: OnceLock<Coordinator>,
}

fn config(checked: &Checked, address: &str) -> CoordinatorConfig {
    let members = checked.members.iter();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    CoordinatorConfig {
        member: MemberId(checked.member),
        address: address.to_owned(),
        cluster: checked.cluster.clone().map(ClusterId),
        members: members
            .map(|(id, address)| MemberConfig { member: MemberId(*id), address: address.clone() })
            .collect(),
        join: checked.join,
        bootstrap: checked.bootstrap,
        lease_ms: millis(checked.lease),
        slot_wait_ms: millis(checked.slot_wait),
        deploy_timeout_ms: millis(checked.deploy_timeout),
        ended_jobs_max: checked.ended_jobs_max,
        checkpoints: checked.checkpoints.clone(),
        marks_checkpoints: checked.marks_checkpoints,
        checkpoint_interval_ms: millis(checked.checkpoint_interval),
        raft_tick_ms: millis(checked.raft_tick),
        election_ticks: checked.election_ticks,
        heartbeat_ticks: checked.heartbeat_ticks,
        ..CoordinatorConfig::default()
    }
}

/// A member is alive while its log works, and ready while it knows a leader: then it can answer or forward requests.
fn probes(phase: &Arc<Phase>) -> http::Probes {
    let (alive, led, waiting, told) = (phase.clone(), phase.clone(), phase.clone(), phase.clone());
    http::Probes {
        beat: Arc::new(move || {
            let phase = alive.clone();
            async move {
                match phase.coordinator.get() {
                    Some(coordinator) => coordinator.beat().await.map_err(|error| error.to_string()),
                    None => Ok(()),
                }
            }
            .boxed()
        }),
        ready: Arc::new(move || {
            let ready = match led.coordinator.get() {
                Some(coordinator) if coordinator.leadership().borrow().leader.is_some() => Ok(()),
                Some(_) => Err("no leader is known".to_owned()),
                None => Err(led.waits_for.borrow().clone().unwrap_or_else(|| "it is starting".to_owned())),
            };
            async move { ready }.boxed()
        }),
        waits: Some(Arc::new(move || waiting.waits_for.borrow().clone())),
        component: "coordinator",
        metrics: Arc::new(move |mut families| {
            let phase = told.clone();
            async move {
                if let Some(coordinator) = phase.coordinator.get() {
                    coordinator.tell_metrics(&mut families).await;
                }
                families
            }
            .boxed()
        }),
    }
}

fn check_exit(exit: ConsensusExit) -> Result<()> {
    match exit {
        ConsensusExit::Stopped => Ok(()),
        ConsensusExit::Failed(reason) => bail!("the coordinator cannot go on: {reason}"),
    }
}
