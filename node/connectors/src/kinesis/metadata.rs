//! What is known of a record beside its data, as columns.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, StringViewArray, TimestampMillisecondArray},
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_kinesis::ShardId;

use super::unpack::UserRecord;
use crate::record_rows::{RecordKind, RowDecoder};

/// Makes rows of the records of one shard.
pub(super) type ShardRows = RowDecoder<KinesisRecords>;

/// Records of streams.
pub(super) struct KinesisRecords;

/// A shard, as people find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardPlace(pub(super) ShardId);

impl fmt::Display for ShardPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A metadata column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    ShardId,
    SequenceNumber,
    SubSequenceNumber,
    Timestamp,
    PartitionKey,
    ExplicitHashKey,
}

impl RecordKind for KinesisRecords {
    type Metadata = Metadata;
    type Place = ShardPlace;
    type Record = UserRecord;

    fn value(record: &UserRecord) -> Option<&Bytes> {
        Some(&record.data)
    }

    fn key(_: &UserRecord) -> Option<&Bytes> {
        None
    }

    fn position(place: &ShardPlace, record: &UserRecord) -> String {
        let UserRecord { sequence_number, sub, is_last, .. } = record;
        match (sub, is_last) {
            (0, true) => format!("{place}@{sequence_number}"),
            _ => format!("{place}@{sequence_number}/{sub}"),
        }
    }

    fn metadata(key: &str) -> Option<Metadata> {
        Some(match key {
            "shard-id" => Metadata::ShardId,
            "sequence-number" => Metadata::SequenceNumber,
            "sub-sequence-number" => Metadata::SubSequenceNumber,
            "timestamp" => Metadata::Timestamp,
            "partition-key" => Metadata::PartitionKey,
            "explicit-hash-key" => Metadata::ExplicitHashKey,
            _ => return None,
        })
    }

    fn data_type(metadata: Metadata) -> DataType {
        match metadata {
            Metadata::ShardId | Metadata::SequenceNumber | Metadata::PartitionKey | Metadata::ExplicitHashKey => {
                DataType::Utf8View
            }
            Metadata::SubSequenceNumber => DataType::Int64,
            Metadata::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }

    fn column(metadata: Metadata, place: &ShardPlace, records: &[&UserRecord]) -> Result<ArrayRef, ArrowError> {
        Ok(match metadata {
            Metadata::ShardId => Arc::new(StringViewArray::from_iter_values(records.iter().map(|_| place.0.as_str()))),
            Metadata::SequenceNumber => Arc::new(StringViewArray::from_iter_values(
                records.iter().map(|record| record.sequence_number.as_str()),
            )),
            Metadata::SubSequenceNumber => Arc::new(Int64Array::from_iter_values(
                records.iter().map(|record| i64::try_from(record.sub).unwrap_or(i64::MAX)),
            )),
            Metadata::Timestamp => {
                let millis = records.iter().map(|record| record.arrived_ms);
                Arc::new(TimestampMillisecondArray::from_iter(millis).with_timezone("UTC"))
            }
            Metadata::PartitionKey => {
                Arc::new(StringViewArray::from_iter_values(records.iter().map(|record| record.partition_key.as_str())))
            }
            Metadata::ExplicitHashKey => {
                let keys = records.iter().map(|record| record.explicit_hash_key.map(|key| key.to_string()));
                Arc::new(StringViewArray::from_iter(keys))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;
    use thalweg_types::connector::find;

    use super::*;

    #[test]
    fn each_key_of_the_spec_has_a_column_of_its_type() {
        let spec = find("kinesis").expect("it is a connector");
        let record = |arrived_ms, explicit_hash_key| UserRecord {
            sequence_number: 7.into(),
            sub: 2,
            is_last: false,
            arrived_ms,
            partition_key: "k".to_owned(),
            explicit_hash_key,
            data: Bytes::new(),
        };
        let place = ShardPlace("shardId-000000000001".into());
        let (some, none) = (record(Some(5), Some(u128::MAX)), record(None, None));
        for metadata in spec.metadata.iter().filter(|metadata| metadata.read) {
            let kind =
                KinesisRecords::metadata(metadata.key).unwrap_or_else(|| panic!("{} has no column", metadata.key));
            let column = KinesisRecords::column(kind, &place, &[&some, &none]).expect("it can be made");
            assert_eq!((column.data_type(), column.len()), (&KinesisRecords::data_type(kind), 2), "{}", metadata.key);
            assert!(!metadata.data_type.ends_with("NOT NULL") || column.null_count() == 0, "{}", metadata.key);
        }
        assert_eq!(KinesisRecords::metadata("x"), None);
        assert_eq!(KinesisRecords::position(&place, &some), "shardId-000000000001@7/2");
        let alone = UserRecord { sub: 0, is_last: true, ..none };
        assert_eq!(KinesisRecords::position(&place, &alone), "shardId-000000000001@7");
    }
}
