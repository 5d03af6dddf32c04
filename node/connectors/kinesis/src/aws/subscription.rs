//! The events of one subscription.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    error::SdkError,
    operation::subscribe_to_shard::SubscribeToShardOutput,
    types::{SubscribeToShardEventStream, error::SubscribeToShardEventStreamError},
};
use tokio::time::timeout;

use super::{
    convert::event,
    failures::{About, Reached},
};
use crate::{Event, KinesisError, ShardId, Subscription};

/// Kinesis sends an event at least every five seconds: a connection that is silent for so long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is subscribed to.
pub(super) struct Subscribed {
    pub(super) reached: Arc<Reached>,
    pub(super) consumer_arn: String,
    pub(super) shard: ShardId,
    /// Whether it began at a sequence number.
    pub(super) has_position: bool,
}

impl Subscribed {
    pub(super) fn about(&self) -> About<'_> {
        let about = About::shard(&self.reached, &self.shard);
        About { consumer: Some(&self.consumer_arn), has_position: self.has_position, ..about }
    }

    /// The error of an event.
    fn failure<R: fmt::Debug>(&self, error: SdkError<SubscribeToShardEventStreamError, R>) -> KinesisError {
        match error {
            SdkError::ServiceError(failed) => self.about().refusal(code(failed.err()), failed.err().meta().message()),
            error => self.about().failure(error),
        }
    }
}

/// Unlike those of calls, errors of events do not name their code themselves.
fn code(of: &SubscribeToShardEventStreamError) -> Option<&str> {
    use SubscribeToShardEventStreamError as OfEvent;
    match of {
        OfEvent::ResourceNotFoundException(_) => Some("ResourceNotFoundException"),
        OfEvent::ResourceInUseException(_) => Some("ResourceInUseException"),
        OfEvent::InternalFailureException(_) => Some("InternalFailureException"),
        OfEvent::KmsDisabledException(_) => Some("KMSDisabledException"),
        OfEvent::KmsInvalidStateException(_) => Some("KMSInvalidStateException"),
        OfEvent::KmsAccessDeniedException(_) => Some("KMSAccessDeniedException"),
        OfEvent::KmsNotFoundException(_) => Some("KMSNotFoundException"),
        OfEvent::KmsOptInRequired(_) => Some("KMSOptInRequired"),
        OfEvent::KmsThrottlingException(_) => Some("KMSThrottlingException"),
        // What is newer than this client.
        _ => of.meta().code(),
    }
}

pub(super) struct AwsSubscription {
    /// `None`: it has ended.
    events: Option<SubscribeToShardOutput>,
    subscribed: Subscribed,
}

impl AwsSubscription {
    pub(super) fn new(events: SubscribeToShardOutput, subscribed: Subscribed) -> Self {
        Self { events: Some(events), subscribed }
    }
}

#[async_trait]
impl Subscription for AwsSubscription {
    async fn next(&mut self) -> Result<Option<Event>, KinesisError> {
        let Some(events) = &mut self.events else { return Ok(None) };
        loop {
            // What has been received of an event stays with the receiver if this is dropped.
            let received = match timeout(SILENCE_MAX, events.event_stream.recv()).await {
                Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(received)))) => event(received),
                // Of a kind that is newer than this client.
                Ok(Ok(Some(_))) => continue,
                Ok(Ok(None)) => {
                    self.events = None;
                    return Ok(None);
                }
                Ok(Err(error)) => Err(self.subscribed.failure(error)),
                Err(_) => {
                    let reason = format!("nothing came from {} for {SILENCE_MAX:?}", self.subscribed.shard);
                    Err(KinesisError::Unavailable { reason })
                }
            };
            if received.as_ref().map_or(true, |event| event.continuation.is_none()) {
                self.events = None;
            }
            return received.map(Some);
        }
    }
}
