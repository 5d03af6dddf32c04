//! How many rows of a batch are evaluated at a time, so that an actor comes to a halt soon whatever an expression costs: to be
//! cancelled, to let others run, to keep no more than a budget of what functions make.
//!
//! Batches are whole as long as one takes little time. The clock is the actor's: where time stands still they stay whole, unless
//! their rows make too much together.

use std::time::Duration;

use arrow::array::RecordBatch;

/// A portion that takes longer makes the next one smaller.
const LONG: Duration = Duration::from_millis(10);
/// One that takes less makes the next one larger.
const SHORT: Duration = Duration::from_millis(5);

/// The rows that are evaluated at a time.
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
    /// The next portion of a batch, and what is left of it.
    pub(crate) fn cut(&self, batch: RecordBatch) -> (RecordBatch, Option<RecordBatch>) {
        let rows = batch.num_rows();
        match rows > self.rows {
            true => (batch.slice(0, self.rows), Some(batch.slice(self.rows, rows - self.rows))),
            false => (batch, None),
        }
    }

    /// So many rows took so long.
    pub(crate) fn took(&mut self, rows: usize, time: Duration) {
        if time > LONG {
            let fewer = rows as u128 * LONG.as_nanos() / time.as_nanos();
            self.rows = usize::try_from(fewer).unwrap_or(rows).max(1);
        } else if time < SHORT && rows >= self.rows {
            self.rows = self.rows.saturating_mul(2);
        }
    }

    /// So many rows were too much.
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
        // A remainder says nothing about larger portions.
        portion.took(3, Duration::from_millis(1));
        assert_eq!(cut(&portion), 16);
        portion.was_too_much(16);
        assert_eq!(cut(&portion), 8);
    }
}
