//! Between the SDK's types and ours.

use aws_sdk_kinesis::{
    primitives::DateTime,
    types::{self, ShardFilterType, ShardIteratorType, StartingPosition},
};
use bytes::Bytes;

use crate::{
    ChildShard, Consumer, ConsumerStatus, Event, HashKeyRange, KinesisError, PUT_BYTES_MAX, Put, PutFailed,
    RECORD_BYTES_MAX, Record, SequenceNumber, SequenceNumberRange, Shard, ShardFilter, ShardId, Start,
    StreamDescription, StreamMode, StreamStatus,
};

/// The code of a record that failed since its shard has no throughput left.
const THROTTLED: &str = "ProvisionedThroughputExceededException";

pub(super) fn description(of: types::StreamDescriptionSummary) -> Result<StreamDescription, KinesisError> {
    let kib = of.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok());
    let mode = of.stream_mode_details.map(|details| details.stream_mode);
    Ok(StreamDescription {
        status: match of.stream_status {
            types::StreamStatus::Active => StreamStatus::Active,
            types::StreamStatus::Creating => StreamStatus::Creating,
            types::StreamStatus::Deleting => StreamStatus::Deleting,
            // One that is newer than this client: calls show whether the stream can be used.
            _ => StreamStatus::Updating,
        },
        mode: mode.and_then(|mode| match mode {
            types::StreamMode::OnDemand => Some(StreamMode::OnDemand),
            types::StreamMode::Provisioned => Some(StreamMode::Provisioned),
            _ => None,
        }),
        created_ms: milliseconds(&of.stream_creation_timestamp)?,
        retention_hours: count(of.retention_period_hours),
        open_shards: count(of.open_shard_count),
        // No request takes more.
        record_bytes_max: kib.map_or(RECORD_BYTES_MAX, |kib| kib.saturating_mul(1 << 10).min(PUT_BYTES_MAX)),
        name: of.stream_name,
        arn: of.stream_arn,
    })
}

pub(super) fn shard(of: types::Shard) -> Result<Shard, KinesisError> {
    let numbers = of.sequence_number_range.ok_or_else(|| senseless("a shard has no sequence numbers"))?;
    let end = numbers.ending_sequence_number.as_deref().map(sequence_number).transpose()?;
    let known = |id: Option<String>| id.filter(|id| !id.is_empty()).map(|id| ShardId(id.into()));
    Ok(Shard {
        id: ShardId(of.shard_id.into()),
        parent: known(of.parent_shard_id),
        adjacent_parent: known(of.adjacent_parent_shard_id),
        hash_keys: hash_keys(of.hash_key_range)?,
        sequence_numbers: SequenceNumberRange { start: sequence_number(&numbers.starting_sequence_number)?, end },
    })
}

pub(super) fn children(of: Option<Vec<types::ChildShard>>) -> Result<Vec<ChildShard>, KinesisError> {
    let child = |child: types::ChildShard| {
        Ok(ChildShard {
            id: ShardId(child.shard_id.into()),
            parents: child.parent_shards.into_iter().map(|id| ShardId(id.into())).collect(),
            hash_keys: hash_keys(child.hash_key_range)?,
        })
    };
    of.unwrap_or_default().into_iter().map(child).collect()
}

pub(super) fn records(of: Vec<types::Record>) -> Result<Vec<Record>, KinesisError> {
    let record = |record: types::Record| {
        Ok(Record {
            sequence_number: sequence_number(&record.sequence_number)?,
            arrived_ms: record.approximate_arrival_timestamp.as_ref().map(milliseconds).transpose()?,
            partition_key: record.partition_key.unwrap_or_default(),
            data: Bytes::from(record.data.into_inner()),
        })
    };
    of.into_iter().map(record).collect()
}

pub(super) fn event(of: types::SubscribeToShardEvent) -> Result<Event, KinesisError> {
    let children = children(of.child_shards)?;
    // The SDK makes one that is missing an empty one. An event that names children is the last in any case.
    let continuation = Some(of.continuation_sequence_number).filter(|number| !number.is_empty() && children.is_empty());
    Ok(Event {
        records: records(of.records)?,
        continuation: continuation.as_deref().map(sequence_number).transpose()?,
        behind_ms: behind_ms(Some(of.millis_behind_latest)),
        children,
    })
}

pub(super) fn behind_ms(of: Option<i64>) -> Option<u64> {
    of.and_then(|behind| u64::try_from(behind).ok())
}

pub(super) fn put(of: types::PutRecordsResultEntry) -> Result<Result<Put, PutFailed>, KinesisError> {
    if let Some(code) = of.error_code {
        let message = of.error_message.unwrap_or_default();
        let reason = if message.is_empty() { code.clone() } else { format!("{code}: {message}") };
        let is_throttled = code == THROTTLED;
        return Ok(Err(if is_throttled { PutFailed::Throttled { reason } } else { PutFailed::Failed { reason } }));
    }
    let (Some(shard), Some(number)) = (of.shard_id, of.sequence_number) else {
        return Err(senseless("a record has neither a place nor an error"));
    };
    Ok(Ok(Put { shard: ShardId(shard.into()), sequence_number: sequence_number(&number)? }))
}

pub(super) fn consumer(name: String, arn: String, status: &types::ConsumerStatus) -> Consumer {
    let status = match status {
        types::ConsumerStatus::Active => ConsumerStatus::Active,
        types::ConsumerStatus::Deleting => ConsumerStatus::Deleting,
        // One that is newer than this client cannot be relied on yet, either.
        _ => ConsumerStatus::Creating,
    };
    Consumer { name, arn, status }
}

/// `None`: all.
pub(super) fn filter(of: &ShardFilter) -> Result<Option<types::ShardFilter>, KinesisError> {
    let (kind, ms) = match of {
        // A list that begins behind a shard is asked for by its own parameter.
        ShardFilter::All | ShardFilter::After(_) => return Ok(None),
        ShardFilter::AtLatest => (ShardFilterType::AtLatest, None),
        ShardFilter::AtTrimHorizon => (ShardFilterType::AtTrimHorizon, None),
        ShardFilter::FromTrimHorizon => (ShardFilterType::FromTrimHorizon, None),
        ShardFilter::AtTimestamp(ms) => (ShardFilterType::AtTimestamp, Some(*ms)),
        ShardFilter::FromTimestamp(ms) => (ShardFilterType::FromTimestamp, Some(*ms)),
    };
    let filter = types::ShardFilter::builder().r#type(kind).set_timestamp(ms.map(DateTime::from_millis));
    filter.build().map(Some).map_err(|error| KinesisError::Refused { reason: error.to_string() })
}

pub(super) fn iterator_type(of: &Start) -> ShardIteratorType {
    match of {
        Start::TrimHorizon => ShardIteratorType::TrimHorizon,
        Start::Latest => ShardIteratorType::Latest,
        Start::Timestamp(_) => ShardIteratorType::AtTimestamp,
        Start::At(_) => ShardIteratorType::AtSequenceNumber,
        Start::After(_) => ShardIteratorType::AfterSequenceNumber,
    }
}

pub(super) fn start_number(of: &Start) -> Option<String> {
    match of {
        Start::At(number) | Start::After(number) => Some(number.to_string()),
        Start::TrimHorizon | Start::Latest | Start::Timestamp(_) => None,
    }
}

pub(super) fn start_time(of: &Start) -> Option<DateTime> {
    match of {
        Start::Timestamp(ms) => Some(DateTime::from_millis(*ms)),
        Start::TrimHorizon | Start::Latest | Start::At(_) | Start::After(_) => None,
    }
}

pub(super) fn starting_position(of: &Start) -> Result<StartingPosition, KinesisError> {
    let position = StartingPosition::builder()
        .r#type(iterator_type(of))
        .set_sequence_number(start_number(of))
        .set_timestamp(start_time(of));
    position.build().map_err(|error| KinesisError::Refused { reason: error.to_string() })
}

/// The error of an answer that has something missing or wrong.
pub(super) fn senseless(what: &str) -> KinesisError {
    KinesisError::Unavailable { reason: format!("the answer of Kinesis makes no sense: {what}") }
}

fn hash_keys(of: Option<types::HashKeyRange>) -> Result<HashKeyRange, KinesisError> {
    let of = of.ok_or_else(|| senseless("a shard has no hash keys"))?;
    let number = |digits: &str| digits.parse().map_err(|_| senseless(&format!("'{digits}' is no hash key")));
    Ok(HashKeyRange { first: number(&of.starting_hash_key)?, last: number(&of.ending_hash_key)? })
}

fn sequence_number(digits: &str) -> Result<SequenceNumber, KinesisError> {
    digits.parse().map_err(|error: crate::NotASequenceNumber| senseless(&error.to_string()))
}

fn milliseconds(of: &DateTime) -> Result<i64, KinesisError> {
    of.to_millis().map_err(|_| senseless("a time is out of range"))
}

fn count(of: i32) -> u32 {
    u32::try_from(of).unwrap_or_default()
}
