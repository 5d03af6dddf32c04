//! Reads and commits the offsets of a consumer group, by a consumer that has the group's name and does not join it.
//!
//! An administrator could ask a group's coordinator, too. But where the coordinator goes away just before it is asked, librdkafka frees what
//! it has asked twice, and ends the process (`rd_kafka_admin_coord_request` of 2.12.1).

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rdkafka::{
    ClientConfig as NativeConfig, TopicPartitionList,
    consumer::BaseConsumer,
    error::{KafkaError as NativeError, RDKafkaErrorCode},
};
use tokio::sync::Notify;

use super::{
    context::Context,
    native::{self, Answer, Client, Failure, Queue},
    threads,
};
use crate::KafkaError;

/// A client of one group.
pub(super) struct GroupClient {
    consumer: Arc<BaseConsumer<Context>>,
    refusal: Arc<Refusal>,
}

/// That the cluster refuses the client this group: librdkafka tells it once, and none of the calls that wait for the coordinator.
#[derive(Default)]
struct Refusal {
    told: Mutex<Option<Failure>>,
    is_new: Notify,
}

/// What is asked of a group.
pub(super) enum About<'a> {
    Committed(&'a TopicPartitionList),
    Commit(&'a TopicPartitionList),
}

impl GroupClient {
    pub(super) fn new(native: &NativeConfig, context: Context) -> Result<Self, KafkaError> {
        let created = native.create_with_context::<_, BaseConsumer<_>>(context);
        let consumer = Arc::new(created.map_err(|error| super::refused(&error))?);
        let refusal = Arc::<Refusal>::default();
        let tell = refusal.clone();
        threads::serve("kafka-group", consumer.clone(), move |consumer| {
            // It reads nothing: what comes are events.
            if let Some(Err(NativeError::MessageConsumption(code))) = consumer.poll(threads::TICK)
                && code == RDKafkaErrorCode::GroupAuthorizationFailed
            {
                *tell.told.lock() =
                    Some(Failure { code, reason: "the cluster does not let the client see it".to_owned() });
                tell.is_new.notify_waiters();
            }
        })?;
        Ok(Self { consumer, refusal })
    }

    /// Asks once. The answer is `Answer::Offsets`, and comes within the limit.
    pub(super) async fn ask(&self, about: &About<'_>, limit: Duration) -> Result<Result<Answer, Failure>, KafkaError> {
        let refused = self.refused();
        tokio::pin!(refused);
        tokio::select! {
            biased;
            failure = &mut refused => Ok(Err(failure)),
            answer = self.answer(about, limit) => answer,
        }
    }

    async fn answer(&self, about: &About<'_>, limit: Duration) -> Result<Result<Answer, Failure>, KafkaError> {
        let client: Arc<dyn Client> = self.consumer.clone();
        match about {
            About::Committed(partitions) => {
                let (partitions, limit_ms) =
                    ((*partitions).clone(), i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
                threads::call("kafka-committed", move || native::committed(&client, &partitions, limit_ms)).await
            }
            About::Commit(offsets) => {
                let queue = Queue::for_answers(client.clone());
                if let Err(failure) = native::commit(client.as_ref(), &queue, offsets) {
                    return Ok(Err(failure));
                }
                loop {
                    if let Some(answer) = native::take_answer(&queue) {
                        return Ok(answer);
                    }
                    queue.filled().await;
                }
            }
        }
    }

    async fn refused(&self) -> Failure {
        loop {
            let is_new = self.refusal.is_new.notified();
            tokio::pin!(is_new);
            is_new.as_mut().enable();
            if let Some(failure) = self.refusal.told.lock().clone() {
                return failure;
            }
            is_new.await;
        }
    }
}
