//! Holds Kafka against the recorded checkpoints during a run: what readers of committed records see, and what a group is
//! told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use thalweg_kafka::TopicPartition;
use thalweg_types::checkpoint::Manifest;

use super::brokers::SimulatedKafka;

/// What has been seen of Kafka.
pub(in crate::simulation) struct Witness {
    kafka: SimulatedKafka,
    /// The group that jobs tell their positions.
    group: Option<String>,
    /// Whether records go as soon as a checkpoint is behind them.
    is_forgetful: bool,
    /// The brokers' revision at the last look.
    revision: u64,
    /// The highest position of each partition in a complete checkpoint.
    positions: BTreeMap<TopicPartition, i64>,
}

impl Witness {
    pub(in crate::simulation) fn new(kafka: SimulatedKafka, group: Option<String>, is_forgetful: bool) -> Self {
        Self { kafka, group, is_forgetful, revision: 0, positions: BTreeMap::new() }
    }

    /// Takes the manifest of a recorded checkpoint.
    ///
    /// # Errors
    /// If the brokers lack one of its partitions.
    pub(in crate::simulation) fn learn(&mut self, manifest: &Manifest) -> Result<()> {
        let splits = manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref()).flat_map(|of| &of.splits);
        for (of, offset) in splits.filter_map(|progress| position(&progress.split.payload)) {
            if self.is_forgetful {
                self.kafka.model.delete_records(&of, offset).with_context(|| format!("{of} is in a checkpoint"))?;
            }
            let known = self.positions.entry(of).or_insert(offset);
            *known = offset.max(*known);
        }
        Ok(())
    }

    /// Looks at what has changed.
    ///
    /// # Errors
    /// If a group was told of records that no complete checkpoint is behind.
    pub(in crate::simulation) fn look(&mut self) -> Result<()> {
        let revision = self.kafka.model.revision();
        if self.revision == revision {
            return Ok(());
        }
        self.revision = revision;
        for (of, offset) in self.group.iter().flat_map(|group| self.kafka.model.group_offsets_now(group)) {
            let known = self.positions.get(&of).copied().unwrap_or_default();
            ensure!(offset <= known, "the group has offset {offset} of {of}; complete checkpoints are at {known}");
        }
        Ok(())
    }
}

/// The partition of a split, and the first offset that was not read.
fn position(payload: &Value) -> Option<(TopicPartition, i64)> {
    let topic = payload.get("topic")?.as_str()?;
    let partition = i32::try_from(payload.get("partition")?.as_i64()?).ok()?;
    Some((TopicPartition { topic: topic.into(), partition }, payload.get("offset")?.as_i64()?))
}
