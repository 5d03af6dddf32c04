//! A client of one stream of the model.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    ENDPOINT,
    faults::{Call, Caller},
    iterator::Iterator,
    shard::{Now, Slice},
    shared::{Line, Shared, Spoilt, State},
    stream::arn_of,
    subscription::ModelSubscription,
};
use crate::{
    ClientConfig, Consumer, ConsumerStatus, GET_RECORDS_MAX, KinesisError, NewRecord, Page, Put, PutFailed,
    RECORD_BYTES_MAX, Shard, ShardFilter, ShardId, ShardIterator, Start, Stream, StreamDescription, StreamName,
    Subscription, checks::check_put, put_bytes,
};

pub(super) struct ModelStream {
    shared: Arc<Shared>,
    line: Line,
    stream: String,
}

impl ModelStream {
    pub(super) fn new(shared: Arc<Shared>, caller: Caller, config: &ClientConfig) -> Result<Self, KinesisError> {
        config.check()?;
        let elsewhere = config.endpoint.clone().filter(|endpoint| endpoint.trim_end_matches('/') != ENDPOINT);
        let stream = config.stream.name()?.to_owned();
        if let StreamName::Arn(arn) = &config.stream
            && *arn != arn_of(&stream)
        {
            let reason = format!("'{arn}' is of another account or region than the model's, {}", arn_of(&stream));
            return Err(KinesisError::Config { reason });
        }
        let line = Line { caller, elsewhere, limit: Duration::from_millis(config.timeout_ms) };
        Ok(Self { shared, line, stream })
    }

    fn page(&self, state: &mut State, iterator: &ShardIterator, limit: usize, now: Now) -> Result<Page, KinesisError> {
        let read = Iterator::read(iterator, state, now)?;
        let (limits, throttled, empty) = (state.limits, state.faults.throttled_percent, state.faults.empty_percent);
        let stream = state.service.stream_mut(&read.stream)?;
        if stream.created.monotonic_ms != read.created_ms {
            return Err(KinesisError::NoStream { stream: read.stream });
        }
        let shard = stream.shard_mut(&read.shard)?;
        if self.shared.chance(throttled) || !shard.take_get(&limits, now) {
            let reason = format!("{} of {} has no throughput left for reading", read.shard, self.stream);
            return Err(KinesisError::Throttled { reason });
        }
        let mut slice = shard.read_answer(read.after, limit, now);
        if !slice.records.is_empty() && self.shared.chance(empty) {
            slice = Slice { records: Vec::new(), after: read.after, behind_ms: slice.behind_ms.max(1), is_end: false };
        }
        shard.count_get(&slice.records);
        let children = if slice.is_end { shard.children.clone() } else { Vec::new() };
        let next =
            Iterator { after: slice.after, made_ms: now.monotonic_ms, made_since: state.iterators_made_since, ..read };
        let next = (!slice.is_end).then(|| next.write());
        Ok(Page { records: slice.records, next, behind_ms: Some(slice.behind_ms), children })
    }

    fn put(&self, state: &mut State, record: &NewRecord, now: Now) -> Result<Put, PutFailed> {
        if self.shared.chance(state.faults.throttled_percent) {
            return Err(PutFailed::Throttled { reason: format!("a shard of {} has no throughput left", self.stream) });
        }
        let limits = state.limits;
        let stream = state.service.stream_mut(&self.stream);
        let stream = stream.map_err(|error| PutFailed::Failed { reason: error.to_string() })?;
        stream.put(record, &limits, now)
    }
}

#[async_trait]
impl Stream for ModelStream {
    async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        let described = |state: &mut State, _, _| Ok(state.service.stream(&self.stream)?.described());
        self.shared.ask(&self.line, Call::Describe, described).await
    }

    async fn shards(&self, filter: &ShardFilter) -> Result<Vec<Shard>, KinesisError> {
        let shards = |state: &mut State, _, _| Ok(state.service.stream(&self.stream)?.shards(filter));
        self.shared.ask(&self.line, Call::Shards, shards).await
    }

    async fn iterator(&self, shard: &ShardId, start: &Start) -> Result<ShardIterator, KinesisError> {
        let iterator = |state: &mut State, now: Now, _| {
            let limits = state.limits;
            let stream = state.service.stream_mut(&self.stream)?;
            let (newest, created) = (stream.newest, stream.created);
            let of = stream.shard_mut(shard)?;
            if !of.take_iterator(&limits, now) {
                let reason = format!("{shard} of {} gives no more iterators this second", self.stream);
                return Err(KinesisError::Throttled { reason });
            }
            let iterator = Iterator {
                stream: self.stream.clone(),
                created_ms: created.monotonic_ms,
                shard: shard.clone(),
                after: of.place(start, newest)?,
                made_ms: now.monotonic_ms,
                made_since: state.iterators_made_since,
            };
            Ok(iterator.write())
        };
        self.shared.ask(&self.line, Call::Iterator, iterator).await
    }

    async fn get_records(&self, iterator: &ShardIterator, records_max: usize) -> Result<Page, KinesisError> {
        let limit = records_max.clamp(1, GET_RECORDS_MAX);
        let page = |state: &mut State, now: Now, _| self.page(state, iterator, limit, now);
        self.shared.ask(&self.line, Call::GetRecords, page).await
    }

    async fn register_consumer(&self, name: &str) -> Result<Consumer, KinesisError> {
        let register = |state: &mut State, now: Now, _| {
            let consumer = state.service.stream_mut(&self.stream)?.register(name, now)?;
            state.service.touch();
            Ok(consumer)
        };
        self.shared.ask(&self.line, Call::RegisterConsumer, register).await
    }

    async fn consumer(&self, name: &str) -> Result<Option<Consumer>, KinesisError> {
        let consumer = |state: &mut State, now: Now, _| Ok(state.service.stream(&self.stream)?.consumer(name, now));
        self.shared.ask(&self.line, Call::Consumer, consumer).await
    }

    async fn deregister_consumer(&self, name: &str) -> Result<bool, KinesisError> {
        let deregister = |state: &mut State, _, _| {
            let arn = state.service.stream_mut(&self.stream)?.deregister(name);
            if let Some(arn) = &arn {
                state.service.forget_consumer(arn);
                state.service.touch();
            }
            Ok(arn.is_some())
        };
        self.shared.ask(&self.line, Call::DeregisterConsumer, deregister).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        start: &Start,
    ) -> Result<Box<dyn Subscription>, KinesisError> {
        let subscribe = |state: &mut State, now: Now, _| {
            let stream = state.service.stream(&self.stream)?;
            let Some(consumer) = stream.consumer_of(consumer_arn, now) else {
                return Err(KinesisError::NoConsumer { consumer: consumer_arn.to_owned() });
            };
            match consumer.status {
                ConsumerStatus::Active => {}
                ConsumerStatus::Creating | ConsumerStatus::Deleting => {
                    return Err(KinesisError::Busy {
                        reason: format!("the consumer '{}' is not active", consumer.name),
                    });
                }
            }
            let after = stream.shard(shard)?.place(start, stream.newest)?;
            let ticket = state.service.subscribe(consumer_arn, shard, now)?;
            state.service.touch();
            Ok((ticket, after))
        };
        let (ticket, after) = self.shared.ask(&self.line, Call::Subscribe, subscribe).await?;
        let subscription =
            ModelSubscription::new(self.shared.clone(), self.line.clone(), self.stream.clone(), ticket, after);
        Ok(Box::new(subscription))
    }

    async fn put_records(&self, records: &[NewRecord]) -> Result<Vec<Result<Put, PutFailed>>, KinesisError> {
        check_put(records)?;
        if let Some(bytes) = records.iter().map(put_bytes).find(|bytes| *bytes > RECORD_BYTES_MAX) {
            let reason = format!("a record of {bytes} bytes is too large: the stream takes {RECORD_BYTES_MAX}");
            return Err(KinesisError::Refused { reason });
        }
        let put = |state: &mut State, now: Now, spoilt: Spoilt| {
            state.service.stream(&self.stream)?;
            let order =
                if state.faults.shuffle { self.shared.shuffled(records.len()) } else { (0..records.len()).collect() };
            let mut results: Vec<Result<Put, PutFailed>> =
                vec![Err(PutFailed::Failed { reason: "not tried".to_owned() }); records.len()];
            for at in order {
                let spoilt = spoilt.records.as_ref().filter(|(places, _)| places.contains(&at));
                results[at] = match spoilt {
                    Some((_, how)) => Err(how.clone()),
                    None => self.put(state, &records[at], now),
                };
            }
            state.service.touch();
            Ok(results)
        };
        self.shared.ask(&self.line, Call::PutRecords, put).await
    }
}
