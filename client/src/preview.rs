//! A sample of the rows of a script's bare SELECTs, from a job that runs for a moment.
//!
//! All SELECTs are fetched at once: one whose rows nobody fetches would hold up the sources that it shares with others.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, stream};
use thalweg_types::JobId;
use tokio::time;

use crate::{
    error::ClientError,
    model::{Query, SubmitOptions, SubmittedJob},
    rpc::Client,
};

/// Rows are given once a checkpoint holds them, so who waits for some wants many checkpoints.
const INTERVAL: (&str, &str) = ("checkpoint.interval", "100 ms");

/// When a preview has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviewLimits {
    /// The most rows of each SELECT.
    pub rows: usize,
    /// The longest time to wait for them once the job is accepted.
    pub within: Duration,
}

impl Default for PreviewLimits {
    fn default() -> Self {
        Self { rows: 20, within: Duration::from_secs(10) }
    }
}

/// The first rows of a bare SELECT.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The SELECT.
    pub query: Query,
    /// Its first rows.
    pub batches: Vec<RecordBatch>,
    /// Whether these are all that it has.
    pub is_whole: bool,
}

impl Sample {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl Client {
    /// Runs a script as a job for a moment, and gives the first rows of each of its bare SELECTs. Then the job is cancelled,
    /// whether it went well or not; if this call is dropped, it runs on. Give SELECTs alone: what an INSERT beside them has
    /// published by then stays.
    ///
    /// # Errors
    /// `Rejected` where the script cannot be planned or has no bare SELECT, or the job fails. Otherwise as any call.
    pub async fn preview(&self, mut options: SubmitOptions, limits: PreviewLimits) -> Result<Vec<Sample>, ClientError> {
        let (setting, interval) = INTERVAL;
        options.settings.entry(setting.to_owned()).or_insert_with(|| interval.to_owned());
        let submitted = self.submit(options).await?;
        let job = submitted.job;
        let sampled = match submitted.queries.is_empty() {
            true => {
                Err(ClientError::Rejected { message: "a preview shows rows of SELECT, and there is none".to_owned() })
            }
            false => self.sample(submitted, limits).await,
        };
        let ended = self.end_preview(job).await;
        sampled.and_then(|sampled| ended.map(|()| sampled))
    }

    async fn sample(&self, submitted: SubmittedJob, limits: PreviewLimits) -> Result<Vec<Sample>, ClientError> {
        let rows = submitted.queries.iter().enumerate().map(|(at, query)| {
            let rows = self.fetch_rows(submitted.job, query.query).into_stream();
            let ends = stream::once(async { Ok(None) });
            rows.map(|batch| batch.map(Some)).chain(ends).map(move |came| (at, came)).boxed()
        });
        let mut came = stream::select_all(rows.collect::<Vec<_>>());
        let sample = |query| Sample { query, batches: Vec::new(), is_whole: false };
        let mut samples: Vec<Sample> = submitted.queries.into_iter().map(sample).collect();
        let is_enough = |sample: &Sample| sample.is_whole || sample.rows() >= limits.rows;
        let mut is_over = std::pin::pin!(time::sleep(limits.within));
        while !samples.iter().all(is_enough) {
            let next = tokio::select! {
                biased;
                () = &mut is_over => break,
                next = came.next() => next,
            };
            let Some((at, came)) = next else { break };
            let sample = &mut samples[at];
            match came? {
                None => sample.is_whole = true,
                Some(batch) => {
                    let room = limits.rows.saturating_sub(sample.rows()).min(batch.num_rows());
                    sample.batches.push(batch.slice(0, room));
                }
            }
        }
        Ok(samples)
    }

    /// Cancels a job that may have ended by itself.
    async fn end_preview(&self, job: JobId) -> Result<(), ClientError> {
        let cancelled = self.cancel(job).await;
        let is_refused = matches!(cancelled, Err(ClientError::Rejected { .. }));
        if is_refused && self.job(job).await?.status.is_terminal() { Ok(()) } else { cancelled }
    }
}
