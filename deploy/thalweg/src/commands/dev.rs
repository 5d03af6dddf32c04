//! `thalweg dev`: a whole cluster in one process, for trying things out and for one machine. It remembers its jobs.

use anyhow::{Context, Result};

use crate::{
    args::DevArgs,
    config::Dev,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    output::say,
    seams::default_slots,
    signals,
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
        ..EmbeddedOptions::default()
    })
    .await?;
    let slots = u64::from(slots) * u64::from(checked.nodes);
    let (address, http) = (cluster.address(), cluster.http_address().unwrap_or(&checked.http));
    say(&format!("thalweg {} serves: {} node(s), {slots} slots", env!("CARGO_PKG_VERSION"), checked.nodes));
    say(&format!("  coordinator  {address}"));
    say(&format!("  http         {http}"));
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
