//! Kinesis as a value: streams by name, and who is subscribed.

use std::collections::BTreeMap;

use super::{shard::Now, stream::StreamState};
use crate::{KinesisError, SUBSCRIPTION, ShardId};

/// The most shards that a stream can be made with.
const SHARDS_MAX: u32 = 10_000;
/// A consumer cannot subscribe to a shard again before.
const RESUBSCRIBE_MS: u64 = 5_000;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Service {
    streams: BTreeMap<String, StreamState>,
    /// By consumer and shard, those that run: their ids.
    subscriptions: BTreeMap<(String, ShardId), u64>,
    /// By consumer and shard, when it subscribed last, by the monotonic clock. As many as there were shards.
    subscribed_ms: BTreeMap<(String, ShardId), u64>,
    next_subscription: u64,
    /// Counts changes.
    revision: u64,
}

/// A subscription that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) key: (String, ShardId),
    id: u64,
    /// By the monotonic clock.
    pub(super) ends_ms: u64,
}

impl Service {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn touch(&mut self) {
        self.revision += 1;
    }

    pub(super) fn create_stream(&mut self, name: &str, shards: u32, now: Now) -> Result<(), KinesisError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_allowed) {
            return Err(KinesisError::Refused { reason: format!("'{name}' cannot be the name of a stream") });
        }
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(KinesisError::Refused {
                reason: format!("a stream has 1 to {SHARDS_MAX} shards, not {shards}"),
            });
        }
        if self.streams.contains_key(name) {
            return Err(KinesisError::Busy { reason: format!("there is a stream '{name}' already") });
        }
        self.streams.insert(name.to_owned(), StreamState::new(name, shards, now));
        Ok(())
    }

    pub(super) fn delete_stream(&mut self, name: &str) -> bool {
        let Some(stream) = self.streams.remove(name) else { return false };
        let arns: Vec<String> = stream.consumer_arns().collect();
        arns.iter().for_each(|arn| self.forget_consumer(arn));
        true
    }

    pub(super) fn stream(&self, name: &str) -> Result<&StreamState, KinesisError> {
        self.streams.get(name).ok_or_else(|| KinesisError::NoStream { stream: name.to_owned() })
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> Result<&mut StreamState, KinesisError> {
        self.streams.get_mut(name).ok_or_else(|| KinesisError::NoStream { stream: name.to_owned() })
    }

    /// Begins a subscription; another one of this consumer and shard ends.
    pub(super) fn subscribe(&mut self, consumer_arn: &str, shard: &ShardId, now: Now) -> Result<Ticket, KinesisError> {
        let key = (consumer_arn.to_owned(), shard.clone());
        let last_ms = self.subscribed_ms.get(&key).copied();
        if last_ms.is_some_and(|last_ms| now.monotonic_ms < last_ms + RESUBSCRIBE_MS) {
            let reason = format!("the consumer has subscribed to {shard} less than {RESUBSCRIBE_MS} ms ago");
            return Err(KinesisError::Busy { reason });
        }
        self.next_subscription += 1;
        let id = self.next_subscription;
        self.subscriptions.insert(key.clone(), id);
        self.subscribed_ms.insert(key.clone(), now.monotonic_ms);
        let whole_ms = u64::try_from(SUBSCRIPTION.as_millis()).unwrap_or(u64::MAX);
        Ok(Ticket { key, id, ends_ms: now.monotonic_ms.saturating_add(whole_ms) })
    }

    /// Whether a subscription still runs.
    pub(super) fn check_subscription(&self, ticket: &Ticket) -> Result<(), KinesisError> {
        match self.subscriptions.get(&ticket.key) {
            Some(id) if *id == ticket.id => Ok(()),
            Some(_) => Err(KinesisError::Busy { reason: "another subscription has taken this one's place".to_owned() }),
            None => Err(KinesisError::Unavailable { reason: "the subscription's connection was reset".to_owned() }),
        }
    }

    pub(super) fn end_subscription(&mut self, ticket: &Ticket) {
        if self.subscriptions.get(&ticket.key) == Some(&ticket.id) {
            self.subscriptions.remove(&ticket.key);
        }
    }

    pub(super) fn end_subscriptions(&mut self) -> usize {
        std::mem::take(&mut self.subscriptions).len()
    }

    /// Ends all subscriptions of a consumer that is gone.
    pub(super) fn forget_consumer(&mut self, arn: &str) {
        self.subscriptions.retain(|(of, _), _| of != arn);
        self.subscribed_ms.retain(|(of, _), _| of != arn);
    }

    /// Does what is due by now.
    pub(super) fn advance(&mut self, now: Now) {
        for stream in self.streams.values_mut() {
            if stream.advance(now) {
                self.revision += 1;
            }
        }
    }

    pub(super) fn restore(&mut self, snapshot: &Self) {
        let (revision, next_subscription) = (self.revision, self.next_subscription);
        *self = Self { revision, next_subscription, ..snapshot.clone() };
        self.subscriptions.clear();
        self.subscribed_ms.clear();
    }
}
