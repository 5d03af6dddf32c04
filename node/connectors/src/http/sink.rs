//! POSTs rows as JSON lines. At least once: after a restart, rows are sent again.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use thalweg_types::{graph::SinkOperator, seam::Entropy};

use crate::{
    ConnectorError, Sealing, SinkWriter,
    http_client::{HttpAnswer, HttpClient, HttpMethod, HttpRequest},
    json::{JsonWriter, json_form},
    nothing_to_seal,
    options::Options,
};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The beginning of an answer is for error messages alone.
const ANSWER_BYTES_MAX: usize = 4096;

pub(super) struct HttpSinkWriter {
    client: Arc<dyn HttpClient>,
    entropy: Arc<dyn Entropy>,
    writer: JsonWriter,
    url: String,
    batch_rows: usize,
    timeout: Duration,
    retries: u32,
}

/// What has become of a request, by its answer.
enum PostOutcome {
    Accepted,
    Retry { after: Option<Duration>, reason: String },
    Refused { reason: String },
}

fn outcome_of(answer: &HttpAnswer) -> PostOutcome {
    let reason = || format!("status {}: {}", answer.status, answer.shown());
    match answer.status {
        200..300 => PostOutcome::Accepted,
        408 | 429 | 500.. => PostOutcome::Retry { after: answer.retry_after, reason: reason() },
        _ => PostOutcome::Refused { reason: reason() },
    }
}

impl HttpSinkWriter {
    pub(super) fn new(
        spec: &SinkOperator,
        schema: &SchemaRef,
        (client, entropy): (Arc<dyn HttpClient>, Arc<dyn Entropy>),
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let url = options.required("url")?.to_owned();
        let is_whole =
            url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_whole {
            return Err(options.error(format!("option 'url' = '{url}': expected http://HOST/... or https://HOST/...")));
        }
        let batch_rows = options.number("batch-rows")?.unwrap_or(1000);
        let timeout = options.duration("timeout")?.unwrap_or(Duration::from_secs(30));
        for (key, is_zero) in [("batch-rows", batch_rows == 0), ("timeout", timeout.is_zero())] {
            if is_zero {
                return Err(options.error(format!("option '{key}' is 0: with it nothing could be sent")));
            }
        }
        Ok(Self {
            client,
            entropy,
            writer: JsonWriter::new(schema, json_form(&options)).map_err(|reason| options.error(reason))?,
            url,
            batch_rows,
            timeout,
            retries: options.number("retries")?.unwrap_or(10),
        })
    }

    async fn send(&self, body: Bytes) -> Result<(), ConnectorError> {
        let mut delay = FIRST_DELAY;
        let attempted = || format!("POST rows to {}", self.url);
        for retry in 0..=self.retries {
            let request = HttpRequest {
                method: HttpMethod::Post,
                url: self.url.clone(),
                headers: vec![("content-type", "application/x-ndjson".to_owned())],
                body: body.clone(),
                timeout: self.timeout,
                answer_bytes_max: ANSWER_BYTES_MAX,
            };
            let (after, source) = match self.client.send(request).await {
                Err(source) => (None, source),
                Ok(answer) => match outcome_of(&answer) {
                    PostOutcome::Accepted => return Ok(()),
                    PostOutcome::Retry { after, reason } => (after, reason.into()),
                    PostOutcome::Refused { reason } => {
                        return Err(ConnectorError::Data { attempted: attempted(), reason });
                    }
                },
            };
            if retry == self.retries {
                let times = u64::from(self.retries) + 1;
                return Err(ConnectorError::GaveUp { attempted: attempted(), times, source });
            }
            tokio::time::sleep(after.unwrap_or_else(|| self.with_jitter(delay)).min(DELAY_MAX)).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
        Ok(())
    }

    /// Between half and all of a delay, so that writers that failed together do not retry together.
    fn with_jitter(&self, delay: Duration) -> Duration {
        let share = (self.entropy.next() >> 32) as f64 / f64::from(u32::MAX);
        delay.mul_f64(0.5 + share / 2.0)
    }
}

#[async_trait]
impl SinkWriter for HttpSinkWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = self.batch_rows.min(batch.num_rows() - start);
            let mut lines = Vec::new();
            self.writer.write(&batch.slice(start, rows), &mut lines).map_err(|error| ConnectorError::Data {
                attempted: "encode rows".to_owned(),
                reason: error.to_string(),
            })?;
            self.send(lines.into()).await?;
            start += rows;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        // Every request was answered before `write` returned, so nothing is left to seal.
        Ok(nothing_to_seal())
    }
}
