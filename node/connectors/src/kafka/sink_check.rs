//! The look at the cluster before a job runs: can the table be written, by the guarantee that it asks for.

use std::time::Duration;

use thalweg_kafka::{Admin, ClientConfig, Kafka, KafkaError, Transactions, Wanted};
use thalweg_types::{ClusterId, JobId, connector::Delivery, graph::OperatorIdentity};
use tokio::time::timeout;

use super::{
    faults::{answered, failed, is_passing, of_client},
    new_topic,
    progress::{self, CLEANUP_POLICY, Unread},
    sink_options::{WriteOptions, kafka},
};
use crate::{CommitterIdentity, ConnectorError, connector::SinkTable, options::Options};

/// Whoever submits a job waits for each of these questions.
const CHECKED_WITHIN: Duration = Duration::from_secs(13);
const QUEUE_BYTES: u64 = 1 << 20;

/// Checks that a table can be written. `patient`: brokers that do not answer now may do so later.
pub(super) async fn check(table: SinkTable<'_>, patient: bool) -> Result<(), ConnectorError> {
    let options = Options::new(&table.spec.table, &table.spec.connector);
    let write = WriteOptions::of(&options, &table.spec.table, table.spec.connector.delivery())?;
    let kafka = kafka(&options, table.context)?;
    let has_keys = table.spec.connector.key_format().is_some();
    let look = Look { write: &write, has_keys, config: write.client(QUEUE_BYTES), kafka: kafka.as_ref() };
    match look.at_all(patient).await {
        Err(Found::Silence(_)) if patient => Ok(()),
        Err(Found::Silence(error) | Found::Fault(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

struct Look<'a> {
    write: &'a WriteOptions,
    /// Whether records have keys.
    has_keys: bool,
    config: ClientConfig,
    kafka: &'a dyn Kafka,
}

/// What is wrong.
enum Found {
    /// It may not be so for long.
    Silence(ConnectorError),
    Fault(ConnectorError),
}

impl Look<'_> {
    async fn at_all(&self, patient: bool) -> Result<(), Found> {
        let admin = self.kafka.admin(&self.config).map_err(|error| self.found("open a client", error))?;
        self.at_topic(admin.as_ref()).await?;
        if self.write.delivery != Delivery::ExactlyOnce {
            return Ok(());
        }
        self.at_progress(admin.as_ref()).await?;
        // A job that has run has taken its id before.
        if patient { Ok(()) } else { self.at_transactions().await }
    }

    async fn at_topic(&self, admin: &dyn Admin) -> Result<(), Found> {
        let WriteOptions { topic, servers, .. } = self.write;
        let wanted = Wanted::Named(vec![topic.to_string()]);
        let topics = answered(CHECKED_WITHIN, new_topic::topics(admin, &wanted, |found| !found.is_empty())).await;
        let topics = topics.map_err(|error| self.found(&format!("be asked for 'topic' '{topic}'"), error))?;
        if topics.is_empty() {
            let advice = "create it with as many partitions as its readers need; a sink creates none";
            let reason = format!("option 'topic': there is no topic '{topic}' at {servers}: {advice}");
            // One that was there when the job began may be made again, or known to other brokers.
            return Err(Found::Silence(self.refused(reason)));
        }
        if self.has_keys { Ok(()) } else { self.at_cleanup(admin).await }
    }

    /// Brokers refuse each record without a key of a topic that keeps the last one of each key.
    async fn at_cleanup(&self, admin: &dyn Admin) -> Result<(), Found> {
        let topic = &self.write.topic;
        let policy = match answered(CHECKED_WITHIN, new_topic::config(admin, topic, CLEANUP_POLICY)).await {
            Ok(policy) => policy.unwrap_or_default(),
            // Who may write a topic may not always be told of its configuration.
            Err(KafkaError::Denied { .. }) => return Ok(()),
            Err(error) => return Err(self.found(&format!("be asked for '{CLEANUP_POLICY}' of topic '{topic}'"), error)),
        };
        if policy.split(',').any(|part| part.trim() == "compact") {
            let advice = "name the columns of the key in 'key.fields', and 'key.format'";
            let reason = format!(
                "option 'topic': topic '{topic}' is compacted ('{CLEANUP_POLICY}' = '{policy}'), and takes no records without a key: {advice}"
            );
            return Err(Found::Fault(self.refused(reason)));
        }
        Ok(())
    }

    /// Finds the topic for progress, or creates it.
    async fn at_progress(&self, admin: &dyn Admin) -> Result<(), Found> {
        let topic = &self.write.progress_topic;
        let asked = format!("be asked for 'sink.progress-topic' '{topic}', or create it");
        match timeout(CHECKED_WITHIN, progress::ensure_topic(admin, topic, &self.write.topic)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unread::Client(error))) => Err(self.found(&asked, error)),
            Ok(Err(Unread::Unfit(reason))) => Err(Found::Fault(self.refused(reason))),
            Ok(Err(Unread::Late(reason))) => Err(self.found(&asked, KafkaError::Unavailable { reason })),
            Err(_) => {
                let reason = format!("there was no answer within {} s", CHECKED_WITHIN.as_secs());
                Err(self.found(&asked, KafkaError::Unavailable { reason }))
            }
        }
    }

    /// Takes a transactional id beside that of the sink: whether the client may, and whether transactions may last so long, only
    /// the brokers know. The sink's own is not touched: a committer may have it.
    async fn at_transactions(&self) -> Result<(), Found> {
        let nobody = CommitterIdentity {
            cluster: ClusterId("check".to_owned()),
            job: JobId(0),
            sink: OperatorIdentity(0),
            checkpoints: String::new(),
            memory_bytes: 0,
        };
        let transactions: Transactions = self.write.transactions(&nobody, self.write.transaction_timeout);
        let asked = format!(
            "take the transactional id '{}' ('sink.transactional-id-prefix') for transactions of {} s \
             ('sink.transaction-timeout')",
            transactions.id,
            self.write.transaction_timeout.as_secs()
        );
        let producer = self.kafka.transactional(&self.config, &transactions);
        let mut producer = producer.map_err(|error| self.found(&asked, error))?;
        match answered(CHECKED_WITHIN, producer.init()).await {
            // Another job's check was at it.
            Ok(()) | Err(KafkaError::Fenced { .. }) => Ok(()),
            Err(error) => Err(self.found(&asked, error)),
        }
    }

    fn found(&self, asked: &str, error: KafkaError) -> Found {
        let at = format!("'properties.bootstrap.servers' = '{}'", self.write.servers);
        let is_silence = is_passing(&error);
        let refused = match error {
            KafkaError::Config { reason } => self.refused(of_client(&reason)),
            KafkaError::Denied { reason } => {
                let see = "'properties.security.protocol' and 'properties.sasl.*' say who asks, and how";
                self.refused(format!("{at} does not let it {asked}: {reason}: {see}"))
            }
            KafkaError::Unavailable { reason } | KafkaError::Broken { reason } | KafkaError::Refused { reason } => {
                self.refused(format!("{at} cannot {asked}: {reason}"))
            }
            other @ (KafkaError::NoTopic { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Fenced { .. }
            | KafkaError::Aborted { .. }) => {
                failed(&self.write.table, format!("{asked} at {}", self.write.servers), other)
            }
        };
        if is_silence { Found::Silence(refused) } else { Found::Fault(refused) }
    }

    fn refused(&self, reason: String) -> ConnectorError {
        ConnectorError::Config { table: self.write.table.clone(), reason }
    }
}
