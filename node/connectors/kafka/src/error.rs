//! Errors of clients, grouped by what a caller does with them.

use std::fmt;

use thiserror::Error;

use crate::TopicPartition;

/// Why a client could not do what it was asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KafkaError {
    /// A property is unknown or has a value that does not fit. Somebody has to mend it.
    #[error("{reason}")]
    Config {
        /// Names the property and what is wrong with it.
        reason: String,
    },
    /// No broker answers, or the one that does is not ready: the same may succeed later.
    #[error("{reason}")]
    Unavailable {
        /// Names the broker where it is known.
        reason: String,
    },
    /// The cluster refuses the client: who it says it is, or what it may do. Somebody has to mend it.
    #[error("{reason}")]
    Denied { reason: String },
    /// There is no such topic or partition.
    #[error("there is no topic '{topic}' or it has no such partition")]
    NoTopic { topic: String },
    /// The partition does not have this offset any more, or not yet, or not as it was.
    #[error("{partition} has no offset {offset}{why}")]
    OffsetOutOfRange { partition: TopicPartition, offset: i64, why: OutOfRange },
    /// A record is refused, and would be again: it is too large, for example.
    #[error("{reason}")]
    Refused { reason: String },
    /// Another producer with the same transactional id has begun since.
    #[error("another producer has taken the transactional id '{id}'")]
    Fenced { id: String },
    /// The transaction cannot be committed. It can be aborted, and its records sent again.
    #[error("the transaction has to be aborted: {reason}")]
    Aborted { reason: String },
    /// Whether the transaction is committed is not known, or the client cannot go on. Another one can.
    #[error("the client cannot go on: {reason}")]
    Broken { reason: String },
}

/// Why a partition does not have an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// It begins behind it, or ends before it.
    Outside,
    /// Its log was cut back, as by a leader that did not have all that the one before had: what was read before the offset is not there any more.
    CutBack {
        /// Up to here it is the same; `None`: brokers do not know.
        end: Option<i64>,
    },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => Ok(()),
            Self::CutBack { end: None } => f.write_str(" as it was: its log was cut back"),
            Self::CutBack { end: Some(end) } => write!(f, " as it was: its log was cut back to {end}"),
        }
    }
}

#[cfg(any(feature = "librdkafka", feature = "model"))]
impl KafkaError {
    /// What a commit answers if a record of its transaction was not written for this reason. A record that is refused would be refused again,
    /// in another transaction too.
    pub(crate) fn of_transaction(self) -> Self {
        match self {
            Self::Refused { .. } => self,
            Self::Aborted { reason } => Self::Aborted { reason },
            Self::Config { .. }
            | Self::Unavailable { .. }
            | Self::Denied { .. }
            | Self::NoTopic { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::Fenced { .. }
            | Self::Broken { .. } => Self::Aborted { reason: self.to_string() },
        }
    }
}
