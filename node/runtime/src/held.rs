//! Rows of a sink's partitions that stay over checkpoints, as state.
//!
//! Rows lie together as they came, whatever their partition: many partitions are many small batches otherwise. Beside
//! them is what each partition has: how much, since when, and when rows last came. If some of them are to be written,
//! the batches that have rows of them are parted; all other batches stay as they are, and are not uploaded again.
//!
//! Fresh batches are uploaded in one batch per checkpoint; a long list of batches is merged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    error::ArrowError,
};
use thalweg_connectors::{ConnectorError, Rollover, SinkWriter};
use thalweg_keyed_state::{FrozenState, StateBatch};
use thalweg_types::seam::Clock;

use crate::home::Home;

/// The table of the state that holds the rows.
pub(crate) const HELD: &str = "held";
/// The value of the state that says when the first held row came, in milliseconds since the Unix epoch. That of a
/// partition has its directory behind it.
pub(crate) const SINCE: &str = "held-since-millis";
/// The same, for the last one.
pub(crate) const LAST: &str = "held-last-millis";
/// Rows since the last barrier are concatenated when they take this many bytes, so that little is left to copy at the
/// barrier.
pub(crate) const FRESH_BYTES_MAX: usize = 4 << 20;
/// Batches that together take more bytes are not merged.
pub(crate) const MERGED_BYTES_MAX: usize = 8 << 20;

/// Rows of parts that stay open over checkpoints.
pub(crate) struct Held {
    rollover: Rollover,
    /// What key groups the rows have in a checkpoint.
    home: Arc<Home>,
    /// Concatenated batches: those at the last barrier, and those made since.
    frozen: Vec<StateBatch>,
    /// Batches that are not concatenated yet.
    fresh: Vec<RecordBatch>,
    fresh_bytes: usize,
    bytes: usize,
    rows: u64,
    /// By directory; a table without partitions has one, without a name.
    partitions: BTreeMap<String, Partition>,
    /// When ages are looked at again, as monotonic time.
    next_check: Duration,
    /// The Unix time at the zero of the monotonic clock. Adding to it makes ages independent of later changes of the
    /// wall clock.
    unix_start: Duration,
}

/// What is held of a partition.
#[derive(Debug, Clone, Copy)]
struct Partition {
    rows: u64,
    /// When the first held row came, since the Unix epoch. Restores keep it, so a part's age is measured by the wall
    /// clock of the first holder.
    since: Duration,
    /// When the last one came.
    last: Duration,
}

/// The rows in the states of former holders.
pub(crate) fn held_rows(states: &[FrozenState]) -> impl Iterator<Item = &StateBatch> {
    states.iter().flat_map(|state| state.table(HELD))
}

impl Held {
    pub(crate) fn new(
        rollover: Rollover,
        home: Arc<Home>,
        states: &[FrozenState],
        (writer, clock): (&dyn SinkWriter, &dyn Clock),
    ) -> Result<Self, ConnectorError> {
        let now = clock.unix_time();
        let mut held = Self {
            rollover,
            home,
            frozen: held_rows(states).cloned().collect(),
            fresh: Vec::new(),
            fresh_bytes: 0,
            bytes: 0,
            rows: 0,
            partitions: BTreeMap::new(),
            next_check: Duration::ZERO,
            unix_start: now.saturating_sub(clock.monotonic()),
        };
        for batch in &held.frozen {
            held.bytes += batch.rows.get_array_memory_size();
            held.rows += batch.rows.num_rows() as u64;
            count(&mut held.partitions, &batch.rows, writer, now)?;
        }
        for (directory, partition) in &mut held.partitions {
            let own = |name: &str| {
                let (of_all, own) = (name.to_owned(), named(name, directory));
                let times = states.iter().filter_map(move |state| state.values.get(&own).or(state.values.get(&of_all)));
                times.filter_map(|at| u64::try_from(*at).ok()).map(Duration::from_millis).collect::<Vec<_>>()
            };
            partition.since = own(SINCE).into_iter().min().map_or(now, |at| at.min(now));
            partition.last = own(LAST).into_iter().max().map_or(now, |at| at.min(now));
        }
        Ok(held)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// About how many bytes a partition's rows take.
    fn bytes_of(&self, partition: &Partition) -> u64 {
        let bytes = u128::from(partition.rows) * self.bytes as u128 / u128::from(self.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(crate) fn keep(
        &mut self,
        batch: &RecordBatch,
        writer: &dyn SinkWriter,
        now: Duration,
    ) -> Result<(), ConnectorError> {
        count(&mut self.partitions, batch, writer, now + self.unix_start)?;
        let bytes = batch.get_array_memory_size();
        self.bytes += bytes;
        self.rows += batch.num_rows() as u64;
        self.fresh_bytes += bytes;
        self.fresh.push(batch.clone());
        if self.fresh_bytes >= FRESH_BYTES_MAX { self.settle().map_err(|error| not_kept(&error)) } else { Ok(()) }
    }

    /// Takes the rows of partitions that are large enough. If all held rows take too much memory, also those of the
    /// partitions that got rows least recently, until half of it is left.
    pub(crate) fn take_large(&mut self, writer: &dyn SinkWriter) -> Result<Vec<RecordBatch>, ConnectorError> {
        let is_large = |held: &Partition| self.bytes_of(held) >= self.rollover.bytes;
        let mut large: BTreeSet<String> =
            self.partitions.iter().filter(|(_, held)| is_large(held)).map(|(name, _)| name.clone()).collect();
        if self.bytes as u64 >= self.rollover.held_bytes {
            let of_large = large.iter().filter_map(|name| self.partitions.get(name));
            let taken: u64 = of_large.map(|held| self.bytes_of(held)).sum();
            let mut left = (self.bytes as u64).saturating_sub(taken);
            let mut by_last: Vec<(&String, &Partition)> = self.partitions.iter().collect();
            by_last.sort_by_key(|(_, held)| held.last);
            for (name, held) in by_last {
                if left <= self.rollover.held_bytes / 2 {
                    break;
                }
                if large.insert(name.clone()) {
                    left = left.saturating_sub(self.bytes_of(held));
                }
            }
        }
        self.take_of(&large, writer)
    }

    /// Takes the rows of partitions that are old enough, large enough, or `complete`.
    pub(crate) fn take_due(
        &mut self,
        complete: &[String],
        writer: &dyn SinkWriter,
        now: Duration,
    ) -> Result<Vec<RecordBatch>, ConnectorError> {
        let looks = now >= self.next_check;
        if looks {
            self.next_check = now + self.rollover.check;
        }
        let unix = now + self.unix_start;
        let passed =
            |limit: Option<Duration>, from: Duration| limit.is_some_and(|limit| unix.saturating_sub(from) >= limit);
        let is_due = |held: &Partition| {
            let is_old = passed(self.rollover.age, held.since) || passed(self.rollover.inactivity, held.last);
            self.bytes_of(held) >= self.rollover.bytes || (looks && is_old)
        };
        let due = self.partitions.iter().filter(|(_, held)| is_due(held)).map(|(name, _)| name);
        let known = complete.iter().filter(|name| self.partitions.contains_key(*name));
        let due: BTreeSet<String> = due.chain(known).cloned().collect();
        self.take_of(&due, writer)
    }

    /// Takes all held rows, in order.
    pub(crate) fn take(&mut self) -> Vec<RecordBatch> {
        (self.bytes, self.fresh_bytes, self.rows) = (0, 0, 0);
        self.partitions.clear();
        let frozen = std::mem::take(&mut self.frozen).into_iter().map(|batch| batch.rows);
        frozen.chain(std::mem::take(&mut self.fresh)).collect()
    }

    /// Takes the rows of some partitions, in order.
    fn take_of(
        &mut self,
        names: &BTreeSet<String>,
        writer: &dyn SinkWriter,
    ) -> Result<Vec<RecordBatch>, ConnectorError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        if names.len() == self.partitions.len() {
            return Ok(self.take());
        }
        let failed = |error: ArrowError| not_kept(&error);
        self.settle().map_err(failed)?;
        self.partitions.retain(|name, _| !names.contains(name));
        let (mut taken, mut left) = (Vec::new(), Vec::with_capacity(self.frozen.len()));
        for batch in std::mem::take(&mut self.frozen) {
            let by_partition = writer.partitions(&batch.rows)?.unwrap_or_default();
            let (mut of_taken, mut of_left) = (Vec::new(), Vec::new());
            for (name, rows) in by_partition {
                if names.contains(&name) { of_taken.extend(rows) } else { of_left.extend(rows) }
            }
            if of_taken.is_empty() {
                left.push(batch);
                continue;
            }
            // As they came.
            of_taken.sort_unstable();
            of_left.sort_unstable();
            let part = |rows: Vec<u32>| take_record_batch(&batch.rows, &UInt32Array::from(rows)).map_err(failed);
            if of_left.is_empty() {
                taken.push(batch.rows);
                continue;
            }
            let rest = part(of_left)?;
            taken.push(part(of_taken)?);
            left.push(self.home.state(rest));
        }
        self.bytes = left.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        self.rows = left.iter().map(|batch| batch.rows.num_rows() as u64).sum();
        self.frozen = left;
        Ok(taken)
    }

    pub(crate) fn freeze(&mut self) -> Result<FrozenState, ArrowError> {
        self.settle()?;
        let mut frozen = FrozenState::default();
        let millis = |at: Duration| i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        for (directory, partition) in &self.partitions {
            frozen.values.insert(named(SINCE, directory), millis(partition.since));
            if self.rollover.inactivity.is_some() {
                frozen.values.insert(named(LAST, directory), millis(partition.last));
            }
        }
        frozen.extend(HELD, self.frozen.iter().cloned());
        Ok(frozen)
    }

    /// Concatenates the fresh batches.
    fn settle(&mut self) -> Result<(), ArrowError> {
        let Some(first) = self.fresh.first() else { return Ok(()) };
        let state_batch = |rows: RecordBatch| self.home.state(rows);
        let rows = concat_batches(&first.schema(), &self.fresh)?;
        self.fresh.clear();
        // Slices of a larger batch were each counted with the whole batch's bytes.
        self.bytes = self.bytes - std::mem::take(&mut self.fresh_bytes) + rows.get_array_memory_size();
        self.frozen.push(state_batch(rows));
        if let Some((before, after)) = StateBatch::shorten(&mut self.frozen, MERGED_BYTES_MAX, state_batch)? {
            self.bytes = self.bytes + after - before;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn fresh_and_frozen(&self) -> (usize, usize) {
        (self.fresh_bytes, self.frozen.len())
    }
}

/// The name of a partition's value.
fn named(name: &str, directory: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{name}/{directory}") }
}

/// Counts rows that came at a time, by the wall clock.
fn count(
    partitions: &mut BTreeMap<String, Partition>,
    rows: &RecordBatch,
    writer: &dyn SinkWriter,
    at: Duration,
) -> Result<(), ConnectorError> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let mut add = |directory: &str, rows: usize| match partitions.get_mut(directory) {
        Some(known) => (known.rows, known.last) = (known.rows + rows as u64, at),
        None => _ = partitions.insert(directory.to_owned(), Partition { rows: rows as u64, since: at, last: at }),
    };
    match writer.partitions(rows)? {
        None => add("", rows.num_rows()),
        Some(parts) => parts.iter().for_each(|(directory, own)| add(directory, own.len())),
    }
    Ok(())
}

pub(crate) fn not_kept(error: &ArrowError) -> ConnectorError {
    ConnectorError::Data { attempted: "keep rows of open parts".to_owned(), reason: error.to_string() }
}
