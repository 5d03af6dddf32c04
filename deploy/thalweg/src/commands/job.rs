//! `thalweg job show`, `checkpoints`, `cancel`, `stop`, `restart`, `forget`, `wait` and `rows`.

use std::io::stdout;

use anyhow::Result;
use futures::StreamExt;
use thalweg_client::Client;
use thalweg_types::{
    JobId, JobStatus,
    job::{CheckpointOverview, CheckpointSummary, JobOverview},
};

use super::{
    Remote,
    lists::{JOB_HEAD, job_cells},
};
use crate::{
    args::{Format, JobCommand},
    follow,
    output::{RowPrinter, grouped, print, print_list, watermark_text},
    signals,
};

pub(super) async fn run(command: JobCommand, format: Format, remote: &Remote) -> Result<()> {
    match command {
        JobCommand::Show(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            show(&client.job(JobId(args.job)).await?, format)
        }
        JobCommand::Cancel(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            client.cancel(JobId(args.job)).await?;
            print_summary(&client.job(JobId(args.job)).await?, format)
        }
        JobCommand::Stop(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            client.stop(JobId(args.job)).await?;
            print_summary(&client.job(JobId(args.job)).await?, format)
        }
        JobCommand::Restart(args) => {
            let (client, _surroundings) = remote.connect(&args.job.cluster).await?;
            let job = JobId(args.job.job);
            client.restart(job, args.settings.into_iter().collect()).await?;
            print_summary(&client.job(job).await?, format)
        }
        JobCommand::Forget(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            let before = client.job(JobId(args.job)).await?;
            client.forget(JobId(args.job)).await?;
            print_summary(&before, format)
        }
        JobCommand::Wait(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            let overview = client.wait(JobId(args.job)).await?;
            print_summary(&overview, format)?;
            Ok(follow::check_ending(&overview)?)
        }
        JobCommand::Checkpoints(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            print_checkpoints(&client.checkpoints(JobId(args.job)).await?, format)
        }
        JobCommand::Rows(args) => {
            let (client, _surroundings) = remote.connect(&args.job.cluster).await?;
            rows(&client, JobId(args.job.job), args.query, format).await
        }
    }
}

/// Prints rows as they come; ends with the job, or when interrupted, which leaves the job as it is.
async fn rows(client: &Client, job: JobId, query: u32, format: Format) -> Result<()> {
    let mut rows = follow::rows_of(client.fetch_rows(job, query), query);
    let mut printer = RowPrinter::new(stdout(), format, 1);
    let mut asked_to_end = std::pin::pin!(signals::until_asked_to_end());
    loop {
        tokio::select! {
            asked = &mut asked_to_end => return Ok(asked?),
            next = rows.next() => match next {
                Some((query, batch)) => printer.print(query, &batch?)?,
                None => return Ok(()),
            },
        }
    }
}

fn print_summary(job: &JobOverview, format: Format) -> Result<()> {
    print_list(format, &JOB_HEAD, &[job], |job| job_cells(job))
}

fn show(job: &JobOverview, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_summary(job, format);
    }
    print_summary(job, format)?;
    if format == Format::Csv {
        print("\n")?;
    } else {
        if let Some(failure) = &job.failure {
            // One that was never begun has not failed.
            let label = if job.status == JobStatus::Created { "waiting" } else { "last failure" };
            print(&format!("\n{label}: {}\n", failure.message))?;
        }
        for url in &job.ingest_urls {
            print(&format!("\nrecords: POST to {url}\n"))?;
        }
        print(&checkpoints_text(&job.checkpoints))?;
        print(&format!("\n{}\n\n", job.plan.trim_end()))?;
    }
    let head = ["subtask", "operators", "node", "state", "in", "out", "busy", "blocked", "watermark", "late", "failed"];
    print_list(format, &head, &job.subtasks, |subtask| {
        let metrics = &subtask.metrics;
        vec![
            format!("{}/{}", subtask.chain, subtask.index),
            subtask.name.clone(),
            subtask.node.to_string(),
            subtask.state.clone(),
            grouped(metrics.records_in),
            grouped(metrics.records_out),
            percent(metrics.busy_micros, metrics),
            percent(metrics.blocked_micros, metrics),
            watermark_text(metrics.watermark),
            grouped(metrics.late_records),
            grouped(metrics.failed_rows),
        ]
    })
}

fn checkpoints_text(checkpoints: &CheckpointSummary) -> String {
    let last = checkpoints.last_complete.map(|last| format!("\nlast complete checkpoint: {}\n", last.0));
    let failed = (checkpoints.failures_in_a_row > 0).then(|| {
        format!("\n{} checkpoint(s) in a row failed, the last: {}\n", checkpoints.failures_in_a_row, checkpoints.reason)
    });
    let waits = (checkpoints.failures_in_a_row == 0 && !checkpoints.reason.is_empty())
        .then(|| format!("\ncheckpoints: {}\n", checkpoints.reason));
    [last, failed, waits].into_iter().flatten().collect()
}

fn print_checkpoints(checkpoints: &[CheckpointOverview], format: Format) -> Result<()> {
    let head = [
        "id",
        "attempt",
        "state",
        "begun",
        "duration",
        "alignment",
        "freeze",
        "upload",
        "uploaded",
        "state bytes",
        "unaligned",
        "reason",
        "manifest",
    ];
    print_list(format, &head, checkpoints, |checkpoint| {
        let cost = &checkpoint.cost;
        vec![
            checkpoint.checkpoint.0.to_string(),
            known(u64::from(checkpoint.attempt.0), |attempt| attempt.to_string()),
            checkpoint.state.word().to_owned(),
            known(checkpoint.begun_ms, |millis| watermark_text(i64::try_from(millis * 1000).unwrap_or(i64::MAX))),
            millis_text(checkpoint.duration_micros),
            millis_text(cost.alignment_micros),
            millis_text(cost.freeze_micros),
            millis_text(cost.upload_micros),
            grouped(cost.uploaded_bytes),
            grouped(cost.state_bytes),
            if cost.is_unaligned { "yes" } else { "no" }.to_owned(),
            checkpoint.reason.clone(),
            checkpoint.url.clone(),
        ]
    })
}

/// 0 stands for what is not known.
fn known(number: u64, text: impl Fn(u64) -> String) -> String {
    if number == 0 { "-".to_owned() } else { text(number) }
}

fn millis_text(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn percent(micros: u64, metrics: &thalweg_types::job::SubtaskMetrics) -> String {
    let all = metrics.busy_micros + metrics.blocked_micros + metrics.idle_micros;
    format!("{} %", (micros * 100).checked_div(all).unwrap_or_default())
}
