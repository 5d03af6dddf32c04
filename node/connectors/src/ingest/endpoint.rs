//! The queue of records POSTed to one table: first until they are durable, then until the table's reader takes them.
//!
//! ```text
//! POST --reserve bytes as they arrive--> whole --decode (all or nothing)--> submit --> pending --append--> batches --> reader
//!        `-- no room: 429, the client retries                                `-- no room: 429    `-- no store: 503
//! ```
//!
//! Everything is bounded in bytes: bodies that are being read or wait to become durable, and batches in memory. A batch
//! may take more memory than its text. A batch that does not fit beside others is refused; one that is alone is taken
//! whatever its size, or it could never be taken. So a single request at most exceeds the bound. Without a log nothing
//! is pending: records that were accepted but not read when the attempt fails are lost, and every answer says so.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use thalweg_ingest_log::{LoggedRequest, SegmentNumber, body_hash};
use thalweg_types::seam::Clock;
use tokio::sync::{Notify, watch};

use super::{
    body::{decode, name_of_record},
    keys::{Keys, Known},
    outcome::{Accepted, Outcome, Refusal},
};
use crate::RecordCheck;

/// The most body bytes in one segment, unless a single body is larger.
const SEGMENT_BYTES_MAX: usize = 4 << 20;
/// The most requests in one segment.
const SEGMENT_REQUESTS_MAX: usize = 1024;

/// One table's queue.
#[derive(Debug)]
pub(super) struct Endpoint {
    schema: SchemaRef,
    check: Option<RecordCheck>,
    bytes_max: usize,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    /// Notified when something changes for the reader.
    arrived: Notify,
    /// Notified when something changes for the appender.
    wanted: Notify,
}

/// The state of an endpoint: whether it takes requests.
#[derive(Debug, PartialEq, Eq)]
enum EndpointState {
    /// Not yet.
    Opening,
    /// Yes.
    Open {
        /// Whether requests become durable.
        is_durable: bool,
    },
    /// No more, for this reason, which the reader reports.
    Failed(String),
    /// No more: the reader is gone, and nobody would read the records.
    Closed,
}

#[derive(Debug)]
struct Queue {
    state: EndpointState,
    /// The input ends with the requests taken so far.
    is_draining: bool,
    /// Requests that wait to become durable.
    pending: VecDeque<Pending>,
    /// Whether a group is being appended to the log.
    is_appending: bool,
    batches: VecDeque<Arrived>,
    time: LogTime,
    /// Bytes charged for batches, pending requests and reservations.
    bytes: usize,
    /// Bytes reserved for incomplete bodies; part of `bytes`.
    unfinished: usize,
    keys: Keys,
}

/// The time of a log, by which its keys expire. It starts at the arrival of the log's newest request and advances while
/// a reader is open; in between it stands still. So no node's wall clock, however wrong, can expire a key early.
#[derive(Debug, Clone, Copy)]
struct LogTime {
    /// The log's time when it was opened, in milliseconds.
    opened_at: u64,
    /// The monotonic time when it was opened.
    since: Duration,
}

/// A request that waits to become durable.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: LoggedRequest,
    pub(super) body: Bytes,
    batch: RecordBatch,
    outcome: watch::Sender<Outcome>,
}

/// The records of a request and their place in the log.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) batch: RecordBatch,
    pub(super) segment: SegmentNumber,
    /// How many records of the segment precede these.
    pub(super) row: u64,
}

/// What the reader gets from the queue.
#[derive(Debug)]
pub(super) enum Taken {
    Records(Arrived),
    Nothing,
    End,
    Failed(String),
}

/// The first result of submitting a request.
enum Submitted {
    Taken(u64),
    Waits(watch::Receiver<Outcome>),
}

/// Bytes of a table's buffer that one request holds until its records are queued or it is dropped.
pub(super) struct Reservation {
    endpoint: Arc<Endpoint>,
    bytes: usize,
    /// Whether the body is complete.
    is_whole: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while the locked value is half changed, so a poisoned lock's value is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// Whether a taken request becomes durable; refuses requests if the table takes none now.
    fn check(&self) -> Result<bool, Refusal> {
        match &self.state {
            EndpointState::Closed => Err(Refusal::UnknownPath),
            EndpointState::Opening => Err(Refusal::Unavailable("the table is being opened".to_owned())),
            EndpointState::Failed(reason) => Err(Refusal::Unavailable(reason.clone())),
            EndpointState::Open { .. } if self.is_draining => {
                Err(Refusal::Unavailable("the job is being stopped".to_owned()))
            }
            EndpointState::Open { is_durable } => Ok(*is_durable),
        }
    }

    fn deliver(&mut self, segment: SegmentNumber, row: &mut u64, batch: RecordBatch) {
        let rows = batch.num_rows() as u64;
        if rows == 0 {
            self.bytes -= batch.get_array_memory_size();
            return;
        }
        self.batches.push_back(Arrived { batch, segment, row: *row });
        *row += rows;
    }
}

impl Endpoint {
    pub(super) fn new(
        (schema, check): (SchemaRef, Option<RecordCheck>),
        bytes_max: usize,
        retention: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let queue = Queue {
            state: EndpointState::Opening,
            is_draining: false,
            pending: VecDeque::new(),
            is_appending: false,
            batches: VecDeque::new(),
            bytes: 0,
            unfinished: 0,
            time: LogTime { opened_at: 0, since: clock.monotonic() },
            keys: Keys::new(retention),
        };
        let (arrived, wanted) = (Notify::new(), Notify::new());
        Self { schema, check, bytes_max, clock, queue: Mutex::new(queue), arrived, wanted }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the buffer holds.
    pub(super) fn held_bytes(&self) -> u64 {
        lock(&self.queue).bytes as u64
    }

    /// Records that are durable, or need not be, and that the reader has not taken.
    pub(super) fn waiting_records(&self) -> u64 {
        lock(&self.queue).batches.iter().map(|arrived| arrived.batch.num_rows() as u64).sum()
    }

    /// Begins an empty request.
    pub(super) fn reserve(self: Arc<Self>) -> Result<Reservation, Refusal> {
        lock(&self.queue).check()?;
        Ok(Reservation { endpoint: self, bytes: 0, is_whole: false })
    }

    /// Starts taking requests. `known` are the requests with keys of former readers; the newest request arrived at
    /// `newest_millis` of the log's time.
    pub(super) fn open(&self, is_durable: bool, known: Vec<(SegmentNumber, LoggedRequest)>, newest_millis: u64) {
        let mut queue = lock(&self.queue);
        queue.time = LogTime { opened_at: newest_millis, since: self.clock.monotonic() };
        known.iter().for_each(|(segment, request)| queue.keys.take(request, *segment));
        queue.keys.expire(newest_millis);
        queue.state = EndpointState::Open { is_durable };
    }

    /// Stops taking requests. The reader ends after it has given all that were taken.
    pub(super) fn drain(&self) {
        lock(&self.queue).is_draining = true;
        self.arrived.notify_one();
    }

    /// Stops taking requests, for this reason.
    pub(super) fn fail(&self, reason: String) {
        let mut queue = lock(&self.queue);
        if queue.state != EndpointState::Closed {
            queue.state = EndpointState::Failed(reason);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// The reader is gone. Pending requests are not acknowledged.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.state = EndpointState::Closed;
        let pending = std::mem::take(&mut queue.pending);
        drop(queue);
        drop(pending);
        self.wanted.notify_one();
    }

    /// The first segment with an idempotency key that has not expired.
    pub(super) fn first_promised(&self) -> Option<SegmentNumber> {
        let now = self.now_millis();
        let mut queue = lock(&self.queue);
        queue.keys.expire(now);
        queue.keys.first_segment()
    }

    /// The next records for the reader, without waiting.
    pub(super) fn take(&self) -> Taken {
        let mut queue = lock(&self.queue);
        if let Some(arrived) = queue.batches.pop_front() {
            queue.bytes -= arrived.batch.get_array_memory_size();
            return Taken::Records(arrived);
        }
        match &queue.state {
            EndpointState::Failed(reason) => Taken::Failed(reason.clone()),
            EndpointState::Opening | EndpointState::Open { .. } | EndpointState::Closed => {
                let is_over = queue.is_draining && queue.pending.is_empty() && !queue.is_appending;
                if is_over { Taken::End } else { Taken::Nothing }
            }
        }
    }

    /// Waits until there may be more for the reader.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Waits for requests that are to become durable, up to one segment. `None` once the reader is gone.
    pub(super) async fn next_group(&self) -> Option<Vec<Pending>> {
        loop {
            {
                let mut queue = lock(&self.queue);
                if !matches!(queue.state, EndpointState::Open { .. } | EndpointState::Opening) {
                    return None;
                }
                let group = first_of(&mut queue.pending);
                queue.is_appending = !group.is_empty();
                if queue.is_appending {
                    return Some(group);
                }
            }
            self.wanted.notified().await;
        }
    }

    /// Removes from a group the requests whose keys turned out to be taken, and answers them.
    pub(super) fn answer_known(&self, group: &mut Vec<Pending>) {
        let mut queue = lock(&self.queue);
        let mut answered = Vec::new();
        for pending in std::mem::take(group) {
            match queue.keys.look_up(&pending.request) {
                Some(Known::Taken { rows, .. }) => answered.push((pending, Ok(rows))),
                Some(Known::OtherBody) => answered.push((pending, Err(Refusal::KeyReused))),
                Some(Known::InFlight(_)) | None => group.push(pending),
            }
        }
        queue.bytes -= answered.iter().map(|(pending, _)| pending.charged()).sum::<usize>();
        queue.is_appending = !group.is_empty();
        drop(queue);
        for (pending, outcome) in answered {
            pending.outcome.send_replace(Some(outcome));
        }
        self.arrived.notify_one();
    }

    /// A group is durable: queues its records for the reader and answers its clients.
    pub(super) fn acknowledge(&self, segment: SegmentNumber, group: Vec<Pending>) {
        let mut queue = lock(&self.queue);
        let mut row = 0;
        let mut outcomes = Vec::with_capacity(group.len());
        for Pending { request, body, batch, outcome } in group {
            queue.bytes -= body.len();
            queue.keys.take(&request, segment);
            queue.deliver(segment, &mut row, batch);
            outcomes.push((outcome, request.rows));
        }
        queue.is_appending = false;
        drop(queue);
        for (outcome, rows) in outcomes {
            outcome.send_replace(Some(Ok(rows)));
        }
        self.arrived.notify_one();
    }

    /// Queues the records of a segment that is durable after all, though its clients were told it is in doubt.
    pub(super) fn deliver(&self, segment: SegmentNumber, found: Vec<(LoggedRequest, RecordBatch)>) {
        let mut queue = lock(&self.queue);
        let mut row = 0;
        for (request, batch) in found {
            queue.bytes += batch.get_array_memory_size();
            queue.keys.take(&request, segment);
            queue.deliver(segment, &mut row, batch);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// A group is not durable, or in doubt: answers its clients.
    pub(super) fn refuse(&self, group: Vec<Pending>, refusal: &Refusal) {
        let mut queue = lock(&self.queue);
        for pending in &group {
            queue.bytes -= pending.charged();
            queue.keys.forget(&pending.request);
        }
        queue.is_appending = false;
        drop(queue);
        for pending in group {
            pending.outcome.send_replace(Some(Err(refusal.clone())));
        }
        self.arrived.notify_one();
    }

    /// The log's time in milliseconds.
    fn now_millis(&self) -> u64 {
        let LogTime { opened_at, since } = lock(&self.queue).time;
        let passed = self.clock.monotonic().saturating_sub(since).as_millis();
        opened_at.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl Pending {
    fn charged(&self) -> usize {
        self.body.len() + self.batch.get_array_memory_size()
    }
}

/// Takes the oldest requests, up to one segment.
fn first_of(pending: &mut VecDeque<Pending>) -> Vec<Pending> {
    let (mut group, mut bytes) = (Vec::new(), 0_usize);
    while group.len() < SEGMENT_REQUESTS_MAX
        && let Some(next) =
            pending.pop_front_if(|next| group.is_empty() || bytes.saturating_add(next.body.len()) <= SEGMENT_BYTES_MAX)
    {
        bytes = bytes.saturating_add(next.body.len());
        group.push(next);
    }
    group
}

impl Reservation {
    /// Whether a body of so many bytes would fit now. Reserves nothing.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), Refusal> {
        let bytes_max = self.endpoint.bytes_max;
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        let held = lock(&self.endpoint.queue).bytes;
        if bytes > 0 && held.saturating_add(bytes) > bytes_max { Err(Refusal::Full) } else { Ok(()) }
    }

    /// Grows the reservation to `bytes` in all, unless it is larger already.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes_max = self.endpoint.bytes_max;
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut queue = lock(&self.endpoint.queue);
        // A lone incomplete body may fill the buffer; several share half of it.
        let others = queue.unfinished - self.bytes;
        let has_part = others == 0 || queue.unfinished.saturating_add(more) <= bytes_max / 2;
        if queue.bytes.saturating_add(more) > bytes_max || !has_part {
            return Err(Refusal::Full);
        }
        queue.bytes += more;
        queue.unfinished += more;
        drop(queue);
        self.bytes += more;
        Ok(())
    }

    /// Takes the records of the request, all or none, and only once: a repeated key gets its first answer. Returns when
    /// the records are durable, or are known not to become durable. Dropping the call does not withdraw a submitted
    /// request.
    pub(super) async fn accept(mut self, body: Vec<u8>, key: Option<String>) -> Result<Accepted, Refusal> {
        self.grow_to(body.len())?;
        let is_durable = self.finish()?;
        let batch = decode(&self.endpoint.schema, &body).map_err(Refusal::Malformed)?;
        // Refuse what the job could not process while there is still a client to tell.
        let fault = self.endpoint.check.as_ref().and_then(|RecordCheck(check)| check(&batch));
        if let Some((row, reason)) = fault {
            return Err(Refusal::Malformed(format!("{}: {reason}", name_of_record(&body, row))));
        }
        let request = LoggedRequest {
            key,
            arrived_millis: self.endpoint.now_millis(),
            rows: batch.num_rows() as u64,
            bytes: body.len() as u64,
            hash: body_hash(&body),
        };
        let submitted = self.submit(request, body.into(), batch)?;
        drop(self);
        let rows = match submitted {
            Submitted::Taken(rows) => rows,
            Submitted::Waits(mut outcome) => match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone()?,
                Ok(None) | Err(_) => return Err(Refusal::Unavailable("the table's reader has ended".to_owned())),
            },
        };
        Ok(Accepted { rows, is_durable })
    }

    /// The body is complete.
    fn finish(&mut self) -> Result<bool, Refusal> {
        let mut queue = lock(&self.endpoint.queue);
        queue.unfinished -= self.bytes;
        self.is_whole = true;
        queue.check()
    }

    fn submit(&mut self, request: LoggedRequest, body: Bytes, batch: RecordBatch) -> Result<Submitted, Refusal> {
        let mut queue = lock(&self.endpoint.queue);
        let is_durable = queue.check()?;
        queue.keys.expire(request.arrived_millis);
        match queue.keys.look_up(&request) {
            Some(Known::Taken { rows, .. }) => return Ok(Submitted::Taken(rows)),
            Some(Known::InFlight(outcome)) => return Ok(Submitted::Waits(outcome)),
            Some(Known::OtherBody) => return Err(Refusal::KeyReused),
            // A key is remembered even if the body has no records.
            None if request.rows == 0 && request.key.is_none() => return Ok(Submitted::Taken(0)),
            None if request.key.is_some() && !queue.keys.has_room() => return Err(Refusal::TooManyKeys),
            None => {}
        }
        let bytes = batch.get_array_memory_size() + if is_durable { body.len() } else { 0 };
        let others = queue.bytes - self.bytes;
        if others > 0 && others.saturating_add(bytes) > self.endpoint.bytes_max {
            return Err(Refusal::Full);
        }
        queue.bytes = others.saturating_add(bytes);
        // From here on, the submitted request holds the bytes.
        self.bytes = 0;
        let rows = request.rows;
        if !is_durable {
            queue.keys.take(&request, SegmentNumber::FIRST);
            queue.deliver(SegmentNumber::FIRST, &mut 0, batch);
            self.endpoint.arrived.notify_one();
            return Ok(Submitted::Taken(rows));
        }
        let (outcome, waits) = watch::channel(None);
        queue.keys.begin(&request, waits.clone());
        queue.pending.push_back(Pending { request, body, batch, outcome });
        self.endpoint.wanted.notify_one();
        Ok(Submitted::Waits(waits))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut queue = lock(&self.endpoint.queue);
        queue.bytes -= self.bytes;
        if !self.is_whole {
            queue.unfinished -= self.bytes;
        }
    }
}
