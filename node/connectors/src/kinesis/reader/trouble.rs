//! What a reader does when Kinesis does not give it what it wants: waits, asks less often, or takes what is gone for lost.

use std::time::Duration;

use thalweg_kinesis::KinesisError;

use super::{
    super::{
        faults::{failed, is_passing},
        loss,
        options::OnLoss,
        payload::Position,
    },
    ShardReader,
};
use crate::{ConnectorError, Read};

/// The clock of a stream may be behind that of the node by so much, and knows no later times.
const CLOCKS_APART_MAX: Duration = Duration::from_mins(15);

impl ShardReader {
    pub(super) async fn on_error(&mut self, error: KinesisError) -> Result<Option<Read>, ConnectorError> {
        match error {
            KinesisError::Throttled { reason } => {
                if self.open.set_throttled() {
                    tracing::debug!(table = self.table.name, shard = %self.shard().shard, reason, "is throttled");
                }
                self.rest();
                Ok(None)
            }
            // A new one begins at the position. Where iterators expire at once, nobody asks without a pause.
            KinesisError::ExpiredIterator { .. } => {
                self.pace.on_failure(self.table.seams.clock.monotonic(), Duration::ZERO);
                Ok(None)
            }
            // What is known of the stream may not hold any more.
            KinesisError::NoStream { .. } | KinesisError::NoShard { .. } | KinesisError::BadPosition { .. } => {
                self.is_known = false;
                self.table.doubt().await;
                self.on_gone(error).await
            }
            KinesisError::Refused { reason } if self.is_too_early() => Ok(self.wait_for(&reason)),
            KinesisError::Unavailable { reason } | KinesisError::Busy { reason } => Ok(self.wait_for(&reason)),
            error @ (KinesisError::Config { .. }
            | KinesisError::Denied { .. }
            | KinesisError::NoConsumer { .. }
            | KinesisError::Refused { .. }) => Err(self.failed(error)),
        }
    }

    /// Whether the reader begins at a time that the stream's clock has perhaps not reached.
    fn is_too_early(&self) -> bool {
        let apart_ms = i64::try_from(CLOCKS_APART_MAX.as_millis()).unwrap_or(i64::MAX);
        matches!(self.position, Position::Timestamp(at) if at > self.table.now_ms().saturating_sub(apart_ms))
    }

    /// Nothing of a shard is read before the stream is known to be the split's.
    pub(super) async fn know_stream(&mut self) -> Result<Option<Read>, ConnectorError> {
        match self.table.describe().await {
            Ok(described) if described.created_ms == self.shard().created_ms => {
                (self.is_known, self.seen_gone) = (true, 0);
                Ok(None)
            }
            Ok(_) => self.on_remade(),
            Err(error) => self.on_gone(error).await,
        }
    }

    fn on_remade(&mut self) -> Result<Option<Read>, ConnectorError> {
        let what = format!("stream '{}' was deleted and made anew", self.table.stream_name);
        self.lose_rest(&what, "the new one is read from its beginning")
    }

    /// Stream, shard or position are gone, or seem to be.
    async fn on_gone(&mut self, error: KinesisError) -> Result<Option<Read>, ConnectorError> {
        match error {
            KinesisError::NoStream { .. } => {
                self.seen_gone += 1;
                if self.seen_gone < loss::SEEN_GONE {
                    self.table.doubt().await;
                    return Ok(self.wait_for("there is no such stream"));
                }
                let what = format!("stream '{}' was deleted", self.table.stream_name);
                self.lose_rest(&what, "others are read on")
            }
            KinesisError::NoShard { .. } | KinesisError::BadPosition { .. } => {
                // Another stream of this name is known by the time when it was created.
                match self.table.describe().await {
                    Ok(described) if described.created_ms == self.shard().created_ms => {}
                    Ok(_) => return self.on_remade(),
                    Err(error) if is_passing(&error) => return Ok(self.wait_for(&error.to_string())),
                    Err(KinesisError::NoStream { .. }) => return Ok(self.wait_for("there is no such stream")),
                    Err(error) => return Err(self.failed(error)),
                }
                let shard = &self.shard().shard;
                let what = format!("{error}: shard {shard} is not kept any more, retention has passed it");
                self.lose_rest(&what, "it goes on with the shards that follow it")
            }
            KinesisError::Unavailable { reason }
            | KinesisError::Throttled { reason }
            | KinesisError::Busy { reason } => Ok(self.wait_for(&reason)),
            error @ (KinesisError::Config { .. }
            | KinesisError::Denied { .. }
            | KinesisError::NoConsumer { .. }
            | KinesisError::ExpiredIterator { .. }
            | KinesisError::Refused { .. }) => Err(self.failed(error)),
        }
    }

    /// The rest of the shard is gone.
    fn lose_rest(&mut self, why: &str, then: &str) -> Result<Option<Read>, ConnectorError> {
        self.pending.clear();
        (self.turn, self.behind_pending) = (None, None);
        self.lose(&format!("{why}: its records behind the position are lost, if there were any"), then)?;
        self.end = Some(Vec::new());
        Ok(None)
    }

    /// Records are lost: an error, or a warning.
    pub(super) fn lose(&self, what: &str, then: &str) -> Result<(), ConnectorError> {
        let (shard, position) = (&self.shard().shard, loss::shown(&self.position));
        match self.table.options.on_loss {
            OnLoss::Fail => Err(ConnectorError::Data {
                attempted: format!("read shard {shard} of stream '{}' {position}", self.table.stream_name),
                reason: format!("{what}; with 'scan.on-data-loss' = 'skip', {then}"),
            }),
            OnLoss::Skip => {
                let text = || format!("shard {shard}, {position}: {what}; {then}");
                self.table.notices.tell(&format!("lost {shard}@{position}"), text);
                Ok(())
            }
        }
    }

    /// A reader that comes near the end of the retention looks whether anything was trimmed before it went on.
    pub(super) async fn check_retention(&mut self) {
        let Position::Behind(place) = &self.position else { return };
        if self.check.is_none() && loss::is_near(&self.table, place.read_until_ms).await {
            self.check = Some(place.sequence_number.clone());
            self.fetch.restart();
        }
    }

    fn failed(&self, error: KinesisError) -> ConnectorError {
        let (shard, stream) = (&self.shard().shard, &self.table.stream_name);
        let attempted = format!("read shard {shard} of stream '{stream}' {}", loss::shown(&self.position));
        failed(&self.table.name, attempted, error)
    }

    fn rest(&mut self) {
        // Others may decode meanwhile.
        self.turn = None;
        let pause = self.backoff.take(&self.table.seams);
        self.pace.on_failure(self.table.seams.clock.monotonic(), pause);
    }

    /// Before the next try some time passes. Says so once.
    fn wait_for(&mut self, why: &str) -> Option<Read> {
        let shard = &self.split.shard.shard;
        self.open.set_unreachable(|| {
            format!("shard {shard} cannot be read now, and perhaps others; it is waited for: {why}")
        });
        self.rest();
        (!std::mem::replace(&mut self.is_waiting, true)).then_some(Read::Waiting)
    }
}
