//! What is known of a record beside key and value, as columns.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, Int32Array, Int64Array, MapBuilder, MapFieldNames, StringViewArray, StringViewBuilder,
        TimestampMillisecondArray,
    },
    datatypes::{DataType, Field, TimeUnit},
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_kafka::{Header, Record, TimestampKind, TopicPartition};

use crate::record_rows::{RecordKind, RowDecoder};

/// Makes rows of the records of one partition.
pub(super) type PartitionRows = RowDecoder<KafkaRecords>;

/// Records of topics.
pub(super) struct KafkaRecords;

impl RecordKind for KafkaRecords {
    type Metadata = Metadata;
    type Place = TopicPartition;
    type Record = Record;

    fn value(record: &Record) -> Option<&Bytes> {
        record.value.as_ref()
    }

    fn key(record: &Record) -> Option<&Bytes> {
        record.key.as_ref()
    }

    fn position(at: &TopicPartition, record: &Record) -> String {
        format!("{at}@{}", record.offset)
    }

    fn metadata(key: &str) -> Option<Metadata> {
        Metadata::of_key(key)
    }

    fn data_type(metadata: Metadata) -> DataType {
        metadata.data_type()
    }

    fn column(metadata: Metadata, at: &TopicPartition, records: &[&Record]) -> Result<ArrayRef, ArrowError> {
        metadata.column(at, records)
    }
}

/// A metadata column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampType,
    Headers,
    LeaderEpoch,
}

impl Metadata {
    /// That of the spec's key.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "topic" => Self::Topic,
            "partition" => Self::Partition,
            "offset" => Self::Offset,
            "timestamp" => Self::Timestamp,
            "timestamp-type" => Self::TimestampType,
            "headers" => Self::Headers,
            "leader-epoch" => Self::LeaderEpoch,
            _ => return None,
        })
    }

    /// The type of its column.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Topic | Self::TimestampType => DataType::Utf8View,
            Self::Partition | Self::LeaderEpoch => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Headers => {
                let entries =
                    vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Binary, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
            }
        }
    }

    /// The column of these records.
    pub(super) fn column(self, at: &TopicPartition, records: &[&Record]) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Topic => Arc::new(StringViewArray::from_iter_values(records.iter().map(|_| at.topic.as_ref()))),
            Self::Partition => Arc::new(Int32Array::from_value(at.partition, records.len())),
            Self::Offset => Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.offset))),
            Self::Timestamp => {
                let millis = records.iter().map(|record| record.timestamp.map(|(_, millis)| millis));
                Arc::new(TimestampMillisecondArray::from_iter(millis).with_timezone("UTC"))
            }
            Self::TimestampType => {
                Arc::new(StringViewArray::from_iter_values(records.iter().map(|record| kind_of(record))))
            }
            Self::LeaderEpoch => Arc::new(Int32Array::from_iter(records.iter().map(|record| record.leader_epoch))),
            Self::Headers => headers(records)?,
        })
    }
}

fn kind_of(record: &Record) -> &'static str {
    match record.timestamp.map(|(kind, _)| kind) {
        Some(TimestampKind::CreateTime) => "CreateTime",
        Some(TimestampKind::LogAppendTime) => "LogAppendTime",
        None => "NoTimestampType",
    }
}

fn headers(records: &[&Record]) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringViewBuilder::new(), BinaryBuilder::new());
    for record in records {
        for (name, value) in last_of_each(&record.headers) {
            builder.keys().append_value(name);
            builder.values().append_option(value.as_deref());
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// The last header of each name, in the order of names: a map has a key once.
fn last_of_each(headers: &[Header]) -> BTreeMap<&str, &Option<Bytes>> {
    headers.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use thalweg_types::connector::find;

    use super::*;

    fn record(headers: &[(&str, Option<&'static str>)]) -> Record {
        let header = |(name, value): &(&str, Option<&'static str>)| {
            ((*name).to_owned(), value.map(|value| Bytes::from_static(value.as_bytes())))
        };
        Record {
            offset: 5,
            timestamp: Some((TimestampKind::LogAppendTime, 1_000)),
            key: None,
            value: None,
            headers: headers.iter().map(header).collect(),
            leader_epoch: Some(3),
        }
    }

    #[test]
    fn each_key_of_the_spec_has_a_column_of_its_type() {
        let spec = find("kafka").expect("it is a connector");
        let at = TopicPartition { topic: "orders".into(), partition: 2 };
        let none = Record { timestamp: None, leader_epoch: None, ..record(&[]) };
        let some = record(&[("a", Some("1"))]);
        for metadata in spec.metadata.iter().filter(|metadata| metadata.read) {
            let kind = Metadata::of_key(metadata.key).unwrap_or_else(|| panic!("{} has no column", metadata.key));
            let column = kind.column(&at, &[&some, &none]).expect("it can be made");
            assert_eq!((column.data_type(), column.len()), (&kind.data_type(), 2), "{}", metadata.key);
            assert!(!metadata.data_type.ends_with("NOT NULL") || column.null_count() == 0, "{}", metadata.key);
        }
        assert_eq!(Metadata::of_key("x"), None);
        let kinds = Metadata::TimestampType.column(&at, &[&some, &none]).expect("it can be made");
        assert_eq!(kinds.as_string_view().iter().flatten().collect::<Vec<_>>(), ["LogAppendTime", "NoTimestampType"]);
    }

    #[test]
    fn of_headers_with_one_name_the_last_counts() {
        let at = TopicPartition { topic: "orders".into(), partition: 2 };
        let record = record(&[("a", Some("1")), ("b", None), ("a", Some("2"))]);
        let column = Metadata::Headers.column(&at, &[&record]).expect("it can be made");
        let entries = column.as_map().value(0);
        assert_eq!(entries.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
        let values = entries.column(1).as_binary::<i32>();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(b"2".as_slice()), None]);
    }
}
