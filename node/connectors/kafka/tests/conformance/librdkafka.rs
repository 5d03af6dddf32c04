//! librdkafka, with a broker of Apache Kafka.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use thalweg_kafka::{
    ClientConfig, Kafka, KafkaError, TopicPartition,
    librdkafka::RdKafka,
    testing::{
        apache::Broker,
        seams::seams,
        suite::{Check, Harness, checks, run},
    },
};

/// Most checks wait more than they do.
const AT_ONCE: usize = 4;

struct Apache {
    kafka: RdKafka,
    address: String,
    admin: AdminClient<DefaultClientContext>,
}

#[async_trait]
impl Harness for Apache {
    fn kafka(&self) -> &dyn Kafka {
        &self.kafka
    }

    fn config(&self) -> ClientConfig {
        let properties = [("bootstrap.servers".to_owned(), self.address.clone())].into();
        ClientConfig { properties, queue_bytes: 8 << 20, token: None }
    }

    async fn delete_topic(&self, name: &str) -> Result<(), KafkaError> {
        let deleted = self.admin.delete_topics(&[name], &AdminOptions::new()).await;
        let deleted = deleted.map_err(|error| error.to_string());
        failed(deleted.and_then(|mut topics| topics.remove(0).map_err(|(_, code)| code.to_string())))
    }

    async fn delete_records(&self, of: &TopicPartition, before: i64) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(&of.topic, of.partition, Offset::Offset(before));
        failed(added.map_err(|error| error.to_string()))?;
        let deleted = self.admin.delete_records(&list, &AdminOptions::new()).await;
        failed(deleted.map_err(|error| error.to_string()))
    }
}

fn failed<T>(result: Result<T, String>) -> Result<(), KafkaError> {
    result.map(drop).map_err(|reason| KafkaError::Broken { reason })
}

#[tokio::test]
async fn librdkafka_with_apache_kafka_passes_the_suite() {
    let Some(broker) = Broker::start() else { return };
    let admin = rdkafka::ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("a client");
    let apache = Arc::new(Apache { kafka: RdKafka::new(&seams()), address: broker.address(), admin });
    let run_one = async |check: Check| run(&check, apache.as_ref()).await.err();
    let failed: Vec<_> = stream::iter(checks()).map(run_one).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().map(|error| error.to_string()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
