//! Reads batches of state, from this node's memory or from the store.
//!
//! ```text
//! batch -> runs of segments -> each read, checked, decoded in a task of its own -> put together in order, as they come
//! ```
//!
//! These tasks run on compute threads, so that all cores share the work and none of it delays a heartbeat.

use std::{collections::HashMap, future::Future, pin::pin, sync::Arc};

use arrow::{
    compute::{BatchCoalescer, concat_batches},
    datatypes::SchemaRef,
    error::ArrowError,
};
use futures::{StreamExt, TryStreamExt, stream};
use thalweg_keyed_state::{KeyGroupSet, StateBatch};
use thalweg_storage::{CheckpointStore, StateReader, StateRows, StorageError};
use thalweg_types::{
    JobId, KeyGroup,
    checkpoint::BatchRef,
    seam::{Spawner, TaskHandle},
};
use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};

use super::local::LocalState;

/// Batches read at a time: enough to hide the store's latency.
const BATCHES_MAX: usize = 8;
/// Runs that are read, decoded or copied at a time, over all batches. A run holds its permit until its rows are
/// copied into the batch. This bounds the decoded bytes, and lets memory be reused: touching new memory costs more
/// than decoding. Runs acquire permits in the order of the batch, so the one to be copied next always has one.
const RUNS_MAX: usize = 8;
/// Segments of a run: a few MiB.
const RUN_SEGMENTS: usize = 4;
/// The most rows that a byte of a segment can stand for: a key group takes two bytes, and compression shrinks at most
/// 255 to 1.
const ROWS_PER_BYTE_MAX: u64 = 128;

/// A batch. With its place in the store, if it holds all rows there.
pub(super) type Placed = (StateBatch, Option<BatchRef>);

/// Reads the batches of one job.
pub(super) struct Loader<'a> {
    store: &'a CheckpointStore,
    local: &'a LocalState,
    job: JobId,
    compute: Arc<dyn Spawner>,
    turns: Arc<Semaphore>,
    /// Readers of objects whose index was read, or is being read.
    readers: Mutex<HashMap<String, Arc<OnceCell<StateReader>>>>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        (store, local): (&'a CheckpointStore, &'a LocalState),
        job: JobId,
        compute: Arc<dyn Spawner>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(RUNS_MAX));
        Self { store, local, job, compute, turns, readers: Mutex::default() }
    }

    /// The rows of each batch that lie in `groups`. Batches without such rows are left out.
    pub(super) async fn read_all(
        &self,
        batches: &[BatchRef],
        groups: &Arc<KeyGroupSet>,
    ) -> Result<Vec<Placed>, StorageError> {
        let reads: Vec<_> = batches.iter().map(|batch| self.read_owned(batch, groups)).collect();
        let read: Vec<Option<_>> = stream::iter(reads).buffered(BATCHES_MAX).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Whole batches, whatever their key groups.
    pub(super) async fn read_all_whole(&self, batches: &[BatchRef]) -> Result<Vec<StateBatch>, StorageError> {
        let mut read = Vec::with_capacity(batches.len());
        for batch in batches {
            let reader = self.reader(&batch.object).await?;
            read.extend(self.read(reader, batch, None).await?.map(|(rows, _)| rows));
        }
        Ok(read)
    }

    /// The rows of a batch that lie in `groups`, and their place in the store if no other rows lie there. A part must
    /// not carry the place of the whole: two parts that come together again would each be taken for the whole.
    async fn read_owned(&self, batch: &BatchRef, groups: &Arc<KeyGroupSet>) -> Result<Option<Placed>, StorageError> {
        let (part, at) = match self.local.find(self.job, batch) {
            Some(held) => {
                let (groups, object) = (groups.clone(), batch.object.clone());
                let part = self.beside(&batch.object, async move { restrict(held, &groups, &object) }).await??;
                (part, batch.clone())
            }
            None => {
                let reader = self.reader(&batch.object).await?;
                let at = BatchRef { object: batch.object.clone(), segments: wanted(&reader, batch, groups) };
                (self.read(reader, &at, Some(groups.clone())).await?, at)
            }
        };
        Ok(part.map(|(part, is_whole)| (part, is_whole.then_some(at))))
    }

    /// Reads the rows of a batch in `groups`, and whether these are all its rows.
    async fn read(
        &self,
        reader: StateReader,
        batch: &BatchRef,
        groups: Option<Arc<KeyGroupSet>>,
    ) -> Result<Option<(StateBatch, bool)>, StorageError> {
        if batch.segments.is_empty() {
            return Ok(None);
        }
        let runs =
            Runs { reader, batch: batch.clone(), groups, compute: self.compute.clone(), turns: self.turns.clone() };
        self.beside(&batch.object, runs.put_together()).await?
    }

    async fn beside<T: Send + 'static>(
        &self,
        object: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (task, result) = started(&self.compute, work);
        let _wanted = Wanted(task);
        result.await.map_err(|_| panicked(object))
    }

    async fn reader(&self, object: &str) -> Result<StateReader, StorageError> {
        let reader = self.readers.lock().await.entry(object.to_owned()).or_default().clone();
        reader.get_or_try_init(|| self.store.open_state(object)).await.cloned()
    }
}

/// The segments of a batch that may hold rows of `groups`.
fn wanted(reader: &StateReader, batch: &BatchRef, groups: &KeyGroupSet) -> Vec<u32> {
    let is_wanted = |segment: &u32| {
        // A segment missing from the index is kept: reading it fails with an error.
        let entry = usize::try_from(*segment).ok().and_then(|at| reader.entries().get(at));
        entry.is_none_or(|entry| (entry.lowest.0..=entry.highest.0).any(|group| groups.contains(KeyGroup(group))))
    };
    batch.segments.iter().copied().filter(is_wanted).collect()
}

/// Starts work on a compute thread.
fn started<T: Send + 'static>(
    compute: &Arc<dyn Spawner>,
    work: impl Future<Output = T> + Send + 'static,
) -> (Box<dyn TaskHandle>, oneshot::Receiver<T>) {
    let (done, result) = oneshot::channel();
    // The send fails if the receiver is gone, and then nobody needs the result.
    let task = async move { _ = done.send(work.await) };
    (compute.spawn("load state", Box::pin(task)), result)
}

fn panicked(object: &str) -> StorageError {
    corrupt(object, "reading it panicked".to_owned())
}

/// Aborts a task when its receiver is dropped.
struct Wanted(Box<dyn TaskHandle>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The rows that lie in `groups`, and whether these are all rows.
fn restrict(batch: StateBatch, groups: &KeyGroupSet, object: &str) -> Result<Option<(StateBatch, bool)>, StorageError> {
    let part = batch
        .restricted_to(groups)
        .map_err(|error| corrupt(object, format!("its rows cannot be restricted to key groups: {error}")))?;
    Ok(part.map(|part| {
        let is_whole = part.rows.num_rows() == batch.rows.num_rows();
        (part, is_whole)
    }))
}

/// One batch in the store, as runs of its segments.
struct Runs {
    reader: StateReader,
    batch: BatchRef,
    /// `None` selects all.
    groups: Option<Arc<KeyGroupSet>>,
    compute: Arc<dyn Spawner>,
    turns: Arc<Semaphore>,
}

/// The rows of a run, and the permit that it holds.
type Run = (Result<Selected, StorageError>, OwnedSemaphorePermit);

/// The rows of some segments that lie in the wanted key groups, and whether these are all rows.
struct Selected {
    rows: Vec<StateBatch>,
    is_whole: bool,
}

impl Runs {
    async fn put_together(mut self) -> Result<Option<(StateBatch, bool)>, StorageError> {
        let expected = self.rows_if_all_are_wanted()?;
        if expected.is_some() {
            self.groups = None;
        }
        let (mut parts, mut is_whole) = (Parts::new(expected), true);
        let object = self.batch.object.clone();
        let runs: Vec<Vec<u32>> = self.batch.segments.chunks(RUN_SEGMENTS).map(<[u32]>::to_vec).collect();
        let this = Arc::new(self);
        let mut runs = pin!(stream::iter(runs).then(move |run| this.clone().start(run)).buffered(RUNS_MAX));
        while let Some(run) = runs.next().await {
            let (selected, turn) = run.map_err(|_| panicked(&object))?;
            let selected = selected?;
            is_whole &= selected.is_whole;
            for rows in selected.rows {
                parts.add(rows).map_err(|reason| corrupt(&object, reason))?;
            }
            drop(turn);
            tokio::task::yield_now().await;
        }
        let whole = parts.finish().map_err(|reason| corrupt(&object, reason))?;
        Ok(whole.map(|whole| (whole, is_whole)))
    }

    async fn start(self: Arc<Self>, segments: Vec<u32>) -> oneshot::Receiver<Run> {
        let turn = self.turns.clone().acquire_owned().await.expect("nobody closes it");
        let (reader, groups, object) = (self.reader.clone(), self.groups.clone(), self.batch.object.clone());
        let work = async move { (read_run(&reader, &segments, groups.as_deref(), &object).await, turn) };
        started(&self.compute, work).1
    }

    /// The number of rows by the object's index, if all of them lie in the wanted key groups.
    fn rows_if_all_are_wanted(&self) -> Result<Option<usize>, StorageError> {
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        for segment in &self.batch.segments {
            let entry = usize::try_from(*segment).ok().and_then(|at| self.reader.entries().get(at));
            let Some(entry) = entry else { return Ok(None) };
            let is_wanted = |group| self.groups.as_ref().is_none_or(|groups| groups.contains(KeyGroup(group)));
            if !(entry.lowest.0..=entry.highest.0).all(is_wanted) {
                return Ok(None);
            }
            (rows, bytes) = (rows.saturating_add(entry.rows), bytes.saturating_add(entry.bytes));
        }
        let rows = usize::try_from(rows).ok().filter(|_| rows <= bytes.saturating_mul(ROWS_PER_BYTE_MAX));
        rows.map(Some).ok_or_else(|| corrupt(&self.batch.object, "it cannot hold as many rows as it says".to_owned()))
    }
}

async fn read_run(
    reader: &StateReader,
    segments: &[u32],
    groups: Option<&KeyGroupSet>,
    object: &str,
) -> Result<Selected, StorageError> {
    let mut selected = Selected { rows: Vec::with_capacity(segments.len()), is_whole: true };
    for StateRows { key_groups, rows } in reader.read_all(segments).await? {
        let rows = StateBatch::new(key_groups, rows);
        let Some(groups) = groups else {
            selected.rows.push(rows);
            continue;
        };
        let part = restrict(rows, groups, object)?;
        selected.is_whole &= part.as_ref().is_some_and(|(_, is_whole)| *is_whole);
        selected.rows.extend(part.map(|(part, _)| part));
    }
    Ok(selected)
}

/// Puts parts together into one batch. If the number of rows is known, each part is copied at once into memory
/// allocated for all of them.
struct Parts {
    expected: Option<usize>,
    schema: Option<SchemaRef>,
    copied: Option<(BatchCoalescer, Vec<KeyGroup>)>,
    gathered: Vec<StateBatch>,
}

impl Parts {
    fn new(expected: Option<usize>) -> Self {
        Self { expected, schema: None, copied: None, gathered: Vec::new() }
    }

    /// Takes the next part. The error says what is wrong with it.
    fn add(&mut self, part: StateBatch) -> Result<(), String> {
        let rows = &part.rows;
        let schema = self.schema.get_or_insert_with(|| rows.schema());
        if *schema != rows.schema() {
            return Err("its segments have different columns".to_owned());
        }
        let expected = self.expected.filter(|expected| *expected > rows.num_rows() && rows.num_columns() > 0);
        let Some(expected) = expected else {
            self.gathered.push(part);
            return Ok(());
        };
        let new = || (BatchCoalescer::new(schema.clone(), expected), Vec::with_capacity(expected));
        let (copied, groups) = self.copied.get_or_insert_with(new);
        groups.extend_from_slice(part.key_groups());
        copied.push_batch(part.rows).map_err(not_together)
    }

    fn finish(mut self) -> Result<Option<StateBatch>, String> {
        if let Some((mut copied, key_groups)) = self.copied {
            copied.finish_buffered_batch().map_err(not_together)?;
            let rows = copied.next_completed_batch().filter(|rows| rows.num_rows() == key_groups.len());
            let rows = rows.ok_or("its segments have not as many rows as it says")?;
            return Ok(Some(StateBatch::new(key_groups.into(), rows)));
        }
        let (Some(schema), true) = (&self.schema, self.gathered.len() > 1) else { return Ok(self.gathered.pop()) };
        let key_groups = self.gathered.iter().flat_map(|part| part.key_groups().iter().copied()).collect();
        let rows = concat_batches(schema, self.gathered.iter().map(|part| &part.rows)).map_err(not_together)?;
        Ok(Some(StateBatch::new(key_groups, rows)))
    }
}

fn not_together(error: ArrowError) -> String {
    format!("its segments cannot be put together: {error}")
}

fn corrupt(object: &str, reason: String) -> StorageError {
    StorageError::Corrupt { object: object.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    fn part(from: i64, rows: i64) -> StateBatch {
        let value = |row: i64| (row % 3 != 0).then_some(row);
        let numbers: ArrayRef = Arc::new((from..from + rows).map(value).collect::<Int64Array>());
        let texts = (from..from + rows).map(|row| value(row).map(|row| format!("text {row}")));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![numbers, texts]).unwrap();
        StateBatch::new((0..rows.num_rows()).map(|_| KeyGroup(7)).collect(), rows)
    }

    fn together(
        expected: Option<usize>,
        all: impl IntoIterator<Item = StateBatch>,
    ) -> Result<Option<StateBatch>, String> {
        let mut parts = Parts::new(expected);
        all.into_iter().try_for_each(|rows| parts.add(rows))?;
        parts.finish()
    }

    #[test]
    fn parts_become_the_same_batch_whether_or_not_their_number_of_rows_is_known() {
        let all = || [part(0, 5), part(5, 1), part(6, 100)];
        for expected in [None, Some(106)] {
            let whole = together(expected, all()).unwrap().unwrap();
            assert_eq!((whole.key_groups().len(), &whole.rows), (106, &part(0, 106).rows));
        }
        for expected in [None, Some(5)] {
            let one = part(0, 5);
            let whole = together(expected, [one.clone()]).unwrap().unwrap();
            assert!(whole.is_same(&one), "nothing is copied");
        }
        assert!(together(None, []).unwrap().is_none());
    }

    #[test]
    fn parts_that_do_not_fit_together_are_told() {
        let other = |part: StateBatch| StateBatch::new(part.key_groups().into(), part.rows.project(&[0]).unwrap());
        for expected in [None, Some(10)] {
            let error = together(expected, [part(0, 5), other(part(5, 5))]).unwrap_err();
            assert!(error.contains("different columns"), "{error}");
        }
        let error = together(Some(6), [part(0, 5), part(5, 5)]).unwrap_err();
        assert!(error.contains("as many rows"), "{error}");
    }
}
