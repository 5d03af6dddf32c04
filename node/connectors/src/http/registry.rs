//! Where records that were POSTed wait until the table's reader takes them.
//!
//! ```text
//! POST --reserve the body's bytes--> read it --decode (all or nothing)--> charge the batch's bytes --> queue --> reader
//!        `-- no room: 429, the client comes again                        `-- no room: 429
//! ```
//!
//! The buffer is bounded in bytes: those of bodies that are being read and those of batches in memory. A batch may take more
//! memory than its text; one that does not fit beside others is refused, one that is alone is taken whatever its size, or it
//! could never be. So the bound is exceeded by one request at most. A path exists while a reader is open; one reader at a time. What is accepted is kept in
//! memory only: records that were accepted and not read when the attempt fails are lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use serde_json::Value;
use thalweg_types::{Split, SplitId, graph::SourceOperator};
use tokio::sync::Notify;

use crate::{
    ConnectorError, Read, Source, SplitReader,
    json::{JsonDecoder, array_to_lines},
    lines::LineDecoder as _,
    options::Options,
};

/// The paths that take records on this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct IngestRegistry {
    endpoints: Arc<Mutex<BTreeMap<String, Arc<Endpoint>>>>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No table takes records there.
    UnknownPath,
    /// A record is malformed; nothing of the request was taken.
    Malformed(String),
    /// No room now.
    Full,
    /// The body did not come in time.
    TooSlow,
    /// Larger than the whole buffer.
    TooLarge {
        /// The buffer's size.
        bytes_max: usize,
    },
}

/// One table's queue.
#[derive(Debug)]
struct Endpoint {
    schema: SchemaRef,
    bytes_max: usize,
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<(RecordBatch, usize)>,
    /// Those of the batches, and those that are reserved.
    bytes: usize,
    /// The reader is gone: what came now would never be read.
    is_closed: bool,
}

/// Bytes of a table's buffer that one request holds until its records wait in the queue, or until it is dropped.
pub(super) struct Reservation {
    endpoint: Arc<Endpoint>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IngestRegistry {
    /// Begins a request to a path, of nothing so far.
    pub(super) fn reserve(&self, path: &str) -> Result<Reservation, Refusal> {
        let endpoint = lock(&self.endpoints).get(path).cloned().ok_or(Refusal::UnknownPath)?;
        Ok(Reservation { endpoint, bytes: 0 })
    }
}

impl Reservation {
    /// Holds so many bytes in all, if it does not hold more already.
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
        if queue.bytes.saturating_add(more) > bytes_max {
            return Err(Refusal::Full);
        }
        queue.bytes += more;
        drop(queue);
        self.bytes += more;
        Ok(())
    }

    /// Takes the records of the request, all or none; says how many.
    pub(super) fn accept(mut self, body: &[u8]) -> Result<usize, Refusal> {
        self.grow_to(body.len())?;
        let batch = decode(&self.endpoint.schema, body).map_err(Refusal::Malformed)?;
        let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
        if rows > 0 {
            let mut queue = lock(&self.endpoint.queue);
            if queue.is_closed {
                return Err(refused(queue, Refusal::UnknownPath));
            }
            let others = queue.bytes - self.bytes;
            if others > 0 && others.saturating_add(bytes) > self.endpoint.bytes_max {
                return Err(refused(queue, Refusal::Full));
            }
            queue.bytes = others.saturating_add(bytes);
            queue.batches.push_back((batch, bytes));
            drop(queue);
            // The batch holds its bytes from here on.
            self.bytes = 0;
            self.endpoint.arrived.notify_one();
        }
        Ok(rows)
    }
}

/// Gives the lock back before the reservation wants it.
fn refused(queue: MutexGuard<'_, Queue>, refusal: Refusal) -> Refusal {
    drop(queue);
    refusal
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.endpoint.queue).bytes -= self.bytes;
    }
}

/// Reads a body: an array of objects, or one object a line.
fn decode(schema: &SchemaRef, body: &[u8]) -> Result<RecordBatch, String> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let (what, mut lines) = if is_array {
        let lines = array_to_lines(body).map_err(|(item, reason)| format!("record {item}: {reason}"))?;
        ("record", lines)
    } else {
        ("line", body.to_vec())
    };
    if lines.last().is_some_and(|byte| *byte != b'\n') {
        lines.push(b'\n');
    }
    let mut decoder = JsonDecoder::new(schema.clone())?;
    let mut faults = Vec::new();
    let _ = decoder.decode(&lines, 0, usize::MAX, &mut faults);
    if let Some(fault) = faults.first() {
        let number = memchr::memchr_iter(b'\n', lines.get(..fault.start).unwrap_or_default()).count() + 1;
        return Err(format!("{what} {number}: {}", fault.reason));
    }
    decoder.finish().map_err(|error| error.to_string())
}

/// A table that takes records by POST.
pub(crate) struct IngestSource {
    registry: IngestRegistry,
    path: String,
    schema: SchemaRef,
    bytes_max: usize,
    batch_rows: usize,
    table: String,
}

impl IngestSource {
    pub(crate) fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        registry: IngestRegistry,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        JsonDecoder::new(spec.physical.clone()).map_err(|reason| options.error(reason))?;
        let path = options.text("path").map_or_else(|| format!("ingest/{}", spec.table), str::to_owned);
        let bytes_max = options.bytes("buffer-size")?.unwrap_or(8 << 20);
        Ok(Self {
            registry,
            path: path.trim_matches('/').to_owned(),
            schema: spec.physical.clone(),
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            batch_rows,
            table: spec.table.clone(),
        })
    }
}

#[async_trait]
impl Source for IngestSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        let name = format!("/{}", self.path);
        Ok(vec![Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: Value::Null }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let endpoint = Arc::new(Endpoint {
            schema: self.schema.clone(),
            bytes_max: self.bytes_max,
            queue: Mutex::default(),
            arrived: Notify::new(),
        });
        let mut endpoints = lock(&self.registry.endpoints);
        if endpoints.contains_key(&self.path) {
            return Err(ConnectorError::Config {
                table: self.table.clone(),
                reason: format!("another job takes records at /{} on this node", self.path),
            });
        }
        endpoints.insert(self.path.clone(), endpoint.clone());
        drop(endpoints);
        Ok(Box::new(IngestReader {
            split: split.clone(),
            registry: self.registry.clone(),
            path: self.path.clone(),
            endpoint,
            batch_rows: self.batch_rows,
            rest: None,
        }))
    }
}

/// Takes what was POSTed. Never ends.
struct IngestReader {
    split: Split,
    registry: IngestRegistry,
    path: String,
    endpoint: Arc<Endpoint>,
    batch_rows: usize,
    /// What is left of a request of more rows than a batch has.
    rest: Option<RecordBatch>,
}

impl IngestReader {
    fn take(&mut self) -> Option<RecordBatch> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let mut queue = lock(&self.endpoint.queue);
                let (batch, bytes) = queue.batches.pop_front()?;
                queue.bytes -= bytes;
                batch
            }
        };
        if batch.num_rows() <= self.batch_rows {
            return Some(batch);
        }
        self.rest = Some(batch.slice(self.batch_rows, batch.num_rows() - self.batch_rows));
        Some(batch.slice(0, self.batch_rows))
    }
}

#[async_trait]
impl SplitReader for IngestReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if let Some(batch) = self.take() {
                return Ok(Read::Records { batch, dead_letters: Vec::new() });
            }
            self.endpoint.arrived.notified().await;
        }
    }

    fn position(&self) -> Split {
        self.split.clone()
    }
}

impl Drop for IngestReader {
    fn drop(&mut self) {
        lock(&self.registry.endpoints).remove(&self.path);
        lock(&self.endpoint.queue).is_closed = true;
    }
}
