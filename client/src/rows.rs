//! Pulls the rows of a bare SELECT, in order.
//!
//! Rows are numbered from 0 across all attempts of the job. A request for rows from an offset acknowledges all rows
//! before it, so the cluster keeps only rows that are not delivered yet. A repeated request gives the same rows.
//!
//! ```text
//! fetch(0) -> rows 0..n --delivered--> fetch(n) -> .. -> rows, end --delivered--> fetch(total): acknowledges the last
//! ```
//!
//! A restarted job goes on from a checkpoint, and so do its rows: delivered rows are not delivered again. It is an
//! error if the new attempt no longer has the next row.

use std::{collections::VecDeque, time::Duration};

use arrow::{array::RecordBatch, buffer::Buffer, error::ArrowError, ipc::reader::StreamDecoder};
use futures::{Stream, stream};
use thalweg_proto::convert::WireError;
use thalweg_types::{
    Attempt, JobId,
    client::{RowsAnswer, RowsRequest},
};

use crate::{error::ClientError, rpc::Client};

/// Bytes of rows that one request asks for, and that the client has to buffer.
const FETCH_BYTES_MAX: u64 = 4 << 20;
/// How long the cluster holds a request for rows while there are none.
const FETCH_WAIT: Duration = Duration::from_secs(5);

/// Pulls the rows of one query. Made by [`Client::fetch_rows`].
#[derive(Debug)]
pub struct RowStream {
    client: Client,
    job: JobId,
    query: u32,
    delivery: Delivery,
}

/// The next row to ask for, and the attempt that gave the rows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    attempt: Option<Attempt>,
    offset: u64,
}

/// The answer to one request for rows.
#[derive(Debug, Clone, PartialEq)]
struct Fetched {
    attempt: Attempt,
    offset: u64,
    rows: u64,
    batches: Vec<RecordBatch>,
    is_end: bool,
}

impl RowStream {
    fn new(client: Client, job: JobId, query: u32) -> Self {
        Self { client, job, query, delivery: Delivery::default() }
    }

    /// Begins with the first row that is left, where others may have fetched rows before.
    #[must_use]
    pub fn after_others(mut self) -> Self {
        self.delivery.may_skip = true;
        self
    }

    /// How many rows others have fetched. Known once the first rows, or the end, have arrived.
    #[must_use]
    pub fn fetched_before(&self) -> u64 {
        self.delivery.skipped
    }

    /// The next rows, or `None` after the last. Waits as long as the job may still give rows. Cancel-safe: dropping the
    /// call loses no rows.
    ///
    /// # Errors
    /// `RowsLost` when a new attempt does not have the next row. `Rejected` when the job ended without giving all of
    /// its rows. Otherwise as any call.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        loop {
            if let Some(batch) = self.delivery.deliver() {
                return Ok(Some(batch));
            }
            if self.delivery.is_complete {
                self.acknowledge_last().await;
                return Ok(None);
            }
            let fetched = self.client.fetch(self.job, self.query, self.delivery.position()).await?;
            self.delivery.on_fetched(self.job, fetched)?;
        }
    }

    /// The rows as a stream, which ends after the last or the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, ClientError>> + Send {
        stream::unfold(Some(self), |rows| async move {
            let mut rows = rows?;
            match rows.next().await.transpose()? {
                Ok(batch) => Some((Ok(batch), Some(rows))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Tells the cluster, once, that it need not keep the last rows. A failure is only logged: all rows are delivered.
    async fn acknowledge_last(&mut self) {
        if std::mem::replace(&mut self.delivery.is_acknowledged, true) {
            return;
        }
        if let Err(error) = self.client.acknowledge_rows(self.job, self.query, self.delivery.position()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "could not acknowledge the last rows");
        }
    }
}

impl Client {
    /// The rows of a bare SELECT of a job.
    #[must_use]
    pub fn fetch_rows(&self, job: JobId, query: u32) -> RowStream {
        RowStream::new(self.clone(), job, query)
    }

    /// Fetches rows from a position on, and acknowledges those before it.
    async fn fetch(&self, job: JobId, query: u32, from: Position) -> Result<Fetched, ClientError> {
        let answer = self.request_rows(rows_from(job, query, from, FETCH_WAIT)).await?;
        let batches = decode(answer.batches)
            .map_err(|error| WireError::new("FetchRowsResponse", format!("its rows cannot be read: {error}")))?;
        let RowsAnswer { attempt, offset, rows, end, .. } = answer;
        Ok(Fetched { attempt, offset, rows, batches, is_end: end })
    }

    /// Acknowledges the rows before a position, and asks for no others.
    async fn acknowledge_rows(&self, job: JobId, query: u32, from: Position) -> Result<(), ClientError> {
        self.request_rows(rows_from(job, query, from, Duration::ZERO)).await.map(drop)
    }
}

fn rows_from(job: JobId, query: u32, from: Position, wait: Duration) -> RowsRequest {
    let Position { attempt, offset } = from;
    RowsRequest { job, query, offset, bytes_max: FETCH_BYTES_MAX, wait, attempt }
}

/// What was delivered, and what is buffered.
#[derive(Debug, Clone, PartialEq, Default)]
struct Delivery {
    attempt: Option<Attempt>,
    /// How many rows were delivered, and so the offset of the next one.
    delivered: u64,
    /// Whether the first rows may be missing because others fetched them.
    may_skip: bool,
    /// How many rows others fetched.
    skipped: u64,
    buffered: VecDeque<RecordBatch>,
    /// Whether no rows follow the buffered ones.
    is_complete: bool,
    is_acknowledged: bool,
}

impl Delivery {
    fn deliver(&mut self) -> Option<RecordBatch> {
        let batch = self.buffered.pop_front()?;
        self.delivered += count(&batch);
        Some(batch)
    }

    fn position(&self) -> Position {
        Position { attempt: self.attempt, offset: self.delivered }
    }

    /// Takes the answer to a request from `position`.
    fn on_fetched(&mut self, job: JobId, fetched: Fetched) -> Result<(), ClientError> {
        let sent: u64 = fetched.batches.iter().map(count).sum();
        let is_new = self.attempt.is_some_and(|attempt| attempt != fetched.attempt);
        if is_new && sent > 0 && fetched.offset != self.delivered {
            let (attempt, offset, delivered) = (fetched.attempt, fetched.offset, self.delivered);
            return Err(ClientError::RowsLost { job, attempt, offset, delivered });
        }
        self.attempt = Some(fetched.attempt);
        if (sent > 0 || fetched.is_end) && std::mem::take(&mut self.may_skip) {
            self.skipped = fetched.offset;
            self.delivered = fetched.offset;
        }
        if sent != fetched.rows || (sent > 0 && fetched.offset != self.delivered) {
            let reason = format!(
                "asked for rows from {}, got {sent} from {} where {} were announced",
                self.delivered, fetched.offset, fetched.rows
            );
            return Err(WireError::new("FetchRowsResponse", reason).into());
        }
        self.buffered.extend(fetched.batches.into_iter().filter(|batch| batch.num_rows() > 0));
        self.is_complete = fetched.is_end;
        Ok(())
    }
}

/// Decodes the batches of an Arrow IPC stream; empty bytes hold none. The columns share the bytes. Declared lengths are
/// not trusted: nothing is allocated for bytes that are not there.
fn decode(bytes: Vec<u8>) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut buffer = Buffer::from(bytes);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut buffer)? {
        batches.push(batch);
    }
    decoder.finish()?;
    Ok(batches)
}

fn count(batch: &RecordBatch) -> u64 {
    u64::try_from(batch.num_rows()).expect("rows fit the address space")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use proptest::prelude::*;

    use super::*;

    const JOB: JobId = JobId(1);

    fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
        let column = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", column as _)]).expect("one column")
    }

    fn fetched(attempt: u32, offset: u64, numbers: std::ops::Range<i64>, is_end: bool) -> Fetched {
        let rows = u64::try_from(numbers.end - numbers.start).expect("it goes up");
        Fetched { attempt: Attempt(attempt), offset, rows, batches: vec![batch(numbers)], is_end }
    }

    fn deliver_all(delivery: &mut Delivery) -> Vec<i64> {
        let batches = std::iter::from_fn(|| delivery.deliver());
        batches
            .flat_map(|batch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
            .collect()
    }

    #[test]
    fn the_next_attempt_goes_on_where_the_last_one_was() {
        let mut delivery = Delivery::default();
        delivery.on_fetched(JOB, fetched(1, 0, 0..0, false)).expect("it begins");
        delivery.on_fetched(JOB, fetched(2, 0, 0..3, false)).expect("nothing was delivered");
        assert_eq!(deliver_all(&mut delivery), [0, 1, 2]);
        delivery.on_fetched(JOB, fetched(3, 0, 0..0, false)).expect("it has no rows yet");
        let error = delivery.on_fetched(JOB, fetched(4, 2, 2..5, false)).expect_err("another row is next");
        assert!(matches!(error, ClientError::RowsLost { attempt: Attempt(4), offset: 2, delivered: 3, .. }));
        delivery.on_fetched(JOB, fetched(4, 3, 3..5, true)).expect("it goes on");
        assert_eq!(deliver_all(&mut delivery), [3, 4]);
        assert!(delivery.is_complete);
    }

    #[test]
    fn rows_that_do_not_follow_are_refused() {
        let mut delivery = Delivery::default();
        assert!(delivery.on_fetched(JOB, fetched(1, 1, 0..3, false)).is_err());
        assert!(delivery.on_fetched(JOB, Fetched { rows: 2, ..fetched(1, 0, 0..3, false) }).is_err());
        assert!(deliver_all(&mut delivery).is_empty());
    }

    #[test]
    fn rows_that_others_have_fetched_are_passed_over_where_that_is_asked_for() {
        let asked = || Delivery { may_skip: true, ..Delivery::default() };
        let mut delivery = asked();
        delivery.on_fetched(JOB, fetched(1, 0, 0..0, false)).expect("there are none yet");
        delivery.on_fetched(JOB, fetched(1, 43, 43..45, false)).expect("others have the rest");
        assert_eq!((delivery.skipped, deliver_all(&mut delivery)), (43, vec![43, 44]));
        delivery.on_fetched(JOB, fetched(1, 46, 46..47, false)).expect_err("one is missing");
        let mut delivery = asked();
        delivery.on_fetched(JOB, fetched(1, 45, 0..0, true)).expect("others have them all");
        assert_eq!((delivery.skipped, delivery.position().offset, delivery.is_complete), (45, 45, true));
    }

    proptest! {
        #[test]
        fn every_row_is_delivered_once_in_order(lengths in prop::collection::vec(0i64..5, 0..20)) {
            let mut delivery = Delivery::default();
            let mut delivered = Vec::new();
            let mut next = 0;
            for length in lengths {
                delivery.on_fetched(JOB, fetched(1, delivery.delivered, next..next + length, false)).expect("it follows");
                next += length;
                delivered.extend(deliver_all(&mut delivery));
            }
            prop_assert_eq!(delivered, (0..next).collect::<Vec<_>>());
        }

        #[test]
        fn damaged_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            decode(bytes).ok();
        }
    }
}
