//! The rows of a table and the index of its keys.
//!
//! Batches never change, so that a checkpoint uploads each once. They are in the order in which rows came: of two rows with
//! one key, the later one counts, also after a restore. A row that is written anew goes to the end, which is right for the
//! newest of a key. Rows whose time is up stay in their batch while others of it live: a restored table knows them by the
//! watermark that was frozen with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use thalweg_flow::is_routable;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch, WATERMARK};
use thalweg_types::Watermark;

use super::row_bytes;
use crate::{
    OperatorError,
    compact::with_own_text,
    error::arrow_error,
    keys::canonical_keys,
    project::batch_of,
    restore::{keyed, owned_parts},
};

/// The table of the frozen state.
const ROWS: &str = "rows";
/// The last column of the frozen rows: the watermark that followed the row, in microseconds; NULL: none has yet.
const SINCE: &str = "since";
/// How many batches are put together at a time, as in `StateBatch::shorten`.
const RUN: usize = 8;
/// Batches that have more bytes together stay apart, as a segment of a state file is not larger.
const MERGED_BYTES_MAX: usize = 1 << 20;
/// What an entry of the index takes besides its key, about.
const ENTRY_BYTES: usize = 48;

/// Where a row is: the number of its batch, and its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    batch: u64,
    row: usize,
}

#[derive(Debug)]
struct Stored {
    rows: RecordBatch,
    /// The watermark that followed each row, in microseconds; NULL: none has yet.
    since: Int64Array,
    /// How many rows are the newest of their key.
    live: usize,
    /// The least `since` whose rows have not been ended, as in `due`.
    due: Option<i64>,
    bytes: usize,
    /// As it was handed over, until its times change.
    frozen: Option<StateBatch>,
}

/// Where the rows of an answer are. Batches never change, so the rows stay what they were.
#[derive(Debug)]
pub(super) struct Picked {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Index in `batches` and row.
    pub(super) places: Vec<(usize, usize)>,
    /// Whether rows follow that were left out.
    pub(super) more: bool,
}

impl Picked {
    /// Copies the rows together.
    pub(super) fn rows(&self) -> Result<RecordBatch, OperatorError> {
        if self.places.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let rows = interleave_record_batch(&batches, &self.places).map_err(arrow_error("put asked rows together"))?;
        Ok(with_own_text(&rows))
    }
}

/// The rows of a table, by key.
#[derive(Debug)]
pub(super) struct Contents {
    schema: SchemaRef,
    /// With the column `SINCE`.
    frozen_schema: SchemaRef,
    key: Vec<usize>,
    converter: RowConverter,
    key_groups: u16,
    /// Keys in arrow's row format, whose order is that of the values.
    index: BTreeMap<Box<[u8]>, Spot>,
    index_bytes: usize,
    batches: BTreeMap<u64, Stored>,
    batches_bytes: usize,
    next: u64,
    /// Batches by their `due`.
    due: BTreeSet<(i64, u64)>,
    /// Rows up to this time have ended.
    ended: i64,
    watermark: Watermark,
}

impl Contents {
    pub(super) fn new(schema: SchemaRef, key: &[usize], key_groups: u16) -> Result<Self, String> {
        if let Some(field) = key.iter().map(|column| schema.field(*column)).find(|f| !is_routable(f.data_type())) {
            return Err(format!("column {} cannot be a key: its type is {}", field.name(), field.data_type()));
        }
        let converter = RowConverter::new(sort_fields(&schema, key)).map_err(|error| error.to_string())?;
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(SINCE, DataType::Int64, true)));
        Ok(Self {
            frozen_schema: Arc::new(Schema::new(fields)),
            schema,
            key: key.to_vec(),
            converter,
            key_groups,
            index: BTreeMap::new(),
            index_bytes: 0,
            batches: BTreeMap::new(),
            batches_bytes: 0,
            next: 0,
            due: BTreeSet::new(),
            ended: i64::MIN,
            watermark: Watermark::MIN,
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn key(&self) -> &[usize] {
        &self.key
    }

    pub(super) fn bytes(&self) -> usize {
        self.batches_bytes + self.index_bytes
    }

    /// Takes rows, which replace those with their keys.
    pub(super) fn take(&mut self, rows: RecordBatch) -> Result<(), OperatorError> {
        let since = Int64Array::new_null(rows.num_rows());
        self.add(rows, since, None)
    }

    /// Tells rows that wait for it when they came, and ends keys whose last row came `ttl` ago.
    pub(super) fn on_watermark(&mut self, watermark: Watermark, ttl: i64) -> Result<(), OperatorError> {
        self.watermark = watermark;
        for (number, stored) in self.batches.iter_mut().filter(|(_, stored)| stored.since.null_count() > 0) {
            let times = stored.since.iter().map(|since| Some(since.unwrap_or(watermark.0)));
            stored.since = times.collect();
            stored.frozen = None;
            let due = stored.since.iter().flatten().filter(|since| *since > self.ended).min();
            if let Some(before) = std::mem::replace(&mut stored.due, due) {
                self.due.remove(&(before, *number));
            }
            self.due.extend(due.map(|due| (due, *number)));
        }
        self.end_until(watermark.0.saturating_sub(ttl))
    }

    fn end_until(&mut self, until: i64) -> Result<(), OperatorError> {
        if until <= self.ended {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.ended, until);
        let mut touched = BTreeSet::new();
        while let Some((_, number)) = self.due.first().copied().filter(|(first, _)| *first <= until) {
            let (first, _) = self.due.pop_first().expect("there is a first one");
            let Some(stored) = self.batches.get_mut(&number) else { continue };
            debug_assert_eq!(stored.due, Some(first), "each batch is due once");
            stored.due = stored.since.iter().flatten().filter(|since| *since > until).min();
            self.due.extend(stored.due.map(|due| (due, number)));
            let (rows, since) = (stored.rows.clone(), stored.since.clone());
            let keys = self.keys_of(&rows)?;
            let is_over = |row: usize| since.is_valid(row) && (before + 1..=until).contains(&since.value(row));
            for row in (0..rows.num_rows()).filter(|row| is_over(*row)) {
                let key = keys.row(row);
                if self.index.get(key.data()) == Some(&Spot { batch: number, row }) {
                    self.index.remove(key.data());
                    self.index_bytes -= key.data().len() + ENTRY_BYTES;
                    self.one_less(number);
                }
            }
            touched.insert(number);
        }
        self.tidy(touched)
    }

    pub(super) fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        let (schema, key, groups) = (&self.frozen_schema, &self.key, self.key_groups);
        for stored in self.batches.values_mut() {
            let batch = match &stored.frozen {
                Some(batch) => batch.clone(),
                None => {
                    let mut columns = stored.rows.columns().to_vec();
                    columns.push(Arc::new(stored.since.clone()));
                    let rows = batch_of(schema, columns, stored.rows.num_rows())?;
                    stored.frozen.insert(keyed(&rows, key.iter().copied(), groups)).clone()
                }
            };
            frozen.extend(ROWS, [batch]);
        }
        if self.watermark > Watermark::MIN {
            frozen.values.insert(WATERMARK.to_owned(), self.watermark.0);
        }
        Ok(frozen)
    }

    /// Takes over the owned rows of one former instance.
    pub(super) fn restore(
        &mut self,
        state: &FrozenState,
        owned: &KeyGroupSet,
        ttl: Option<i64>,
    ) -> Result<(), OperatorError> {
        let ended = ttl.and_then(|ttl| Some(state.values.get(WATERMARK)?.saturating_sub(ttl)));
        for part in owned_parts(state.table(ROWS), owned, self.frozen_schema.fields().len(), "a table that is asked") {
            let part = part?;
            let wrong =
                |reason: String| OperatorError::Restore { operator: "a table that is asked".to_owned(), reason };
            let mut rows = batch_of(&self.frozen_schema, part.rows.columns().to_vec(), part.rows.num_rows())
                .map_err(|error| wrong(thalweg_types::text::with_causes(&error)))?;
            let is_over = |since: Option<i64>| since.is_some_and(|since| ended.is_some_and(|ended| since <= ended));
            let mask = |rows: &RecordBatch| -> BooleanArray {
                let since = rows.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>());
                since.into_iter().flatten().map(|since| Some(!is_over(since))).collect()
            };
            let lives = mask(&rows);
            let is_whole = lives.true_count() == rows.num_rows();
            if !is_whole {
                rows = filter_record_batch(&rows, &lives).map_err(arrow_error("leave out rows that have ended"))?;
            }
            if rows.num_rows() == 0 {
                continue;
            }
            let mut columns = rows.columns().to_vec();
            let since = columns.pop().and_then(|column| column.as_primitive_opt::<Int64Type>().cloned());
            let since = since.ok_or_else(|| wrong("its rows have no times".to_owned()))?;
            let rows = batch_of(&self.schema, columns, rows.num_rows())?;
            self.add(rows, since, is_whole.then_some(part))?;
        }
        Ok(())
    }

    /// The first rows whose keys begin with `beginning`, in the order of the keys: at most `limit`, and no more than fit in
    /// `bytes_max` unless it is one. Nothing is copied yet.
    pub(super) fn pick(&self, beginning: &[u8], limit: usize, bytes_max: usize) -> Picked {
        let range = self.index.range::<[u8], _>((Bound::Included(beginning), Bound::Unbounded));
        let found = range.take_while(|(key, _)| key.starts_with(beginning)).map(|(_, spot)| *spot);
        let mut picked = Picked { schema: self.schema.clone(), batches: Vec::new(), places: Vec::new(), more: false };
        let (mut bytes, mut numbers) = (0, BTreeMap::new());
        for Spot { batch, row } in found {
            let Some(Stored { rows, .. }) = self.batches.get(&batch) else { continue };
            bytes += row_bytes(rows, row);
            if picked.places.len() == limit || (bytes > bytes_max && !picked.places.is_empty()) {
                picked.more = true;
                break;
            }
            let at = *numbers.entry(batch).or_insert_with(|| {
                picked.batches.push(rows.clone());
                picked.batches.len() - 1
            });
            picked.places.push((at, row));
        }
        picked
    }

    fn add(&mut self, rows: RecordBatch, since: Int64Array, frozen: Option<StateBatch>) -> Result<(), OperatorError> {
        let keys = self.keys_of(&rows)?;
        let (number, count) = (self.next, rows.num_rows());
        let mut touched = BTreeSet::from([number]);
        self.store(rows, since, frozen);
        for row in 0..count {
            let (key, spot) = (keys.row(row), Spot { batch: number, row });
            match self.index.get_mut(key.data()) {
                Some(known) => {
                    let before = std::mem::replace(known, spot);
                    self.one_less(before.batch);
                    touched.insert(before.batch);
                }
                None => {
                    self.index_bytes += key.data().len() + ENTRY_BYTES;
                    self.index.insert(key.data().into(), spot);
                }
            }
            if let Some(stored) = self.batches.get_mut(&number) {
                stored.live += 1;
            }
        }
        self.tidy(touched)?;
        self.shorten()
    }

    /// Puts a batch at the end. None of its rows is live yet.
    fn store(&mut self, rows: RecordBatch, since: Int64Array, frozen: Option<StateBatch>) {
        let bytes = rows.get_array_memory_size() + since.get_array_memory_size();
        let due = since.iter().flatten().filter(|since| *since > self.ended).min();
        self.due.extend(due.map(|due| (due, self.next)));
        self.batches.insert(self.next, Stored { rows, since, live: 0, due, bytes, frozen });
        self.batches_bytes += bytes;
        self.next += 1;
    }

    fn remove(&mut self, number: u64) -> Option<Stored> {
        let stored = self.batches.remove(&number)?;
        self.batches_bytes -= stored.bytes;
        if let Some(due) = stored.due {
            self.due.remove(&(due, number));
        }
        Some(stored)
    }

    fn one_less(&mut self, batch: u64) {
        if let Some(stored) = self.batches.get_mut(&batch) {
            stored.live -= 1;
        }
    }

    /// Drops batches of which nothing lives, and writes those anew of which less than half does.
    fn tidy(&mut self, touched: BTreeSet<u64>) -> Result<(), OperatorError> {
        for number in touched {
            match self.batches.get(&number) {
                Some(stored) if stored.live == 0 => {
                    self.remove(number);
                }
                Some(stored) if 2 * stored.live < stored.rows.num_rows() => self.rewrite(&[number])?,
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Puts the last batches together if they are many and small: see `StateBatch::shorten`.
    fn shorten(&mut self) -> Result<(), OperatorError> {
        let mut run: Vec<u64> = self.batches.keys().rev().take(RUN).copied().collect();
        run.reverse();
        let rows: Vec<usize> = run.iter().map(|number| self.batches[number].rows.num_rows()).collect();
        let bytes: usize = run.iter().map(|number| self.batches[number].bytes).sum();
        let is_worth_it = rows.len() == RUN && rows[0] <= rows[1..].iter().sum() && bytes <= MERGED_BYTES_MAX;
        if is_worth_it { self.rewrite(&run) } else { Ok(()) }
    }

    /// Writes the live rows of batches into one at the end.
    fn rewrite(&mut self, numbers: &[u64]) -> Result<(), OperatorError> {
        let mut parts = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(stored) = self.batches.get(number) else { continue };
            let (rows, since) = (&stored.rows, Arc::new(stored.since.clone()) as ArrayRef);
            let keys = self.keys_of(rows)?;
            let is_live = |row| self.index.get(keys.row(row).data()) == Some(&Spot { batch: *number, row });
            let lives: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_live(row))).collect();
            let columns = rows.columns().iter().cloned().chain([since]).collect();
            let whole = batch_of(&self.frozen_schema, columns, rows.num_rows())?;
            parts.push(filter_record_batch(&whole, &lives).map_err(arrow_error("pick the newest rows"))?);
        }
        let all = concat_batches(&self.frozen_schema, &parts).map_err(arrow_error("put the newest rows together"))?;
        let all = with_own_text(&all);
        for number in numbers {
            self.remove(*number);
        }
        let mut columns = all.columns().to_vec();
        let since = columns.pop().and_then(|column| column.as_primitive_opt::<Int64Type>().cloned());
        let since = since.unwrap_or_else(|| Int64Array::new_null(all.num_rows()));
        let rows = batch_of(&self.schema, columns, all.num_rows())?;
        let (keys, number) = (self.keys_of(&rows)?, self.next);
        let live = rows.num_rows();
        self.store(rows, since, None);
        for row in 0..live {
            if let Some(spot) = self.index.get_mut(keys.row(row).data()) {
                *spot = Spot { batch: number, row };
            }
        }
        if let Some(stored) = self.batches.get_mut(&number) {
            stored.live = live;
        }
        Ok(())
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<Rows, OperatorError> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|column| rows.column(*column).clone()).collect();
        let columns = canonical_keys(&columns)?;
        self.converter.convert_columns(&columns).map_err(arrow_error("lay keys out for the index"))
    }
}

/// The layout of the first columns of a key: of fewer columns, it is a beginning of the whole key's.
pub(super) fn sort_fields(schema: &Schema, key: &[usize]) -> Vec<SortField> {
    key.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect()
}
