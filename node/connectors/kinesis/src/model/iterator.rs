//! Iterators, as text that only the model reads.

use super::{
    shard::{Now, Place},
    shared::State,
};
use crate::{KinesisError, ShardId, ShardIterator};

/// How long an iterator can be used.
const LIFE_MS: u64 = 5 * 60 * 1_000;

/// What an iterator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Iterator {
    pub(super) stream: String,
    /// When the stream was created: it may have been deleted since, and another be there.
    pub(super) created_ms: u64,
    pub(super) shard: ShardId,
    /// Reading goes on behind it.
    pub(super) after: Place,
    pub(super) made_ms: u64,
    /// `State::iterators_made_since`
    pub(super) made_since: u64,
}

impl Iterator {
    pub(super) fn write(&self) -> ShardIterator {
        let Self { stream, created_ms, shard, after, made_ms, made_since } = self;
        let token = format!("{stream}/{created_ms}/{shard}/{after}/{made_ms}/{made_since}");
        ShardIterator { shard: shard.clone(), token }
    }

    /// What an iterator says, if it is one and has not expired.
    pub(super) fn read(given: &ShardIterator, state: &State, now: Now) -> Result<Self, KinesisError> {
        let invalid = || KinesisError::Refused { reason: format!("'{}' is no iterator", given.token) };
        let read = Self::parse(&given.token).ok_or_else(invalid)?;
        let is_old = now.monotonic_ms.saturating_sub(read.made_ms) >= LIFE_MS;
        if is_old || read.made_since < state.iterators_made_since {
            return Err(KinesisError::ExpiredIterator { shard: read.shard });
        }
        Ok(read)
    }

    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('/');
        let read = Self {
            stream: parts.next()?.to_owned(),
            created_ms: parts.next()?.parse().ok()?,
            shard: parts.next()?.into(),
            after: parts.next()?.parse().ok()?,
            made_ms: parts.next()?.parse().ok()?,
            made_since: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(read)
    }
}
