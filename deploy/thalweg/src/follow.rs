//! Follows a submitted job to its end: prints its rows to standard output and its progress to standard error.
//!
//! All SELECTs of a job are fetched at once. One whose rows are not fetched would block the sources that it shares
//! with others.

use std::io::{self, Stdout};

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use thalweg_client::{Client, ClientError, RowStream, SubmittedJob};
use thalweg_types::{JobId, JobStatus, job::JobOverview, seam::Clock};
use thiserror::Error;
use tokio::time::{self, Duration, MissedTickBehavior};

use crate::{
    args::OutputFormat,
    output::{OutputError, RowPrinter, grouped, say},
    progress::{ProgressLine, Totals},
    signals, statements,
};

/// The time between redraws of the progress line.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How long to wait for the job's end after its rows ended early: it may explain why.
const EXPLANATION_WITHIN: Duration = Duration::from_secs(5);

/// How long whoever submits a job waits to learn whether it runs: longer than the checks of its tables take where nobody answers.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// How often a job is looked at until it runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a job ended, if not successfully.
#[derive(Debug, Error)]
pub enum JobError {
    /// The job failed.
    #[error("{job} failed: {message}")]
    Failed {
        job: JobId,
        /// The failure, with its causes.
        message: String,
    },
    /// Somebody else ended the job.
    #[error("{job} was {status}")]
    Ended {
        /// The job's id.
        job: JobId,
        /// Its final status.
        status: JobStatus,
    },
    /// The user interrupted the job.
    #[error("{job} was cancelled: interrupted")]
    Interrupted {
        /// The job's id.
        job: JobId,
    },
}

/// How to follow a job.
#[derive(Debug, Clone, Copy)]
pub struct FollowOptions {
    /// The format of rows.
    pub format: OutputFormat,
    /// Whether to print only rows and errors.
    pub is_quiet: bool,
}

/// Follows a job to its end. An interrupt cancels it.
///
/// # Errors
/// `JobError` if the job did not succeed; otherwise errors of the cluster or of standard output.
pub async fn follow(
    client: &Client,
    submitted: &SubmittedJob,
    options: FollowOptions,
    clock: &dyn Clock,
) -> Result<JobOverview> {
    let job = submitted.job;
    tokio::select! {
        biased;
        interrupted = signals::until_asked_to_end() => {
            interrupted.context("could not wait for signals")?;
            Err(interrupt(client, job).await)
        }
        ended = print_to_end(client, submitted, options, clock) => {
            let overview = match ended {
                Ok(overview) => overview,
                // After an error on this side nobody reads the rows, so the job is cancelled.
                Err(error) => {
                    client.cancel(job).await.ok();
                    return Err(error);
                }
            };
            check_ending(&overview)?;
            if !options.is_quiet {
                report_side_outputs(&overview);
            }
            Ok(overview)
        }
    }
}

/// Cancels a job for the user, and returns the error to report.
pub async fn interrupt(client: &Client, job: JobId) -> anyhow::Error {
    match client.cancel(job).await {
        Ok(()) => JobError::Interrupted { job }.into(),
        Err(error) => anyhow::Error::from(error).context(format!("interrupted, but {job} could not be cancelled")),
    }
}

/// Whether it was the user who ended what gave this result.
pub fn was_interrupted<T>(result: &Result<T>) -> bool {
    let error = result.as_ref().err().and_then(|error| error.downcast_ref::<JobError>());
    error.is_some_and(|error| matches!(error, JobError::Interrupted { .. }))
}

/// Turns the error of a closed output (`| head`) into success, unless the job also writes elsewhere.
///
/// # Errors
/// If the job was cancelled before it published everything; and any other error in `result`.
pub fn forgive_enough(result: Result<()>, script: &str) -> Result<()> {
    match result {
        Err(error) if is_unwanted(&error) && statements::writes_elsewhere(script) => {
            bail!(
                "nobody reads the output any more: the job was cancelled, and publishes no more than its checkpoints hold"
            )
        }
        Err(error) if is_unwanted(&error) => Ok(()),
        other => other,
    }
}

fn is_unwanted(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OutputError>().is_some_and(OutputError::is_unwanted)
}

/// Checks that an ended job was successful.
///
/// # Errors
/// How the job ended, if not successfully.
pub fn check_ending(overview: &JobOverview) -> Result<(), JobError> {
    let job = overview.job;
    match overview.status {
        JobStatus::Failed => {
            let message = overview.failure.as_ref().map_or("no reason was given", |failure| &failure.message);
            Err(JobError::Failed { job, message: message.to_owned() })
        }
        JobStatus::Cancelled => Err(JobError::Ended { job, status: overview.status }),
        JobStatus::Created
        | JobStatus::Deploying
        | JobStatus::Running
        | JobStatus::Committing
        | JobStatus::Restarting
        | JobStatus::Finished
        | JobStatus::Stopped => Ok(()),
    }
}

async fn print_to_end(
    client: &Client,
    submitted: &SubmittedJob,
    options: FollowOptions,
    clock: &dyn Clock,
) -> Result<JobOverview> {
    let job = submitted.job;
    let mut printer = RowPrinter::new(io::stdout(), options.format, submitted.queries.len());
    let mut progress = ProgressLine::new(options.is_quiet);
    let mut failures = FailuresSeen::default();
    let mut waited_for = None;
    let mut rows = all_rows(client, submitted);
    let mut ended = std::pin::pin!(client.wait(job));
    let mut overview = None;
    let mut is_open = true;
    let mut rows_error = None;
    let mut tick = time::interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while is_open || overview.is_none() {
        tokio::select! {
            next = rows.next(), if is_open => match next {
                Some(event) => {
                    progress.clear();
                    rows_error = print_event(&mut printer, event)?;
                    is_open = rows_error.is_none();
                }
                None => is_open = false,
            },
            end = &mut ended, if overview.is_none() => overview = Some(end?),
            () = time::sleep(EXPLANATION_WITHIN), if rows_error.is_some() => break,
            _ = tick.tick(), if !options.is_quiet && overview.is_none() => {
                let seen = client.job(job).await?;
                let waits_for = waits_for(&seen);
                if waits_for.is_some() && waits_for != waited_for {
                    progress.clear();
                    say(&format!("note: {job} has not begun: {}", waits_for.as_deref().unwrap_or_default()));
                    waited_for = waits_for;
                }
                if let Some(warning) = failures.warning(&seen) {
                    progress.clear();
                    say(&format!("warning: {warning}"));
                }
                if progress.is_shown() {
                    progress.draw(&seen, clock);
                }
            }
        }
    }
    progress.clear();
    match (overview, rows_error) {
        // A job's failure explains why its rows ended early. If the job finished, the error of the rows is all there
        // is.
        (Some(overview), Some(error)) if overview.status == JobStatus::Finished => Err(error.into()),
        (Some(overview), _) => {
            if matches!(overview.status, JobStatus::Finished | JobStatus::Stopped) {
                printer.finish(submitted.queries.iter().map(|query| (query.query, &query.schema)))?;
            }
            Ok(overview)
        }
        (None, Some(error)) => Err(error.into()),
        (None, None) => unreachable!("the loop ends with one of them"),
    }
}

/// Prints rows. Returns the error with which they ended early; the job's end may explain it.
fn print_event(
    printer: &mut RowPrinter<Stdout>,
    event: (u32, Result<RecordBatch, ClientError>),
) -> Result<Option<ClientError>> {
    match event {
        (query, Ok(batch)) => printer.print(query, &batch)?,
        (_, Err(error)) => return Ok(Some(error)),
    }
    Ok(None)
}

/// The rows of all SELECTs of a job, as they come.
pub fn all_rows(
    client: &Client,
    submitted: &SubmittedJob,
) -> impl Stream<Item = (u32, Result<RecordBatch, ClientError>)> + Unpin + use<> {
    let streams =
        submitted.queries.iter().map(|query| rows_of(client.fetch_rows(submitted.job, query.query), query.query));
    stream::select_all(streams)
}

/// The rows of one SELECT, over all attempts of the job.
pub fn rows_of(rows: RowStream, query: u32) -> BoxStream<'static, (u32, Result<RecordBatch, ClientError>)> {
    let next = move |state: Option<RowStream>| async move {
        let mut rows = state?;
        match rows.next().await {
            Ok(Some(batch)) => Some(((query, Ok(batch)), Some(rows))),
            Ok(None) => None,
            Err(error) => Some(((query, Err(error)), None)),
        }
    };
    stream::unfold(Some(rows), next).boxed()
}

/// Counts the failures that were reported. Without these warnings, a job that restarts again and again would seem to
/// hang.
#[derive(Debug, Default)]
pub struct FailuresSeen(u32);

impl FailuresSeen {
    /// The warning about a new failure, if the job is tried again.
    pub fn warning(&mut self, overview: &JobOverview) -> Option<String> {
        if overview.status.is_terminal() || overview.failures <= self.0 {
            return None;
        }
        self.0 = overview.failures;
        let message = overview.failure.as_ref().map_or("no reason was given", |failure| &failure.message);
        Some(format!("{} failed {} time(s) and is tried again: {message}", overview.job, self.0))
    }
}

/// A job as it is once its tables are checked and it runs; earlier if it waits for slots, or takes long to deploy.
///
/// # Errors
/// If the cluster cannot be asked.
pub async fn begun(client: &Client, job: JobId) -> Result<JobOverview, ClientError> {
    let begun = async {
        loop {
            let seen = client.job(job).await?;
            if !is_beginning(&seen) || waits_for(&seen).is_some() {
                return Ok(seen);
            }
            time::sleep(LOOK_EVERY).await;
        }
    };
    match time::timeout(BEGUN_WITHIN, begun).await {
        Ok(begun) => begun,
        Err(_) => client.job(job).await,
    }
}

/// Whether it is not known yet if a job can run.
#[must_use]
pub fn is_beginning(job: &JobOverview) -> bool {
    matches!(job.status, JobStatus::Created | JobStatus::Deploying)
}

/// What a job that has not started waits for.
#[must_use]
pub fn waits_for(job: &JobOverview) -> Option<String> {
    // A job that has never started has not failed: its message says what it waits for.
    let waits = job.failure.as_ref().filter(|_| job.status == JobStatus::Created);
    waits.map(|waits| waits.message.clone())
}

fn report_side_outputs(overview: &JobOverview) {
    let totals = Totals::of(overview);
    if totals.late > 0 {
        say(&format!(
            "note: {} records came too late for their windows and were not counted; SET 'late.path' keeps them",
            grouped(totals.late)
        ));
    }
    if totals.dead_letters > 0 {
        say(&format!("note: {} malformed records were set aside", grouped(totals.dead_letters)));
    }
    if totals.failed > 0 {
        say(&format!(
            "note: {} rows could not be evaluated or written, and were set aside: in 'error.path', or in the table's 'error-prefix'",
            grouped(totals.failed)
        ));
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{
        Attempt,
        job::{Failure, FailureKind},
    };

    use super::*;

    #[test]
    fn an_interrupt_is_told_from_other_ends() {
        let by_user: Result<()> = Err(anyhow::Error::from(JobError::Interrupted { job: JobId(1) }).context("no rows"));
        assert!(was_interrupted(&by_user));
        let status = JobStatus::Cancelled;
        assert!(!was_interrupted::<()>(&Err(JobError::Ended { job: JobId(1), status }.into())));
        assert!(!was_interrupted(&Ok(())));
    }

    #[test]
    fn each_failure_that_leads_to_another_attempt_is_told_once() {
        let seen = |status: JobStatus, failures: u32| JobOverview {
            job: JobId(1),
            name: String::new(),
            status,
            attempt: Attempt(failures),
            parallelism: 1,
            failure: Some(Failure { kind: FailureKind::Store, message: "no space".to_owned() }),
            failures,
            subtasks: Vec::new(),
            checkpoints: thalweg_types::job::CheckpointSummary::default(),
            sql: String::new(),
            plan: String::new(),
            ingest_urls: Vec::new(),
            asked_urls: Vec::new(),
            submitted_ms: 0,
            ended_ms: 0,
        };
        let mut told = FailuresSeen::default();
        assert_eq!(told.warning(&seen(JobStatus::Running, 0)), None);
        let first = told.warning(&seen(JobStatus::Restarting, 1));
        assert_eq!(first.as_deref(), Some("job-1 failed 1 time(s) and is tried again: no space"));
        assert_eq!(told.warning(&seen(JobStatus::Deploying, 1)), None);
        assert!(told.warning(&seen(JobStatus::Running, 3)).is_some(), "some may have passed unseen");
        assert_eq!(told.warning(&seen(JobStatus::Failed, 4)), None, "its end is told elsewhere");
    }
}
