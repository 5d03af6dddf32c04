//! The tables of a test: sources that give prepared batches, and sinks that keep, block or fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use thalweg_connectors::{
    Backlog, ConnectorContext, ConnectorError, DeadLetter, Enumerator, FormerEnumerator, Listing, Piece, Read,
    Rollover, Sealing, SideOutputKind, SideRecords, SinkIdentity, SinkSubtask, SinkWriter, Source, SourceIdentity,
    SplitReader, Successor, Written, check_sink, open_sink_writer, open_source_of,
};
use thalweg_types::{
    CheckpointId, OperatorId, Split, SplitId,
    checkpoint::Prepared,
    graph::{SinkOperator, SourceOperator},
    settings::JobSettings,
};
use tokio::sync::Semaphore;

use crate::tables::{Tables, WriteSideOutput};

/// What a split does after its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    End,
    /// It gives nothing and does not end.
    Idle,
    /// It says twice a second that nothing more is there.
    CatchUp,
    /// It starts again.
    Repeat,
}

#[derive(Debug, Clone)]
pub(super) struct TestSplit {
    pub(super) sequence: &'static str,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) after: After,
    /// The time between two batches.
    pub(super) delay: Duration,
    /// Whether its first answer is that it has nothing yet.
    pub(super) idle_first: bool,
    /// Whether its first answer is that it waits for memory.
    pub(super) waits_first: bool,
}

impl TestSplit {
    pub(super) fn of(sequence: &'static str, batches: Vec<RecordBatch>) -> Self {
        Self { sequence, batches, after: After::End, delay: Duration::ZERO, idle_first: false, waits_first: false }
    }

    pub(super) fn then(self, after: After) -> Self {
        Self { after, ..self }
    }

    pub(super) fn idle_first(self) -> Self {
        Self { idle_first: true, ..self }
    }
}

/// How a sink takes rows.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    Keep,
    /// Takes one batch per permit.
    Gated(Arc<Semaphore>),
    /// Takes this long for each batch.
    Slow(Duration),
    /// Is full when it has so many rows since the last seal, and asks for a checkpoint when it has half of them.
    Fills(usize),
    Panic,
}

/// Everything that a test's jobs read and write, by table name.
#[derive(Debug, Default)]
pub(super) struct TestTables {
    /// What opens sinks, if they are real ones.
    pub(super) real_sinks: Mutex<Option<ConnectorContext>>,
    /// What opens sources, if they are real ones.
    pub(super) real_sources: Mutex<Option<ConnectorContext>>,
    pub(super) sources: Mutex<BTreeMap<String, Vec<TestSplit>>>,
    pub(super) manners: Mutex<BTreeMap<String, Manner>>,
    /// Rollovers of tables whose parts stay open over checkpoints.
    pub(super) rollovers: Mutex<BTreeMap<String, Rollover>>,
    pub(super) written: Mutex<BTreeMap<String, Vec<RecordBatch>>>,
    /// What sinks have sealed. A committable is an index into it.
    pub(super) sealed: Mutex<Vec<Vec<RecordBatch>>>,
    pub(super) read_batches: Mutex<BTreeMap<String, usize>>,
    pub(super) late_rows: Mutex<Vec<(OperatorId, (i64, i64))>>,
    pub(super) dead_letters: Mutex<Vec<DeadLetter>>,
    /// Why each failed row failed.
    pub(super) failed_rows: Mutex<Vec<String>>,
    /// Tables whose listings name each piece twice.
    pub(super) doubled: Mutex<BTreeSet<String>>,
    /// How often each table was listed.
    pub(super) listings: Mutex<BTreeMap<String, usize>>,
    /// How many splits of a table are read side by side, if it says so.
    pub(super) open_max: Mutex<BTreeMap<String, usize>>,
    /// How far a subtask's splits of a table are behind.
    pub(super) backlogs: Mutex<BTreeMap<String, Backlog>>,
    /// Tables whose pieces are cut together, with how they are found.
    pub(super) found_together: Mutex<BTreeMap<String, Together>>,
    /// Tables whose splits follow one another, with the indexes of those before each that has any.
    pub(super) following: Mutex<BTreeMap<String, BTreeMap<usize, Vec<usize>>>>,
    /// Whether the end of such a split tells what follows.
    pub(super) tells_successors: Mutex<bool>,
    /// The tables that were checked before they were read, and whether the job had run before.
    pub(super) checked: Mutex<Vec<(String, bool)>>,
    /// The same of those that are written.
    pub(super) checked_sinks: Mutex<Vec<(String, bool)>>,
    /// Tables that cannot be read, and why.
    pub(super) refused: Mutex<BTreeMap<String, String>>,
    /// The checkpoints that sources were told to be complete, with the positions of their splits.
    pub(super) completed: Mutex<Vec<(CheckpointId, Vec<Split>)>>,
}

impl TestTables {
    fn refuse(&self, table: &str) -> Result<(), ConnectorError> {
        match self.refused.lock().unwrap().get(table) {
            Some(reason) => Err(ConnectorError::Config { table: table.to_owned(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn splits(&self, table: &str) -> Vec<Split> {
        let count = self.sources.lock().unwrap()[table].len();
        (0..count).map(|index| self.split(table, index)).collect()
    }

    fn split(&self, table: &str, index: usize) -> Split {
        let splits = &self.sources.lock().unwrap()[table];
        let sequence = splits[index].sequence;
        let before = splits[..index].iter().filter(|split| split.sequence == sequence).count();
        Split {
            id: split_id(table, index),
            sequence: sequence.to_owned(),
            ordinal: u32::try_from(before).unwrap(),
            payload: serde_json::json!([index, 0]),
        }
    }

    /// The rows that committables stand for.
    pub(super) fn committed<'a>(&self, prepared: impl IntoIterator<Item = &'a Prepared>) -> Vec<RecordBatch> {
        let sealed = self.sealed.lock().unwrap();
        let values = prepared.into_iter().flat_map(|prepared| prepared.committables.committables.clone());
        values.flat_map(|value| sealed[usize::try_from(value.as_u64().unwrap()).unwrap()].clone()).collect()
    }

    pub(super) fn written(&self, table: &str) -> Vec<RecordBatch> {
        self.written.lock().unwrap().get(table).cloned().unwrap_or_default()
    }
}

fn split_id(table: &str, index: usize) -> SplitId {
    SplitId(format!("{table}-{index}"))
}

/// The tables as an attempt uses them.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedTables(pub(super) Arc<TestTables>);

struct TestSource {
    tables: Arc<TestTables>,
    table: String,
}

struct TestReader {
    tables: Arc<TestTables>,
    table: String,
    split: TestSplit,
    left: VecDeque<RecordBatch>,
    read: usize,
    position: Split,
}

#[async_trait]
impl Source for TestSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(self.tables.splits(&self.table))
    }

    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        Some(Box::new(Self { tables: self.tables.clone(), table: self.table.clone() }))
    }

    fn open_max(&self) -> usize {
        self.tables.open_max.lock().unwrap().get(&self.table).copied().unwrap_or(32)
    }

    fn backlog(&self) -> Option<Backlog> {
        self.tables.backlogs.lock().unwrap().get(&self.table).copied()
    }

    fn completed(&self, checkpoint: CheckpointId, splits: &[Split]) {
        self.tables.completed.lock().unwrap().push((checkpoint, splits.to_vec()));
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let (index, read): (usize, usize) = serde_json::from_value(split.payload.clone()).unwrap();
        let found = self.tables.sources.lock().unwrap()[&self.table][index].clone();
        let (tables, table) = (self.tables.clone(), self.table.clone());
        let left = found.batches.iter().skip(read).cloned().collect();
        Ok(Box::new(TestReader { tables, table, split: found, left, read, position: split.clone() }))
    }
}

/// How the pieces of a table are found whose first listing decides where they begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together {
    /// How many batches are skipped of what the first listing finds.
    pub(super) first_skips: usize,
    /// How long cutting takes.
    pub(super) cut_takes: Duration,
    /// Whether there is one listing only.
    pub(super) once: bool,
}

impl TestSource {
    /// The splits that must have ended before one begins.
    fn before(&self, index: usize) -> Vec<SplitId> {
        let following = self.tables.following.lock().unwrap();
        let before = following.get(&self.table).and_then(|all| all.get(&index)).cloned().unwrap_or_default();
        before.into_iter().map(|index| split_id(&self.table, index)).collect()
    }

    fn together(&self) -> Option<Together> {
        self.tables.found_together.lock().unwrap().get(&self.table).copied()
    }
}

/// How long after one listing of a test's table the next one follows.
pub(super) const LISTED_EVERY: Duration = Duration::from_millis(100);
/// The member of a payload that marks the split that found others before there were enumerators: the pieces that it knew.
pub(super) const FORMER: &str = "former";

#[async_trait]
impl Enumerator for TestSource {
    fn interval(&self) -> Option<Duration> {
        let once = self.together().is_some_and(|together| together.once);
        (!once).then_some(LISTED_EVERY)
    }

    fn cuts_together(&self) -> bool {
        self.together().is_some()
    }

    fn awaits_ends(&self) -> bool {
        self.tables.following.lock().unwrap().contains_key(&self.table)
    }

    async fn list(&self, _: Listing) -> Result<Vec<Piece>, ConnectorError> {
        *self.tables.listings.lock().unwrap().entry(self.table.clone()).or_default() += 1;
        let times = if self.tables.doubled.lock().unwrap().contains(&self.table) { 2 } else { 1 };
        let count = self.tables.sources.lock().unwrap()[&self.table].len();
        let named = |index| {
            (0..times).map(move |bytes| Piece {
                name: split_id(&self.table, index).0,
                bytes,
                after: self.before(index).iter().map(|id| id.0.clone()).collect(),
            })
        };
        Ok((0..count).flat_map(named).collect())
    }

    async fn cut(&self, pieces: &[Piece], listing: Listing) -> Result<Vec<Vec<Split>>, ConnectorError> {
        let cut = |piece: &Piece| {
            let index: usize = piece.name.rsplit('-').next().unwrap().parse().unwrap();
            vec![self.tables.split(&self.table, index)]
        };
        let mut all: Vec<Vec<Split>> = pieces.iter().map(cut).collect();
        let Some(together) = self.together() else { return Ok(all) };
        tokio::time::sleep(together.cut_takes).await;
        // The first listing leaves out what is there already, as a start at the end of a topic does.
        if listing == Listing::First {
            for split in all.iter_mut().flatten() {
                split.payload[1] = together.first_skips.into();
            }
        }
        Ok(all)
    }

    fn former(&self, split: &Split) -> Result<Option<FormerEnumerator>, ConnectorError> {
        let Some(found) = split.payload.get(FORMER) else { return Ok(None) };
        let found = serde_json::from_value(found.clone()).unwrap();
        let current = serde_json::from_value(split.payload["current"].clone()).unwrap();
        Ok(Some(FormerEnumerator { found, current }))
    }
}

#[async_trait]
impl SplitReader for TestReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        if std::mem::take(&mut self.split.idle_first) {
            return Ok(Read::Idle);
        }
        if std::mem::take(&mut self.split.waits_first) {
            return Ok(Read::Waiting);
        }
        if self.left.is_empty() {
            match self.split.after {
                After::End => return Ok(Read::End),
                After::Idle => std::future::pending().await,
                After::CatchUp => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    return Ok(Read::CaughtUp);
                }
                After::Repeat => self.left = self.split.batches.iter().cloned().collect(),
            }
        }
        if !self.split.delay.is_zero() {
            tokio::time::sleep(self.split.delay).await;
        }
        let batch = self.left.pop_front().unwrap();
        self.read += 1;
        *self.tables.read_batches.lock().unwrap().entry(self.table.clone()).or_default() += 1;
        Ok(Read::Records { batch, dead_letters: Vec::new() })
    }

    fn successors(&self) -> Vec<Successor> {
        if !*self.tables.tells_successors.lock().unwrap() {
            return Vec::new();
        }
        let source = TestSource { tables: self.tables.clone(), table: self.table.clone() };
        let following = self.tables.following.lock().unwrap().get(&self.table).cloned().unwrap_or_default();
        let next = following.keys().filter(|index| source.before(**index).contains(&self.position.id));
        next.map(|index| Successor { split: self.tables.split(&self.table, *index), after: source.before(*index) })
            .collect()
    }

    fn position(&self) -> Split {
        let (index, _): (usize, usize) = serde_json::from_value(self.position.payload.clone()).unwrap();
        Split { payload: serde_json::json!([index, self.read]), ..self.position.clone() }
    }
}

struct TestWriter {
    tables: Arc<TestTables>,
    table: String,
    manner: Manner,
    unsealed: Vec<RecordBatch>,
}

#[async_trait]
impl SinkWriter for TestWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        match &self.manner {
            Manner::Keep | Manner::Fills(_) => {}
            Manner::Gated(gate) => gate.acquire().await.unwrap().forget(),
            Manner::Slow(time) => tokio::time::sleep(*time).await,
            Manner::Panic => panic!("the sink fell over"),
        }
        self.unsealed.push(batch.clone());
        self.tables.written.lock().unwrap().entry(self.table.clone()).or_default().push(batch.clone());
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let (batches, tables) = (std::mem::take(&mut self.unsealed), self.tables.clone());
        Ok(Box::pin(async move {
            if batches.is_empty() {
                return Ok(Vec::new());
            }
            let mut sealed = tables.sealed.lock().unwrap();
            sealed.push(batches);
            Ok(vec![(sealed.len() - 1).into()])
        }))
    }

    /// A row counts as a byte.
    fn written(&self) -> Option<Written> {
        let bytes: u64 = self.unsealed.iter().map(|batch| batch.num_rows() as u64).sum();
        match self.manner {
            Manner::Fills(full) => Some(Written { bytes, bytes_max: full as u64 }),
            Manner::Keep | Manner::Gated(_) | Manner::Slow(_) | Manner::Panic => None,
        }
    }

    fn rollover(&self) -> Option<Rollover> {
        self.tables.rollovers.lock().unwrap().get(&self.table).copied()
    }
}

#[async_trait]
impl Tables for SharedTables {
    async fn check_source(&self, spec: &SourceOperator, _: &JobSettings, patient: bool) -> Result<(), ConnectorError> {
        self.0.checked.lock().unwrap().push((spec.table.clone(), patient));
        self.0.refuse(&spec.table)
    }

    async fn check_sink(&self, spec: &SinkOperator, schema: SchemaRef, patient: bool) -> Result<(), ConnectorError> {
        let real = self.0.real_sinks.lock().unwrap().clone();
        if let Some(real) = real {
            return check_sink(spec, schema, patient, &real).await;
        }
        self.0.checked_sinks.lock().unwrap().push((spec.table.clone(), patient));
        self.0.refuse(&spec.table)
    }

    fn source(
        &self,
        spec: &SourceOperator,
        settings: &JobSettings,
        identity: SourceIdentity,
    ) -> Result<Arc<dyn Source>, ConnectorError> {
        if let Some(real) = &*self.0.real_sources.lock().unwrap() {
            return Ok(open_source_of(identity, spec, settings, real)?.into());
        }
        Ok(Arc::new(TestSource { tables: self.0.clone(), table: spec.table.clone() }))
    }

    fn sink_writer(
        &self,
        spec: &SinkOperator,
        schema: SchemaRef,
        subtask: SinkSubtask,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        if let Some(real) = &*self.0.real_sinks.lock().unwrap() {
            return open_sink_writer(spec, schema, subtask, real);
        }
        let manner = self.0.manners.lock().unwrap().get(&spec.table).cloned().unwrap_or(Manner::Keep);
        Ok(Box::new(TestWriter { tables: self.0.clone(), table: spec.table.clone(), manner, unsealed: Vec::new() }))
    }

    fn side_output_writer(
        &self,
        kind: SideOutputKind,
        _: &str,
        _: SinkIdentity,
    ) -> Result<Box<dyn WriteSideOutput>, ConnectorError> {
        Ok(Box::new(TestSideOutput { tables: self.0.clone(), kind }))
    }
}

struct TestSideOutput {
    tables: Arc<TestTables>,
    kind: SideOutputKind,
}

#[async_trait]
impl WriteSideOutput for TestSideOutput {
    async fn write(&mut self, records: SideRecords<'_>) -> Result<(), ConnectorError> {
        match records {
            SideRecords::DeadLetters(letters) => self.tables.dead_letters.lock().unwrap().extend_from_slice(letters),
            SideRecords::LateRows { operator, window, rows } => {
                let rows = (0..rows.num_rows()).map(|_| (operator, window));
                self.tables.late_rows.lock().unwrap().extend(rows);
            }
            SideRecords::FailedRows { faults, .. } => {
                let reasons = faults.iter().map(ToString::to_string);
                self.tables.failed_rows.lock().unwrap().extend(reasons);
            }
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let kind = format!("{:?}", self.kind);
        Ok(Box::pin(async move { Ok(vec![kind.into()]) }))
    }
}
