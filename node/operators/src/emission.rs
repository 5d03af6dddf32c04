//! Rows that an operator has released but not returned yet: large batches in, bounded chunks out.
//!
//! Chunks are slices of the released batch. The remainder is state, in the table `OUTPUT`.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};

use crate::{OperatorError, error::arrow_error, restore::keyed};

/// The frozen table of the remainder.
pub(crate) const OUTPUT: &str = "output";

/// A queue of released rows.
#[derive(Debug)]
pub(crate) struct Emission {
    queue: VecDeque<RecordBatch>,
    batch_rows: usize,
    /// The key columns of the output.
    keys: Vec<usize>,
    key_groups: u16,
    bytes: usize,
}

impl Emission {
    pub(crate) fn new(batch_rows: usize, keys: Vec<usize>, key_groups: u16) -> Self {
        Self { queue: VecDeque::new(), batch_rows: batch_rows.max(1), keys, key_groups, bytes: 0 }
    }

    /// Releases rows.
    pub(crate) fn extend(&mut self, batches: impl IntoIterator<Item = RecordBatch>) {
        for batch in batches {
            if batch.num_rows() > 0 {
                self.bytes += batch.get_array_memory_size();
                self.queue.push_back(batch);
            }
        }
    }

    /// Puts a chunk back in two halves, which come next.
    pub(crate) fn halve(&mut self, chunk: &RecordBatch) {
        let (rows, half) = (chunk.num_rows(), chunk.num_rows() / 2);
        if self.queue.is_empty() {
            self.bytes = chunk.get_array_memory_size();
        }
        self.queue.push_front(chunk.slice(half, rows - half));
        self.queue.push_front(chunk.slice(0, half));
    }

    /// The next chunk.
    pub(crate) fn next(&mut self) -> Option<RecordBatch> {
        let front = self.queue.front_mut()?;
        let rows = front.num_rows();
        if rows > self.batch_rows {
            let chunk = front.slice(0, self.batch_rows);
            *front = front.slice(self.batch_rows, rows - self.batch_rows);
            return Some(chunk);
        }
        let chunk = self.queue.pop_front();
        if self.queue.is_empty() {
            self.bytes = 0;
        }
        chunk
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes held; a batch counts in full until the queue is empty.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The remainder as state.
    pub(crate) fn freeze(&self) -> Vec<StateBatch> {
        self.queue.iter().map(|batch| keyed(batch, self.keys.iter().copied(), self.key_groups)).collect()
    }

    /// Adds the owned part of others' remainders.
    pub(crate) fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet) -> Result<(), OperatorError> {
        self.restore_from(OUTPUT, states, owned)
    }

    /// As `restore`, from another table.
    pub(crate) fn restore_from(
        &mut self,
        table: &str,
        states: &[FrozenState],
        owned: &KeyGroupSet,
    ) -> Result<(), OperatorError> {
        for batch in states.iter().flat_map(|state| state.table(table)) {
            let part = batch.restricted_to(owned).map_err(arrow_error("restrict frozen output to key groups"))?;
            self.extend(part.map(|part| part.rows));
        }
        Ok(())
    }
}
