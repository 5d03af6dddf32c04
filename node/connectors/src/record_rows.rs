//! Makes rows of records: columns of the value, of the key, and of what is known beside them.
//!
//! A record whose value or key cannot be decoded has no row. So has a tombstone, where columns of the value are read; where none
//! are, values are not even looked at.

use std::{collections::BTreeSet, fmt};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array},
    compute::{take, take_record_batch},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_types::{
    connector::{MetadataSpec, PartColumns, Parts},
    graph::SourceOperator,
};

use crate::{
    ConnectorContext, ConnectorError, DeadLetter,
    lines::shown_record,
    messages::{Decoded, MessageDecoder, Part, open_decoder},
    notices::{Absent, Lost},
    options::Options,
};

/// Binary records are shown up to this length, in hexadecimal.
const SHOWN_BYTES_MAX: usize = 1024;

/// The records of a connector, as rows are made of them.
pub(crate) trait RecordKind: Send + 'static {
    /// A record.
    type Record: Send + Sync;
    /// What records are read from one after the other: a partition, for example.
    type Place: fmt::Display + Send + Sync;
    /// What is known beside a record.
    type Metadata: Copy + Send + Sync;

    /// Its value; `None`: it is a tombstone.
    fn value(record: &Self::Record) -> Option<&Bytes>;
    /// Its key, if it has one.
    fn key(record: &Self::Record) -> Option<&Bytes>;
    /// Where a record is, for people.
    fn position(place: &Self::Place, record: &Self::Record) -> String;
    /// That of the spec's key.
    fn metadata(key: &str) -> Option<Self::Metadata>;
    /// The type of its column.
    fn data_type(metadata: Self::Metadata) -> DataType;
    /// The column of these records.
    fn column(metadata: Self::Metadata, place: &Self::Place, records: &[&Self::Record])
    -> Result<ArrayRef, ArrowError>;
}

/// Makes rows of the records of one place.
pub(crate) struct RowDecoder<K: RecordKind> {
    at: K::Place,
    schema: SchemaRef,
    /// `None`: no column of the value is read.
    value: Option<PartDecoder>,
    /// `None`: no column is read from the key.
    key: Option<PartDecoder>,
    metadata: Vec<(usize, K::Metadata)>,
}

struct PartDecoder {
    decoder: Box<dyn MessageDecoder>,
    /// Where its columns stand in the table's.
    indexes: Vec<usize>,
    schema: SchemaRef,
}

/// Rows, and records without one.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    /// In the order of records.
    pub(crate) dead_letters: Vec<DeadLetter>,
}

/// What becomes of some records: those that are still to have a row, and why the others have none.
struct Sieve<'a, K: RecordKind> {
    records: &'a [K::Record],
    /// Indexes of the records.
    left: Vec<usize>,
    faults: Vec<RecordFault>,
}

struct RecordFault {
    /// The record's index.
    record: usize,
    reason: String,
    /// Whether it is the key's. That is shown then.
    is_of_key: bool,
}

impl<K: RecordKind> RowDecoder<K> {
    /// Rows of the physical columns of a source.
    pub(crate) fn new(spec: &SourceOperator, at: K::Place, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let Parts { key, value, metadata } = spec.connector.parts(&spec.physical);
        let part = |part, PartColumns { indexes, schema }: PartColumns| {
            let open = |schema: &SchemaRef| open_decoder(&options, part, schema, context);
            let made =
                (!indexes.is_empty()).then(|| open(&schema).map(|decoder| PartDecoder { decoder, indexes, schema }));
            made.transpose()
        };
        // A column that is in both is read from the value.
        let key = only(key, |index| !value.indexes.contains(&index));
        let mut kinds = Vec::with_capacity(metadata.len());
        for (index, MetadataSpec { key, data_type, .. }) in metadata {
            let kind = K::metadata(key).ok_or_else(|| options.error(format!("there is no metadata '{key}'")))?;
            let field = spec.physical.field(index);
            if *field.data_type() != K::data_type(kind) {
                let message = format!("column {}: the type of metadata '{key}' is {data_type}", field.name());
                return Err(options.error(message));
            }
            kinds.push((index, kind));
        }
        let (value, key) = (part(Part::Value, value)?, part(Part::Key, key)?);
        Ok(Self { at, schema: spec.physical.clone(), value, key, metadata: kinds })
    }

    /// Makes rows of records. Cancel-safe.
    pub(crate) async fn decode(&mut self, records: &[K::Record]) -> Result<Rows, ConnectorError> {
        let mut sieve = Sieve::<K> { records, left: (0..records.len()).collect(), faults: Vec::new() };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        let value = match &mut self.value {
            Some(part) => Some(sieve.value(part).await?),
            None => None,
        };
        let before = sieve.left.clone();
        let key = match &mut self.key {
            Some(part) => Some(sieve.key(part).await?),
            None => None,
        };
        let unmade = |error: ArrowError| ConnectorError::Data {
            attempted: format!("make rows of the records of {}", self.at),
            reason: error.to_string(),
        };
        if let (Some(rows), Some(part)) = (value, &self.value) {
            let rows = restricted(rows, &before, &sieve.left).map_err(unmade)?;
            part.indexes.iter().zip(rows.columns()).for_each(|(index, column)| columns[*index] = Some(column.clone()));
        }
        if let (Some(arrays), Some(part)) = (key, &self.key) {
            part.indexes.iter().zip(arrays).for_each(|(index, column)| columns[*index] = Some(column));
        }
        let left: Vec<&K::Record> = sieve.left.iter().map(|index| &records[*index]).collect();
        for (index, kind) in &self.metadata {
            columns[*index] = Some(K::column(*kind, &self.at, &left).map_err(unmade)?);
        }
        let columns = columns.into_iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> = columns
            .map(|(made, field)| made.unwrap_or_else(|| new_null_array(field.data_type(), left.len())))
            .collect();
        let count = RecordBatchOptions::new().with_row_count(Some(left.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &count).map_err(unmade)?;
        Ok(Rows { batch, dead_letters: sieve.dead_letters(&self.at) })
    }

    /// The columns of the value that no record has had so far.
    pub(crate) fn absent(&self) -> Vec<Absent> {
        self.value.as_ref().map(|part| part.decoder.absent()).unwrap_or_default()
    }

    /// The columns that the newest schemas have no more.
    pub(super) fn lost(&mut self) -> Vec<Lost> {
        let parts = [&mut self.value, &mut self.key];
        parts.into_iter().flatten().flat_map(|part| part.decoder.lost()).collect()
    }
}

impl<K: RecordKind> Sieve<'_, K> {
    /// The rows of values, for those that are left then.
    async fn value(&mut self, part: &mut PartDecoder) -> Result<RecordBatch, ConnectorError> {
        const TOMBSTONE: &str = "it is a tombstone: it has no value, and columns of the value are read";
        self.leave_out(false, |record| K::value(record).is_none().then(|| TOMBSTONE.to_owned()));
        let given = self.left.clone();
        let messages = given.iter().filter_map(|index| K::value(&self.records[*index]).cloned());
        let decoded = part.decode(&messages.collect::<Vec<Bytes>>()).await?;
        Ok(self.take(decoded, &given, false))
    }

    /// The columns of keys, for those that are left then. A record without a key has NULL, where that can be.
    async fn key(&mut self, part: &mut PartDecoder) -> Result<Vec<ArrayRef>, ConnectorError> {
        if let Some(column) = part.schema.fields().iter().find(|field| !field.is_nullable()) {
            let reason = || format!("it has no key, and column {} of the key is NOT NULL", column.name());
            self.leave_out(true, |record| K::key(record).is_none().then(&reason));
        }
        let given: Vec<usize> =
            self.left.iter().copied().filter(|index| K::key(&self.records[*index]).is_some()).collect();
        let messages = given.iter().filter_map(|index| K::key(&self.records[*index]).cloned());
        let decoded = part.decode(&messages.collect::<Vec<Bytes>>()).await?;
        let rows = self.take(decoded, &given, true);
        let with_key: Vec<usize> = given.into_iter().filter(|index| self.left.binary_search(index).is_ok()).collect();
        let columns = rows.columns().iter().map(|column| take(column, &places(&with_key, &self.left), None));
        columns.collect::<Result<_, _>>().map_err(|error| ConnectorError::Data {
            attempted: "decode keys of records".to_owned(),
            reason: error.to_string(),
        })
    }

    /// Takes out what a decoder found faults with, among the records that it was given.
    fn take(&mut self, decoded: Decoded, given: &[usize], is_of_key: bool) -> RecordBatch {
        let part = if is_of_key { "key" } else { "value" };
        let mut faulty = BTreeSet::new();
        for fault in decoded.faults {
            let Some(record) = given.get(fault.message).copied() else { continue };
            faulty.insert(record);
            let reason = format!("its {part} cannot be decoded: {}", fault.reason);
            self.faults.push(RecordFault { record, reason, is_of_key });
        }
        self.left.retain(|record| !faulty.contains(record));
        decoded.rows
    }

    fn leave_out(&mut self, is_of_key: bool, why: impl Fn(&K::Record) -> Option<String>) {
        let Self { records, left, faults } = self;
        left.retain(|record| match why(&records[*record]) {
            Some(reason) => {
                faults.push(RecordFault { record: *record, reason, is_of_key });
                false
            }
            None => true,
        });
    }

    fn dead_letters(mut self, at: &K::Place) -> Vec<DeadLetter> {
        self.faults.sort_by_key(|fault| fault.record);
        let letter = |RecordFault { record, reason, is_of_key }: RecordFault| {
            let record = &self.records[record];
            let bytes = if is_of_key { K::key(record) } else { K::value(record) };
            let shown = bytes.map(|bytes| shown(bytes)).unwrap_or_default();
            DeadLetter { position: K::position(at, record), reason, record: shown }
        };
        std::mem::take(&mut self.faults).into_iter().map(letter).collect()
    }
}

/// Where each of some records stands among others; NULL where it does not. Both are in order.
fn places(among: &[usize], records: &[usize]) -> UInt32Array {
    let place = |record: &usize| among.binary_search(record).ok().and_then(|place| u32::try_from(place).ok());
    records.iter().map(place).collect()
}

impl PartDecoder {
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError> {
        let decoded = self.decoder.decode(messages).await?;
        let (rows, faults) = (decoded.rows.num_rows(), decoded.faults.len());
        if rows + faults != messages.len() || decoded.rows.num_columns() != self.indexes.len() {
            let reason = format!("{} messages became {rows} rows and {faults} faults", messages.len());
            return Err(ConnectorError::Data { attempted: "decode messages".to_owned(), reason });
        }
        Ok(decoded)
    }
}

/// The columns of a part whose index is wanted.
fn only(part: PartColumns, is_wanted: impl Fn(usize) -> bool) -> PartColumns {
    let kept: Vec<usize> = (0..part.indexes.len()).filter(|at| is_wanted(part.indexes[*at])).collect();
    let schema = part.schema.project(&kept).expect("they are among its columns");
    PartColumns { indexes: kept.into_iter().map(|at| part.indexes[at]).collect(), schema: schema.into() }
}

/// The rows of some records, restricted to those that are left of them.
fn restricted(rows: RecordBatch, before: &[usize], left: &[usize]) -> Result<RecordBatch, ArrowError> {
    if before.len() == left.len() {
        return Ok(rows);
    }
    take_record_batch(&rows, &places(before, left))
}

/// A record for people: its text, or what it is in hexadecimal; shortened if it is long.
fn shown(record: &[u8]) -> String {
    let is_text = std::str::from_utf8(record).is_ok_and(|text| !text.contains('\0'));
    if is_text {
        return shown_record(record);
    }
    let head = &record[..record.len().min(SHOWN_BYTES_MAX)];
    let mut text = String::with_capacity(2 * head.len() + 32);
    text.push_str("0x");
    head.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    if head.len() < record.len() {
        text.push_str(&format!("… ({} bytes)", record.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_shown_as_text_or_in_hexadecimal() {
        assert_eq!(shown(b"{\"a\": 1"), "{\"a\": 1");
        assert_eq!(shown(&[0, 1, 255]), "0x0001ff");
        assert_eq!(shown(b"\xff"), "0xff");
        let long = shown(&[0xfe; 5000]);
        assert!(long.len() < 2100 && long.ends_with("… (5000 bytes)"), "{long}");
        assert!(shown("x".repeat(1 << 20).as_bytes()).len() <= 4096);
    }
}
