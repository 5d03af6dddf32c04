//! A table that takes records by POST, and its reader.
//!
//! If the job takes checkpoints, requests go through an ingest log next to the checkpoints
//! (`thalweg-ingest-log`), one per split, and are acknowledged once they are in it. The reader first returns
//! what the log holds behind the checkpoint's position, then newly appended records, which reach it in memory. Its
//! position is a segment number and how many of the segment's records were read. Without checkpoints, requests are kept
//! in memory only, and their answers say so.
//!
//! A position names its log, and that log goes on being used. A log that an older release has begun is named by the source's
//! index: positions without a name are in it, and so is the beginning of a split whose first attempts were that release's.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde_json::Value;
use thalweg_ingest_log::{IngestLog, LogName, LogPosition, SegmentNumber, WriterId, ingest_folder};
use thalweg_types::{Split, SplitId, graph::SourceOperator, seam::Seams};

use super::{
    append::Appender,
    body::decode,
    endpoint::{Arrived, Endpoint, Taken},
    registry::{IngestRegistry, Mounted},
    takeover::{OpenedLog, take_over},
};
use crate::{
    Backlog, ConnectorError, Read, Source, SourceIdentity, SplitReader, json::JsonDecoder, options::Options,
    sizes::fitting_rows,
};

const BUFFER_BYTES: u64 = 8 << 20;
const RETENTION: Duration = Duration::from_secs(600);
/// How long to wait for the path to become free. No two live jobs share a path, but the reader of a job that is
/// recorded as over may still be closing here.
const MOUNTED_WITHIN: Duration = Duration::from_secs(30);

/// A table that takes records by POST.
pub(crate) struct IngestSource {
    registry: IngestRegistry,
    seams: Seams,
    identity: Option<SourceIdentity>,
    path: String,
    endpoint: Arc<Endpoint>,
    batch_rows: usize,
    table: String,
}

impl IngestSource {
    pub(crate) fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        identity: Option<SourceIdentity>,
        (registry, seams): (&IngestRegistry, &Seams),
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        JsonDecoder::new(spec.physical.clone()).map_err(|reason| options.error(reason))?;
        let path = spec.connector.ingest_path(&spec.table);
        let path = path.ok_or_else(|| options.error("it takes no records by POST"))?;
        let bytes_max = usize::try_from(options.bytes("buffer-size")?.unwrap_or(BUFFER_BYTES)).unwrap_or(usize::MAX);
        let retention = options.duration("idempotency.retention")?.unwrap_or(RETENTION);
        let clock = seams.clock.clone();
        let check = identity.as_ref().and_then(|identity| identity.check.clone());
        Ok(Self {
            registry: registry.clone(),
            seams: seams.clone(),
            identity,
            path,
            endpoint: Arc::new(Endpoint::new((spec.physical.clone(), check), bytes_max, retention, clock)),
            batch_rows,
            table: spec.table.clone(),
        })
    }

    /// The log of a split and the position to resume at; `None` if there is no log and none is needed. A position in a
    /// log is never ignored: the records behind it were acknowledged.
    async fn log(&self, split: &Split) -> Result<Option<Begun>, ConnectorError> {
        let malformed = |reason| ConnectorError::Data { attempted: format!("read table {}", self.table), reason };
        let position = LogPosition::of_payload(&split.payload).map_err(|error| malformed(error.to_string()))?;
        let Some(identity) = &self.identity else {
            let reason = || malformed("the job has an ingest log, and no place for it".to_owned());
            return position.map_or(Ok(None), |_| Err(reason()));
        };
        if !identity.takes_checkpoints && position.is_none() {
            return Ok(None);
        }
        let (name, position) = match position {
            Some(position) => {
                let by_index = || LogName::by_index(identity.source, &split.id);
                (position.log.clone().unwrap_or_else(by_index), position)
            }
            None => (first_log(identity, split).await?, LogPosition::START),
        };
        let writer = WriterId { attempt: identity.attempt, nonce: self.seams.entropy.next() };
        Ok(Some(Begun { log: log_of(identity, &name), name, writer, position }))
    }

    /// Starts appending behind the existing log, and reading it.
    fn begin(&self, opened: OpenedLog, name: LogName, position: LogPosition) -> Logged {
        let OpenedLog { log, writer, seal, seals, keyed, newest_millis, torn } = opened;
        let LogPosition { segment, row, .. } = position;
        self.endpoint.open(true, keyed, newest_millis);
        let appender = Appender { endpoint: self.endpoint.clone(), log: log.clone(), writer, next: seal.next() };
        // The appender ends when the path is freed. A put that it has begun may still succeed, and its clients are
        // answered.
        let _ = self.seams.io.spawn(&format!("ingest log of /{}", self.path), Box::pin(appender.run()));
        let replay = Replay { log, next: segment, end: seal, skip: row, torn };
        Logged { name, segment, row, seals, replay: Some(replay) }
    }
}

#[async_trait]
impl Source for IngestSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        let name = format!("/{}", self.path);
        Ok(vec![Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: Value::Null }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let mounting = self.registry.mount(&self.path, self.endpoint.clone());
        let mounted = tokio::time::timeout(MOUNTED_WITHIN, mounting).await.map_err(|_| ConnectorError::Store {
            attempted: format!("take records for table {}", self.table),
            source: format!("another reader takes those at /{} on this node", self.path).into(),
        })?;
        let logged = match self.log(split).await? {
            Some(Begun { log, name, writer, position }) => {
                let opened = take_over(log, writer, &position).await?;
                Some(self.begin(opened, name, position))
            }
            None => {
                self.endpoint.open(false, Vec::new(), 0);
                None
            }
        };
        Ok(Box::new(IngestReader {
            split: split.clone(),
            endpoint: self.endpoint.clone(),
            batch_rows: self.batch_rows,
            ready: VecDeque::new(),
            logged,
            _mounted: mounted,
        }))
    }

    fn backlog(&self) -> Option<Backlog> {
        Some(Backlog { records: self.endpoint.waiting_records(), ..Backlog::default() })
    }

    fn stop(&self) -> bool {
        self.endpoint.drain();
        true
    }
}

/// A log, and where to go on in it.
struct Begun {
    log: IngestLog,
    name: LogName,
    writer: WriterId,
    position: LogPosition,
}

fn log_of(identity: &SourceIdentity, name: &LogName) -> IngestLog {
    let SourceIdentity { cluster, job, store, .. } = identity;
    IngestLog::new(store.clone(), ingest_folder(cluster, *job, name))
}

/// The log of a split without a position: that by the source's index if there is one, for its records were acknowledged.
async fn first_log(identity: &SourceIdentity, split: &Split) -> Result<LogName, ConnectorError> {
    let by_index = LogName::by_index(identity.source, &split.id);
    let has_begun = log_of(identity, &by_index).has_begun().await?;
    Ok(if has_begun { by_index } else { LogName::of(identity.identity, &split.id) })
}

/// Returns POSTed records. Ends after `stop`.
struct IngestReader {
    split: Split,
    endpoint: Arc<Endpoint>,
    batch_rows: usize,
    /// Records taken from the queue or the log, but not returned yet.
    ready: VecDeque<Arrived>,
    /// `None` if requests are kept in memory only.
    logged: Option<Logged>,
    _mounted: Mounted,
}

/// The read position in a log.
struct Logged {
    name: LogName,
    segment: SegmentNumber,
    row: u64,
    seals: Vec<SegmentNumber>,
    /// The segments of former attempts that are still to be read.
    replay: Option<Replay>,
}

/// Reads the segments of former attempts from a log.
struct Replay {
    log: IngestLog,
    next: SegmentNumber,
    end: SegmentNumber,
    /// How many records of the first segment were read before.
    skip: u64,
    torn: BTreeSet<SegmentNumber>,
}

impl Replay {
    /// The records of the next segment; `None` at the end. Cancel-safe.
    async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Vec<Arrived>>, ConnectorError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let number = self.next;
        let mut arrived = Vec::new();
        if !self.torn.contains(&number) {
            let segment = self.log.read(number).await?;
            let mut row = 0;
            for (request, body) in segment.head.requests.iter().zip(&segment.bodies) {
                let damaged = |reason| ConnectorError::Data { attempted: format!("read segment {number}"), reason };
                let batch = decode(endpoint.schema(), body).map_err(damaged)?;
                if batch.num_rows() as u64 != request.rows {
                    let reason = format!("{} records instead of {}", batch.num_rows(), request.rows);
                    return Err(damaged(reason));
                }
                arrived.extend(behind(self.skip, Arrived { batch, segment: number, row }));
                row += request.rows;
            }
        }
        (self.next, self.skip) = (number.next(), 0);
        Ok(Some(arrived))
    }
}

/// The records of a request that are not among the first `skip` of its segment.
fn behind(skip: u64, arrived: Arrived) -> Option<Arrived> {
    let Arrived { batch, segment, row } = arrived;
    let read = usize::try_from(skip.saturating_sub(row)).unwrap_or(usize::MAX).min(batch.num_rows());
    let left = batch.num_rows() - read;
    (left > 0).then(|| Arrived { batch: batch.slice(read, left), segment, row: row + read as u64 })
}

impl IngestReader {
    /// Takes the next batch of records.
    fn give(&mut self) -> Option<RecordBatch> {
        let Arrived { batch, segment, row } = self.ready.pop_front()?;
        let rows = fitting_rows(&batch.slice(0, batch.num_rows().min(self.batch_rows)));
        let end = row + rows as u64;
        if let Some(logged) = &mut self.logged {
            (logged.segment, logged.row) = (segment, end);
        }
        if rows < batch.num_rows() {
            let rest = batch.slice(rows, batch.num_rows() - rows);
            self.ready.push_front(Arrived { batch: rest, segment, row: end });
        }
        Some(batch.slice(0, rows))
    }
}

#[async_trait]
impl SplitReader for IngestReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if let Some(batch) = self.give() {
                return Ok(Read::Records { batch, dead_letters: Vec::new() });
            }
            if let Some(logged) = &mut self.logged
                && let Some(replay) = &mut logged.replay
            {
                match replay.next(&self.endpoint).await? {
                    Some(arrived) => self.ready.extend(arrived),
                    None => logged.replay = None,
                }
                continue;
            }
            match self.endpoint.take() {
                Taken::Records(arrived) => self.ready.push_back(arrived),
                Taken::End => return Ok(Read::End),
                Taken::Failed(reason) => {
                    let attempted = format!("take records at {}", self.split.id);
                    return Err(ConnectorError::Store { attempted, source: reason.into() });
                }
                Taken::Nothing => self.endpoint.arrival().await,
            }
        }
    }

    fn position(&self) -> Split {
        let Some(Logged { name, segment, row, seals, .. }) = &self.logged else { return self.split.clone() };
        let promised = self.endpoint.first_promised().unwrap_or(*segment);
        let keep = promised.min(*segment);
        let log = Some(name.clone());
        let position = LogPosition { segment: *segment, row: *row, keep, seals: seals.clone(), log };
        Split { payload: position.to_payload(), ..self.split.clone() }
    }
}
