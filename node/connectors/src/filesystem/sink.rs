//! Writes rows into part files: encodes them in memory and appends them to the file in large pieces.
//!
//! Every part file is complete in itself, with its own header or footer. There is one open part per partition, or a
//! single one if the table has no partitions. A part is closed when it is large or old enough. The parts open at a seal
//! move into the sealing, so that no part holds rows of two checkpoints. (If parts stay open over checkpoints, the
//! sealing receives their rows late, all at once: see `rollover` and `seal_with`.)
//!
//! ```text
//! rows of open parts, or while few files are open --> encoded --> file
//! rows of more partitions ------> wait in memory --+--^
//!                         many of them, or the seal: then by partition, one after another
//! ```
//!
//! If there are more partitions than may have an open file, rows wait until there are many per partition, so that a
//! partition gets one long run of rows at a time. Then local files are closed and reopened in turn, so that each
//! partition still gets one file per checkpoint. What is closed for a while takes memory, so there is a bound: then the part that
//! was written least recently is finished. A part in an object store cannot be reopened, so it is finished at once.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{ArrayData, RecordBatch, UInt64Array},
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use thalweg_types::{
    Fault, KeyGroup, OperatorId, Watermark,
    graph::SinkOperator,
    seam::{Clock, Seams, Spawner},
};

use super::{
    error_files::{ErrorFiles, ErrorPrefix, RefusalKind},
    manifest::Manifests,
    names::{Marker, PART_STEM, PartCommittable, PartNames, to_values},
    open_part::{OpenPart, not_encoded},
    options::{FileOptions, Rolling},
    partition::Partitions,
    partition_commit::PartitionCommits,
    parts::{PartFiles, SYNCS_MAX, Unsynced},
};
use crate::{
    ConnectorError, Rollover, Sealing, SinkIdentity, SinkWriter, format::PartFormat, location::Location,
    options::Options,
};

/// How many encoded bytes are collected before they are appended to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group is written when it takes this much memory; until then its rows are held in memory. Parts that are open
/// at the same time share this budget.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
const ROW_GROUP_BYTES_MIN: usize = 1 << 20;
/// How many parts have an open file. If there are more partitions, rows wait; then the file written least recently
/// makes room.
const OPEN_PARTS_MAX: usize = 100;
/// How many parts beside these are closed for a while. Each takes some kilobytes, those of Parquet more with each run of rows.
pub(super) const SUSPENDED_PARTS_MAX: usize = 1000;
/// How much memory waiting rows may take.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Waiting rows are encoded in runs of this many.
const RUN_ROWS: usize = 8192;

/// Writes one subtask's rows into a directory.
pub(super) struct FileSinkWriter {
    files: PartFiles,
    format: Arc<dyn PartFormat>,
    partitions: Partitions,
    rolling: Rolling,
    /// When ages are looked at again.
    next_check: Duration,
    clock: Arc<dyn Clock>,
    /// Parts by directory relative to the table's path, including those whose file is closed for now.
    open: BTreeMap<String, OpenPart>,
    /// Directories of the parts with an open file, by the number of the last run of rows written to each.
    active: BTreeMap<u64, String>,
    /// The same, of the parts whose file is closed for now.
    suspended: BTreeMap<u64, String>,
    /// The number of runs of rows written so far.
    writes: u64,
    /// Rows that belong to no part yet, in order.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Finished parts with durable content, not returned yet.
    closed: Vec<PartCommittable>,
    /// Directories with names of finished parts that are not durable yet.
    unsynced: Unsynced,
    /// Where rows go that cannot be written; `None`: the caller sets them aside.
    errors: Option<ErrorFiles>,
    /// The partitions that are not complete, if something says when they are.
    commits: Option<PartitionCommits>,
    /// Those that are complete with what is cut off.
    marks: Vec<Marker>,
    io: Arc<dyn Spawner>,
}

impl FileSinkWriter {
    pub(crate) fn new(
        spec: &SinkOperator,
        schema: &SchemaRef,
        identity: SinkIdentity,
        location: &Location,
        seams: &Seams,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let partitions = Partitions::of_table(spec, schema)?;
        let names = PartNames { stem: PART_STEM, extension: spec.connector.written_extension(), identity };
        let of_errors = PartNames { extension: "json".to_owned(), ..names.clone() };
        let mut files = PartFiles::new(location, names, seams.io.clone())?;
        if !partitions.are_none() {
            files = files.with_many_open();
        }
        let file_options = FileOptions::new(&options)?;
        let kept = partitions.kept_schema(schema, &options)?;
        // Whoever publishes needs it: what is wrong with it is told before anything is written.
        Manifests::of_table(&options)?;
        let errors = match ErrorPrefix::of_table(&options)? {
            Some(prefix) => Some(ErrorFiles::new(prefix, PartFiles::new(location, of_errors, seams.io.clone())?)),
            None => None,
        };
        let is_partitioned = !partitions.are_none();
        let commits = PartitionCommits::of_table(&options, schema, (is_partitioned, &spec.partition_by))?;
        Ok(Self {
            files,
            format: file_options.format_of_parts(&options, &kept, seams)?,
            partitions,
            rolling: file_options.rolling,
            next_check: Duration::ZERO,
            clock: seams.clock.clone(),
            open: BTreeMap::new(),
            active: BTreeMap::new(),
            suspended: BTreeMap::new(),
            writes: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            closed: Vec::new(),
            unsynced: Unsynced::default(),
            errors,
            commits,
            marks: Vec::new(),
            io: seams.io.clone(),
        })
    }

    /// Writes rows of one partition.
    async fn write_part(&mut self, directory: String, rows: &RecordBatch) -> Result<(), ConnectorError> {
        let now = self.clock.monotonic();
        self.make_room(&directory, now).await?;
        let group_bytes = (ROW_GROUP_BYTES_MAX / (self.active.len() + 1)).max(ROW_GROUP_BYTES_MIN);
        self.writes += 1;
        self.active.insert(self.writes, directory.clone());
        let open = match self.open.entry(directory) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let part = self.files.begin(none.key())?;
                none.insert(OpenPart::begin(self.format.as_ref(), part, now)?)
            }
        };
        self.active.remove(&open.last_write);
        self.suspended.remove(&open.last_write);
        (open.last_write, open.last) = (self.writes, now);
        open.encoder.encode(rows, group_bytes, &mut open.piece).map_err(|error| not_encoded(&error))?;
        if open.piece.len() >= PIECE_BYTES {
            open.hand_over().await?;
        }
        Ok(())
    }

    /// Finishes the part of a directory if it is large or old enough. If the part needs an open file and all allowed
    /// files are open, closes the one written least recently: for a while, or for good in an object store. If too many are
    /// closed for a while, the one of these that was written least recently is finished too.
    async fn make_room(&mut self, directory: &str, now: Duration) -> Result<(), ConnectorError> {
        let known = self.open.get(directory);
        if known.is_some_and(|open| self.rolling.is_over(open.bytes(), (open.since, open.last), now)) {
            return self.close(directory).await;
        }
        let is_active = known.is_some_and(|open| self.active.contains_key(&open.last_write));
        if is_active || self.active.len() < OPEN_PARTS_MAX {
            return Ok(());
        }
        let Some((written, oldest)) = self.active.pop_first() else { return Ok(()) };
        let Some(open) = self.open.get_mut(&oldest).filter(|_| !self.files.is_stored()) else {
            return self.close(&oldest).await;
        };
        open.suspend().await?;
        self.suspended.insert(written, oldest);
        let finished = if self.suspended.len() > SUSPENDED_PARTS_MAX { self.suspended.pop_first() } else { None };
        match finished {
            Some((_, directory)) => self.close(&directory).await,
            None => Ok(()),
        }
    }

    /// Closes the parts that are old enough, or that nothing was written to for long enough, so that they take no memory.
    async fn close_aged(&mut self) -> Result<(), ConnectorError> {
        let now = self.clock.monotonic();
        if (self.rolling.age.is_none() && self.rolling.inactivity.is_none()) || now < self.next_check {
            return Ok(());
        }
        self.next_check = now + self.rolling.check;
        let aged = |open: &OpenPart| self.rolling.is_over(0, (open.since, open.last), now);
        let aged: Vec<String> =
            self.open.iter().filter(|(_, open)| aged(open)).map(|(directory, _)| directory.clone()).collect();
        for directory in aged {
            self.close(&directory).await?;
        }
        Ok(())
    }

    async fn close(&mut self, directory: &str) -> Result<(), ConnectorError> {
        if let Some(part) = self.open.remove(directory) {
            self.active.remove(&part.last_write);
            self.suspended.remove(&part.last_write);
            let (closed, directories) = part.finish().await?;
            self.closed.push(closed);
            self.unsynced.add(directories);
        }
        Ok(())
    }

    /// Whether these partitions would need more open files than allowed.
    fn is_crowded(&self, split: &[(String, RecordBatch)]) -> bool {
        let is_active = |directory: &String| {
            self.open.get(directory).is_some_and(|open| self.active.contains_key(&open.last_write))
        };
        let new = split.iter().filter(|(directory, _)| !is_active(directory)).count();
        new > 0 && self.active.len() + new > OPEN_PARTS_MAX
    }

    pub(super) fn keep_waiting(&mut self, batch: &RecordBatch) {
        self.waiting_bytes += held_bytes(batch);
        self.waiting.push(batch.clone());
    }

    /// Writes the waiting rows. A partitioned table concatenates them first, so that each partition gets a long run.
    pub(super) async fn pour(&mut self) -> Result<(), ConnectorError> {
        self.waiting_bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        while let Some(first) = waiting.next() {
            let (schema, mut bytes, mut group) = (first.schema(), held_bytes(&first), vec![first]);
            while !self.partitions.are_none()
                && let Some(next) = waiting.next_if(|_| bytes < WAITING_BYTES_MAX)
            {
                bytes += held_bytes(&next);
                group.push(next);
            }
            let rows = concat_batches(&schema, &group).map_err(|error| not_encoded(&error))?;
            drop(group);
            for (directory, rows) in self.partitions.split(&rows).map_err(|error| not_encoded(&error))? {
                for from in (0..rows.num_rows()).step_by(RUN_ROWS) {
                    let run = rows.slice(from, RUN_ROWS.min(rows.num_rows() - from));
                    self.write_part(directory.clone(), &run).await?;
                    // Encoding takes a while; let other tasks on this thread run.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// How many parts are not finished, and how many of these are closed for a while.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (usize, usize) {
        (self.open.len(), self.suspended.len())
    }

    /// Splits off everything written so far as a writer of its own; later rows are not part of it.
    fn cut(&mut self) -> Self {
        Self {
            files: self.files.clone(),
            format: self.format.clone(),
            partitions: self.partitions.clone(),
            rolling: self.rolling,
            next_check: self.next_check,
            clock: self.clock.clone(),
            open: std::mem::take(&mut self.open),
            active: std::mem::take(&mut self.active),
            suspended: std::mem::take(&mut self.suspended),
            writes: self.writes,
            waiting: std::mem::take(&mut self.waiting),
            waiting_bytes: std::mem::take(&mut self.waiting_bytes),
            closed: std::mem::take(&mut self.closed),
            unsynced: std::mem::take(&mut self.unsynced),
            errors: self.errors.as_mut().map(ErrorFiles::cut),
            commits: None,
            marks: self.commits.as_mut().map(|commits| commits.seal(self.clock.unix_time())).unwrap_or_default(),
            io: self.io.clone(),
        }
    }

    /// Notes that rows of these partitions are written.
    fn note_written(&mut self, rows: &[RecordBatch]) -> Result<(), ConnectorError> {
        let Some(commits) = self.commits.as_mut().filter(|commits| !commits.follows_arrival()) else { return Ok(()) };
        let now = self.clock.unix_time();
        for batch in rows {
            let directories = self.partitions.rows_by_directory(batch).map_err(|error| not_encoded(&error))?;
            commits.written(directories.keys(), now);
        }
        Ok(())
    }

    /// Writes the waiting rows and makes everything durable.
    async fn finish(mut self) -> Result<Vec<Value>, ConnectorError> {
        self.pour().await?;
        let finishing = self.open.into_values().map(|open| async move {
            let finished = open.finish().await;
            tokio::task::yield_now().await;
            finished
        });
        let mut finished = stream::iter(finishing).buffered(SYNCS_MAX);
        while let Some((closed, directories)) = finished.try_next().await? {
            self.closed.push(closed);
            self.unsynced.add(directories);
        }
        if let Some(errors) = self.errors {
            let (parts, directories) = errors.finish().await?;
            self.closed.extend(parts);
            self.unsynced.add(directories);
        }
        self.unsynced.sync(self.io.as_ref()).await?;
        let mut prepared = to_values(&self.closed);
        prepared.extend(self.marks.iter().map(Marker::to_value));
        Ok(prepared)
    }
}

/// The memory that rows hold. A buffer that columns share, such as the received message, counts once.
fn held_bytes(batch: &RecordBatch) -> usize {
    fn add(data: &ArrayData, seen: &mut HashSet<usize>) -> usize {
        let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
        let own: usize = buffers
            .filter(|buffer| seen.insert(buffer.data_ptr().as_ptr() as usize))
            .map(|buffer| buffer.capacity())
            .sum();
        own + data.child_data().iter().map(|child| add(child, seen)).sum::<usize>()
    }
    let mut seen = HashSet::new();
    batch.columns().iter().map(|column| add(&column.to_data(), &mut seen)).sum()
}

#[async_trait]
impl SinkWriter for FileSinkWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.note_written(std::slice::from_ref(batch))?;
        self.close_aged().await?;
        if self.waiting.is_empty() {
            let split = self.partitions.split(batch).map_err(|error| not_encoded(&error))?;
            if !self.is_crowded(&split) {
                for (directory, rows) in split {
                    self.write_part(directory, &rows).await?;
                }
                return Ok(());
            }
        }
        self.keep_waiting(batch);
        if self.waiting_bytes >= WAITING_BYTES_MAX { self.pour().await } else { Ok(()) }
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(self.cut().finish().boxed())
    }

    async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
        self.note_written(&rows)?;
        let mut cut = self.cut();
        let sealing = async move {
            rows.iter().filter(|batch| batch.num_rows() > 0).for_each(|batch| cut.keep_waiting(batch));
            drop(rows);
            cut.finish().await
        };
        Ok(sealing.boxed())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        let mut faults = self.partitions.unfit(batch);
        // Columns that cannot be told apart are told by writing.
        let of_format = self.partitions.kept_of(batch).map(|kept| self.format.unfit(&kept)).unwrap_or_default();
        let others = of_format.into_iter().filter(|fault| faults.iter().all(|known| known.row != fault.row));
        let others: Vec<Fault> = others.collect();
        if !others.is_empty() {
            faults.extend(others);
            faults.sort_by_key(|fault| fault.row);
        }
        faults
    }

    fn keeps_unfit(&self) -> bool {
        self.errors.is_some()
    }

    async fn set_aside(
        &mut self,
        operator: (OperatorId, &str),
        rows: &RecordBatch,
        faults: &[Fault],
    ) -> Result<(), ConnectorError> {
        let Some(errors) = &mut self.errors else { return Ok(()) };
        let of_partition: HashSet<usize> = self.partitions.unfit(rows).iter().map(|fault| fault.row).collect();
        for kind in [RefusalKind::Format, RefusalKind::Partition] {
            let is_it = |row: &usize| of_partition.contains(row) == (kind == RefusalKind::Partition);
            let numbers: Vec<usize> = (0..rows.num_rows().min(faults.len())).filter(is_it).collect();
            let own: Vec<Fault> = numbers.iter().map(|row| faults[*row].clone()).collect();
            let indexes: UInt64Array = numbers.iter().map(|row| *row as u64).collect();
            let taken = take_record_batch(rows, &indexes).map_err(|error| not_encoded(&error))?;
            errors.write(kind, operator, &taken, &own).await?;
        }
        Ok(())
    }

    fn arrive(
        &mut self,
        rows: &RecordBatch,
        group_of: &dyn Fn(usize) -> Option<KeyGroup>,
    ) -> Result<RecordBatch, ConnectorError> {
        let failed = |error| not_encoded(&error);
        let rows = self.partitions.with_arrival(rows, self.clock.unix_time()).map_err(failed)?;
        if let Some(commits) = self.commits.as_mut().filter(|commits| commits.follows_arrival()) {
            let directories = self.partitions.rows_by_directory(&rows).map_err(failed)?;
            commits.came(&rows, &directories, group_of).map_err(failed)?;
        }
        Ok(rows)
    }

    fn on_watermark(&mut self, watermark: Watermark) {
        if let Some(commits) = &mut self.commits {
            commits.on_watermark(watermark);
        }
    }

    fn completing(&mut self, is_end: bool) -> Vec<String> {
        self.commits.as_mut().map(|commits| commits.completing(is_end)).unwrap_or_default()
    }

    fn freeze(&self) -> BTreeMap<String, i64> {
        self.commits.as_ref().map(PartitionCommits::freeze).unwrap_or_default()
    }

    fn state_bytes(&self) -> usize {
        self.commits.as_ref().map_or(0, PartitionCommits::bytes)
    }

    fn restore(&mut self, former: &[BTreeMap<String, i64>], owns: &dyn Fn(KeyGroup) -> bool) {
        if let Some(commits) = &mut self.commits {
            commits.restore(former, owns);
        }
    }

    fn rollover(&self) -> Option<Rollover> {
        self.rolling.over_seals
    }

    fn partitions(&self, rows: &RecordBatch) -> Result<Option<BTreeMap<String, Vec<u32>>>, ConnectorError> {
        if self.partitions.are_none() {
            return Ok(None);
        }
        self.partitions.rows_by_directory(rows).map(Some).map_err(|error| not_encoded(&error))
    }
}
