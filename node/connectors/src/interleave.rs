//! Splits of generated rows (blocks of consecutive row numbers, dealt out in turn) and pacing in real time.
//!
//! ```text
//! block      0  1  2  3  4  5 ..
//! split      0  1  2  0  1  2      (of 3)
//! ```
//!
//! A generator that derives row `n` from `n` alone gives the same rows for any number of splits, and time advances
//! evenly over the splits.

use std::{pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thalweg_types::{Split, SplitId, seam::Clock};
use tokio::time::Sleep;

use crate::ConnectorError;

/// Rows per block at full speed.
pub(crate) const BLOCK_ROWS: u64 = 8192;
/// The duration of a block in real time. Short, so that splits take turns often.
const REAL_TIME_BLOCK: Duration = Duration::from_millis(10);
/// More splits would only add overhead.
const SPLITS_MAX: u64 = 4096;

/// A split's blocks and its position, as stored in its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interleaved {
    /// The split has the blocks whose number modulo `splits` is this.
    pub(crate) remainder: u64,
    /// How many splits there are.
    pub(crate) splits: u64,
    /// Rows per block.
    pub(crate) block: u64,
    /// The next row's number.
    pub(crate) next: u64,
}

/// Rows per block, given the rows per second if rows come in real time.
pub(crate) fn block_rows(real_time: Option<f64>) -> u64 {
    match real_time {
        None => BLOCK_ROWS,
        Some(rate) => (rate * REAL_TIME_BLOCK.as_secs_f64()).clamp(1.0, BLOCK_ROWS as f64) as u64,
    }
}

impl Interleaved {
    /// All splits of a table.
    pub(crate) fn splits(count: u64, block: u64) -> Vec<Split> {
        let count = count.clamp(1, SPLITS_MAX);
        let split = |remainder: u64| {
            let name = format!("rows-{remainder}-of-{count}");
            let place = Self { remainder, splits: count, block, next: remainder * block };
            Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: place.to_value() }
        };
        (0..count).map(split).collect()
    }

    /// Reads a split's payload.
    pub(crate) fn of(split: &Split) -> Result<Self, ConnectorError> {
        let failed =
            |reason: String| ConnectorError::Data { attempted: format!("understand split {}", split.id), reason };
        let place: Self = serde_json::from_value(split.payload.clone()).map_err(|error| failed(error.to_string()))?;
        if place.block == 0 || place.splits == 0 {
            return Err(failed("it has no rows".to_owned()));
        }
        Ok(place)
    }

    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a payload has only text keys")
    }

    /// The end of the block that contains `next`.
    pub(crate) fn block_end(&self) -> u64 {
        (self.next / self.block).saturating_add(1).saturating_mul(self.block)
    }

    /// Moves behind the rows before `to`, which is in this block or its end.
    pub(crate) fn advance(&mut self, to: u64) {
        let block_end = self.block_end();
        let others = (self.splits - 1).saturating_mul(self.block);
        self.next = if to >= block_end { block_end.saturating_add(others) } else { to };
    }
}

/// Delays rows until their time has come.
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    rate: f64,
    began: Duration,
    first: u64,
    /// Kept here so that a cancelled call does not restart the pause.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Paces `rate` rows per second, over all splits, from now on.
    pub(crate) fn new(clock: Arc<dyn Clock>, rate: f64, place: &Interleaved) -> Self {
        let began = clock.monotonic();
        // Splits opened together start together, whatever their first blocks are.
        let first = place.next - place.next % place.splits.saturating_mul(place.block);
        Self { clock, rate, began, first, pause: None }
    }

    /// Waits until a row is due.
    pub(crate) async fn wait(&mut self, row: u64) {
        loop {
            if let Some(pause) = &mut self.pause {
                pause.as_mut().await;
                self.pause = None;
            }
            let due = self.began + Duration::from_secs_f64(row.saturating_sub(self.first) as f64 / self.rate);
            let now = self.clock.monotonic();
            if now >= due {
                return;
            }
            self.pause = Some(Box::pin(tokio::time::sleep(due - now)));
        }
    }
}
