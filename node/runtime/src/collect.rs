//! Keeps the rows of a bare `SELECT` until the client has fetched them.
//!
//! ```text
//! Collect subtask -- push, waits while full --> buffer <-- fetch(offset): drops what is before it, returns what is released
//!                 -- freeze(checkpoint) ------>   '-- release(checkpoint): rows before its barrier may be fetched
//! ```
//!
//! A client gets only rows that a complete checkpoint holds, so an attempt that resumes from it neither repeats nor
//! loses any. Rows that the client has not acknowledged are part of the state; their offsets count from the beginning
//! of the job. The end of the job releases the rest.
//!
//! A buffer is bounded. While it is full the subtask does not read, so backpressure reaches the sources. When many
//! rows wait for a checkpoint, the query asks for one. A buffer is kept until the attempt is removed or a newer
//! attempt of the job begins.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use arrow::array::RecordBatch;
use dashmap::DashMap;
use parking_lot::Mutex;
use thalweg_keyed_state::{FrozenState, StateBatch};
use thalweg_types::{Attempt, CheckpointId, JobId, KeyGroup};
use tokio::sync::Notify;

/// Most bytes that a query keeps before the last barrier (plus one batch): several checkpoints of a fast query.
const BUFFER_BYTES_MAX: usize = 64 << 20;
/// Bytes since the last barrier at which a checkpoint is asked for: a few screens of rows, or a second of a fast
/// client.
const UNRELEASED_BYTES_MAX: usize = 8 << 20;
/// Most bytes that a query keeps since the last barrier (plus one batch). Beyond them the subtask stops reading until
/// the next barrier.
const UNFROZEN_BYTES_MAX: usize = 128 << 20;
/// The table of the frozen state that holds the rows.
const ROWS: &str = "rows";
/// The value of the frozen state that holds the offset of the first row.
const OFFSET: &str = "offset";

/// Consecutive rows of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedRows {
    /// Offset of the first row.
    pub offset: u64,
    /// Number of rows.
    pub rows: u64,
    /// The rows, in one or more batches.
    pub batches: Vec<RecordBatch>,
    /// Whether these are the last rows.
    pub end: bool,
}

type Key = (JobId, Attempt, u32);

/// The buffers of all queries on a node.
#[derive(Debug, Clone, Default)]
pub struct CollectStore {
    queries: Arc<DashMap<Key, Arc<Query>>>,
}

#[derive(Debug, Default)]
struct Query {
    buffer: Mutex<Buffer>,
    /// Wakes fetchers when rows, a release or the end come.
    filled: Notify,
    /// Wakes the writer when rows are acknowledged or the query is gone.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Buffer {
    /// Batches as they were pushed. A batch stays whole until all its rows are acknowledged.
    batches: VecDeque<StateBatch>,
    bytes: usize,
    /// The offset of the first row of the first batch.
    start: u64,
    /// The offset after the last row.
    pushed: u64,
    /// All rows before this offset are acknowledged.
    acknowledged: u64,
    /// Rows before this offset may be fetched; `u64::MAX` stands for all.
    released: u64,
    /// Bytes pushed since the last barrier.
    unfrozen_bytes: usize,
    /// The offset at the barrier of each checkpoint that is not complete yet.
    marks: BTreeMap<CheckpointId, u64>,
    end: bool,
    gone: bool,
}

impl CollectStore {
    /// Returns released rows from `offset` on: at least one batch, otherwise at most about `max_bytes`. Waits up to
    /// `wait` for the first row. Acknowledges and drops the rows before `offset`. `None` if the node has no such
    /// query.
    #[expect(clippy::too_many_arguments, reason = "each is a field of the request that a coordinator sends")]
    pub async fn fetch(
        &self,
        job: JobId,
        attempt: Attempt,
        query: u32,
        offset: u64,
        max_bytes: u64,
        wait: Duration,
    ) -> Option<CollectedRows> {
        let query = self.queries.get(&(job, attempt, query)).map(|entry| entry.value().clone())?;
        let first = async {
            loop {
                // Registered before the check, so that a notification in between is not missed.
                let filled = query.filled.notified();
                {
                    let mut buffer = query.buffer.lock();
                    buffer.acknowledge(offset);
                    query.drained.notify_one();
                    if buffer.gone {
                        return None;
                    }
                    if buffer.is_at_end() || buffer.acknowledged < buffer.released.min(buffer.pushed) {
                        return Some(buffer.rows(max_bytes));
                    }
                }
                filled.await;
            }
        };
        match tokio::time::timeout(wait, first).await {
            Ok(rows) => rows,
            Err(_) => Some(query.buffer.lock().rows(max_bytes)),
        }
    }

    /// Releases the rows that a complete checkpoint holds. `CheckpointId::FINAL` releases all.
    pub fn release(&self, job: JobId, attempt: Attempt, checkpoint: CheckpointId) {
        for entry in self.queries.iter().filter(|entry| entry.key().0 == job && entry.key().1 == attempt) {
            entry.value().buffer.lock().release(checkpoint);
            entry.value().filled.notify_waiters();
        }
    }

    /// Drops the queries of an attempt.
    pub fn remove(&self, job: JobId, attempt: Attempt) {
        self.remove_where(|key| key.0 == job && key.1 == attempt);
    }

    /// Starts a query with the rows that former attempts have left, and drops the queries of older attempts of the
    /// job.
    pub(crate) fn begin(&self, job: JobId, attempt: Attempt, query: u32, restored: &[FrozenState]) -> CollectWriter {
        self.remove_where(|key| key.0 == job && key.1 < attempt);
        let buffer = Mutex::new(Buffer::restored(restored));
        let query_buffer = Arc::new(Query { buffer, ..Query::default() });
        self.queries.insert((job, attempt, query), query_buffer.clone());
        CollectWriter { query: query_buffer }
    }

    fn remove_where(&self, is_removed: impl Fn(&Key) -> bool) {
        self.queries.retain(|key, query| {
            let removed = is_removed(key);
            if removed {
                query.buffer.lock().gone = true;
                query.filled.notify_waiters();
                query.drained.notify_one();
            }
            !removed
        });
    }
}

/// The subtask's end of a query.
#[derive(Debug, Clone)]
pub(crate) struct CollectWriter {
    query: Arc<Query>,
}

impl CollectWriter {
    /// Whether a batch may be pushed now.
    pub(crate) fn has_room(&self) -> bool {
        let buffer = self.query.buffer.lock();
        // Rows since the last barrier have a bound of their own. Otherwise a slow client would delay the next
        // barrier.
        let is_full =
            buffer.bytes - buffer.unfrozen_bytes >= BUFFER_BYTES_MAX || buffer.unfrozen_bytes >= UNFROZEN_BYTES_MAX;
        buffer.gone || !is_full
    }

    /// Waits until there is room.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.query.drained.notified();
            if self.has_room() {
                return;
            }
            drained.await;
        }
    }

    /// Keeps rows, and calls `want` if too many of them wait for a checkpoint. Rows of a removed query are dropped.
    pub(crate) fn push(&self, batch: RecordBatch, want: impl Fn()) {
        {
            let mut buffer = self.query.buffer.lock();
            if batch.num_rows() == 0 || buffer.gone {
                return;
            }
            if buffer.unfrozen_bytes >= UNRELEASED_BYTES_MAX {
                want();
            }
            buffer.push(batch);
        }
        self.query.filled.notify_waiters();
    }

    /// The unacknowledged rows at the barrier of a checkpoint.
    pub(crate) fn freeze(&self, checkpoint: CheckpointId) -> FrozenState {
        self.query.buffer.lock().freeze(checkpoint)
    }

    pub(crate) fn end(&self) {
        self.query.buffer.lock().end = true;
        self.query.filled.notify_waiters();
    }
}

impl Buffer {
    fn restored(states: &[FrozenState]) -> Self {
        let mut buffer = Self::default();
        for state in states {
            let offset = state.values.get(OFFSET).copied().unwrap_or(0);
            buffer.start = buffer.start.max(u64::try_from(offset).unwrap_or(0));
            buffer.batches.extend(state.table(ROWS).iter().cloned());
        }
        buffer.bytes = buffer.batches.iter().map(bytes_of).sum();
        let rows: u64 = buffer.batches.iter().map(|batch| batch.rows.num_rows() as u64).sum();
        buffer.acknowledged = buffer.start;
        buffer.pushed = buffer.start + rows;
        buffer.released = buffer.pushed;
        buffer
    }

    fn push(&mut self, batch: RecordBatch) {
        self.pushed += batch.num_rows() as u64;
        let batch = StateBatch::new(vec![KeyGroup(0); batch.num_rows()].into(), batch);
        let bytes = bytes_of(&batch);
        self.bytes += bytes;
        self.unfrozen_bytes += bytes;
        self.batches.push_back(batch);
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> FrozenState {
        self.unfrozen_bytes = 0;
        self.marks.insert(checkpoint, self.pushed);
        let mut frozen = FrozenState::default();
        frozen.extend(ROWS, self.batches.iter().cloned());
        frozen.values.insert(OFFSET.to_owned(), i64::try_from(self.start).expect("rows are counted in 63 bits"));
        frozen
    }

    fn release(&mut self, checkpoint: CheckpointId) {
        if checkpoint == CheckpointId::FINAL {
            self.released = u64::MAX;
            return;
        }
        while let Some(entry) = self.marks.first_entry().filter(|entry| *entry.key() <= checkpoint) {
            self.released = self.released.max(entry.remove());
        }
    }

    fn is_at_end(&self) -> bool {
        self.end && self.released >= self.pushed
    }

    /// Drops the rows before `offset`, as far as they were released.
    fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset.min(self.released).min(self.pushed));
        while let Some(first) = self.batches.front() {
            let rows = first.rows.num_rows() as u64;
            if self.start + rows > self.acknowledged {
                return;
            }
            self.start += rows;
            self.bytes -= bytes_of(first);
            // After the final release, rows may be acknowledged before a barrier has come.
            self.unfrozen_bytes = self.unfrozen_bytes.min(self.bytes);
            self.batches.pop_front();
        }
    }

    fn rows(&self, max_bytes: u64) -> CollectedRows {
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0u64);
        let mut at = self.start;
        for batch in &self.batches {
            let (first, last) = (at.max(self.acknowledged), (at + batch.rows.num_rows() as u64).min(self.released));
            bytes += bytes_of(batch) as u64;
            if first < last {
                if !batches.is_empty() && bytes > max_bytes {
                    break;
                }
                let index = |offset: u64| usize::try_from(offset - at).expect("at most the rows of a batch");
                batches.push(batch.rows.slice(index(first), index(last) - index(first)));
                rows += last - first;
            }
            at += batch.rows.num_rows() as u64;
        }
        let end = self.is_at_end() && self.acknowledged + rows == self.pushed;
        CollectedRows { offset: self.acknowledged, rows, batches, end }
    }
}

fn bytes_of(batch: &StateBatch) -> usize {
    batch.rows.get_array_memory_size()
}

#[cfg(test)]
mod tests;
