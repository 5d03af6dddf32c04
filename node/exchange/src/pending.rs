//! What one channel has yet to send, in order: rows by credit, and control behind the rows that it follows.
//!
//! A batch is compacted and cut to half the window when it comes in. For another node its pieces are compacted again:
//! buffers are sent whole, so a piece would take those of the whole batch along. Without credit, batches wait; what
//! leaves next is as many of them as credit, half the window and the row target allow, as one batch. With credit, each
//! batch leaves at once. So low load gives low latency and high load gives large batches, without a timer.

use std::collections::VecDeque;

use arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef, error::ArrowError};
use thalweg_flow::{CreditLedger, ROW_BYTES_MAX};
use thalweg_types::{CheckpointId, checkpoint::Barrier};

use crate::{
    cost::{compact, compact_tightly, needed_bytes, retained_bytes},
    queue::{self, Item},
};

/// What a batch without rows is charged, so that its credit tells that it was processed.
const PROBE_BYTES: u64 = 1;

/// How the rows of a channel are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing {
    /// How much a column may retain of what its rows need, in percent, before it is copied.
    waste_percent: usize,
    /// Whether the pieces of a batch may share its buffers.
    shares: bool,
}

impl Packing {
    /// Rows kept by reference may retain twice what they need.
    pub(crate) const LOCAL: Self = Self { waste_percent: 200, shares: true };
    /// Rows for another node take their buffers along. Up to a quarter more is cheaper to send than to copy away.
    pub(crate) const REMOTE: Self = Self { waste_percent: 125, shares: false };
}

/// The pending output of one channel.
#[derive(Debug)]
pub(crate) struct Pending {
    queue: VecDeque<Item<RecordBatch>>,
    bytes: u64,
    packing: Packing,
    batch_rows: usize,
}

impl Pending {
    pub(crate) fn new(batch_rows: usize, packing: Packing) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, packing, batch_rows }
    }

    /// The size of the waiting rows, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes rows. Compacts them, and cuts them to pieces of `limit` bytes or one row.
    pub(crate) fn push_rows(&mut self, batch: &RecordBatch, limit: u64) -> Result<(), ArrowError> {
        let batch = compact(batch, self.packing.waste_percent)?;
        let cost = retained_bytes(&batch);
        self.cut(batch, cost, limit)
    }

    pub(crate) fn push_control(&mut self, item: Item<RecordBatch>) {
        queue::push(&mut self.queue, item);
    }

    /// Takes a batch without rows.
    pub(crate) fn push_probe(&mut self, schema: &SchemaRef) {
        self.bytes += PROBE_BYTES;
        self.queue.push_back(Item::Data { payload: RecordBatch::new_empty(schema.clone()), cost: PROBE_BYTES });
    }

    pub(crate) fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        self.barrier_at(checkpoint).is_some()
    }

    fn barrier_at(&self, checkpoint: CheckpointId) -> Option<usize> {
        self.queue.iter().position(|item| matches!(item, Item::Barrier(barrier) if barrier.checkpoint == checkpoint))
    }

    /// Puts an unaligned barrier at the front, and drops older barriers, which are no longer needed. Returns the rows
    /// that it overtook.
    pub(crate) fn overtake(&mut self, barrier: Barrier) -> Vec<RecordBatch> {
        let checkpoint = barrier.checkpoint;
        let at = self.barrier_at(checkpoint).unwrap_or(self.queue.len());
        let rows = |item: &Item<RecordBatch>| match item {
            Item::Data { payload, .. } => (payload.num_rows() > 0).then(|| payload.clone()),
            Item::Watermark(_) | Item::Idle | Item::Barrier(_) | Item::Marker(_) | Item::End => None,
        };
        let overtaken = self.queue.range(..at).filter_map(rows).collect();
        self.queue.retain(|item| !matches!(item, Item::Barrier(barrier) if barrier.checkpoint <= checkpoint));
        self.queue.push_front(Item::Barrier(barrier));
        overtaken
    }

    /// The next item that may leave now. Rows are charged to the ledger.
    pub(crate) fn pop(&mut self, ledger: &mut CreditLedger) -> Result<Option<Item<RecordBatch>>, ArrowError> {
        match self.queue.front() {
            None => Ok(None),
            Some(Item::Data { cost, .. }) if !ledger.can_spend(*cost) => Ok(None),
            Some(Item::Data { .. }) => {
                let (payload, cost) = self.merge(ledger)?;
                let spent = ledger.try_spend(cost);
                assert!(spent, "the first batch may go and others were added within credit");
                self.bytes -= cost;
                Ok(Some(Item::Data { payload, cost }))
            }
            Some(Item::Watermark(_) | Item::Idle | Item::Barrier(_) | Item::Marker(_) | Item::End) => {
                Ok(self.queue.pop_front())
            }
        }
    }

    /// Takes the first batch, and those behind it that fit.
    fn merge(&mut self, ledger: &CreditLedger) -> Result<(RecordBatch, u64), ArrowError> {
        let (mut parts, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let most_bytes = ledger.available().min(ledger.window() / 2);
        while let Some(Item::Data { payload, cost }) = self.queue.front() {
            let fits = rows + payload.num_rows() <= self.batch_rows && bytes + cost <= most_bytes;
            // A probe stays alone, so that its receiver knows it.
            let is_alone = payload.num_rows() == 0 || (!parts.is_empty() && rows == 0);
            if !parts.is_empty() && (!fits || is_alone) {
                break;
            }
            (rows, bytes) = (rows + payload.num_rows(), bytes + cost);
            parts.push(payload.clone());
            self.queue.pop_front();
        }
        if parts.len() == 1 {
            return Ok((parts.remove(0), bytes));
        }
        let schema = parts[0].schema();
        Ok((concat_batches(&schema, &parts)?, bytes))
    }

    fn cut(&mut self, batch: RecordBatch, cost: u64, limit: u64) -> Result<(), ArrowError> {
        let rows = batch.num_rows();
        if cost <= limit || rows <= 1 {
            if cost > limit.max(ROW_BYTES_MAX) {
                return Err(ArrowError::InvalidArgumentError(format!(
                    "a row of {cost} bytes is larger than the {ROW_BYTES_MAX} that one may have"
                )));
            }
            self.bytes += cost;
            self.queue.push_back(Item::Data { payload: batch, cost });
            return Ok(());
        }
        let pieces = usize::try_from(cost.div_ceil(limit.max(1))).unwrap_or(usize::MAX).clamp(2, rows);
        let step = rows.div_ceil(pieces);
        for start in (0..rows).step_by(step) {
            let slice = batch.slice(start, step.min(rows - start));
            // On this node the pieces stay together and share the buffers, so the sum of what they need covers these.
            let slice = if self.packing.shares { slice } else { compact_tightly(&slice, self.packing.waste_percent)? };
            let piece_cost = needed_bytes(&slice);
            self.cut(slice, piece_cost, limit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringViewArray, StringViewBuilder, UInt32Array};

    use super::*;
    use crate::{
        ipc::{Encoder, body_bytes_max},
        outbound::take_rows,
    };

    fn batch(rows: i64, width: usize) -> RecordBatch {
        let text: StringViewArray = (0..rows).map(|n| Some(format!("{n:0width$}"))).collect();
        let columns: [(&str, ArrayRef); 2] =
            [("number", Arc::new(Int64Array::from_iter_values(0..rows))), ("text", Arc::new(text))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn ledger(window: u64) -> CreditLedger {
        let mut ledger = CreditLedger::new();
        ledger.on_grant(window).unwrap();
        ledger
    }

    #[test]
    fn rows_are_cut_and_keep_their_order() {
        let (mut pending, mut credit) = (Pending::new(100_000, Packing::LOCAL), ledger(64 << 10));
        let whole = batch(10_000, 30);
        pending.push_rows(&whole, credit.window() / 2).unwrap();
        let (mut seen, mut granted) = (Vec::new(), credit.window());
        while !pending.is_empty() {
            match pending.pop(&mut credit).unwrap() {
                Some(Item::Data { payload, cost }) => {
                    assert!(cost <= credit.window() / 2);
                    seen.push(payload);
                    granted += cost;
                }
                other => assert!(other.is_none()),
            }
            credit.on_grant(granted).unwrap();
        }
        assert_eq!(pending.bytes(), 0);
        assert!(seen.len() > 5);
        assert_eq!(concat_batches(&whole.schema(), &seen).unwrap(), whole);
    }

    #[test]
    fn small_batches_merge_while_there_is_no_credit_and_control_stays_behind() {
        let (mut pending, mut credit) = (Pending::new(100, Packing::LOCAL), ledger(100_000));
        assert!(credit.try_spend(100_000));
        for _ in 0..25 {
            pending.push_rows(&batch(10, 5), 50_000).unwrap();
        }
        pending.push_control(Item::End);
        assert!(pending.pop(&mut credit).unwrap().is_none());
        credit.on_grant(200_000).unwrap();
        let mut rows = Vec::new();
        while let Some(item) = pending.pop(&mut credit).unwrap() {
            match item {
                Item::Data { payload, .. } => rows.push(payload.num_rows()),
                other => assert_eq!(other, Item::End),
            }
        }
        assert_eq!(rows, [100, 100, 50]);
        assert!(pending.is_empty());
    }

    /// With text and lists of text, each far larger than one piece may be.
    #[test]
    fn a_piece_for_another_node_takes_no_more_along_than_it_is_charged() {
        let rows = 2000;
        let wide = |n: i64| format!("{n} {}", "x".repeat(900));
        let (mut lists, mut text) = (ListBuilder::new(StringViewBuilder::new()), StringViewBuilder::new());
        for n in 0..rows {
            text.append_value(wide(n));
            lists.append_value([Some(wide(n)), None]);
        }
        let columns: [(&str, ArrayRef); 2] = [("text", Arc::new(text.finish())), ("list", Arc::new(lists.finish()))];
        let whole = RecordBatch::try_from_iter(columns).unwrap();
        let (mut pending, mut credit) = (Pending::new(8192, Packing::REMOTE), ledger(8 << 20));
        pending.push_rows(&whole, 128 << 10).unwrap();
        // As a filter leaves it: the list has few rows, and retains the text of all.
        pending.push_rows(&take_rows(&whole, &UInt32Array::from_iter_values(0..100)).unwrap(), 128 << 10).unwrap();
        let (mut seen, mut granted) = (0, credit.window());
        while let Some(Item::Data { payload, cost }) = pending.pop(&mut credit).unwrap() {
            let encoded = Encoder::new(false).encode(&payload).unwrap();
            let (body, most) = (encoded.body.len() as u64, body_bytes_max(cost));
            assert!(body <= most, "{body} bytes travel where {most} may, charged {cost}");
            seen += payload.num_rows();
            granted += cost;
            credit.on_grant(granted).unwrap();
        }
        assert_eq!(seen, 2100);
    }

    #[test]
    fn pieces_of_many_narrow_columns_take_no_more_along_either() {
        let column = |name: usize| {
            let text: StringViewArray = (0..4).map(|n| Some(format!("{name} {n} {}", "x".repeat(900)))).collect();
            (format!("c{name}"), Arc::new(text) as ArrayRef)
        };
        let whole = RecordBatch::try_from_iter((0..400).map(column)).unwrap();
        let (mut pending, mut credit) = (Pending::new(8192, Packing::REMOTE), ledger(8 << 20));
        let few = take_rows(&whole, &UInt32Array::from(vec![0, 3])).unwrap();
        pending.push_rows(&few, 512 << 10).unwrap();
        let mut seen = 0;
        while let Some(Item::Data { payload, cost }) = pending.pop(&mut credit).unwrap() {
            let (body, most) = (Encoder::new(false).encode(&payload).unwrap().body.len() as u64, body_bytes_max(cost));
            assert!(body <= most, "{body} bytes travel where {most} may, charged {cost}");
            seen += payload.num_rows();
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_barrier_overtakes_rows_that_wait_and_none_that_follow_it() {
        let (mut pending, mut credit) = (Pending::new(100, Packing::LOCAL), ledger(100_000));
        assert!(credit.try_spend(100_000));
        pending.push_rows(&batch(10, 5), 50_000).unwrap();
        pending.push_control(Item::Barrier(Barrier::aligned(CheckpointId(4))));
        pending.push_rows(&batch(7, 5), 50_000).unwrap();
        assert_eq!(pending.overtake(Barrier::unaligned(CheckpointId(4))), [batch(10, 5)]);
        let barrier = pending.pop(&mut credit).unwrap();
        assert_eq!(barrier, Some(Item::Barrier(Barrier::unaligned(CheckpointId(4)))));
        assert!(pending.pop(&mut credit).unwrap().is_none() && !pending.holds_barrier(CheckpointId(4)));
        pending.push_control(Item::Barrier(Barrier::aligned(CheckpointId(5))));
        // A barrier that was not sent before overtakes everything, and makes older ones useless.
        assert_eq!(pending.overtake(Barrier::unaligned(CheckpointId(6))), [batch(10, 5), batch(7, 5)]);
        assert!(pending.pop(&mut credit).unwrap().is_some() && pending.pop(&mut credit).unwrap().is_none());
        credit.on_grant(200_000).unwrap();
        let rows = std::iter::from_fn(|| pending.pop(&mut credit).unwrap());
        assert_eq!(rows.map(|item| matches!(item, Item::Data { .. })).collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn a_row_that_no_receiver_would_take_is_an_error_here() {
        let mut pending = Pending::new(100, Packing::LOCAL);
        let width = usize::try_from(ROW_BYTES_MAX).unwrap() + 1;
        let text: StringViewArray = [Some("x".repeat(width))].into_iter().collect();
        let columns: [(&str, ArrayRef); 1] = [("text", Arc::new(text))];
        let refused = pending.push_rows(&RecordBatch::try_from_iter(columns).unwrap(), 5000).unwrap_err();
        assert!(refused.to_string().contains("larger than the 67108864 that one may have"), "{refused}");
        assert!(pending.is_empty());
    }

    #[test]
    fn one_row_larger_than_the_window_waits_for_the_whole_of_it() {
        let (mut pending, mut credit) = (Pending::new(100, Packing::LOCAL), ledger(10_000));
        assert!(credit.try_spend(1));
        pending.push_rows(&batch(1, 60_000), 5_000).unwrap();
        assert!(pending.pop(&mut credit).unwrap().is_none());
        credit.on_grant(10_001).unwrap();
        assert!(matches!(pending.pop(&mut credit).unwrap(), Some(Item::Data { cost, .. }) if cost > 60_000));
    }
}
