//! How large the records may be that the topic of a sink takes.
//!
//! Brokers refuse what is larger than the topic's `max.message.bytes`. Found when an epoch is published that would be too late: it is
//! part of a complete checkpoint. So writers know it before they encode, and a row that is too large is unfit. Brokers that do not
//! tell now are asked again; until then the client's own bound holds.

use std::{sync::Arc, time::Duration};

use thalweg_kafka::{Admin, Kafka, KafkaError};
use thalweg_types::seam::Clock;

use super::{faults::answered, new_topic, sink_options::WriteOptions};
use crate::notices::TableNotices;

const KEY: &str = "max.message.bytes";
/// How long rows wait for the answer.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How long after a failure the next question follows.
const ASKED_AGAIN: Duration = Duration::from_mins(1);

/// The most bytes of a batch of records that a topic takes; `None`: the cluster does not tell the client.
pub(super) async fn topic_limit(admin: &dyn Admin, topic: &str) -> Result<Option<u64>, KafkaError> {
    match new_topic::config(admin, topic, KEY).await {
        Ok(told) => Ok(told.and_then(|told| told.trim().parse().ok())),
        Err(KafkaError::Denied { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a writer knows of its topic's limit.
pub(super) struct TopicLimit {
    kafka: Arc<dyn Kafka>,
    clock: Arc<dyn Clock>,
    notices: TableNotices,
    /// Whether brokers have answered.
    is_known: bool,
    failed: Option<Duration>,
}

impl TopicLimit {
    pub(super) fn new(kafka: Arc<dyn Kafka>, clock: Arc<dyn Clock>, notices: TableNotices) -> Self {
        Self { kafka, clock, notices, is_known: false, failed: None }
    }

    /// Asks for it, unless that is known or was asked for lately. Gives it once.
    pub(super) async fn learn(&mut self, write: &WriteOptions) -> Option<u64> {
        let now = self.clock.monotonic();
        let is_lately = self.failed.is_some_and(|failed| now.saturating_sub(failed) < ASKED_AGAIN);
        if self.is_known || is_lately {
            return None;
        }
        let question = async {
            let admin = self.kafka.admin(&write.client(0))?;
            topic_limit(admin.as_ref(), &write.topic).await
        };
        match answered(ASKED_WITHIN, question).await {
            Ok(limit) => {
                self.is_known = true;
                limit
            }
            Err(error) => {
                self.failed = Some(self.clock.monotonic());
                self.notices.tell("limit of the topic", || {
                    format!(
                        "brokers do not tell '{KEY}' of topic '{}', so rows that are too large for it may be found too late; they \
                         are asked again and again: {error}",
                        write.topic
                    )
                });
                None
            }
        }
    }
}
