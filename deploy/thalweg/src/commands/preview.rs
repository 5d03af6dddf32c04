//! `thalweg preview`: runs a SELECT on a cluster for a moment, prints a sample of its rows, and cancels it.
//!
//! It leaves nothing behind: a script that writes is refused, and the job is cancelled whatever happens here.

use std::{io::stdout, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use thalweg_client::{Client, ClientError, SubmittedJob};
use thalweg_types::JobId;
use tokio::time;

use super::{Remote, answers};
use crate::{
    args::{OutputFormat, PreviewArgs},
    follow::{self, JobError},
    output::{RowPrinter, say},
    script, signals, statements,
};

const NAME: &str = "preview";
const INTERVAL: &str = "checkpoint.interval";

pub(super) async fn run(args: PreviewArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let mut submit = script::read(&args.script, Some(NAME))?;
    // This includes INSERT within EXECUTE and statement sets.
    let writes = statements::split(&submit.sql).iter().any(statements::Statement::inserts);
    ensure!(!writes, "a preview writes nothing: leave out INSERT INTO, and give the SELECT alone");
    let (client, _surroundings) = remote.connect(&args.cluster).await?;
    // Rows are released by checkpoints, so an interactive preview needs short intervals.
    submit.settings.entry(INTERVAL.to_owned()).or_insert_with(|| "100 ms".to_owned());
    if !answers::print(&client, &submit, format).await? {
        return Ok(());
    }
    let submitted = client.submit(submit).await?;
    let limit = Limit { rows: usize::try_from(args.rows)?, time: Duration::from_secs(args.seconds.into()) };
    let sampled = sample(&client, &submitted, limit, format).await;
    let waits_for = follow::waits_for(&client.job(submitted.job).await?);
    let ended = end(&client, submitted.job).await;
    let sampled = sampled?;
    ended?;
    match sampled {
        Sampled::All => Ok(follow::check_ending(&client.wait(submitted.job).await?)?),
        Sampled::Rows => Ok(()),
        Sampled::InTime(rows) => {
            let why = waits_for.map(|why| format!(": {why}")).unwrap_or_default();
            say(&format!("note: {rows} rows within {} s{why}; {} was cancelled", args.seconds, submitted.job));
            Ok(())
        }
    }
}

async fn end(client: &Client, job: JobId) -> Result<(), ClientError> {
    match client.job(job).await?.status.is_terminal() {
        true => Ok(()),
        false => client.cancel(job).await,
    }
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    rows: usize,
    time: Duration,
}

/// Why a sample has ended.
enum Sampled {
    /// The SELECTs have no more rows.
    All,
    /// As many rows as asked for have come.
    Rows,
    /// The time is up; this many rows have come.
    InTime(usize),
}

async fn sample(client: &Client, submitted: &SubmittedJob, limit: Limit, format: OutputFormat) -> Result<Sampled> {
    let mut printer = RowPrinter::new(stdout(), format, submitted.queries.len());
    let mut rows = follow::all_rows(client, submitted);
    let mut asked_to_end = std::pin::pin!(signals::until_asked_to_end());
    let mut is_over = std::pin::pin!(time::sleep(limit.time));
    let mut printed = vec![0; submitted.queries.len()];
    while printed.iter().any(|printed| *printed < limit.rows) {
        tokio::select! {
            asked = &mut asked_to_end => {
                asked.context("could not wait for signals")?;
                return Err(JobError::Interrupted { job: submitted.job }.into());
            }
            () = &mut is_over => return Ok(Sampled::InTime(printed.iter().sum())),
            next = rows.next() => match next {
                Some((query, Ok(batch))) => {
                    let Some(printed) = usize::try_from(query).ok().and_then(|query| printed.get_mut(query)) else { continue };
                    let batch = batch.slice(0, batch.num_rows().min(limit.rows - *printed));
                    *printed += batch.num_rows();
                    printer.print(query, &batch)?;
                }
                // The job has ended; its status says why.
                Some((_, Err(ClientError::Rejected { .. }))) | None => {
                    client.wait(submitted.job).await?;
                    return Ok(Sampled::All);
                }
                Some((_, Err(error))) => return Err(error.into()),
            },
        }
    }
    Ok(Sampled::Rows)
}
