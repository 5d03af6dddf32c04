//! Rows as records of a stream: encoded by the writer into columns, and taken apart again by whoever sends them.
//!
//! ```text
//! rows --format, partition keys--> partition key | explicit hash key | data --here or on another node--> records
//! ```

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BinaryBuilder, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
        StringBuilder, StringViewArray,
    },
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_kinesis::{NewRecord, PARTITION_KEY_CHARS_MAX, put_bytes};
use thalweg_types::{Fault, connector::PartColumns, seam::Entropy};

use super::sink_options::{Keys, WriteOptions};
use crate::{
    ConnectorError, SinkIdentity,
    connector::SinkTable,
    messages::{MessageEncoder, Part, open_encoder},
    options::Options,
};

const KEY: &str = "partition-key";
const HASH_KEY: &str = "explicit-hash-key";
const DATA: &str = "data";

/// Encodes the rows of a table into records.
pub(super) struct RecordEncoder {
    columns: PartColumns,
    encoder: Box<dyn MessageEncoder>,
    keys: KeyColumns,
    ids: Option<Ids>,
    records: SchemaRef,
    /// Rows of the last batch whose records are larger than the stream takes.
    too_large: Vec<Fault>,
}

/// Where partition keys come from.
struct KeyColumns {
    /// The column of the metadata `partition-key`.
    own: Option<usize>,
    /// The column of the metadata `explicit-hash-key`.
    hash_key: Option<usize>,
    /// Those of `PARTITIONED BY`.
    columns: Vec<usize>,
    delimiter: String,
    /// Of rows without any.
    others: Keys,
    fixed: String,
    entropy: Arc<dyn Entropy>,
}

/// Numbers the rows of one writer.
struct Ids {
    /// No other writer has it, whatever cluster, job and attempt.
    prefix: String,
    next: u64,
}

impl RecordEncoder {
    pub(super) fn open(
        table: &SinkTable<'_>,
        write: &WriteOptions,
        identity: &SinkIdentity,
    ) -> Result<Self, ConnectorError> {
        let SinkTable { spec, schema, context } = table;
        let options = Options::new(&write.table, &spec.connector);
        let parts = spec.connector.parts(schema);
        let place = |wanted: &str| parts.metadata.iter().find(|(_, spec)| spec.key == wanted).map(|(index, _)| *index);
        let SinkIdentity { cluster, job, attempt, sink, subtask } = identity;
        let writer = format!("{}-{}-{sink}", cluster.object_part(), job.0);
        let keys = KeyColumns {
            own: place(KEY),
            hash_key: place(HASH_KEY),
            columns: spec.partition_by.clone(),
            delimiter: write.delimiter.clone(),
            others: write.keys,
            fixed: format!("{writer}-{subtask}"),
            entropy: context.seams.entropy.clone(),
        };
        let ids = write.id_field.as_ref().map(|_| Ids { prefix: format!("{writer}-{}-{subtask}", attempt.0), next: 0 });
        let mut columns = parts.value;
        if let Some(field) = &write.id_field {
            if schema.column_with_name(field).is_some() {
                return Err(options.error(format!("option 'sink.record-id.field': the table has a column '{field}'")));
            }
            let id = Arc::new(Field::new(field, DataType::Utf8View, false));
            let fields: Vec<_> = columns.schema.fields().iter().cloned().chain([id]).collect();
            columns.schema = Arc::new(Schema::new_with_metadata(fields, columns.schema.metadata().clone()));
        }
        let encoder = open_encoder(&options, Part::Value, &write.stream_name, &columns.schema, context)?;
        let records = Schema::new(vec![
            Field::new(KEY, DataType::Utf8, false),
            Field::new(HASH_KEY, DataType::Utf8, true),
            Field::new(DATA, DataType::Binary, false),
        ]);
        Ok(Self { columns, encoder, keys, ids, records: Arc::new(records), too_large: Vec::new() })
    }

    /// The rows that no record can hold.
    pub(super) fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        let mut faults = match self.part(rows, 0) {
            Ok(part) => self.encoder.unfit(&part),
            // Columns of another schema than the sink's are an error of `encode`.
            Err(_) => return Vec::new(),
        };
        faults.extend(self.keys.unfit(rows));
        // Each row has one, and in the order of rows.
        faults.sort_by_key(|fault| fault.row);
        faults.dedup_by_key(|fault| fault.row);
        faults
    }

    /// The rows' columns that are encoded.
    fn part(&self, rows: &RecordBatch, first_id: u64) -> Result<RecordBatch, ConnectorError> {
        let mut columns: Vec<ArrayRef> = self.columns.indexes.iter().map(|index| rows.column(*index).clone()).collect();
        if let Some(Ids { prefix, .. }) = &self.ids {
            let ids = (first_id..).take(rows.num_rows()).map(|number| format!("{prefix}-{number}"));
            columns.push(Arc::new(StringViewArray::from_iter_values(ids)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let part = RecordBatch::try_new_with_options(self.columns.schema.clone(), columns, &options);
        part.map_err(|error| unencoded(error.to_string()))
    }

    /// The rows that `encode` has left out because their records are too large.
    pub(super) fn take_too_large(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.too_large)
    }

    /// Encodes rows of which none is unfit. The result has their records, as columns, but for those that are larger than
    /// `bytes_max`: found when they are sent, they may be part of a checkpoint, which could never be published.
    pub(super) async fn encode(&mut self, rows: &RecordBatch, bytes_max: usize) -> Result<RecordBatch, ConnectorError> {
        let part = self.part(rows, self.ids.as_ref().map_or(0, |ids| ids.next))?;
        let messages = self.encoder.encode(&part).await?;
        if messages.len() != rows.num_rows() {
            return Err(unencoded(format!("{} rows became {} messages", rows.num_rows(), messages.len())));
        }
        if let Some(ids) = &mut self.ids {
            ids.next += rows.num_rows() as u64;
        }
        let mut data = BinaryBuilder::new();
        messages.iter().for_each(|message| data.append_value(message));
        let keys = self.keys.of(rows)?;
        let hash_keys = match self.keys.hash_key {
            Some(index) => text(rows.column(index))?,
            None => StringArray::new_null(rows.num_rows()),
        };
        let columns: Vec<ArrayRef> = vec![Arc::new(keys.clone()), Arc::new(hash_keys), Arc::new(data.finish())];
        let arrow = |error: ArrowError| unencoded(error.to_string());
        let records = RecordBatch::try_new(self.records.clone(), columns).map_err(arrow)?;
        let bytes = keys.iter().zip(&messages).map(|(key, data)| key.map_or(0, str::len) + data.len());
        let fault = |(row, bytes): (usize, usize)| {
            let reason =
                format!("its record takes {bytes} bytes with its partition key, and the stream takes {bytes_max}");
            Fault { row, expression: String::new(), place: None, reason }
        };
        self.too_large = bytes.enumerate().filter(|(_, bytes)| *bytes > bytes_max).map(fault).collect();
        if self.too_large.is_empty() {
            return Ok(records);
        }
        let fits = |row| self.too_large.binary_search_by_key(&row, |fault| fault.row).is_err();
        let fits: Vec<bool> = (0..records.num_rows()).map(fits).collect();
        filter_record_batch(&records, &BooleanArray::from(fits)).map_err(arrow)
    }
}

impl KeyColumns {
    /// The partition keys of rows.
    fn of(&self, rows: &RecordBatch) -> Result<StringArray, ConnectorError> {
        let own = self.own.map(|index| text(rows.column(index))).transpose()?;
        let columns = self.columns.iter().map(|index| text(rows.column(*index))).collect::<Result<Vec<_>, _>>()?;
        let mut keys = StringBuilder::new();
        for row in 0..rows.num_rows() {
            match own.as_ref().filter(|own| own.is_valid(row)) {
                Some(own) => keys.append_value(own.value(row)),
                None if !columns.is_empty() => keys.append_value(self.joined(&columns, row)),
                None => match self.others {
                    Keys::Fixed => keys.append_value(&self.fixed),
                    Keys::Random => keys.append_value(format!("{:016x}", self.entropy.next())),
                },
            }
        }
        Ok(keys.finish())
    }

    /// The values of the columns in one row. What is longer than a key can be is left out: rows of one key still have one.
    fn joined(&self, columns: &[StringArray], row: usize) -> String {
        let value =
            |column: &StringArray| if column.is_valid(row) { column.value(row).to_owned() } else { "null".to_owned() };
        let joined = columns.iter().map(value).collect::<Vec<_>>().join(&self.delimiter);
        joined.chars().take(PARTITION_KEY_CHARS_MAX).collect()
    }

    /// The rows whose keys are none.
    fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        let fault = |row: usize, reason: String| Fault { row, expression: String::new(), place: None, reason };
        let mut faults = Vec::new();
        if let Ok(keys) = self.of(rows) {
            for (row, key) in keys.iter().enumerate() {
                let chars = key.map_or(0, |key| key.chars().take(PARTITION_KEY_CHARS_MAX + 1).count());
                if !(1..=PARTITION_KEY_CHARS_MAX).contains(&chars) {
                    let some = if chars == 0 { "none" } else { "more" };
                    let reason = format!(
                        "its partition key must have 1 to {PARTITION_KEY_CHARS_MAX} characters, and has {some}"
                    );
                    faults.push(fault(row, reason));
                }
            }
        }
        if let Some(Ok(keys)) = self.hash_key.map(|index| text(rows.column(index))) {
            for (row, key) in keys.iter().enumerate() {
                if key.is_some_and(|key| key.parse::<u128>().is_err()) {
                    faults.push(fault(row, "its explicit hash key is no number from 0 to 2^128-1".to_owned()));
                }
            }
        }
        faults
    }
}

/// Takes records out of what `encode` gave. Everything about them is checked: they may come from a store.
pub(super) fn records_of(encoded: &RecordBatch, bytes_max: usize) -> Result<Vec<NewRecord>, ConnectorError> {
    let wrong = |what: &str| unsent(format!("{what} of the records is missing or of another type"));
    let text = |name: &str| encoded.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (keys, hash_keys) = (text(KEY).ok_or_else(|| wrong(KEY))?, text(HASH_KEY).ok_or_else(|| wrong(HASH_KEY))?);
    let data = encoded.column_by_name(DATA).and_then(|column| column.as_binary_opt::<i32>());
    let data = data.ok_or_else(|| wrong(DATA))?;
    let record = |row: usize| {
        let hash_key = hash_keys.is_valid(row).then(|| hash_keys.value(row).parse::<u128>()).transpose();
        let record = NewRecord {
            partition_key: keys.value(row).to_owned(),
            explicit_hash_key: hash_key.map_err(|_| wrong(HASH_KEY))?,
            data: Bytes::copy_from_slice(data.value(row)),
        };
        let bytes = put_bytes(&record);
        if bytes > bytes_max {
            let reason =
                format!("a row's record takes {bytes} bytes with its partition key, and the stream takes {bytes_max}");
            return Err(unencoded(reason));
        }
        Ok(record)
    };
    (0..encoded.num_rows()).map(record).collect()
}

/// A column as text.
fn text(column: &ArrayRef) -> Result<StringArray, ConnectorError> {
    let text = cast(column, &DataType::Utf8).map_err(|error| unencoded(error.to_string()))?;
    text.as_string_opt::<i32>().cloned().ok_or_else(|| unencoded("a column of keys is no text".to_owned()))
}

fn unencoded(reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: "encode rows as records".to_owned(), reason }
}

fn unsent(reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: "make records of what was prepared".to_owned(), reason }
}
