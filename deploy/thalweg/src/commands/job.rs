//! `thalweg job show`, `cancel`, `stop` and `wait`.

use anyhow::Result;
use thalweg_types::{JobId, job::JobOverview};

use super::Remote;
use crate::{
    args::{Format, JobCommand},
    follow,
    output::{grouped, print_list, watermark_text},
};

pub(super) async fn run(command: JobCommand, format: Format, remote: &Remote) -> Result<()> {
    match command {
        JobCommand::Show(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            show(&client.job(JobId(args.job)).await?, format)
        }
        JobCommand::Cancel(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            Ok(client.cancel(JobId(args.job)).await?)
        }
        JobCommand::Stop(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            Ok(client.stop(JobId(args.job)).await?)
        }
        JobCommand::Wait(args) => {
            let (client, _surroundings) = remote.connect(&args.cluster).await?;
            let overview = client.wait(JobId(args.job)).await?;
            print_summary(&overview, format)?;
            Ok(follow::check_ending(&overview)?)
        }
    }
}

fn print_summary(job: &JobOverview, format: Format) -> Result<()> {
    print_list(format, &["job", "name", "status", "attempt", "parallelism", "failures"], &[job], |job| {
        vec![
            job.job.to_string(),
            job.name.clone(),
            job.status.to_string(),
            job.attempt.0.to_string(),
            job.parallelism.to_string(),
            job.failures.to_string(),
        ]
    })
}

fn show(job: &JobOverview, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_summary(job, format);
    }
    if format == Format::Table {
        print_summary(job, format)?;
        if let Some(failure) = &job.failure {
            println!("\nlast failure: {}", failure.message);
        }
        println!("\n{}\n", job.plan.trim_end());
    }
    let head = ["subtask", "operators", "node", "state", "in", "out", "busy", "blocked", "watermark", "late"];
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
        ]
    })
}

fn percent(micros: u64, metrics: &thalweg_types::job::SubtaskMetrics) -> String {
    let all = metrics.busy_micros + metrics.blocked_micros + metrics.idle_micros;
    format!("{} %", (micros * 100).checked_div(all).unwrap_or_default())
}
