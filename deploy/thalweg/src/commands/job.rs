//! `thalweg job show`, `checkpoints`, `cancel`, `stop`, `restart`, `forget`, `wait` and `rows`.

use std::{io::stdout, time::Duration};

use anyhow::Result;
use thalweg_client::Client;
use thalweg_types::{
    JobId, JobStatus,
    job::{
        AwaitedSubtask, CheckpointOverview, CheckpointState, CheckpointSummary, CheckpointWaits, JobOverview,
        SubtaskOverview,
    },
};

use super::{
    Remote,
    lists::{JOB_HEAD, job_cells},
};
use crate::{
    args::{JobCommand, OutputFormat},
    follow,
    output::{RowPrinter, columns_of_terminal, grouped, millis_text, print, print_list, say, watermark_text},
    signals,
};

pub(super) async fn run(command: JobCommand, format: OutputFormat, remote: &Remote) -> Result<()> {
    match command {
        JobCommand::Show(args) => {
            let (client, surroundings) = remote.connect(&args.cluster).await?;
            show(&client.job(JobId(args.job)).await?, format, surroundings.seams().clock.unix_time())
        }
        JobCommand::Cancel(args) => {
            let (client, _surroundings) = remote.connect(&args.job.cluster).await?;
            let job = JobId(args.job.job);
            if args.discard_output {
                client.abandon(job).await?;
            } else {
                client.cancel(job).await?;
            }
            print_summary(&client.job(job).await?, format)
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
            rows(&client, JobId(args.job.job), args.query - 1, format).await
        }
    }
}

/// Prints rows as they come. Ends with the job or when interrupted, which does not affect the job.
async fn rows(client: &Client, job: JobId, query: u32, format: OutputFormat) -> Result<()> {
    let mut rows = client.fetch_rows(job, query).after_others();
    let mut printer = RowPrinter::new(stdout(), format, 1);
    let mut has_begun = false;
    let mut asked_to_end = std::pin::pin!(signals::until_asked_to_end());
    loop {
        tokio::select! {
            asked = &mut asked_to_end => return Ok(asked?),
            next = rows.next() => {
                let batch = next?;
                if !std::mem::replace(&mut has_begun, true) {
                    tell_of_others(job, rows.fetched_before(), batch.is_none());
                }
                match batch {
                    Some(batch) => printer.print(query, &batch)?,
                    None => return Ok(()),
                }
            }
        }
    }
}

/// Says that some rows have been fetched before.
fn tell_of_others(job: JobId, fetched: u64, is_end: bool) {
    match (fetched.checked_sub(1), is_end) {
        (None, _) => {}
        (Some(_), true) => say(&format!("note: {job} has no more rows: its rows have been fetched already")),
        (Some(0), false) => say("note: row 0 has been fetched already"),
        (Some(last), false) => say(&format!("note: rows 0 to {last} have been fetched already")),
    }
}

fn print_summary(job: &JobOverview, format: OutputFormat) -> Result<()> {
    print_list(format, &JOB_HEAD, &[job], |job| job_cells(job))
}

fn show(job: &JobOverview, format: OutputFormat, now: Duration) -> Result<()> {
    print_summary(job, format)?;
    match format {
        OutputFormat::Json => Ok(()),
        OutputFormat::Csv => {
            print("\n")?;
            print_list(format, &SUBTASK_HEAD, &job.subtasks, subtask_cells)
        }
        OutputFormat::Table => {
            print(&about(job, now, columns_of_terminal()))?;
            print_subtasks(job)
        }
    }
}

/// The text about a job besides its tables, with lines broken at spaces to fit `columns`.
fn about(job: &JobOverview, now: Duration, columns: usize) -> String {
    let mut text = times_text(job, now);
    if let Some(failure) = &job.failure {
        // A job that has never started has not failed.
        let label = if job.status == JobStatus::Created { "waiting" } else { "last failure" };
        text.push_str(&format!("\n{label}: {}\n", failure.message));
    }
    for url in &job.ingest_urls {
        text.push_str(&format!("\nrecords: POST to {url}\n"));
    }
    for url in &job.asked_urls {
        text.push_str(&format!("\nnewest rows: GET {url}\n"));
    }
    text.push_str(&checkpoints_text(&job.checkpoints));
    text.push_str(&format!("\n{}\n\n", job.plan.trim_end()));
    let mut chains: Vec<(u32, &str)> = job.subtasks.iter().map(|one| (one.chain, one.name.as_str())).collect();
    chains.dedup();
    for (chain, operators) in chains {
        text.push_str(&format!("  {chain}/…  {operators}\n"));
    }
    let lines = text.lines().flat_map(|line| broken(line, columns));
    lines.map(|line| line + "\n").collect::<String>() + "\n"
}

/// When a job was submitted, and how long it has run.
fn times_text(job: &JobOverview, now: Duration) -> String {
    if job.submitted_ms == 0 {
        return String::new();
    }
    let moment = |millis: u64| watermark_text(i64::try_from(millis / 1000 * 1_000_000).unwrap_or(i64::MAX));
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let until = if job.ended_ms == 0 { now_ms } else { job.ended_ms };
    let took = duration_text(until.saturating_sub(job.submitted_ms));
    let submitted = moment(job.submitted_ms);
    match job.ended_ms {
        0 => format!("\nsubmitted {submitted}, {took} ago\n"),
        ended => format!("\nsubmitted {submitted}, {} {} after {took}\n", job.status, moment(ended)),
    }
}

fn duration_text(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", millis % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Breaks a line at spaces into parts of at most `columns`. Continuations are indented below the branches of a tree.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let is_branch = |c: &char| [' ', '│', '├', '└', '─'].contains(c);
    let indent: String = line.chars().take_while(is_branch).map(|c| if "│├".contains(c) { '│' } else { ' ' }).collect();
    let indent = format!("{indent}  ");
    let mut lines = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > columns {
        let from = if lines.is_empty() { indent.chars().count().saturating_sub(2) } else { indent.chars().count() };
        let Some(at) = (from + 1..=columns).rev().find(|at| rest.get(*at) == Some(&' ')) else { break };
        lines.push(rest[..at].iter().collect());
        rest = indent.chars().chain(rest[at + 1..].iter().copied()).collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

const SUBTASK_HEAD: [&str; 11] =
    ["subtask", "operators", "node", "state", "in", "out", "busy", "blocked", "watermark", "late", "failed"];

fn subtask_cells(subtask: &SubtaskOverview) -> Vec<String> {
    let metrics = &subtask.metrics;
    // A finished subtask is not busy now, whatever it did before.
    let share = |micros| if subtask.state == "finished" { "-".to_owned() } else { percent(micros, metrics) };
    vec![
        format!("{}/{}", subtask.chain, subtask.index),
        subtask.name.clone(),
        subtask.node.to_string(),
        subtask.state.clone(),
        grouped(metrics.records_in),
        grouped(metrics.records_out),
        share(metrics.busy_micros),
        share(metrics.blocked_micros),
        watermark_text(metrics.watermark),
        grouped(metrics.late_records),
        grouped(metrics.failed_rows),
    ]
}

/// The subtasks as a table for a terminal, without their operators, which are listed above it, and without counters
/// that are all zero.
fn print_subtasks(job: &JobOverview) -> Result<()> {
    let rows: Vec<Vec<String>> = job.subtasks.iter().map(subtask_cells).collect();
    let is_told = |column: &usize| match SUBTASK_HEAD[*column] {
        "operators" => false,
        "late" | "failed" => rows.iter().any(|row| row[*column] != "0"),
        _ => true,
    };
    let told: Vec<usize> = (0..SUBTASK_HEAD.len()).filter(is_told).collect();
    let short = |name: &'static str| if name == "subtask" { "task" } else { name };
    let head: Vec<&str> = told.iter().map(|column| short(SUBTASK_HEAD[*column])).collect();
    print_list(OutputFormat::Table, &head, &rows, |row| told.iter().map(|column| row[*column].clone()).collect())
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

const CHECKPOINT_HEAD: [&str; 14] = [
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
    "waits for",
];

fn checkpoint_cells(checkpoint: &CheckpointOverview) -> Vec<String> {
    let cost = &checkpoint.cost;
    vec![
        checkpoint.checkpoint.0.to_string(),
        known(u64::from(checkpoint.attempt.0), |attempt| attempt.to_string()),
        checkpoint.state.word().to_owned(),
        known(checkpoint.begun_ms, |millis| watermark_text(i64::try_from(millis * 1000).unwrap_or(i64::MAX))),
        known(checkpoint.duration_micros, millis_text),
        known(cost.alignment_micros, millis_text),
        known(cost.freeze_micros, millis_text),
        known(cost.upload_micros, millis_text),
        grouped(cost.uploaded_bytes),
        grouped(cost.state_bytes),
        if cost.is_unaligned { "yes" } else { "no" }.to_owned(),
        checkpoint.reason.clone(),
        checkpoint.url.clone(),
        checkpoint.waits.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

/// Prints checkpoints. Whom they wait for is too long for a table, and is told below it.
fn print_checkpoints(checkpoints: &[CheckpointOverview], format: OutputFormat) -> Result<()> {
    let columns = match format {
        OutputFormat::Table => CHECKPOINT_HEAD.len() - 1,
        OutputFormat::Json | OutputFormat::Csv => CHECKPOINT_HEAD.len(),
    };
    print_list(format, &CHECKPOINT_HEAD[..columns], checkpoints, |checkpoint| {
        checkpoint_cells(checkpoint).into_iter().take(columns).collect()
    })?;
    match format {
        OutputFormat::Table => Ok(print(&waits_text(checkpoints))?),
        OutputFormat::Json | OutputFormat::Csv => Ok(()),
    }
}

/// Whom the open checkpoint waits for, and whom the newest one that failed had waited for.
fn waits_text(checkpoints: &[CheckpointOverview]) -> String {
    let newest = |state| checkpoints.iter().rev().find(|checkpoint| checkpoint.state == state);
    let told = [CheckpointState::Failed, CheckpointState::InProgress].into_iter().filter_map(newest);
    told.filter_map(|checkpoint| Some(wait_text(checkpoint, checkpoint.waits.as_ref()?))).collect()
}

fn wait_text(checkpoint: &CheckpointOverview, waits: &CheckpointWaits) -> String {
    let CheckpointOverview { checkpoint, state, duration_micros, .. } = checkpoint;
    let (took, awaited) = (duration_text(duration_micros / 1000), waits.awaited());
    let is_open = *state == CheckpointState::InProgress;
    let head = match is_open {
        true => format!("\ncheckpoint {} has waited {took} so far for ", checkpoint.0),
        false => format!("\ncheckpoint {} failed after {took}: ", checkpoint.0),
    };
    if awaited == 0 {
        let what =
            if is_open { "its manifest: all subtasks have" } else { "its manifest was not there; all subtasks had" };
        return format!("{head}{what} delivered their part\n");
    }
    let what = if is_open { "subtask(s):" } else { "subtask(s) had not delivered their part:" };
    let mut text = format!("{head}{} {what}\n", grouped(awaited));
    for AwaitedSubtask { name, chain, index, node } in &waits.subtasks {
        text.push_str(&format!("  {chain}/{index} on node {node}  {name}\n"));
    }
    if waits.more > 0 {
        text.push_str(&format!("  and {} more\n", grouped(waits.more)));
    }
    text
}

/// Formats a number, or `-` for 0, which stands for unknown.
fn known(number: u64, text: impl Fn(u64) -> String) -> String {
    if number == 0 { "-".to_owned() } else { text(number) }
}

fn percent(micros: u64, metrics: &thalweg_types::job::SubtaskMetrics) -> String {
    let all = metrics.busy_micros + metrics.blocked_micros + metrics.idle_micros;
    format!("{} %", (micros * 100).checked_div(all).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use thalweg_types::{Attempt, CheckpointId, checkpoint::SnapshotCost};

    use super::*;

    #[test]
    fn lines_are_broken_at_spaces_below_where_they_began() {
        assert_eq!(broken("a short line", 80), ["a short line"]);
        assert_eq!(broken("one two three", 9), ["one two", "  three"]);
        assert_eq!(broken("├─ hash ─ one two", 12), ["├─ hash ─", "│    one two"]);
        assert_eq!(broken("aword thatisfartoolong", 8), ["aword", "  thatisfartoolong"]);
        assert_eq!(broken("   └─ deep one two", 3), ["   └─ deep one two"], "there is no room at all");
        assert!(broken(&"word ".repeat(100), 80).iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn the_open_checkpoint_and_the_newest_failed_one_tell_whom_they_wait_for() {
        let subtask = |index| AwaitedSubtask { name: "a -> b".to_owned(), chain: 1, index, node: 2 };
        let checkpoint = |number, state, waits| CheckpointOverview {
            checkpoint: CheckpointId(number),
            attempt: Attempt(1),
            state,
            reason: String::new(),
            begun_ms: 1,
            duration_micros: 45_200_000,
            cost: SnapshotCost::default(),
            url: String::new(),
            waits,
        };
        let waits = || Some(CheckpointWaits { subtasks: vec![subtask(0), subtask(3)], more: 1234 });
        let failed = checkpoint(7, CheckpointState::Failed, waits());
        let open = checkpoint(8, CheckpointState::InProgress, waits());
        let whom = "  1/0 on node 2  a -> b\n  1/3 on node 2  a -> b\n  and 1,234 more\n";
        let of_open = format!("\ncheckpoint 8 has waited 45 s so far for 1,236 subtask(s):\n{whom}");
        let of_failed =
            format!("\ncheckpoint 7 failed after 45 s: 1,236 subtask(s) had not delivered their part:\n{whom}");
        assert_eq!(waits_text(std::slice::from_ref(&failed)), of_failed);
        assert_eq!(waits_text(std::slice::from_ref(&open)), of_open);
        let older = checkpoint(6, CheckpointState::Failed, waits());
        assert_eq!(waits_text(&[older, failed.clone(), open]), format!("{of_failed}{of_open}"));
        let nobody = Some(CheckpointWaits { subtasks: Vec::new(), more: 0 });
        let manifest = waits_text(&[checkpoint(8, CheckpointState::InProgress, nobody.clone())]);
        assert!(manifest.ends_with("for its manifest: all subtasks have delivered their part\n"), "{manifest}");
        let manifest = waits_text(&[checkpoint(7, CheckpointState::Failed, nobody)]);
        assert!(manifest.contains("failed after 45 s: its manifest was not there"), "{manifest}");
        let complete = checkpoint(8, CheckpointState::Complete, None);
        assert_eq!(waits_text(&[failed, complete.clone()]), of_failed);
        assert_eq!(waits_text(&[checkpoint(7, CheckpointState::Failed, None), complete]), "");
        assert_eq!(waits_text(&[]), "");
    }

    #[test]
    fn durations_have_the_two_units_that_matter() {
        let texts = [1_234, 12_999, 125_000, 7_380_000, 180_000_000].map(duration_text);
        assert_eq!(texts, ["1.2 s", "12 s", "2 min 5 s", "2 h 3 min", "2 days 2 h"]);
    }
}
