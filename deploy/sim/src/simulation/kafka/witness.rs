//! Holds Kafka against the recorded checkpoints during a run: what readers of committed records see, and what a group is
//! told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use thalweg_kafka::{Isolation, Record, TopicPartition};
use thalweg_types::{CheckpointId, JobId, checkpoint::Manifest};

use super::brokers::SimulatedKafka;

/// The topic in which sinks keep how far they have written, if a table names no other.
const PROGRESS: &str = "thalweg-sink-progress";

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
    /// The newest complete checkpoint of each job; `FINAL` once all has been processed.
    complete: BTreeMap<JobId, CheckpointId>,
    /// Up to where progress was read.
    progress_read: i64,
}

/// Whose progress a record is.
#[derive(Deserialize)]
struct Owner {
    job: JobId,
}

/// How far a sink has written.
#[derive(Deserialize)]
struct Progress {
    epoch: CheckpointId,
}

impl Witness {
    pub(in crate::simulation) fn new(kafka: SimulatedKafka, group: Option<String>, is_forgetful: bool) -> Self {
        Self {
            kafka,
            group,
            is_forgetful,
            revision: 0,
            positions: BTreeMap::new(),
            complete: BTreeMap::new(),
            progress_read: 0,
        }
    }

    /// Takes what is recorded to be complete of a job.
    pub(in crate::simulation) fn learn_complete(&mut self, job: JobId, complete: CheckpointId) {
        let known = self.complete.entry(job).or_insert(complete);
        *known = complete.max(*known);
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
    /// If a group was told of records that no complete checkpoint is behind, or rows of a checkpoint are visible that is not
    /// complete.
    pub(in crate::simulation) fn look(&mut self) -> Result<()> {
        let revision = self.kafka.model.revision();
        if self.revision == revision {
            return Ok(());
        }
        self.revision = revision;
        // Of a job at its end all is complete, and no manifest says up to where.
        let is_at_end = self.complete.values().any(|complete| *complete == CheckpointId::FINAL);
        let group = self.group.iter().filter(|_| !is_at_end);
        for (of, offset) in group.flat_map(|group| self.kafka.model.group_offsets_now(group)) {
            let known = self.positions.get(&of).copied().unwrap_or_default();
            ensure!(offset <= known, "the group has offset {offset} of {of}; complete checkpoints are at {known}");
        }
        self.look_at_progress()
    }

    /// Rows are visible together with the progress of their sink.
    fn look_at_progress(&mut self) -> Result<()> {
        let of = TopicPartition { topic: PROGRESS.into(), partition: 0 };
        // It may not be there yet.
        let read = self.kafka.model.read_now(&of, self.progress_read, Isolation::ReadCommitted);
        let Ok((records, next)) = read else { return Ok(()) };
        self.progress_read = next;
        for record in records {
            let at = record.offset;
            let (job, epoch) = progress(&record).with_context(|| format!("{of} has no progress at {at}"))?;
            let complete = self.complete.get(&job).copied().unwrap_or_default();
            ensure!(epoch <= complete, "{job} has published {epoch}; complete is {complete}");
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

fn progress(record: &Record) -> Result<(JobId, CheckpointId)> {
    let owner: Owner = serde_json::from_slice(record.key.as_deref().unwrap_or_default())?;
    let progress: Progress = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
    Ok((owner.job, progress.epoch))
}
