//! Rows as records of a topic: encoded by the writer into columns of bytes, and taken apart again by whoever sends them.
//!
//! ```text
//! rows --formats of key and value--> key | value | timestamp | headers --here or on another node--> records
//! ```
//!
//! What is staged are messages and not rows: encoding is shared by all writers, and a committer needs neither the table's
//! formats nor a schema registry.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
        StringViewArray,
    },
    compute::{filter_record_batch, is_not_null},
    datatypes::{
        DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};
use bytes::Bytes;
use thalweg_kafka::{Header, NewRecord};
use thalweg_types::{
    Fault,
    connector::{PartColumns, TableConnector},
};

use super::sink_options::{Placement, WriteOptions};
use crate::{
    ConnectorContext, ConnectorError,
    messages::{MessageEncoder, Part, open_encoder},
    options::Options,
};

const KEY: &str = "key";
const VALUE: &str = "value";
const TIMESTAMP: &str = "timestamp";
const HEADERS: &str = "headers";
const RAW: &str = "raw";
/// What a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 512;
/// What a header takes beside its name and value, at most: two numbers that say how long these are.
const HEADER_OVERHEAD: usize = 10;
const EARLY: &str = "its timestamp is before 1970, or its very first millisecond, which records cannot have";

/// Encodes the rows of a table into messages.
pub(super) struct RecordEncoder {
    key: Option<PartEncoder>,
    value: PartEncoder,
    timestamp: Option<usize>,
    headers: Option<usize>,
    messages: SchemaRef,
    /// The client's bound of a record.
    bytes_max: u64,
    /// The topic's, as far as it is known.
    topic_bytes_max: Option<u64>,
    topic: Arc<str>,
    /// Rows of the last batch whose records are larger.
    too_large: Vec<Fault>,
}

/// Encodes keys or values.
struct PartEncoder {
    columns: PartColumns,
    encoder: Box<dyn MessageEncoder>,
    /// The column whose NULL is no message: a key of format `raw` has no bytes for it, and a record need not have a key.
    can_lack: Option<usize>,
}

impl PartEncoder {
    fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch, ConnectorError> {
        let columns: Vec<ArrayRef> = self.columns.indexes.iter().map(|index| rows.column(*index).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let part = RecordBatch::try_new_with_options(self.columns.schema.clone(), columns, &options);
        part.map_err(|error| unencoded(error.to_string()))
    }

    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError> {
        let part = self.rows(rows)?;
        let messages = self.encoder.encode(&part).await?;
        if messages.len() != rows.num_rows() {
            return Err(unencoded(format!("{} rows became {} messages", rows.num_rows(), messages.len())));
        }
        Ok(messages)
    }

    /// As `encode`, without a message for rows that have none.
    async fn encode_some(&mut self, rows: &RecordBatch) -> Result<Vec<Option<Bytes>>, ConnectorError> {
        let Some(column) = self.can_lack.map(|index| rows.column(index).clone()) else {
            return Ok(self.encode(rows).await?.into_iter().map(Some).collect());
        };
        let is_there = is_not_null(&column).map_err(|error| unencoded(error.to_string()))?;
        let some = filter_record_batch(rows, &is_there).map_err(|error| unencoded(error.to_string()))?;
        let mut messages = self.encode(&some).await?.into_iter();
        Ok(is_there.values().iter().map(|is_there| if is_there { messages.next() } else { None }).collect())
    }

    fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        // Columns of another schema than the sink's are an error of `encode`.
        let mut faults = self.rows(rows).map(|part| self.encoder.unfit(&part)).unwrap_or_default();
        if let Some(index) = self.can_lack {
            faults.retain(|fault| rows.column(index).is_valid(fault.row));
        }
        faults
    }
}

impl RecordEncoder {
    pub(super) fn open(
        connector: &TableConnector,
        schema: &Schema,
        write: &WriteOptions,
        context: &ConnectorContext,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&write.table, connector);
        let parts = connector.parts(schema);
        let open = |part: Part, columns: PartColumns| {
            let encoder = open_encoder(&options, part, &write.topic, &columns.schema, context)?;
            let is_raw_key = part == Part::Key && connector.key_format().is_some_and(|format| format.name == RAW);
            let can_lack = columns.indexes.first().copied().filter(|_| is_raw_key);
            Ok::<_, ConnectorError>(PartEncoder { columns, encoder, can_lack })
        };
        let key = if connector.key_format().is_some() { Some(open(Part::Key, parts.key)?) } else { None };
        let value = open(Part::Value, parts.value)?;
        let place = |wanted: &str| parts.metadata.iter().find(|(_, spec)| spec.key == wanted).map(|(index, _)| *index);
        let (timestamp, headers) = (place(TIMESTAMP), place(HEADERS));
        let mut fields = vec![Field::new(KEY, DataType::Binary, true), Field::new(VALUE, DataType::Binary, true)];
        if let Some(index) = timestamp {
            let field = schema.field(index);
            if !matches!(field.data_type(), DataType::Timestamp(..)) {
                return Err(options.error(format!("column {} is to be a record's timestamp and is none", field.name())));
            }
            fields.push(Field::new(TIMESTAMP, DataType::Int64, true));
        }
        if let Some(index) = headers {
            let field = schema.field(index);
            if !are_headers(field.data_type()) {
                let reason =
                    format!("column {} is to be a record's headers and is no MAP<STRING, BYTES>", field.name());
                return Err(options.error(reason));
            }
            fields.push(Field::new(HEADERS, field.data_type().clone(), true));
        }
        let messages = Arc::new(Schema::new(fields));
        let (bytes_max, topic) = (write.message_bytes_max, write.topic.clone());
        let (topic_bytes_max, too_large) = (None, Vec::new());
        Ok(Self { key, value, timestamp, headers, messages, bytes_max, topic_bytes_max, topic, too_large })
    }

    /// The topic takes no larger batch of records.
    pub(super) fn set_topic_limit(&mut self, bytes_max: u64) {
        self.topic_bytes_max = Some(bytes_max);
    }

    /// The rows that `encode` has left out because their records are too large.
    pub(super) fn take_too_large(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.too_large)
    }

    /// The rows that no record can hold.
    pub(super) fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        let parts = self.key.iter().chain([&self.value]);
        let mut faults: Vec<Fault> = parts.flat_map(|part| part.unfit(rows)).chain(self.early(rows)).collect();
        // Each row has one, and in the order of rows.
        faults.sort_by_key(|fault| fault.row);
        faults.dedup_by_key(|fault| fault.row);
        faults
    }

    /// The rows with a time that no record can have.
    fn early(&self, rows: &RecordBatch) -> Vec<Fault> {
        let Ok(Some(times)) = self.timestamps(rows) else { return Vec::new() };
        let fault = |row| Fault { row, expression: String::new(), place: None, reason: EARLY.to_owned() };
        let is_early = |row: &usize| times.is_valid(*row) && times.value(*row) < NewRecord::TIMESTAMP_MS_MIN;
        (0..times.len()).filter(is_early).map(fault).collect()
    }

    fn timestamps(&self, rows: &RecordBatch) -> Result<Option<Int64Array>, ConnectorError> {
        let Some(index) = self.timestamp else { return Ok(None) };
        let millis = millis(rows.column(index));
        millis.map(Some).ok_or_else(|| unencoded("a column of timestamps has another type".to_owned()))
    }

    /// Encodes rows of which none is unfit. The result has their messages, as columns, but for those that are too large.
    pub(super) async fn encode(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ConnectorError> {
        let keys = match &mut self.key {
            Some(key) => Some(key.encode_some(rows).await?),
            None => None,
        };
        let values = self.value.encode(rows).await?;
        let headers = self.headers.map(|index| rows.column(index).clone());
        self.too_large = self.find_too_large(keys.as_deref(), &values, headers.as_ref())?;
        let (mut key_column, mut value_column) = (BinaryBuilder::new(), BinaryBuilder::new());
        match &keys {
            Some(keys) => keys.iter().for_each(|key| key_column.append_option(key.as_ref())),
            None => key_column.append_nulls(rows.num_rows()),
        }
        values.iter().for_each(|value| value_column.append_value(value));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(key_column.finish()), Arc::new(value_column.finish())];
        columns.extend(self.timestamps(rows)?.map(|times| Arc::new(times) as ArrayRef));
        columns.extend(headers);
        let arrow = |error: arrow::error::ArrowError| unencoded(error.to_string());
        let messages = RecordBatch::try_new(self.messages.clone(), columns).map_err(arrow)?;
        if self.too_large.is_empty() {
            return Ok(messages);
        }
        let fits = |row| self.too_large.binary_search_by_key(&row, |fault| fault.row).is_err();
        let fits: Vec<bool> = (0..messages.num_rows()).map(fits).collect();
        filter_record_batch(&messages, &BooleanArray::from(fits)).map_err(arrow)
    }

    /// Finds records that the client or the topic would refuse. They are found here and not when they are sent: by then they may be
    /// part of a checkpoint, which could never be published.
    fn find_too_large(
        &self,
        keys: Option<&[Option<Bytes>]>,
        values: &[Bytes],
        headers: Option<&ArrayRef>,
    ) -> Result<Vec<Fault>, ConnectorError> {
        let mut faults = Vec::new();
        let (most, whose) = match self.topic_bytes_max {
            Some(most) if most < self.bytes_max => (most, format!("'max.message.bytes' of topic '{}'", self.topic)),
            Some(_) | None => (self.bytes_max, "'properties.message.max.bytes'".to_owned()),
        };
        for (row, value) in values.iter().enumerate() {
            let key = keys.and_then(|keys| keys.get(row)?.as_ref()).map_or(0, Bytes::len);
            let headers = headers.map_or(Ok(Vec::new()), |headers| headers_of(headers, row))?;
            let headers: usize = headers
                .iter()
                .map(|(name, value)| HEADER_OVERHEAD + name.len() + value.as_ref().map_or(0, Bytes::len))
                .sum();
            let bytes = (key + value.len() + headers + RECORD_OVERHEAD) as u64;
            if bytes > most {
                let reason = format!("its record takes {bytes} bytes, and {whose} is {most}");
                faults.push(Fault { row, expression: String::new(), place: None, reason });
            }
        }
        Ok(faults)
    }
}

/// Takes records out of what `encode` gave. Everything about them is checked: they may come from a store.
pub(super) fn records_of(
    messages: &RecordBatch,
    topic: &Arc<str>,
    subtask: u32,
    placement: &mut Placement,
) -> Result<Vec<NewRecord>, ConnectorError> {
    let wrong = |what: &str| unsent(format!("{what} of the messages is missing or of another type"));
    let bytes = |name: &str| messages.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
    let (keys, values) = (bytes(KEY).ok_or_else(|| wrong(KEY))?, bytes(VALUE).ok_or_else(|| wrong(VALUE))?);
    let times = match messages.column_by_name(TIMESTAMP) {
        Some(times) => Some(times.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(TIMESTAMP))?),
        None => None,
    };
    let headers = messages.column_by_name(HEADERS);
    let mut records = Vec::with_capacity(messages.num_rows());
    for row in 0..messages.num_rows() {
        records.push(NewRecord {
            topic: topic.clone(),
            partition: placement.next(subtask),
            key: keys.is_valid(row).then(|| Bytes::copy_from_slice(keys.value(row))),
            value: values.is_valid(row).then(|| Bytes::copy_from_slice(values.value(row))),
            headers: headers.map_or(Ok(Vec::new()), |headers| headers_of(headers, row))?,
            timestamp_ms: times.filter(|times| times.is_valid(row)).map(|times| times.value(row)),
        });
    }
    Ok(records)
}

/// Milliseconds since 1970, rounded down.
fn millis(column: &ArrayRef) -> Option<Int64Array> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    Some(match unit {
        TimeUnit::Second => column.as_primitive_opt::<TimestampSecondType>()?.unary(|value| value.saturating_mul(1000)),
        TimeUnit::Millisecond => column.as_primitive_opt::<TimestampMillisecondType>()?.unary(|value| value),
        TimeUnit::Microsecond => {
            column.as_primitive_opt::<TimestampMicrosecondType>()?.unary(|value| value.div_euclid(1000))
        }
        TimeUnit::Nanosecond => {
            column.as_primitive_opt::<TimestampNanosecondType>()?.unary(|value| value.div_euclid(1_000_000))
        }
    })
}

/// Whether a column of this type can be headers: names and bytes.
fn are_headers(data_type: &DataType) -> bool {
    let DataType::Map(entries, _) = data_type else { return false };
    let DataType::Struct(fields) = entries.data_type() else { return false };
    let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
    matches!(types[..], [DataType::Utf8View, DataType::Binary])
}

fn headers_of(column: &ArrayRef, row: usize) -> Result<Vec<Header>, ConnectorError> {
    let wrong = || unsent("the headers of the messages are of another type".to_owned());
    let map = column.as_map_opt().ok_or_else(wrong)?;
    if map.is_null(row) {
        return Ok(Vec::new());
    }
    let names: &StringViewArray = map.keys().as_string_view_opt().ok_or_else(wrong)?;
    let values = map.values().as_binary_opt::<i32>().ok_or_else(wrong)?;
    let offsets = map.value_offsets();
    let (Ok(from), Ok(to)) = (usize::try_from(offsets[row]), usize::try_from(offsets[row + 1])) else {
        return Err(wrong());
    };
    let header = |at: usize| {
        let value = values.is_valid(at).then(|| Bytes::copy_from_slice(values.value(at)));
        (names.value(at).to_owned(), value)
    };
    Ok((from..to).map(header).collect())
}

fn unencoded(reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: "encode rows as records".to_owned(), reason }
}

fn unsent(reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: "make records of what was prepared".to_owned(), reason }
}

#[cfg(test)]
mod tests;
