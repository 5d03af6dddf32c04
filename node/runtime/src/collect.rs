//! The rows of bare `SELECT`s, kept until the client has them.
//!
//! ```text
//! Collect subtask -- push, waits while full --> buffer <-- fetch(offset): drops what is before it, gives what follows
//! ```
//!
//! A buffer is bounded: while it is full the subtask does not read, so backpressure reaches the sources. The end is kept
//! with the rest until the attempt is removed or a newer one of the job begins.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use dashmap::DashMap;
use parking_lot::Mutex;
use thalweg_types::{Attempt, JobId};
use tokio::sync::Notify;

/// Bytes that a query keeps at most (and one batch): a few screens of rows, or a second of a fast client.
const BUFFER_BYTES_MAX: usize = 8 << 20;

/// Rows of a query, from an offset on.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedRows {
    /// Of the first row here.
    pub offset: u64,
    /// How many rows.
    pub rows: u64,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether no row follows.
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
    /// Rows or the end came.
    filled: Notify,
    /// Rows were acknowledged, or the query is gone.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Buffer {
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    /// The offset of the first row kept.
    offset: u64,
    end: bool,
    gone: bool,
}

impl CollectStore {
    /// The rows from `offset` on, at most about `max_bytes` but at least one batch; waits for a first row. Rows before
    /// `offset` are acknowledged and dropped. `None` where there is no such query here.
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
                // Registered before looking, so that what comes in between is not missed.
                let filled = query.filled.notified();
                {
                    let mut buffer = query.buffer.lock();
                    buffer.acknowledge(offset);
                    query.drained.notify_one();
                    if buffer.gone {
                        return None;
                    }
                    if buffer.end || !buffer.batches.is_empty() {
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

    /// Forgets what an attempt has collected.
    pub fn remove(&self, job: JobId, attempt: Attempt) {
        self.remove_where(|key| key.0 == job && key.1 == attempt);
    }

    /// Begins a query; the queries of older attempts of the job are forgotten.
    pub(crate) fn begin(&self, job: JobId, attempt: Attempt, query: u32) -> CollectWriter {
        self.remove_where(|key| key.0 == job && key.1 < attempt);
        let buffer = Arc::new(Query::default());
        self.queries.insert((job, attempt, query), buffer.clone());
        CollectWriter { query: buffer }
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
#[derive(Debug)]
pub(crate) struct CollectWriter {
    query: Arc<Query>,
}

impl CollectWriter {
    /// Keeps rows, once there is room. What comes for a query that is gone is dropped.
    pub(crate) async fn push(&self, batch: RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        loop {
            let drained = self.query.drained.notified();
            {
                let mut buffer = self.query.buffer.lock();
                if buffer.gone {
                    return;
                }
                if buffer.bytes < BUFFER_BYTES_MAX {
                    buffer.bytes += batch.get_array_memory_size();
                    buffer.batches.push_back(batch);
                    break;
                }
            }
            drained.await;
        }
        self.query.filled.notify_waiters();
    }

    pub(crate) fn end(&self) {
        self.query.buffer.lock().end = true;
        self.query.filled.notify_waiters();
    }
}

impl Buffer {
    /// Drops the rows before an offset.
    fn acknowledge(&mut self, offset: u64) {
        while self.offset < offset
            && let Some(first) = self.batches.pop_front()
        {
            self.bytes -= first.get_array_memory_size();
            let rows = first.num_rows() as u64;
            let taken = rows.min(offset - self.offset);
            self.offset += taken;
            if taken < rows {
                let skipped = usize::try_from(taken).expect("at most the rows of a batch");
                let rest = first.slice(skipped, first.num_rows() - skipped);
                self.bytes += rest.get_array_memory_size();
                self.batches.push_front(rest);
            }
        }
    }

    fn rows(&self, max_bytes: u64) -> CollectedRows {
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0u64);
        for batch in &self.batches {
            bytes += batch.get_array_memory_size() as u64;
            if !batches.is_empty() && bytes > max_bytes {
                break;
            }
            rows += batch.num_rows() as u64;
            batches.push(batch.clone());
        }
        let end = self.end && batches.len() == self.batches.len();
        CollectedRows { offset: self.offset, rows, batches, end }
    }
}

#[cfg(test)]
mod tests;
