//! `thalweg dev`: a whole cluster in one process, for trying things out and for one machine. It remembers its jobs.

use std::sync::Arc;

use anyhow::{Context, Result};
use thalweg_proto::network::Network;

use crate::{
    args::DevArgs,
    config::Dev,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    http,
    output::say,
    seams::default_slots,
    signals,
    tcp::TcpNetwork,
};

pub(super) async fn run(args: DevArgs) -> Result<()> {
    let checked = Dev::of(args)?;
    let slots = checked.slots.unwrap_or_else(default_slots);
    let cluster = EmbeddedCluster::start(EmbeddedOptions {
        nodes: checked.nodes,
        slots,
        listen: checked.listen.clone(),
        http: Some(checked.http.clone()),
        http_advertise: checked.http_advertise.clone(),
        data_dir: Some(checked.data_dir.clone()),
        checkpoint_interval: checked.checkpoint_interval,
        limits: checked.limits,
        allowed: checked.allowed,
        secrets: checked.secrets,
        ..EmbeddedOptions::default()
    })
    .await?;
    let mut health = None;
    if let Some(address) = &checked.health {
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let served = http::serve(&network, &cluster.seams(), (address, checked.limits), cluster.probes()).await;
        health = Some(served.with_context(|| format!("could not listen at {address}"))?);
    }
    let slots = u64::from(slots) * u64::from(checked.nodes);
    let (address, http) = (cluster.address(), cluster.http_address().unwrap_or(&checked.http));
    say(&format!("thalweg {} serves: {} node(s), {slots} slots", env!("CARGO_PKG_VERSION"), checked.nodes));
    say(&format!("  coordinator  {address}"));
    say(&format!("  http         {http}"));
    if let Some((health, _)) = &health {
        say(&format!("  health       {health}"));
    }
    say(&format!("  data         {}", checked.data_dir.display()));
    say(&format!(
        "try: thalweg submit --coordinator {address} --wait FILE.sql, or thalweg sql --coordinator {address}"
    ));
    let ended = tokio::select! {
        asked = signals::until_asked_to_end() => asked.context("could not wait for signals"),
        failure = cluster.failed() => Err(failure),
    };
    cluster.shutdown().await;
    ended
}
