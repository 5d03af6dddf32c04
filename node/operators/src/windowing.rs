//! What all operators have in common that keep rows until the watermark has passed a window's end.
//!
//! ```text
//! rows --take--> late, failed, or kept      watermark      next_output --fire--> emission, in bounded chunks
//! freeze = watermark + emission + what is kept             restore = the same, less the key groups of others
//! ```
//!
//! A kind of operator is a `WindowLogic`: what it keeps, and what a window gives. All else is `WindowOperator`'s.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch, WATERMARK};
use thalweg_types::{KeyGroup, Watermark};

use crate::{
    FailedRows, LateRows, Operator, OperatorContext, OperatorError, compact,
    emission::{Emission, OUTPUT},
    error::arrow_error,
    event_time::{check_timestamps, split_attached},
    project::batch_of,
    restore::{add, keyed, owned_parts, value},
};

/// What one kind of operator keeps, and what its windows give.
pub(crate) trait WindowLogic: Send + std::fmt::Debug {
    /// Whether it evaluates expressions over what it is given.
    const EVALUATES: bool;

    /// Keeps rows of a batch, which has some; late and failed ones go to `out`.
    ///
    /// # Errors
    /// As `Operator::process`.
    fn take(&mut self, port: u8, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError>;

    /// Releases into `out.emission` a bounded part of what the watermark has closed; `false` where nothing is due.
    ///
    /// # Errors
    /// As `Operator::next_output`.
    fn fire(&mut self, out: &mut Output) -> Result<bool, OperatorError>;

    /// The watermark behind it; see `Operator::forwarded`.
    fn forwarded(&self, watermark: Watermark) -> Watermark {
        watermark
    }

    /// Bytes kept, without those of `out`.
    fn bytes(&self) -> usize;

    /// Adds what it keeps.
    ///
    /// # Errors
    /// When that cannot be laid out as batches.
    fn freeze(&mut self, out: &Output, frozen: &mut FrozenState) -> Result<(), OperatorError>;

    /// Takes over the owned part of what others kept. `out` has their watermark and what they had released.
    ///
    /// # Errors
    /// When a frozen state is not one of this kind.
    fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet, out: &mut Output) -> Result<(), OperatorError>;
}

/// What a window operator has told and is about to tell.
#[derive(Debug)]
pub(crate) struct Output {
    /// Microseconds.
    pub(crate) watermark: i64,
    pub(crate) emission: Emission,
    pub(crate) failed: Vec<FailedRows>,
    pub(crate) late: Vec<LateRows>,
}

impl Output {
    /// `keys` are columns of the output.
    pub(crate) fn new(keys: Vec<usize>, context: OperatorContext) -> Self {
        Self {
            watermark: Watermark::MIN.0,
            emission: Emission::new(context.batch_rows, keys, context.key_groups),
            failed: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Rows that a closed window refuses.
    pub(crate) fn refuse(&mut self, window: Window, rows: RecordBatch) {
        self.late.push(LateRows { window_start: window.start, window_end: window.end, rows });
    }
}

/// The running form of all kinds of window operators.
#[derive(Debug)]
pub(crate) struct WindowOperator<L> {
    logic: L,
    out: Output,
    schema: SchemaRef,
}

impl<L> WindowOperator<L> {
    /// `keys` are columns of the output.
    pub(crate) fn new(logic: L, schema: SchemaRef, keys: Vec<usize>, context: OperatorContext) -> Self {
        Self { logic, out: Output::new(keys, context), schema }
    }
}

impl<L: WindowLogic> Operator for WindowOperator<L> {
    fn process(&mut self, port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.logic.take(port, batch, &mut self.out)
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.out.watermark = self.out.watermark.max(watermark.0);
        Ok(())
    }

    fn forwarded(&self, watermark: Watermark) -> Watermark {
        self.logic.forwarded(watermark)
    }

    fn evaluates(&self) -> bool {
        L::EVALUATES
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        while self.out.emission.is_empty() {
            if !self.logic.fire(&mut self.out)? {
                return Ok(None);
            }
            if self.out.emission.is_empty() && !self.out.failed.is_empty() {
                // All rows of a large window may fail: they are handed over chunk by chunk.
                return Ok(Some(RecordBatch::new_empty(self.schema.clone())));
            }
        }
        Ok(self.out.emission.next())
    }

    fn take_late(&mut self) -> Vec<LateRows> {
        std::mem::take(&mut self.out.late)
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.out.failed)
    }

    fn state_bytes(&self) -> usize {
        self.logic.bytes() + self.out.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        self.logic.freeze(&self.out, &mut frozen)?;
        frozen.extend(OUTPUT, self.out.emission.freeze());
        frozen.values.insert(WATERMARK.to_owned(), self.out.watermark);
        Ok(frozen)
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        self.out.emission.restore(states, &owned)?;
        self.out.watermark = states.iter().map(|state| value(state, WATERMARK)).fold(self.out.watermark, i64::max);
        self.logic.restore(states, &owned, &mut self.out)
    }
}

/// Rows with attached windows, kept by window, and within it by fragment (see `join`; otherwise 0).
#[derive(Debug)]
pub(crate) struct WindowRows {
    schema: SchemaRef,
    window: (usize, usize),
    keys: Vec<usize>,
    key_groups: u16,
    batches: BTreeMap<Place, Vec<StateBatch>>,
    bytes: usize,
    /// For errors.
    what: &'static str,
}

/// A window, and a fragment of it.
pub(crate) type Place = (Window, u32);

impl WindowRows {
    /// # Errors
    /// When the window's columns are no timestamps of `schema`. The keys must be columns of it.
    pub(crate) fn new(
        (what, name): (&'static str, &str),
        schema: &SchemaRef,
        window: (usize, usize),
        keys: &[usize],
        key_groups: u16,
    ) -> Result<Self, OperatorError> {
        check_timestamps(name, schema, &[window.0, window.1])?;
        let (schema, keys) = (schema.clone(), keys.to_vec());
        Ok(Self { schema, window, keys, key_groups, batches: BTreeMap::new(), bytes: 0, what })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn keys(&self) -> &[usize] {
        &self.keys
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows of a batch by window; those of closed ones are refused.
    pub(crate) fn open(
        &self,
        batch: &RecordBatch,
        out: &mut Output,
    ) -> Result<Vec<(Window, RecordBatch)>, OperatorError> {
        let mut open = Vec::new();
        for (window, rows) in split_attached(batch, self.window.0, self.window.1)? {
            let rows = rows.of_batch(batch)?;
            if window.end <= out.watermark {
                out.refuse(window, rows);
            } else {
                open.push((window, rows));
            }
        }
        Ok(open)
    }

    /// Keeps a compact copy of rows of one window.
    pub(crate) fn keep(&mut self, window: Window, rows: &RecordBatch) -> Result<(), OperatorError> {
        let rows = batch_of(&self.schema, compact(rows)?.columns().to_vec(), rows.num_rows())?;
        self.store((window, 0), self.keyed(&rows))
    }

    /// Rows with their key groups.
    pub(crate) fn keyed(&self, rows: &RecordBatch) -> StateBatch {
        keyed(rows, self.keys.iter().copied(), self.key_groups)
    }

    fn store(&mut self, place: Place, rows: StateBatch) -> Result<(), OperatorError> {
        let batches = self.batches.entry(place).or_default();
        let (came, went) = add(batches, rows, self.keys.iter().copied(), self.key_groups)?;
        self.bytes = self.bytes + came - went;
        Ok(())
    }

    /// The first place with rows.
    pub(crate) fn first(&self) -> Option<Place> {
        self.batches.first_key_value().map(|(place, _)| *place)
    }

    /// A number that no fragment has.
    pub(crate) fn next_fragment(&self) -> u32 {
        self.batches.keys().map(|(_, fragment)| fragment + 1).max().unwrap_or(0)
    }

    /// Takes all rows of a place out, in one batch; `None` where there are none.
    pub(crate) fn remove(&mut self, place: Place) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(batches) = self.batches.remove(&place) else { return Ok(None) };
        self.bytes -= batches.iter().map(|stored| stored.rows.get_array_memory_size()).sum::<usize>();
        let rows = concat_batches(&self.schema, batches.iter().map(|stored| &stored.rows));
        rows.map(Some).map_err(arrow_error("put a window's rows together"))
    }

    /// What is kept, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &[StateBatch])> {
        self.batches.iter().map(|(place, batches)| (*place, batches.as_slice()))
    }

    /// Takes over the owned part of what another instance kept as one fragment.
    pub(crate) fn restore(
        &mut self,
        fragment: u32,
        batches: &[StateBatch],
        owned: &KeyGroupSet,
    ) -> Result<(), OperatorError> {
        for part in owned_parts(batches, owned, self.schema.fields().len(), self.what) {
            let part = part?;
            let parts = split_attached(&part.rows, self.window.0, self.window.1)?;
            if let [(window, _)] = parts.as_slice() {
                self.store((*window, fragment), part)?;
                continue;
            }
            for (window, rows) in parts {
                let cut = self.keyed(&rows.of_batch(&part.rows)?);
                self.store((window, fragment), cut)?;
            }
        }
        Ok(())
    }
}
