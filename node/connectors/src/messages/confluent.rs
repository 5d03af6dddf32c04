//! Messages that name their schema by its id in a registry.
//!
//! ```text
//! 0 | id, 4 bytes, the highest first | (protobuf: which message of the schema) | the record
//! ```
//!
//! What was learnt of an id is kept, with a bound. An id that the registry does not know may be one that was registered just now: it
//! is asked for again for a while, then the message is faulty, and the id is not asked for again for some time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use thalweg_types::{Fault as RowFault, seam::Clock};

use super::{
    Decoded, MessageDecoder, MessageEncoder, MessageFault,
    registry::{Language, Lookup, Registered, Registry},
    rows::{absent_of, encoded, finished},
    view::FormatView,
};
use crate::{
    ConnectorContext, ConnectorError,
    json::Fault,
    notices::{Absent, Lost},
    typed::{RowColumn, Rows, WriteRow, unfit},
};

/// The first byte of each message.
const MAGIC: u8 = 0;
/// How many bytes stand before the record, or before what tells the message of the schema.
const HEAD_BYTES: usize = 5;
/// The most ids of which something is kept between calls.
const SCHEMAS_MAX: usize = 1_000;
/// How long an unknown id is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many unknown ids at once are no schemas that were registered just now: they are asked for once.
const PATIENT_IDS_MAX: usize = 16;
/// How long an unknown id is not asked for again.
const REMEMBERED: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(2);
/// How many ids are asked for at the same time.
const REQUESTS_MAX: usize = 8;

/// A format whose schemas are in a registry.
pub(super) trait RegisteredFormat: Send + Sync + 'static {
    /// What is made of a schema, to read its messages.
    type Reader: Send + Sync;

    /// The error says why no message of the schema can be read.
    fn reader(&self, registered: Registered) -> Result<Self::Reader, String>;

    /// Reads what stands behind the id into the columns of a row.
    fn read(&self, reader: &mut Self::Reader, bytes: &[u8], root: &mut RowColumn, row: usize) -> Result<(), Fault>;

    /// The names of the fields of messages that a reader reads.
    fn names(&self, reader: &Self::Reader) -> Vec<String>;
}

/// What is known of the ids of a registry.
struct Schemas<R> {
    registry: Registry,
    clock: Arc<dyn Clock>,
    known: HashMap<u32, Known<R>>,
    /// Counts the calls that asked for something.
    calls: u64,
}

struct Known<R> {
    state: State<R>,
    /// The last call that asked for it.
    used: u64,
}

enum State<R> {
    Ready(R),
    Unusable(String),
    /// The registry does not know it yet. Kept over calls: one that is dropped must not begin the wait anew.
    Awaited {
        since: Duration,
    },
    Unknown {
        reason: String,
        until: Duration,
    },
}

impl<R> State<R> {
    fn is_asked_for(&self, now: Duration) -> bool {
        match self {
            Self::Ready(_) | Self::Unusable(_) => false,
            Self::Awaited { .. } => true,
            Self::Unknown { until, .. } => *until <= now,
        }
    }

    fn awaited_since(&self) -> Option<Duration> {
        match self {
            Self::Awaited { since } => Some(*since),
            Self::Ready(_) | Self::Unusable(_) | Self::Unknown { .. } => None,
        }
    }
}

impl<R> Schemas<R> {
    /// Asks for the schemas of ids that are not known.
    async fn learn(
        &mut self,
        ids: &BTreeSet<u32>,
        reader: impl Fn(Registered) -> Result<R, String>,
    ) -> Result<(), ConnectorError> {
        self.calls += 1;
        let Self { registry, clock, known, calls } = self;
        let registry: &Registry = registry;
        let start = clock.monotonic();
        let mut missing: Vec<u32> = Vec::new();
        for id in ids {
            match known.get_mut(id) {
                Some(known) if !known.state.is_asked_for(start) => known.used = *calls,
                Some(_) | None => missing.push(*id),
            }
        }
        let is_patient = missing.len() <= PATIENT_IDS_MAX;
        let mut delay = FIRST_DELAY;
        loop {
            let asking = missing.into_iter().map(|id| async move { (id, registry.schema(id).await) });
            let mut asked = stream::iter(asking).buffered(REQUESTS_MAX);
            let mut unknown = Vec::new();
            while let Some((id, found)) = asked.next().await {
                let state = match found? {
                    Lookup::Found(registered) => match reader(registered) {
                        Ok(reader) => State::Ready(reader),
                        Err(reason) => State::Unusable(format!("schema {id}: {reason}")),
                    },
                    Lookup::Unusable(reason) => State::Unusable(reason),
                    Lookup::Unknown(reason) => {
                        let now = clock.monotonic();
                        let since = known.get(&id).and_then(|known| known.state.awaited_since()).unwrap_or(now);
                        if is_patient && now.saturating_sub(since) < PATIENCE {
                            unknown.push(id);
                            State::Awaited { since }
                        } else {
                            State::Unknown { reason, until: now + REMEMBERED }
                        }
                    }
                };
                known.insert(id, Known { state, used: *calls });
            }
            if unknown.is_empty() {
                return Ok(());
            }
            missing = unknown;
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
    }

    /// The reader of an id that was learnt in this call.
    fn reader(&mut self, id: u32) -> Result<&mut R, &str> {
        match self.known.get_mut(&id).map(|known| &mut known.state) {
            Some(State::Ready(reader)) => Ok(reader),
            Some(State::Unusable(reason) | State::Unknown { reason, .. }) => Err(reason),
            Some(State::Awaited { .. }) | None => Err("its schema was not asked for"),
        }
    }

    fn ready(&self) -> impl Iterator<Item = (u32, &R)> {
        self.known.iter().filter_map(|(id, known)| match &known.state {
            State::Ready(reader) => Some((*id, reader)),
            State::Unusable(_) | State::Awaited { .. } | State::Unknown { .. } => None,
        })
    }

    /// Forgets the ids that were not used for longest, if there are too many.
    fn trim(&mut self) {
        if self.known.len() <= SCHEMAS_MAX {
            return;
        }
        let mut by_use: Vec<(u64, u32)> = self.known.iter().map(|(id, known)| (known.used, *id)).collect();
        let spare = by_use.len() - SCHEMAS_MAX;
        by_use.select_nth_unstable(spare);
        by_use.iter().take(spare).for_each(|(_, id)| _ = self.known.remove(id));
    }
}

/// Decodes messages that name their schemas.
pub(super) struct RegisteredDecoder<F: RegisteredFormat> {
    format: F,
    schemas: Schemas<F::Reader>,
    rows: Rows,
    /// The last schema that `lost` has looked at.
    looked_at: u32,
}

impl<F: RegisteredFormat> RegisteredDecoder<F> {
    pub(super) fn boxed(
        view: &FormatView,
        columns: &SchemaRef,
        context: &ConnectorContext,
        format: F,
    ) -> Result<Box<dyn MessageDecoder>, ConnectorError> {
        let rows = Rows::new(columns).map_err(|reason| view.options().error(reason))?;
        let registry = Registry::open(view, context)?;
        let schemas = Schemas { registry, clock: context.seams.clock.clone(), known: HashMap::new(), calls: 0 };
        Ok(Box::new(Self { format, schemas, rows, looked_at: 0 }))
    }
}

/// The id in a message, and what stands behind it.
fn split(message: &[u8]) -> Result<(u32, &[u8]), String> {
    match message {
        [MAGIC, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        [first, ..] if *first != MAGIC => {
            Err(format!("it begins with the byte {first}, and messages that name their schema begin with {MAGIC}"))
        }
        _ => Err(format!("it has {} bytes, and the name of its schema takes {HEAD_BYTES}", message.len())),
    }
}

#[async_trait]
impl<F: RegisteredFormat> MessageDecoder for RegisteredDecoder<F> {
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError> {
        let Self { format, schemas, rows, .. } = self;
        let mut ids = BTreeSet::new();
        let mut last = None;
        for (id, _) in messages.iter().filter_map(|message| split(message).ok()) {
            if last.replace(id) != Some(id) {
                ids.insert(id);
            }
        }
        schemas.learn(&ids, |registered| format.reader(registered)).await?;
        let mut faults = Vec::new();
        for (message, bytes) in messages.iter().enumerate() {
            let read = split(bytes).and_then(|(id, bytes)| {
                let reader = schemas.reader(id).map_err(str::to_owned)?;
                rows.read(|root, row| format.read(reader, bytes, root, row)).map_err(|fault| fault.to_string())
            });
            if let Err(reason) = read {
                faults.push(MessageFault { message, reason });
            }
        }
        schemas.trim();
        Ok(Decoded { rows: finished(rows)?, faults })
    }

    fn absent(&self) -> Vec<Absent> {
        let ready = self.schemas.ready().map(|(_, reader)| self.format.names(reader));
        let names: Vec<BTreeSet<String>> = ready.map(|names| names.into_iter().collect()).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&str> = names.iter().flatten().map(String::as_str).collect();
        absent_of(self.rows.schema(), names.iter().copied())
    }

    fn lost(&mut self) -> Vec<Lost> {
        // Registries count upwards, so the last id is that of the newest schema.
        let last = self.schemas.ready().max_by_key(|(id, _)| *id);
        let Some((schema, reader)) = last.filter(|(id, _)| *id > self.looked_at) else { return Vec::new() };
        self.looked_at = schema;
        let absent = absent_of(self.rows.schema(), self.format.names(reader).iter().map(String::as_str));
        let lost = absent.into_iter().filter_map(|Absent { column, .. }| {
            let has = |reader| self.format.names(reader).contains(&column);
            let had = self.schemas.ready().filter(|(_, reader)| has(reader)).map(|(id, _)| id).max()?;
            Some(Lost { column, had, schema })
        });
        lost.collect()
    }
}

/// A schema that messages are written with.
pub(super) struct OwnSchema {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) language: Language,
}

impl OwnSchema {
    /// Under the subject that the table names, else under the one that its topic gives.
    pub(super) fn new(view: &FormatView, subject: &str, text: String, language: Language) -> Self {
        let key = format!("{}.subject", view.name());
        let subject = view.options().text(&key).unwrap_or(subject).to_owned();
        Self { subject, text, language }
    }
}

/// Encodes messages with the id of their schema, which is registered before the first one.
pub(super) struct RegisteredEncoder<W> {
    writer: W,
    registry: Registry,
    schema: OwnSchema,
    /// What stands between the id and the record.
    path: Vec<u8>,
    /// What stands before each record; `None`: the schema is not registered yet.
    head: Option<Vec<u8>>,
}

impl<W: WriteRow> RegisteredEncoder<W> {
    pub(super) fn boxed(
        view: &FormatView,
        context: &ConnectorContext,
        schema: OwnSchema,
        (writer, path): (W, Vec<u8>),
    ) -> Result<Box<dyn MessageEncoder>, ConnectorError> {
        let registry = Registry::open(view, context)?;
        Ok(Box::new(Self { writer, registry, schema, path, head: None }))
    }
}

#[async_trait]
impl<W: WriteRow> MessageEncoder for RegisteredEncoder<W> {
    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError> {
        let head = match &self.head {
            Some(head) => head,
            None => {
                let OwnSchema { subject, text, language } = &self.schema;
                let id = self.registry.register(subject, text, *language).await?;
                let head = [&[MAGIC][..], &id.to_be_bytes(), &self.path].concat();
                self.head.insert(head)
            }
        };
        encoded(&self.writer, rows, head)
    }

    fn unfit(&self, rows: &RecordBatch) -> Vec<RowFault> {
        unfit(&self.writer, rows)
    }
}
