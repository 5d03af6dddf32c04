//! What a split says: which shard of which stream, and how far it was read.

use serde::{Deserialize, Serialize};
use thalweg_kinesis::{HashKeyRange, SequenceNumber, ShardId, Start};
use thalweg_types::{Split, SplitId};

use crate::ConnectorError;

/// A shard that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardSplit {
    pub(super) shard: ShardId,
    /// When the stream was created, in milliseconds since 1970: another one of its name has shards of the same ids.
    pub(super) created_ms: i64,
    pub(super) hash_keys: HashKeyRange,
    pub(super) position: Position,
}

/// How far a shard was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// Nothing was: it begins with the first record that is kept.
    TrimHorizon,
    /// Nothing was: it begins with the first record that arrived at this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// Something was.
    Behind(Place),
}

/// The last record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence_number: SequenceNumber,
    /// The last one that was read of an aggregated record, if others follow in it.
    pub(super) sub: Option<u64>,
    /// About when the record arrived, in milliseconds since 1970.
    pub(super) arrived_ms: Option<i64>,
    /// All that had arrived by then was read, in milliseconds since 1970.
    pub(super) read_until_ms: i64,
}

/// Its form in checkpoints.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    shard: String,
    created_ms: i64,
    /// Numbers of 128 bits are text in JSON.
    first_hash_key: String,
    last_hash_key: String,
    position: PositionPayload,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PositionPayload {
    TrimHorizon,
    Timestamp(i64),
    Behind {
        sequence_number: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arrived_ms: Option<i64>,
        read_until_ms: i64,
    },
}

impl ShardSplit {
    /// The shard that a split is.
    pub(super) fn of(split: &Split) -> Result<Self, ConnectorError> {
        let malformed = |reason: String| ConnectorError::Data { attempted: format!("open split {}", split.id), reason };
        let payload: Payload = serde_json::from_value(split.payload.clone())
            .map_err(|error| malformed(format!("it is no shard of a stream: {error}")))?;
        let Payload { shard, created_ms, first_hash_key, last_hash_key, position } = payload;
        let key = |text: &str| text.parse().map_err(|error| malformed(format!("a hash key cannot be read: {error}")));
        let position = match position {
            PositionPayload::TrimHorizon => Position::TrimHorizon,
            PositionPayload::Timestamp(millis) => Position::Timestamp(millis),
            PositionPayload::Behind { sequence_number, sub, arrived_ms, read_until_ms } => {
                let sequence_number = sequence_number.parse().map_err(|error| malformed(format!("{error}")))?;
                Position::Behind(Place { sequence_number, sub, arrived_ms, read_until_ms })
            }
        };
        let hash_keys = HashKeyRange { first: key(&first_hash_key)?, last: key(&last_hash_key)? };
        Ok(Self { shard: shard.as_str().into(), created_ms, hash_keys, position })
    }

    /// The name that no shard of another stream ever has, not even of one of the same name.
    pub(super) fn name(&self) -> String {
        piece_name(&self.shard, self.created_ms)
    }

    pub(super) fn into_split(self) -> Split {
        let name = self.name();
        Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: self.payload() }
    }

    pub(super) fn payload(&self) -> serde_json::Value {
        let position = match &self.position {
            Position::TrimHorizon => PositionPayload::TrimHorizon,
            Position::Timestamp(millis) => PositionPayload::Timestamp(*millis),
            Position::Behind(Place { sequence_number, sub, arrived_ms, read_until_ms }) => PositionPayload::Behind {
                sequence_number: sequence_number.as_str().to_owned(),
                sub: *sub,
                arrived_ms: *arrived_ms,
                read_until_ms: *read_until_ms,
            },
        };
        let payload = Payload {
            shard: self.shard.as_str().to_owned(),
            created_ms: self.created_ms,
            first_hash_key: self.hash_keys.first.to_string(),
            last_hash_key: self.hash_keys.last.to_string(),
            position,
        };
        serde_json::to_value(payload).expect("it has only text keys")
    }
}

impl Position {
    /// Where to go on, without a look at whether the last record is still there.
    pub(super) fn start(&self) -> Start {
        match self {
            Self::TrimHorizon => Start::TrimHorizon,
            Self::Timestamp(millis) => Start::Timestamp(*millis),
            Self::Behind(Place { sequence_number, sub: None, .. }) => Start::After(sequence_number.clone()),
            Self::Behind(Place { sequence_number, sub: Some(_), .. }) => Start::At(sequence_number.clone()),
        }
    }
}

/// The name of a shard: its id, and when its stream was created. No shard's id has a space.
pub(super) fn piece_name(shard: &ShardId, created_ms: i64) -> String {
    format!("{shard} {created_ms}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(position: Position) -> ShardSplit {
        ShardSplit {
            shard: "shardId-000000000003".into(),
            created_ms: 1_767_225_600_000,
            hash_keys: HashKeyRange { first: 1 << 127, last: u128::MAX },
            position,
        }
    }

    fn behind(sub: Option<u64>) -> Position {
        let sequence_number = "49590338271490256608559692538361571095921575989136588898".parse().expect("digits");
        Position::Behind(Place {
            sequence_number,
            sub,
            arrived_ms: Some(1_767_225_601_000),
            read_until_ms: 1_767_225_602_000,
        })
    }

    #[test]
    fn a_split_says_all_of_a_shard() {
        for position in [Position::TrimHorizon, Position::Timestamp(5), behind(None), behind(Some(7))] {
            let split = shard(position.clone()).into_split();
            assert_eq!(ShardSplit::of(&split).expect("it is one"), shard(position));
        }
        let other = ShardSplit { created_ms: 1, ..shard(Position::TrimHorizon) };
        assert_ne!(other.name(), shard(Position::TrimHorizon).name(), "another stream has shards of the same ids");
    }

    /// Written by the first release that had it.
    #[test]
    fn the_form_in_checkpoints_stays() {
        let split = shard(behind(Some(7))).into_split();
        let expected = serde_json::json!({
            "shard": "shardId-000000000003", "created_ms": 1_767_225_600_000_i64,
            "first_hash_key": "170141183460469231731687303715884105728",
            "last_hash_key": "340282366920938463463374607431768211455",
            "position": {"behind": {
                "sequence_number": "49590338271490256608559692538361571095921575989136588898", "sub": 7,
                "arrived_ms": 1_767_225_601_000_i64, "read_until_ms": 1_767_225_602_000_i64
            }}
        });
        assert_eq!((split.id.0.as_str(), &split.payload), ("shardId-000000000003 1767225600000", &expected));
        let position = |position| shard(position).payload()["position"].clone();
        assert_eq!(position(Position::TrimHorizon), serde_json::json!("trim_horizon"));
        assert_eq!(position(Position::Timestamp(5)), serde_json::json!({"timestamp": 5}));
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        let split = shard(behind(None)).into_split();
        let with = |path: &str, value: serde_json::Value| {
            let mut payload = split.payload.clone();
            *payload.pointer_mut(path).expect("it is there") = value;
            ShardSplit::of(&Split { payload, ..split.clone() })
        };
        assert!(with("/shard", "other".into()).is_ok());
        for (path, value) in [
            ("/first_hash_key", serde_json::json!("-1")),
            ("/last_hash_key", serde_json::json!("340282366920938463463374607431768211456")),
            ("/position", serde_json::json!("LATEST")),
            ("/position/behind/sequence_number", serde_json::json!("12x")),
            ("/created_ms", serde_json::json!(null)),
        ] {
            assert!(with(path, value).is_err(), "{path}");
        }
        assert!(ShardSplit::of(&Split { payload: serde_json::Value::Null, ..split.clone() }).is_err());
    }
}
