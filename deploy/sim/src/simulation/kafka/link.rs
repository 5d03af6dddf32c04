//! The way from one process to the brokers.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use thalweg_kafka::{
    Admin, ClientConfig, Consumer, Fetched, Isolation, Kafka, KafkaError, NewTopic, OffsetAt, PartitionReader,
    Position, Producer, Topic, TopicPartition, TransactionalProducer, Transactions, Wanted, model::Call,
};
use tokio::time::Instant;

use super::{
    brokers::{STRUCK_WITHIN, SimulatedKafka},
    couriers::Courier,
    outcome::outcome,
};

/// The clients of one process.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Link {
    kafka: SimulatedKafka,
    host: Arc<str>,
}

impl Link {
    pub(in crate::simulation) fn new(kafka: SimulatedKafka, host: &str) -> Self {
        Self { kafka, host: host.into() }
    }

    /// The same client, known to the brokers by its host.
    fn of_host(&self, config: &ClientConfig) -> ClientConfig {
        let mut config = config.clone();
        config.properties.insert("client.id".to_owned(), self.host.to_string());
        config
    }
}

impl Kafka for Link {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        let admin = self.kafka.model.admin(&self.of_host(config))?;
        Ok(Arc::new(LinkedAdmin { link: self.clone(), client: self.kafka.new_client(), admin }))
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        let consumer = self.kafka.model.consumer(&self.of_host(config), isolation)?;
        Ok(Arc::new(LinkedConsumer { link: self.clone(), consumer }))
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
        let producer = self.kafka.model.producer(&self.of_host(config))?;
        Ok(Box::new(Courier::new(&self.kafka, &self.host, "a producer", producer)))
    }

    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError> {
        let producer = self.kafka.model.transactional(&self.of_host(config), transactions)?;
        Ok(Box::new(Courier::new(&self.kafka, &self.host, &transactions.id, producer)))
    }
}

struct LinkedAdmin {
    link: Link,
    client: u64,
    admin: Arc<dyn Admin>,
}

impl LinkedAdmin {
    /// Asks the brokers. A sender that is struck has not asked yet.
    async fn ask<T>(&self, call: Call, question: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
        let Link { kafka, host } = &self.link;
        let passage = kafka.draw(host, call);
        if passage.struck.is_some() {
            tokio::time::sleep(STRUCK_WITHIN).await;
        }
        tokio::time::sleep(passage.delay).await;
        kafka.give_way(self.client, call).await;
        if let Some(fault) = passage.fault {
            kafka.model.fault_of(host, call, fault);
        }
        let answer = question.await;
        kafka.journal.detail(&format!("kafka: {host}: {call:?}: {}", outcome(&answer)));
        answer
    }
}

#[async_trait]
impl Admin for LinkedAdmin {
    async fn topics(&self, wanted: &Wanted) -> Result<Vec<Topic>, KafkaError> {
        self.ask(Call::Topics, self.admin.topics(wanted)).await
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        self.ask(Call::Offsets, self.admin.offsets(partitions, at, isolation)).await
    }

    async fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        self.ask(Call::GroupOffsets, self.admin.group_offsets(group, partitions)).await
    }

    async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        self.ask(Call::CommitGroupOffsets, self.admin.commit_group_offsets(group, offsets)).await
    }

    async fn create_topic(&self, topic: &NewTopic) -> Result<bool, KafkaError> {
        self.ask(Call::CreateTopic, self.admin.create_topic(topic)).await
    }

    async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, KafkaError> {
        self.ask(Call::TopicConfig, self.admin.topic_config(topic, key)).await
    }
}

struct LinkedConsumer {
    link: Link,
    consumer: Arc<dyn Consumer>,
}

#[async_trait]
impl Consumer for LinkedConsumer {
    async fn read_from(
        &self,
        partition: &TopicPartition,
        from: Position,
    ) -> Result<Box<dyn PartitionReader>, KafkaError> {
        let reader = self.consumer.read_from(partition, from).await?;
        let Link { kafka, host } = &self.link;
        kafka.journal.detail(&format!("kafka: {host} reads {partition} from {}", from.offset));
        Ok(Box::new(LinkedReader { link: self.link.clone(), of: partition.clone(), reader, due: None }))
    }
}

struct LinkedReader {
    link: Link,
    of: TopicPartition,
    reader: Box<dyn PartitionReader>,
    /// When the records that are waited for can be here, and how many of them. A call that is cancelled is not begun anew.
    due: Option<(Instant, usize)>,
}

#[async_trait]
impl PartitionReader for LinkedReader {
    #[allow(clippy::disallowed_methods, reason = "tokio's clock is the simulation's here")]
    async fn next(&mut self, records_max: usize) -> Result<Fetched, KafkaError> {
        let Self { link: Link { kafka, host }, of, reader, due } = self;
        let (at, limit) = *due.get_or_insert_with(|| {
            let (delay, limit) = kafka.draw_fetch(&of.topic);
            (Instant::now() + delay, limit)
        });
        tokio::time::sleep_until(at).await;
        let fetched = reader.next(records_max.min(limit)).await;
        *due = None;
        let what = match &fetched {
            Ok(Fetched::Records(records)) => format!("{} records", records.len()),
            Ok(Fetched::CaughtUp) => "all there is".to_owned(),
            Err(error) => error.to_string(),
        };
        kafka.journal.detail(&format!("kafka: {host} reads {of} up to {}: {what}", reader.position()));
        fetched
    }

    fn position(&self) -> i64 {
        self.reader.position()
    }

    fn trouble(&self) -> Option<String> {
        self.reader.trouble()
    }
}
