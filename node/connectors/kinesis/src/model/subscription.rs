//! Receives the records of one shard of the model.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    faults::Call,
    service::Ticket,
    shard::{Now, Place},
    shared::{Line, Shared, State},
};
use crate::{Event, KinesisError, Subscription};

/// Between events without records.
const HEARTBEAT_MS: u64 = 5_000;
/// The most that an event has.
const EVENT_RECORDS_MAX: usize = 1_000;
const EVENT_BYTES_MAX: usize = 2 << 20;

pub(super) struct ModelSubscription {
    shared: Arc<Shared>,
    line: Line,
    stream: String,
    ticket: Ticket,
    /// Goes on behind it.
    after: Place,
    has_ended: bool,
    /// When an event comes even without records, by the monotonic clock.
    heartbeat_ms: u64,
}

impl ModelSubscription {
    pub(super) fn new(shared: Arc<Shared>, line: Line, stream: String, ticket: Ticket, after: Place) -> Self {
        let heartbeat_ms = shared.now().monotonic_ms;
        Self { shared, line, stream, ticket, after, has_ended: false, heartbeat_ms }
    }

    /// The next event, if there is one now.
    fn ready(&mut self, state: &mut State, now: Now) -> Option<Result<Option<Event>, KinesisError>> {
        if self.has_ended {
            return Some(Ok(None));
        }
        let checked = self.line.check(state).and_then(|()| state.service.check_subscription(&self.ticket));
        if let Err(error) = checked {
            self.has_ended = true;
            return Some(Err(error));
        }
        if now.monotonic_ms >= self.ticket.ends_ms {
            self.has_ended = true;
            return Some(Ok(None));
        }
        let shard = match state.service.stream(&self.stream).and_then(|stream| stream.shard(&self.ticket.key.1)) {
            Ok(shard) => shard,
            Err(error) => {
                self.has_ended = true;
                return Some(Err(error));
            }
        };
        let slice = shard.read(self.after, EVENT_RECORDS_MAX, EVENT_BYTES_MAX, now);
        if slice.records.is_empty() && !slice.is_end && now.monotonic_ms < self.heartbeat_ms {
            return None;
        }
        self.after = slice.after;
        self.has_ended = slice.is_end;
        self.heartbeat_ms = now.monotonic_ms.saturating_add(HEARTBEAT_MS);
        Some(Ok(Some(Event {
            records: slice.records,
            continuation: (!slice.is_end).then(|| slice.after.into()),
            behind_ms: Some(slice.behind_ms),
            children: if slice.is_end { shard.children.clone() } else { Vec::new() },
        })))
    }
}

#[async_trait]
impl Subscription for ModelSubscription {
    async fn next(&mut self) -> Result<Option<Event>, KinesisError> {
        let shared = self.shared.clone();
        if !self.has_ended {
            let begun = shared.begin(&self.line, Call::Event).await;
            let broken = || KinesisError::Unavailable { reason: "the subscription's connection was reset".to_owned() };
            if let Err(error) = begun.and_then(|spoilt| if spoilt.is_lost { Err(broken()) } else { Ok(()) }) {
                self.has_ended = true;
                return Err(error);
            }
        }
        loop {
            let due_ms = self.heartbeat_ms.min(self.ticket.ends_ms);
            let wait = Duration::from_millis(due_ms.saturating_sub(shared.now().monotonic_ms).max(1));
            // Time alone makes an event due then.
            if let Ok(event) = timeout(wait, shared.until(|state, now| self.ready(state, now))).await {
                return event;
            }
        }
    }
}

impl Drop for ModelSubscription {
    fn drop(&mut self) {
        self.shared.with(|state, _| state.service.end_subscription(&self.ticket));
    }
}
