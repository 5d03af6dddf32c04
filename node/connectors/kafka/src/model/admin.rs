//! Asks the cluster about topics, offsets and groups.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::{
    cluster::Now,
    faults::Call,
    shared::{Limits, Shared, State},
};
use crate::{Admin, Isolation, KafkaError, NewTopic, OffsetAt, Topic, TopicPartition, Wanted};

pub(super) struct ModelAdmin {
    shared: Arc<Shared>,
    limits: Limits,
}

impl ModelAdmin {
    pub(super) fn new(shared: Arc<Shared>, limits: Limits) -> Self {
        Self { shared, limits }
    }

    async fn ask<T>(
        &self,
        call: Call,
        mut effect: impl FnMut(&mut State, Now) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        self.shared.ask(call, &self.limits, self.limits.answer, |state, now| Some(effect(state, now))).await
    }
}

#[async_trait]
impl Admin for ModelAdmin {
    async fn topics(&self, wanted: &Wanted) -> Result<Vec<Topic>, KafkaError> {
        let is_wanted = |topic: &Topic| match wanted {
            Wanted::Named(names) => names.contains(&topic.name),
            Wanted::All => true,
        };
        self.ask(Call::Topics, |state, _| {
            let mut topics: Vec<Topic> = state.cluster.topics().filter(is_wanted).collect();
            for topic in &mut topics {
                let of_it = state.faults.leaderless.keys().filter(|of| *of.topic == *topic.name);
                topic.leaderless = of_it.map(|of| of.partition).collect();
            }
            Ok(topics)
        })
        .await
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let ask = Call::Offsets;
        self.shared
            .ask(ask, &self.limits, self.limits.answer, |state, _| {
                if partitions.iter().any(|of| state.faults.leaderless.contains_key(of)) {
                    return None;
                }
                let offsets = partitions.iter().map(|of| Ok((of.clone(), state.cluster.offset_at(of, at, isolation)?)));
                Some(offsets.collect())
            })
            .await
    }

    async fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        self.ask(Call::GroupOffsets, |state, _| {
            let mut offsets = state.cluster.group_offsets(group);
            offsets.retain(|of, _| partitions.contains(of));
            Ok(offsets)
        })
        .await
    }

    async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        self.ask(Call::CommitGroupOffsets, |state, _| state.cluster.commit_group_offsets(group, offsets)).await
    }

    async fn create_topic(&self, topic: &NewTopic) -> Result<bool, KafkaError> {
        let id = self.shared.new_topic_id();
        self.ask(Call::CreateTopic, |state, _| state.cluster.create_topic(topic, id)).await
    }

    async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, KafkaError> {
        self.ask(Call::TopicConfig, |state, _| state.cluster.topic_config(topic, key)).await
    }
}
