//! Holds back the rows of a replayed source until the replay clock reaches them.
//!
//! Each open split has at most one batch here, and is not read while it has. The rows released next are the due rows
//! of the batch whose next row is the earliest, so rows of different splits come out in the order of time. An idle
//! split is not waited for, so its later rows may come out of order.

use std::sync::Arc;

use arrow::{array::RecordBatch, error::ArrowError};

use crate::replay::{ReplayClock, times_micros};

#[derive(Debug)]
struct Held {
    split: usize,
    batch: RecordBatch,
    times: Vec<i64>,
    /// Index of the first unreleased row.
    next: usize,
}

/// The state of the held rows.
#[derive(Debug, PartialEq)]
pub(crate) enum Due {
    /// These rows are due. `emptied` says that they are the split's last ones here.
    Rows { split: usize, batch: RecordBatch, emptied: bool },
    /// The next row is due at this event time, in microseconds.
    At(i64),
    /// Nothing is held.
    Nothing,
}

/// The held rows of one source subtask.
#[derive(Debug)]
pub(crate) struct Pacer {
    clock: Arc<ReplayClock>,
    /// Index of the replay column in the readers' batches.
    column: usize,
    held: Vec<Held>,
    has_told_first: bool,
}

impl Pacer {
    pub(crate) fn new(clock: Arc<ReplayClock>, column: usize) -> Self {
        Self { clock, column, held: Vec::new(), has_told_first: false }
    }

    /// The unreleased rows of a split.
    pub(crate) fn held(&self, split: usize) -> Option<RecordBatch> {
        let held = self.held.iter().find(|held| held.split == split)?;
        Some(held.batch.slice(held.next, held.times.len() - held.next))
    }

    pub(crate) fn clock(&self) -> &Arc<ReplayClock> {
        &self.clock
    }

    /// Takes rows of a split that has none here.
    pub(crate) fn hold(&mut self, split: usize, batch: RecordBatch) -> Result<(), ArrowError> {
        let times = times_micros(&batch, self.column)?;
        self.held.push(Held { split, batch, times, next: 0 });
        Ok(())
    }

    /// Reports the time of the first record to the clock, or that there is none now. Call it when every awaited split
    /// has answered.
    pub(crate) fn tell_first(&mut self) {
        if self.has_told_first && self.clock.now_micros().is_some() {
            return;
        }
        let times = self.held.iter().flat_map(|held| &held.times);
        let first = times.copied().filter(|time| *time != i64::MIN).min();
        if std::mem::replace(&mut self.has_told_first, true) {
            self.clock.on_later(first);
        } else {
            self.clock.on_first(first);
        }
    }

    /// Takes the rows that are due now.
    pub(crate) fn due(&mut self) -> Due {
        let Some(at) = (0..self.held.len()).min_by_key(|at| self.held[*at].next_time()) else { return Due::Nothing };
        let now = self.clock.now_micros().unwrap_or(i64::MIN);
        let held = &mut self.held[at];
        let due = held.times[held.next..].iter().take_while(|time| **time <= now).count();
        if due == 0 {
            return Due::At(held.next_time());
        }
        let batch = held.batch.slice(held.next, due);
        held.next += due;
        let (split, emptied) = (held.split, held.next == held.times.len());
        if emptied {
            self.held.swap_remove(at);
        }
        Due::Rows { split, batch, emptied }
    }
}

impl Held {
    fn next_time(&self) -> i64 {
        self.times.get(self.next).copied().unwrap_or(i64::MIN)
    }
}
