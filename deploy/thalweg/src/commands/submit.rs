//! `thalweg submit` and `explain`: scripts for a remote cluster.

use anyhow::Result;
use serde::Serialize;
use thalweg_client::Client;
use thalweg_types::JobId;

use super::{Remote, answers};
use crate::{
    args::{ExplainArgs, OutputFormat, SubmitArgs},
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FailuresSeen, FollowOptions},
    output::{print_list, say},
    script,
};

#[derive(Serialize)]
struct Submitted {
    job: JobId,
    queries: usize,
}

pub(super) async fn run(args: SubmitArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let submit = script::read(&args.script, args.name.as_deref())?;
    let (client, surroundings) = remote.connect(&args.cluster).await?;
    if !answers::print(&client, &submit, format).await? {
        return Ok(());
    }
    let script = submit.sql.clone();
    let submitted = client.submit(submit).await?;
    if args.wait {
        let options = FollowOptions { format, is_quiet: false };
        let followed = follow::follow(&client, &submitted, options, surroundings.seams().clock.as_ref()).await;
        return follow::forgive_enough(followed.map(|_| ()), &script);
    }
    match submitted.queries.len() {
        0 => {}
        1 => say(&format!("note: thalweg job rows {} prints its rows", submitted.job)),
        several => say(&format!(
            "note: thalweg job rows {} --query N prints the rows of the Nth SELECT, from 1 to {several}",
            submitted.job
        )),
    }
    // Before it is known whether it can run: it is accepted, whatever comes.
    let line = Submitted { job: submitted.job, queries: submitted.queries.len() };
    print_list(format, &["job", "selects"], &[line], |line| vec![line.job.to_string(), line.queries.to_string()])?;
    tell_beginning(&client, submitted.job).await
}

/// Tells what a job that was accepted waits for, or why it could not begin.
async fn tell_beginning(client: &Client, job: JobId) -> Result<()> {
    let seen = match follow::begun(client, job).await {
        Ok(seen) => seen,
        // The job is not this command's any more, so it must not seem refused.
        Err(error) => {
            say(&format!("note: {job} was accepted; how it begins cannot be seen: {error}"));
            return Ok(());
        }
    };
    match follow::waits_for(&seen) {
        Some(why) => say(&format!("note: {job} has not begun: {why}")),
        None if follow::is_beginning(&seen) => {
            say(&format!("note: {job} is still being deployed; thalweg job show {job} tells what becomes of it"));
        }
        None => {}
    }
    if let Some(warning) = FailuresSeen::default().warning(&seen) {
        say(&format!("warning: {warning}"));
    }
    Ok(follow::check_ending(&seen)?)
}

pub(super) async fn explain(args: ExplainArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let submit = script::read(&args.script, None)?;
    if !args.cluster.coordinator.is_empty() {
        let (client, _surroundings) = remote.connect(&args.cluster).await?;
        return answers::print_text(client.explain(submit).await?, answers::PLAN, format);
    }
    let cluster = EmbeddedCluster::start(EmbeddedOptions { nodes: 0, ..EmbeddedOptions::default() }).await?;
    let plan = cluster.client().explain(submit).await;
    cluster.shutdown().await;
    answers::print_text(plan?, answers::PLAN, format)
}
