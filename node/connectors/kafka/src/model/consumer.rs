//! Reads partitions of the cluster.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    cluster::Now,
    faults::Call,
    shared::{Limits, Shared},
};
use crate::{Consumer, Fetched, Isolation, KafkaError, PartitionReader, Position, TopicPartition};

/// How long a client tells of what went wrong, as librdkafka's does here.
const TROUBLE_MS: u64 = 45_000;

pub(super) struct ModelConsumer {
    shared: Arc<Shared>,
    limits: Limits,
    isolation: Isolation,
    reading: Reading,
}

/// The partitions that a consumer reads.
type Reading = Arc<Mutex<BTreeSet<TopicPartition>>>;

impl ModelConsumer {
    pub(super) fn new(shared: Arc<Shared>, limits: Limits, isolation: Isolation) -> Self {
        Self { shared, limits, isolation, reading: Reading::default() }
    }
}

#[async_trait]
impl Consumer for ModelConsumer {
    async fn read_from(
        &self,
        partition: &TopicPartition,
        from: Position,
    ) -> Result<Box<dyn PartitionReader>, KafkaError> {
        if !self.reading.lock().insert(partition.clone()) {
            return Err(KafkaError::Broken { reason: format!("{partition} has a reader already") });
        }
        Ok(Box::new(ModelReader {
            shared: self.shared.clone(),
            limits: self.limits.clone(),
            isolation: self.isolation,
            reading: self.reading.clone(),
            partition: partition.clone(),
            position: from,
            end_told: None,
        }))
    }
}

struct ModelReader {
    shared: Arc<Shared>,
    limits: Limits,
    isolation: Isolation,
    reading: Reading,
    partition: TopicPartition,
    position: Position,
    /// The end of which the caller was told last.
    end_told: Option<i64>,
}

#[async_trait]
impl PartitionReader for ModelReader {
    async fn next(&mut self, records_max: usize) -> Result<Fetched, KafkaError> {
        // An answer that is lost is asked for again.
        self.shared.begin(&self.limits, Call::Fetch).await?;
        let Self { shared, limits, isolation, partition, position, end_told, .. } = self;
        shared
            .until(|state, _| {
                if limits.is_away(state) || state.faults.leaderless.contains_key(partition) {
                    return None;
                }
                let slice = match state.cluster.read(partition, *position, records_max.max(1), *isolation) {
                    Ok(slice) => slice,
                    Err(error) => return Some(Err(error)),
                };
                if let Some(last) = slice.records.last() {
                    *position = Position { offset: last.offset + 1, leader_epoch: last.leader_epoch };
                    return Some(Ok(Fetched::Records(slice.records)));
                }
                let leader_epoch = slice.leader_epoch.or(position.leader_epoch);
                *position = Position { offset: slice.next, leader_epoch };
                let is_new_end = slice.next >= slice.end && *end_told != Some(slice.next);
                is_new_end.then(|| {
                    *end_told = Some(slice.next);
                    Ok(Fetched::CaughtUp)
                })
            })
            .await
    }

    fn position(&self) -> i64 {
        self.position.offset
    }

    fn trouble(&self) -> Option<String> {
        self.shared.with(|state, now| {
            // What went wrong with a connection is told for a while, to readers of all partitions. Where there is no leader, no
            // connection is tried.
            let is_new = |lost: &Now| now.monotonic_ms < lost.monotonic_ms.saturating_add(TROUBLE_MS);
            let has_lost = state.faults.leaderless.values().any(is_new);
            let told = || has_lost.then(|| "a broker has closed the connection".to_owned());
            self.limits.trouble(state).or_else(told)
        })
    }
}

impl Drop for ModelReader {
    fn drop(&mut self) {
        self.reading.lock().remove(&self.partition);
    }
}
