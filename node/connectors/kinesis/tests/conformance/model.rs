//! The model, under a clock that is paused.

use async_trait::async_trait;
use thalweg_kinesis::{
    ClientConfig, Kinesis, KinesisError, ShardId, StreamName,
    model::{Limits, ModelKinesis},
    testing::{
        seams::seams,
        suite::{Harness, checks, run},
    },
};

struct Model(ModelKinesis);

#[async_trait]
impl Harness for Model {
    fn kinesis(&self) -> &dyn Kinesis {
        &self.0
    }

    fn config(&self, stream: &str) -> ClientConfig {
        ClientConfig::new(StreamName::Name(stream.to_owned()))
    }

    async fn create_stream(&self, name: &str, shards: u32) -> Result<(), KinesisError> {
        self.0.create_stream(name, shards)
    }

    async fn delete_stream(&self, name: &str) -> Result<(), KinesisError> {
        self.0.delete_stream(name);
        Ok(())
    }

    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), KinesisError> {
        self.0.split(stream, shard, at).map(drop)
    }

    async fn merge(&self, stream: &str, one: &ShardId, other: &ShardId) -> Result<(), KinesisError> {
        self.0.merge(stream, one, other).map(drop)
    }
}

async fn failed(model: &Model) -> Vec<String> {
    let mut failed = Vec::new();
    for check in checks() {
        failed.extend(run(&check, model).await.err().map(|error| error.to_string()));
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_suite() {
    let failed = failed(&Model(ModelKinesis::new(&seams()))).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_suite_without_limits() {
    let model = ModelKinesis::new(&seams());
    model.limit(Limits::NONE);
    let failed = failed(&Model(model)).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_suite_throttled_half_of_the_time() {
    let model = ModelKinesis::new(&seams());
    model.throttle(50);
    let failed = failed(&Model(model)).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
