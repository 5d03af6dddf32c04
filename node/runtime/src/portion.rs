//! How many rows of a batch are evaluated at a time. Between two portions an actor can be cancelled or let others
//! run, however much an expression costs, and functions stay within their memory budget.
//!
//! A portion is the whole batch as long as that is quick. Time is the actor's clock: where it stands still, portions
//! only shrink when they exceed the budget.

use std::time::Duration;

use arrow::array::RecordBatch;

/// A portion that takes longer makes the next one smaller.
const LONG: Duration = Duration::from_millis(10);
/// A portion that takes less makes the next one larger.
const SHORT: Duration = Duration::from_millis(5);

/// The number of rows to evaluate at a time.
#[derive(Debug)]
pub(crate) struct Portion {
    rows: usize,
}

impl Default for Portion {
    fn default() -> Self {
        Self { rows: usize::MAX }
    }
}

impl Portion {
    /// Cuts a batch into the next portion and the rest.
    pub(crate) fn cut(&self, batch: RecordBatch) -> (RecordBatch, Option<RecordBatch>) {
        let rows = batch.num_rows();
        match rows > self.rows {
            true => (batch.slice(0, self.rows), Some(batch.slice(self.rows, rows - self.rows))),
            false => (batch, None),
        }
    }

    /// Adapts to the time that a portion of `rows` took.
    pub(crate) fn took(&mut self, rows: usize, time: Duration) {
        if time > LONG {
            let fewer = rows as u128 * LONG.as_nanos() / time.as_nanos();
            self.rows = usize::try_from(fewer).unwrap_or(rows).max(1);
        } else if time < SHORT && rows >= self.rows {
            self.rows = self.rows.saturating_mul(2);
        }
    }

    /// Halves the portion after `rows` exceeded the memory budget.
    pub(crate) fn was_too_much(&mut self, rows: usize) {
        self.rows = (rows / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rows;

    #[test]
    fn portions_follow_the_time_that_they_take() {
        let batch = rows((0..1000).map(|n| (n, n, n)));
        let cut = |portion: &Portion| portion.cut(batch.clone()).0.num_rows();
        let mut portion = Portion::default();
        portion.took(1000, Duration::from_millis(9));
        assert_eq!(cut(&portion), 1000);
        portion.took(1000, Duration::from_millis(1000));
        assert_eq!((cut(&portion), portion.cut(batch.clone()).1.map(|rest| rest.num_rows())), (10, Some(990)));
        portion.took(10, Duration::from_secs(60));
        assert_eq!(cut(&portion), 1);
        for rows in [1, 2, 4, 8] {
            portion.took(rows, Duration::from_millis(1));
        }
        assert_eq!(cut(&portion), 16);
        // A remainder is smaller than the portion, so it says nothing about larger ones.
        portion.took(3, Duration::from_millis(1));
        assert_eq!(cut(&portion), 16);
        portion.was_too_much(16);
        assert_eq!(cut(&portion), 8);
    }
}
