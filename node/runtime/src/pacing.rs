//! Holds the rows of a replayed source back until the replay clock reaches them.
//!
//! One batch per open split is held, and the split is not asked for more meanwhile; what is released next is the due
//! beginning of the batch whose next row is the earliest. So rows of different splits come out in the order of time, and
//! no more than a batch per split waits. A split that has no records now is not waited for: what it gives later may come
//! out of order.

use std::sync::Arc;

use arrow::{array::RecordBatch, error::ArrowError};

use crate::replay::{ReplayClock, times_micros};

#[derive(Debug)]
struct Held {
    split: usize,
    batch: RecordBatch,
    times: Vec<i64>,
    /// The first row that is not released.
    next: usize,
}

/// What a pacer says about the held rows.
#[derive(Debug, PartialEq)]
pub(crate) enum Due {
    /// These are due; `emptied` where they are the last that the split has here.
    Rows { split: usize, batch: RecordBatch, emptied: bool },
    /// The next row is due at this event time.
    At(i64),
    /// Nothing is held.
    Nothing,
}

/// The held rows of one source subtask.
#[derive(Debug)]
pub(crate) struct Pacer {
    clock: Arc<ReplayClock>,
    /// The replay column's index in what readers give.
    column: usize,
    held: Vec<Held>,
    has_told_first: bool,
}

impl Pacer {
    pub(crate) fn new(clock: Arc<ReplayClock>, column: usize) -> Self {
        Self { clock, column, held: Vec::new(), has_told_first: false }
    }

    /// The rows of a split that are not released.
    pub(crate) fn held(&self, split: usize) -> Option<RecordBatch> {
        let held = self.held.iter().find(|held| held.split == split)?;
        Some(held.batch.slice(held.next, held.times.len() - held.next))
    }

    pub(crate) fn clock(&self) -> &Arc<ReplayClock> {
        &self.clock
    }

    /// Takes the rows that a split gave; there are none of it here.
    pub(crate) fn hold(&mut self, split: usize, batch: RecordBatch) -> Result<(), ArrowError> {
        let times = times_micros(&batch, self.column)?;
        self.held.push(Held { split, batch, times, next: 0 });
        Ok(())
    }

    /// Tells the clock the first record, or that there is none now. To be called when every split that is waited for has
    /// answered.
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

    /// What is due now.
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
