//! The way from one process to the streams.

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_kinesis::{
    ClientConfig, Consumer, Kinesis, KinesisError, NewRecord, Page, Put, PutFailed, Shard, ShardFilter, ShardId,
    ShardIterator, Start, Stream, StreamDescription, Subscription, model::ModelKinesis,
};
use tokio::time::sleep;

use super::service::SimulatedKinesis;

/// Kinesis as a process reaches it.
#[derive(Debug)]
pub(in crate::simulation) struct Link {
    kinesis: SimulatedKinesis,
    model: ModelKinesis,
    host: Arc<str>,
}

impl Link {
    pub(in crate::simulation) fn new(kinesis: SimulatedKinesis, host: &str) -> Self {
        Self { model: kinesis.model.called_by(host), kinesis, host: host.into() }
    }
}

impl Kinesis for Link {
    fn stream(&self, config: &ClientConfig) -> Result<Arc<dyn Stream>, KinesisError> {
        let stream = self.model.stream(config)?;
        Ok(Arc::new(LinkedStream { kinesis: self.kinesis.clone(), host: self.host.clone(), stream }))
    }
}

struct LinkedStream {
    kinesis: SimulatedKinesis,
    host: Arc<str>,
    stream: Arc<dyn Stream>,
}

impl LinkedStream {
    async fn ask<T>(
        &self,
        call: String,
        question: impl Future<Output = Result<T, KinesisError>>,
        told: impl Fn(&T) -> String,
    ) -> Result<T, KinesisError> {
        let [before, after] = self.kinesis.delays();
        sleep(before).await;
        let answer = question.await;
        let outcome = match &answer {
            Ok(answer) => told(answer),
            Err(error) => error.to_string(),
        };
        self.kinesis.journal.detail(&format!("kinesis: {}: {call}: {outcome}", self.host));
        sleep(after).await;
        answer
    }
}

fn well<T>(_: &T) -> String {
    "well".to_owned()
}

#[async_trait]
impl Stream for LinkedStream {
    async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        self.ask("what is it".to_owned(), self.stream.describe(), well).await
    }

    async fn shards(&self, filter: &ShardFilter) -> Result<Vec<Shard>, KinesisError> {
        self.ask("shards".to_owned(), self.stream.shards(filter), |shards| shards.len().to_string()).await
    }

    async fn iterator(&self, shard: &ShardId, start: &Start) -> Result<ShardIterator, KinesisError> {
        self.ask(format!("{shard} from {start:?}"), self.stream.iterator(shard, start), well).await
    }

    async fn get_records(&self, iterator: &ShardIterator, records_max: usize) -> Result<Page, KinesisError> {
        let read = |page: &Page| format!("{} records, end: {}", page.records.len(), page.next.is_none());
        let shard = format!("reads {}", iterator.shard);
        self.ask(shard, self.stream.get_records(iterator, records_max), read).await
    }

    async fn register_consumer(&self, name: &str) -> Result<Consumer, KinesisError> {
        self.ask(format!("registers {name}"), self.stream.register_consumer(name), well).await
    }

    async fn consumer(&self, name: &str) -> Result<Option<Consumer>, KinesisError> {
        self.ask(format!("consumer {name}"), self.stream.consumer(name), well).await
    }

    async fn deregister_consumer(&self, name: &str) -> Result<bool, KinesisError> {
        self.ask(format!("deregisters {name}"), self.stream.deregister_consumer(name), well).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        start: &Start,
    ) -> Result<Box<dyn Subscription>, KinesisError> {
        let subscribed = self.stream.subscribe(consumer_arn, shard, start);
        self.ask(format!("subscribes to {shard} from {start:?}"), subscribed, well).await
    }

    async fn put_records(&self, records: &[NewRecord]) -> Result<Vec<Result<Put, PutFailed>>, KinesisError> {
        let put = |put: &Vec<Result<Put, PutFailed>>| {
            format!("{} of {} are written", put.iter().filter(|put| put.is_ok()).count(), put.len())
        };
        self.ask("puts".to_owned(), self.stream.put_records(records), put).await
    }
}
