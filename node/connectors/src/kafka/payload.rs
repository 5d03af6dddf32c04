//! What a split says: which partition of which topic, from where on, and where it ends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_kafka::{TopicId, TopicPartition};
use thalweg_types::{Split, SplitId};

use crate::ConnectorError;

/// A partition that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionSplit {
    pub(super) at: TopicPartition,
    /// Which topic of that name; `None`: the cluster gives topics no ids.
    pub(super) topic: Option<TopicId>,
    /// The next offset that is read.
    pub(super) offset: i64,
    /// The first offset that is not; `None`: there is no end.
    pub(super) end: Option<i64>,
    /// The last record that was read; `None`: none was, or nothing is known of it.
    pub(super) last_read: Option<LastRead>,
}

/// The last record that was read of a partition. What stands between it and the next offset is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRead {
    /// Behind it.
    pub(super) next: i64,
    /// In which it was written: brokers find out by it whether the record is still there.
    pub(super) leader_epoch: i32,
}

/// Its form in checkpoints.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    topic: String,
    partition: i32,
    /// In hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    /// Not in those of former releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read: Option<LastRead>,
}

impl PartitionSplit {
    /// The partition that a split is.
    pub(super) fn of(split: &Split) -> Result<Self, ConnectorError> {
        let malformed = |reason: String| ConnectorError::Data { attempted: format!("open split {}", split.id), reason };
        let Payload { topic, partition, topic_id, offset, end, last_read } =
            serde_json::from_value(split.payload.clone())
                .map_err(|error| malformed(format!("it is no partition of a topic: {error}")))?;
        let topic_id = topic_id.map(|text| u128::from_str_radix(&text, 16)).transpose();
        let topic_id = topic_id.map_err(|error| malformed(format!("the topic's id cannot be read: {error}")))?;
        let at = TopicPartition { topic: topic.into(), partition };
        Ok(Self { at, topic: topic_id.map(TopicId), offset, end, last_read })
    }

    /// The name that no partition of another topic ever has, not even one of a topic of the same name.
    pub(super) fn name(&self) -> String {
        piece_name(&self.at, self.topic)
    }

    pub(super) fn into_split(self) -> Split {
        let name = self.name();
        Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: self.payload() }
    }

    pub(super) fn payload(&self) -> serde_json::Value {
        let payload = Payload {
            topic: self.at.topic.to_string(),
            partition: self.at.partition,
            topic_id: self.topic.map(hexadecimal),
            offset: self.offset,
            end: self.end,
            last_read: self.last_read,
        };
        serde_json::to_value(payload).expect("it has only text keys")
    }
}

/// The name of a partition: `orders-3`, with the topic's id behind it if it has one. No topic's name has a space.
pub(super) fn piece_name(at: &TopicPartition, topic: Option<TopicId>) -> String {
    match topic {
        Some(topic) => format!("{at} {}", hexadecimal(topic)),
        None => at.to_string(),
    }
}

/// The partition of such a name; `None`: it is none.
pub(super) fn of_piece_name(name: &str) -> Option<(TopicPartition, Option<TopicId>)> {
    let (at, topic) = match name.split_once(' ') {
        Some((at, id)) => (at, Some(TopicId(u128::from_str_radix(id, 16).ok()?))),
        None => (name, None),
    };
    let (name, partition) = at.rsplit_once('-')?;
    Some((TopicPartition { topic: Arc::from(name), partition: partition.parse().ok()? }, topic))
}

fn hexadecimal(TopicId(id): TopicId) -> String {
    format!("{id:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: Option<u128>) -> PartitionSplit {
        let at = TopicPartition { topic: "my-orders".into(), partition: 3 };
        PartitionSplit { at, topic: topic.map(TopicId), offset: 17, end: Some(99), last_read: None }
    }

    #[test]
    fn a_split_says_all_of_a_partition() {
        for topic in [None, Some(0), Some(u128::MAX)] {
            let split = partition(topic).into_split();
            assert_eq!(PartitionSplit::of(&split).expect("it is one"), partition(topic));
            let read = PartitionSplit { last_read: Some(LastRead { next: 16, leader_epoch: 4 }), ..partition(topic) };
            assert_eq!(PartitionSplit::of(&read.clone().into_split()).expect("it is one"), read);
            let found = of_piece_name(&split.id.0).expect("it is one");
            assert_eq!(found, (partition(topic).at, topic.map(TopicId)));
        }
        assert_ne!(partition(Some(1)).name(), partition(Some(2)).name());
    }

    /// Written by the first release that had it.
    #[test]
    fn the_form_in_checkpoints_stays() {
        let split = partition(Some(10)).into_split();
        let expected = serde_json::json!({
            "topic": "my-orders", "partition": 3, "topic_id": "0000000000000000000000000000000a", "offset": 17, "end": 99
        });
        assert_eq!((split.id.0.as_str(), split.payload), ("my-orders-3 0000000000000000000000000000000a", expected));
        let unbounded = PartitionSplit { end: None, ..partition(None) };
        let expected = serde_json::json!({"topic": "my-orders", "partition": 3, "offset": 17});
        assert_eq!(unbounded.payload(), expected);
    }

    /// Written since the last record that was read is kept.
    #[test]
    fn the_form_in_checkpoints_with_the_last_record_stays() {
        let last_read = Some(LastRead { next: 16, leader_epoch: 4 });
        let read = PartitionSplit { end: None, last_read, ..partition(None) };
        let expected = serde_json::json!({
            "topic": "my-orders", "partition": 3, "offset": 17, "last_read": {"next": 16, "leader_epoch": 4}
        });
        assert_eq!(read.payload(), expected);
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        let split = partition(None).into_split();
        for payload in [
            serde_json::json!(null),
            serde_json::json!({"topic": "a"}),
            serde_json::json!({"topic": "a", "partition": 0, "offset": 1, "topic_id": "x"}),
        ] {
            assert!(PartitionSplit::of(&Split { payload, ..split.clone() }).is_err());
        }
        for name in ["", "a", "a-b", "a-1 x", "a-99999999999"] {
            assert_eq!(of_piece_name(name), None, "{name}");
        }
    }
}
