//! How far an ingest log was read, as checkpoints record it, and which segments no kept checkpoint needs.
//!
//! It is part of the split's payload:
//! `{"ingest-log":{"segment":17,"row":3,"keep":9,"seals":[1,12],"log":"IDENTITY-SPLIT"}}`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_types::{OperatorId, Split, checkpoint::Manifest};
use thiserror::Error;

use crate::{
    log_name::LogName,
    names::{ingest_folder, segment_of},
    segment_number::SegmentNumber,
};

/// The most seals that a position names.
pub const SEALS_MAX: usize = 1000;
/// The key of a position in the payload.
const MEMBER: &str = "ingest-log";

/// How far a log was read, and which of its segments are still needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// The segment of the next record.
    pub segment: SegmentNumber,
    /// How many records of that segment were read, possibly all of them.
    pub row: u64,
    /// The first segment that is needed: for its records, or for idempotency keys that are still promised.
    pub keep: SegmentNumber,
    /// The seals of the log, oldest first. This protects those before `keep` from deletion.
    pub seals: Vec<SegmentNumber>,
    /// The log. Releases that had no identities did not tell: it is the one by the source's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogName>,
}

/// The payload of a split has no sound position in a log.
#[derive(Debug, Error)]
pub enum BadPosition {
    /// It has other members.
    #[error("the position in the ingest log: {0}")]
    Members(#[from] serde_json::Error),
    /// Its numbers contradict one another.
    #[error("the position in the ingest log is none")]
    Numbers,
}

impl LogPosition {
    /// The beginning of a log.
    pub const START: Self =
        Self { segment: SegmentNumber::FIRST, row: 0, keep: SegmentNumber::FIRST, seals: Vec::new(), log: None };

    /// The position as a split's payload.
    #[must_use]
    pub fn to_payload(&self) -> Value {
        json!({ MEMBER: self })
    }

    /// The position in a split's payload; `None` if it has none.
    ///
    /// # Errors
    /// When the position is malformed.
    pub fn of_payload(payload: &Value) -> Result<Option<Self>, BadPosition> {
        let Some(value) = payload.get(MEMBER) else { return Ok(None) };
        let position = Self::deserialize(value)?;
        let is_sound = position.segment >= position.keep && position.keep >= SegmentNumber::FIRST;
        is_sound.then_some(Some(position)).ok_or(BadPosition::Numbers)
    }
}

/// The names of those objects that are segments which no manifest needs. Without manifests that is every segment. All
/// segments of a log are needed if no manifest has its split, or if one has the split without a position.
#[must_use]
pub fn unneeded(objects: Vec<String>, kept: &[Manifest]) -> Vec<String> {
    let mut logs: BTreeMap<String, (SegmentNumber, BTreeSet<SegmentNumber>)> = BTreeMap::new();
    for manifest in kept {
        for source in manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref()) {
            for progress in &source.splits {
                for (log, position) in positions(manifest, source.source, &progress.split) {
                    let folder = ingest_folder(&manifest.cluster, manifest.job, &log);
                    let (keep, seals) = logs.entry(folder).or_insert_with(|| (position.keep, BTreeSet::new()));
                    *keep = position.keep.min(*keep);
                    seals.extend(position.seals);
                }
            }
        }
    }
    let is_unneeded = |name: &String| match segment_of(name) {
        Some((folder, number)) => match logs.get(folder) {
            Some((keep, seals)) => number < *keep && !seals.contains(&number),
            None => kept.is_empty(),
        },
        None => false,
    };
    objects.into_iter().filter(is_unneeded).collect()
}

/// The logs that a split in a manifest may read from, and from where.
fn positions(manifest: &Manifest, source: OperatorId, split: &Split) -> Vec<(LogName, LogPosition)> {
    let by_index = LogName::by_index(source, &split.id);
    if let Ok(Some(position)) = LogPosition::of_payload(&split.payload) {
        return vec![(position.log.clone().unwrap_or(by_index), position)];
    }
    let recorded = manifest.graph.as_ref().and_then(|graph| graph.operator(source));
    let named = recorded.map(|operator| LogName::of(operator.identity, &split.id));
    std::iter::once(by_index).chain(named).map(|log| (log, LogPosition::START)).collect()
}
