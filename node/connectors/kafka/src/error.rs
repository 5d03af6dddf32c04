//! Errors of clients, grouped by what a caller does with them.

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
    /// The partition does not have this offset any more, or not yet.
    #[error("{partition} has no offset {offset}")]
    OffsetOutOfRange { partition: TopicPartition, offset: i64 },
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
