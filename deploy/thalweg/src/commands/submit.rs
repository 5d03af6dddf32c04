//! `thalweg submit`, `explain` and `preview`: scripts and their rows, on a cluster elsewhere.

use std::io::{BufWriter, stdout};

use anyhow::Result;
use futures::StreamExt;
use serde::Serialize;
use thalweg_client::SubmittedJob;
use thalweg_types::JobId;

use super::Remote;
use crate::{
    args::{ExplainArgs, Format, PreviewArgs, SubmitArgs},
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions},
    output::{RowPrinter, print_list},
    script, signals,
};

#[derive(Serialize)]
struct Submitted {
    job: JobId,
    queries: usize,
}

pub(super) async fn run(args: SubmitArgs, format: Format, remote: &Remote) -> Result<()> {
    let submit = script::read(&args.script, args.name.as_deref())?;
    let (client, surroundings) = remote.connect(&args.cluster).await?;
    let submitted = client.submit(submit).await?;
    if args.wait {
        let options = FollowOptions { format, is_quiet: false };
        follow::follow(&client, &submitted, options, surroundings.seams().clock.as_ref()).await?;
        return Ok(());
    }
    let line = Submitted { job: submitted.job, queries: submitted.queries.len() };
    print_list(format, &["job", "selects"], &[line], |line| vec![line.job.to_string(), line.queries.to_string()])
}

pub(super) async fn explain(args: ExplainArgs, remote: &Remote) -> Result<()> {
    let submit = script::read(&args.script, None)?;
    if remote.is_named(&args.cluster) {
        let (client, _surroundings) = remote.connect(&args.cluster).await?;
        println!("{}", client.explain(submit).await?.trim_end());
        return Ok(());
    }
    let cluster = EmbeddedCluster::start(EmbeddedOptions { nodes: 0, ..EmbeddedOptions::default() }).await?;
    let plan = cluster.client().explain(submit).await;
    cluster.shutdown().await;
    println!("{}", plan?.trim_end());
    Ok(())
}

pub(super) async fn preview(args: PreviewArgs, format: Format, remote: &Remote) -> Result<()> {
    let (client, _surroundings) = remote.connect(&args.cluster).await?;
    let submitted = SubmittedJob { job: JobId(args.job), queries: Vec::new() };
    let mut rows = follow::rows_of(client.fetch_rows(submitted.job, args.query), args.query);
    let mut printer = RowPrinter::new(BufWriter::new(stdout()), format, 1);
    loop {
        tokio::select! {
            interrupted = signals::until_asked_to_end() => return Ok(interrupted?),
            next = rows.next() => match next {
                Some((query, batch)) => printer.print(query, &batch?)?,
                None => return Ok(()),
            },
        }
    }
}
