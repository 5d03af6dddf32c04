//! Calls of the SDK about one stream.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kinesis::{
    Client,
    config::SharedHttpClient,
    primitives::Blob,
    types::{PutRecordsRequestEntry, builders::PutRecordsRequestEntryBuilder},
};
use tokio::sync::OnceCell;

use super::{
    convert::{
        behind_ms, children, consumer, description, filter, iterator_type, put, records, senseless, shard,
        start_number, start_time, starting_position,
    },
    failures::{About, Reached},
    settings,
    subscription::{AwsSubscription, Subscribed},
};
use crate::{
    ClientConfig, Consumer, GET_RECORDS_MAX, KinesisError, NewRecord, Page, Put, PutFailed, Shard, ShardFilter,
    ShardId, ShardIterator, Start, Stream, StreamDescription, StreamName, Subscription, checks::check_put,
};

pub(super) struct AwsStream {
    http: SharedHttpClient,
    reached: Arc<Reached>,
    /// Made when the first call needs it.
    client: OnceCell<Client>,
    /// Asked for when a call needs it, if it is not known from the start.
    arn: OnceCell<String>,
}

impl AwsStream {
    pub(super) fn new(http: SharedHttpClient, config: ClientConfig) -> Self {
        let arn = match &config.stream {
            StreamName::Arn(arn) => OnceCell::new_with(Some(arn.clone())),
            StreamName::Name(_) => OnceCell::new(),
        };
        Self { http, reached: Arc::new(Reached::new(config)), client: OnceCell::new(), arn }
    }

    async fn client(&self) -> Result<&Client, KinesisError> {
        let make = || async {
            let (client, led_to) = Box::pin(settings::client(&self.reached.config, self.http.clone())).await?;
            if let Some(led_to) = led_to {
                self.reached.led_to.get_or_init(|| led_to);
            }
            Ok(client)
        };
        self.client.get_or_try_init(make).await
    }

    /// What calls take to find the stream: its ARN, or else its name.
    fn named(&self) -> (Option<String>, Option<String>) {
        match &self.reached.config.stream {
            StreamName::Arn(arn) => (Some(arn.clone()), None),
            StreamName::Name(name) => (None, Some(name.clone())),
        }
    }

    async fn arn(&self) -> Result<&str, KinesisError> {
        let arn = self.arn.get_or_try_init(|| async { Ok(self.describe().await?.arn) }).await;
        arn.map(String::as_str)
    }

    fn about(&self) -> About<'_> {
        About::stream(&self.reached)
    }
}

#[async_trait]
impl Stream for AwsStream {
    fn led_to(&self) -> Option<String> {
        self.reached.led_to.get().cloned()
    }

    async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        let (arn, name) = self.named();
        let call = self.client().await?.describe_stream_summary().set_stream_arn(arn).set_stream_name(name);
        let answer = call.send().await.map_err(|error| self.about().failure(error))?;
        let of = answer.stream_description_summary;
        description(of.ok_or_else(|| senseless("there is no description of the stream"))?)
    }

    async fn shards(&self, wanted: &ShardFilter) -> Result<Vec<Shard>, KinesisError> {
        let client = self.client().await?;
        let behind = match wanted {
            ShardFilter::After(id) => Some(id.to_string()),
            ShardFilter::All
            | ShardFilter::AtLatest
            | ShardFilter::AtTrimHorizon
            | ShardFilter::FromTrimHorizon
            | ShardFilter::AtTimestamp(_)
            | ShardFilter::FromTimestamp(_) => None,
        };
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let (arn, name) = self.named();
            let call = client.list_shards().set_stream_arn(arn);
            // The token stands for everything else that was asked for.
            let call = match next.take() {
                Some(token) => call.next_token(token),
                None => call
                    .set_stream_name(name)
                    .set_exclusive_start_shard_id(behind.clone())
                    .set_shard_filter(filter(wanted)?),
            };
            let answer = call.send().await.map_err(|error| self.about().failure(error))?;
            for of in answer.shards.unwrap_or_default() {
                found.push(shard(of)?);
            }
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                found.sort_by(|one, other| one.id.cmp(&other.id));
                return Ok(found);
            }
        }
    }

    async fn iterator(&self, of: &ShardId, start: &Start) -> Result<ShardIterator, KinesisError> {
        let (arn, name) = self.named();
        let call = self.client().await?.get_shard_iterator().set_stream_arn(arn).set_stream_name(name);
        let call = call.shard_id(of.as_str()).shard_iterator_type(iterator_type(start));
        let call = call.set_starting_sequence_number(start_number(start)).set_timestamp(start_time(start));
        let has_position = start_number(start).is_some();
        let about = About { has_position, ..About::shard(&self.reached, of) };
        let answer = call.send().await.map_err(|error| about.failure(error))?;
        let token = answer.shard_iterator.ok_or_else(|| senseless("there is no iterator"))?;
        Ok(ShardIterator { shard: of.clone(), token })
    }

    async fn get_records(&self, iterator: &ShardIterator, records_max: usize) -> Result<Page, KinesisError> {
        let limit = i32::try_from(records_max.clamp(1, GET_RECORDS_MAX)).unwrap_or(i32::MAX);
        let call = self.client().await?.get_records().set_stream_arn(self.named().0);
        let call = call.shard_iterator(&iterator.token).limit(limit);
        let about = About::shard(&self.reached, &iterator.shard);
        let answer = call.send().await.map_err(|error| about.failure(error))?;
        let next = answer.next_shard_iterator.filter(|token| !token.is_empty());
        Ok(Page {
            records: records(answer.records)?,
            next: next.map(|token| ShardIterator { shard: iterator.shard.clone(), token }),
            behind_ms: behind_ms(answer.millis_behind_latest),
            children: children(answer.child_shards)?,
        })
    }

    async fn register_consumer(&self, name: &str) -> Result<Consumer, KinesisError> {
        let call = self.client().await?.register_stream_consumer().stream_arn(self.arn().await?).consumer_name(name);
        let answer = call.send().await.map_err(|error| self.about().failure(error))?;
        let of = answer.consumer.ok_or_else(|| senseless("there is no consumer"))?;
        Ok(consumer(of.consumer_name, of.consumer_arn, &of.consumer_status))
    }

    async fn consumer(&self, name: &str) -> Result<Option<Consumer>, KinesisError> {
        let call = self.client().await?.describe_stream_consumer().stream_arn(self.arn().await?).consumer_name(name);
        let about = About::consumer(&self.reached, name);
        match call.send().await.map_err(|error| about.failure(error)) {
            Ok(answer) => {
                let of = answer.consumer_description.ok_or_else(|| senseless("there is no consumer"))?;
                Ok(Some(consumer(of.consumer_name, of.consumer_arn, &of.consumer_status)))
            }
            Err(KinesisError::NoConsumer { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn deregister_consumer(&self, name: &str) -> Result<bool, KinesisError> {
        let call = self.client().await?.deregister_stream_consumer().stream_arn(self.arn().await?).consumer_name(name);
        let about = About::consumer(&self.reached, name);
        match call.send().await.map_err(|error| about.failure(error)) {
            Ok(_) => Ok(true),
            Err(KinesisError::NoConsumer { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        start: &Start,
    ) -> Result<Box<dyn Subscription>, KinesisError> {
        let call = self.client().await?.subscribe_to_shard().consumer_arn(consumer_arn).shard_id(shard.as_str());
        let call = call.starting_position(starting_position(start)?);
        let subscribed = Subscribed {
            reached: self.reached.clone(),
            consumer_arn: consumer_arn.to_owned(),
            shard: shard.clone(),
            has_position: start_number(start).is_some(),
        };
        let answer = call.send().await.map_err(|error| subscribed.about().failure(error))?;
        Ok(Box::new(AwsSubscription::new(answer, subscribed)))
    }

    async fn put_records(&self, records: &[NewRecord]) -> Result<Vec<Result<Put, PutFailed>>, KinesisError> {
        check_put(records)?;
        let entries = records.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let (arn, name) = self.named();
        let call =
            self.client().await?.put_records().set_stream_arn(arn).set_stream_name(name).set_records(Some(entries));
        let answer = call.send().await.map_err(|error| self.about().failure(error))?;
        if answer.records.len() != records.len() {
            let told = answer.records.len();
            return Err(senseless(&format!("it tells of {told} records, and {} were put", records.len())));
        }
        answer.records.into_iter().map(put).collect()
    }
}

fn entry(record: &NewRecord) -> Result<PutRecordsRequestEntry, KinesisError> {
    let builder: PutRecordsRequestEntryBuilder = PutRecordsRequestEntry::builder()
        .data(Blob::new(record.data.to_vec()))
        .partition_key(&record.partition_key)
        .set_explicit_hash_key(record.explicit_hash_key.map(|key| key.to_string()));
    builder.build().map_err(|error| KinesisError::Refused { reason: error.to_string() })
}
