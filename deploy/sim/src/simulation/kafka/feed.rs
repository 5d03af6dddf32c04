//! The simulation's own producer. What it writes is known in advance, so that the output of a job that reads it can be
//! checked.

use std::time::Duration;

use anyhow::{Context as _, Result};
use thalweg_kafka::{
    ClientConfig, Kafka as _, NewRecord, NewTopic, Producer, TransactionalProducer, Transactions, model::ADDRESS,
};

use super::{brokers::SimulatedKafka, names::PRODUCER};

/// Longer than any of its transactions is open, whatever is wrong with the brokers.
const TRANSACTION_TIMEOUT_MS: u64 = 60_000;
const QUEUE_BYTES: u64 = 1 << 20;

/// What is in topics, and what comes into them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feed {
    /// The topics that are there when the job is submitted.
    pub topics: Vec<NewTopic>,
    /// What is done before that, in order.
    pub before: Vec<Step>,
    /// What is done later, in order, each with its time after the submission.
    pub during: Vec<(Duration, Step)>,
}

/// What the producer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes records without a transaction.
    Send(Vec<NewRecord>),
    /// Writes records in a new transaction, which stays open.
    Begin(Vec<NewRecord>),
    /// Ends the open transaction.
    End { commit: bool },
    /// Adds partitions to a topic, until it has so many.
    Grow { topic: String, partitions: i32 },
}

/// Carries out a feed. Brokers that are away are waited for.
pub(in crate::simulation) struct Feeder {
    kafka: SimulatedKafka,
    plain: Box<dyn Producer>,
    transactional: Box<dyn TransactionalProducer>,
}

impl Feeder {
    /// Creates the topics, and writes what is in them before a job is submitted.
    pub(in crate::simulation) async fn begin(kafka: &SimulatedKafka, feed: &Feed) -> Result<Self> {
        let mut config = ClientConfig { queue_bytes: QUEUE_BYTES, ..ClientConfig::default() };
        config.properties.insert("bootstrap.servers".to_owned(), ADDRESS.to_owned());
        config.properties.insert("client.id".to_owned(), PRODUCER.to_owned());
        let admin = kafka.model.admin(&config)?;
        for topic in &feed.topics {
            admin.create_topic(topic).await.with_context(|| format!("topic {} was not created", topic.name))?;
        }
        let transactions = Transactions { id: PRODUCER.to_owned(), timeout_ms: TRANSACTION_TIMEOUT_MS };
        let mut transactional = kafka.model.transactional(&config, &transactions)?;
        transactional.init().await?;
        let mut feeder = Self { kafka: kafka.clone(), plain: kafka.model.producer(&config)?, transactional };
        for step in &feed.before {
            feeder.take(step).await?;
        }
        Ok(feeder)
    }

    /// Writes the rest, in time after the submission.
    pub(in crate::simulation) async fn go_on(mut self, feed: &Feed, submitted_at: Duration) -> Result<()> {
        for (after, step) in &feed.during {
            let now = turmoil::sim_elapsed().context("this runs in a simulation")?;
            tokio::time::sleep((submitted_at + *after).saturating_sub(now)).await;
            self.take(step).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<()> {
        let what = match step {
            Step::Send(records) => {
                self.plain.send(records.clone()).await?;
                self.plain.flush().await?;
                format!("{} records", records.len())
            }
            Step::Begin(records) => {
                self.transactional.begin().await?;
                self.transactional.send(records.clone()).await?;
                self.transactional.flush().await?;
                format!("{} records in a transaction", records.len())
            }
            Step::End { commit: true } => {
                self.transactional.commit().await?;
                "the transaction is committed".to_owned()
            }
            Step::End { commit: false } => {
                self.transactional.abort().await?;
                "the transaction is aborted".to_owned()
            }
            Step::Grow { topic, partitions } => {
                self.kafka.model.grow_topic(topic, *partitions)?;
                self.kafka.journal.say(format!("{topic} has {partitions} partitions"));
                return Ok(());
            }
        };
        self.kafka.journal.detail(&format!("kafka: {PRODUCER}: {what}"));
        Ok(())
    }
}
