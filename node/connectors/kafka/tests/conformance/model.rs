//! The model, under a clock that is paused.

use async_trait::async_trait;
use thalweg_kafka::{
    ClientConfig, Kafka, KafkaError, TopicPartition,
    model::{ADDRESS, ModelKafka},
    testing::{
        seams::seams,
        suite::{Check, Harness, checks, checks_of_several, run},
    },
};

struct Model(ModelKafka);

#[async_trait]
impl Harness for Model {
    fn kafka(&self) -> &dyn Kafka {
        &self.0
    }

    fn config(&self) -> ClientConfig {
        let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
        ClientConfig { properties, queue_bytes: 8 << 20, token: None }
    }

    async fn delete_topic(&self, name: &str) -> Result<(), KafkaError> {
        self.0.delete_topic(name);
        Ok(())
    }

    async fn delete_records(&self, of: &TopicPartition, before: i64) -> Result<(), KafkaError> {
        self.0.delete_records(of, before)
    }

    async fn change_leader(&self, of: &TopicPartition) -> Result<(), KafkaError> {
        self.0.elect_leader(of)
    }
}

fn all_checks() -> Vec<Check> {
    [checks(), checks_of_several()].concat()
}

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_suite() {
    let model = Model(ModelKafka::new(&seams()));
    let mut failed = Vec::new();
    for check in all_checks() {
        failed.extend(run(&check, &model).await.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_suite_where_marks_are_late() {
    let model = Model(ModelKafka::new(&seams()));
    model.0.delay_marks(std::time::Duration::from_millis(150));
    let mut failed = Vec::new();
    for check in all_checks() {
        failed.extend(run(&check, &model).await.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
