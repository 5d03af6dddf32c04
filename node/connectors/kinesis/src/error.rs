//! Errors of clients, grouped by what a caller does with them.

use thiserror::Error;

use crate::ShardId;

/// Why a client could not do what it was asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KinesisError {
    /// The configuration does not fit. Somebody has to mend it.
    #[error("{reason}")]
    Config {
        /// Names what is wrong.
        reason: String,
    },
    /// Nobody answers, or who does is not ready: the same may succeed later.
    #[error("{reason}")]
    Unavailable {
        /// Names the endpoint where it is known.
        reason: String,
    },
    /// More was asked than a shard, the stream or the account may. The same may succeed later; ask less often.
    #[error("{reason}")]
    Throttled { reason: String },
    /// AWS refuses the client: who it says it is, or what it may do. Somebody has to mend it.
    #[error("{reason}")]
    Denied { reason: String },
    /// There is no such stream.
    #[error("there is no stream '{stream}'")]
    NoStream { stream: String },
    /// There is no such shard, or not any more.
    #[error("the stream has no shard {shard}")]
    NoShard { shard: ShardId },
    /// There is no such consumer, or not any more.
    #[error("there is no consumer '{consumer}'")]
    NoConsumer { consumer: String },
    /// The stream or the consumer is being created, changed or deleted, or a subscription is too new: the same may succeed later.
    #[error("{reason}")]
    Busy { reason: String },
    /// The iterator is too old. One at the same place can be had.
    #[error("the iterator of {shard} has expired")]
    ExpiredIterator { shard: ShardId },
    /// The shard cannot have this sequence number: it is another's, or another stream's.
    #[error("{shard} has no such position: {reason}")]
    BadPosition { shard: ShardId, reason: String },
    /// Something about the call is not allowed, and would not be again.
    #[error("{reason}")]
    Refused { reason: String },
}
