//! The metrics of a subtask: written by its actor, read by heartbeats. All are atomics, so readers never block the
//! actor.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use thalweg_connectors::{Backlog, Source};
use thalweg_metrics::Histogram;
use thalweg_types::{
    LatencyMarker, Watermark, checkpoint::RecordCounts, job::SubtaskMetrics, seam::Clock, session::SubtaskState,
};

/// The metrics of one subtask.
pub(crate) struct Meter {
    clock: Arc<dyn Clock>,
    /// The attempt's on this node.
    latency: Histogram,
    records_in: AtomicU64,
    records_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    busy_micros: AtomicU64,
    blocked_micros: AtomicU64,
    idle_micros: AtomicU64,
    watermark: AtomicI64,
    late_records: AtomicU64,
    dead_letters: AtomicU64,
    failed_rows: AtomicU64,
    state: AtomicU8,
    /// What a checkpoint brought along.
    restored: OnceLock<RecordCounts>,
    credit_waits: AtomicU64,
    state_bytes: AtomicU64,
    splits_waiting: AtomicU64,
    splits_open: AtomicU64,
    splits_finished: AtomicU64,
    /// The table that a source reads, which knows how far it is behind. It ends with its subtask.
    source: OnceLock<Weak<dyn Source>>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({:?})", self.snapshot())
    }
}

/// The splits of a source on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitCounts {
    /// Not open yet.
    pub waiting: u64,
    /// Being read.
    pub open: u64,
    /// Read to their end.
    pub finished: u64,
}

/// What a subtask spends its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    Busy,
    Blocked,
    Idle,
}

impl Meter {
    pub(crate) fn new(clock: Arc<dyn Clock>, latency: Histogram) -> Self {
        Self {
            clock,
            latency,
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
            blocked_micros: AtomicU64::new(0),
            idle_micros: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
            late_records: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            failed_rows: AtomicU64::new(0),
            state: AtomicU8::new(0),
            restored: OnceLock::new(),
            credit_waits: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            splits_waiting: AtomicU64::new(0),
            splits_open: AtomicU64::new(0),
            splits_finished: AtomicU64::new(0),
            source: OnceLock::new(),
        }
    }

    /// Says which table the subtask reads: once, when it is built.
    pub(crate) fn set_source(&self, source: &Arc<dyn Source>) {
        self.source.get_or_init(|| Arc::downgrade(source));
    }

    /// How far the subtask's splits are behind; `None` if nobody knows.
    pub(crate) fn backlog(&self) -> Option<Backlog> {
        self.source.get()?.upgrade()?.backlog()
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A marker of this moment.
    pub(crate) fn marker(&self) -> LatencyMarker {
        LatencyMarker(u64::try_from(self.clock.unix_time().as_micros()).unwrap_or(u64::MAX))
    }

    /// A marker has come to where rows leave the job. Clocks of two nodes may differ: none is early.
    pub(crate) fn observe_latency(&self, LatencyMarker(sent_micros): LatencyMarker) {
        let took = self.clock.unix_time().saturating_sub(Duration::from_micros(sent_micros));
        self.latency.observe(took.as_secs_f64());
    }

    /// Adds the time since `since` to one kind. Returns the time now.
    pub(crate) fn spend(&self, kind: Spent, since: Duration) -> Duration {
        let now = self.now();
        let micros = u64::try_from(now.saturating_sub(since).as_micros()).unwrap_or(u64::MAX);
        let counter = match kind {
            Spent::Busy => &self.busy_micros,
            Spent::Blocked => &self.blocked_micros,
            Spent::Idle => &self.idle_micros,
        };
        counter.fetch_add(micros, Relaxed);
        now
    }

    /// The total time blocked on credit.
    pub(crate) fn blocked(&self) -> Duration {
        Duration::from_micros(self.blocked_micros.load(Relaxed))
    }

    pub(crate) fn count_in(&self, batch: &RecordBatch) {
        self.records_in.fetch_add(batch.num_rows() as u64, Relaxed);
        self.bytes_in.fetch_add(batch.get_array_memory_size() as u64, Relaxed);
    }

    pub(crate) fn count_out(&self, batch: &RecordBatch) {
        self.records_out.fetch_add(batch.num_rows() as u64, Relaxed);
        self.bytes_out.fetch_add(batch.get_array_memory_size() as u64, Relaxed);
    }

    /// Counts the rows of a batch that an operator keeps: all but so many, with so many bytes, that it has set aside.
    pub(crate) fn count_kept(&self, batch: &RecordBatch, (rows, bytes): (usize, usize)) {
        self.records_out.fetch_add(batch.num_rows().saturating_sub(rows) as u64, Relaxed);
        self.bytes_out.fetch_add(batch.get_array_memory_size().saturating_sub(bytes) as u64, Relaxed);
    }

    pub(crate) fn count_late(&self, rows: usize) {
        self.late_records.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn count_dead_letters(&self, rows: usize) {
        self.dead_letters.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn count_failed(&self, rows: usize) {
        self.failed_rows.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Relaxed);
    }

    /// States only advance, so that a late order to start does not revive a subtask that has ended.
    pub(crate) fn set_state(&self, state: SubtaskState) {
        let code = match state {
            SubtaskState::Ready => 0,
            SubtaskState::Running => 1,
            SubtaskState::Finished => 2,
            SubtaskState::Failed => 3,
        };
        self.state.fetch_max(code, Relaxed);
    }

    pub(crate) fn state(&self) -> SubtaskState {
        match self.state.load(Relaxed) {
            0 => SubtaskState::Ready,
            1 => SubtaskState::Running,
            2 => SubtaskState::Finished,
            _ => SubtaskState::Failed,
        }
    }

    /// The counters that a checkpoint keeps.
    pub(crate) fn counts(&self) -> RecordCounts {
        RecordCounts {
            records_in: self.records_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            late_records: self.late_records.load(Relaxed),
            dead_letters: self.dead_letters.load(Relaxed),
            failed_rows: self.failed_rows.load(Relaxed),
        }
    }

    /// Adds the counters of the restored checkpoint.
    pub(crate) fn go_on_from(&self, counts: RecordCounts) {
        // Once, when its subtask is built.
        self.restored.get_or_init(|| counts);
        self.records_in.fetch_add(counts.records_in, Relaxed);
        self.records_out.fetch_add(counts.records_out, Relaxed);
        self.late_records.fetch_add(counts.late_records, Relaxed);
        self.dead_letters.fetch_add(counts.dead_letters, Relaxed);
        self.failed_rows.fetch_add(counts.failed_rows, Relaxed);
    }

    pub(crate) fn count_credit_wait(&self) {
        self.credit_waits.fetch_add(1, Relaxed);
    }

    pub(crate) fn credit_waits(&self) -> u64 {
        self.credit_waits.load(Relaxed)
    }

    pub(crate) fn set_state_bytes(&self, bytes: usize) {
        self.state_bytes.store(bytes as u64, Relaxed);
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        self.state_bytes.load(Relaxed)
    }

    pub(crate) fn set_splits(&self, counts: SplitCounts) {
        self.splits_waiting.store(counts.waiting, Relaxed);
        self.splits_open.store(counts.open, Relaxed);
        self.splits_finished.store(counts.finished, Relaxed);
    }

    pub(crate) fn splits(&self) -> SplitCounts {
        SplitCounts {
            waiting: self.splits_waiting.load(Relaxed),
            open: self.splits_open.load(Relaxed),
            finished: self.splits_finished.load(Relaxed),
        }
    }

    /// What was measured since the attempt began: a counter that never goes back while the attempt lives.
    pub(crate) fn since_begin(&self) -> SubtaskMetrics {
        let all = self.snapshot();
        let Some(before) = self.restored.get() else { return all };
        SubtaskMetrics {
            records_in: all.records_in.saturating_sub(before.records_in),
            records_out: all.records_out.saturating_sub(before.records_out),
            late_records: all.late_records.saturating_sub(before.late_records),
            dead_letters: all.dead_letters.saturating_sub(before.dead_letters),
            failed_rows: all.failed_rows.saturating_sub(before.failed_rows),
            ..all
        }
    }

    pub(crate) fn snapshot(&self) -> SubtaskMetrics {
        SubtaskMetrics {
            records_in: self.records_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            busy_micros: self.busy_micros.load(Relaxed),
            blocked_micros: self.blocked_micros.load(Relaxed),
            idle_micros: self.idle_micros.load(Relaxed),
            watermark: self.watermark.load(Relaxed),
            late_records: self.late_records.load(Relaxed),
            dead_letters: self.dead_letters.load(Relaxed),
            failed_rows: self.failed_rows.load(Relaxed),
        }
    }
}
