//! How far an ingest log was read, as checkpoints hold it, and which segments no kept checkpoint needs.
//!
//! The payload of the split: `{"ingest-log":{"segment":17,"row":3,"keep":9,"seals":[1,12]}}`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_types::checkpoint::Manifest;

use crate::names;

/// A position names at most so many seals.
pub const SEALS_MAX: usize = 1000;
/// The payload's member.
const MEMBER: &str = "ingest-log";

/// The number of a segment of one log; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    /// Of the first segment.
    pub const FIRST: Self = Self(1);

    /// Of the next segment.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a log was read, and what of it is needed from there on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// The segment of the next record.
    pub segment: SegmentNumber,
    /// How many records of that segment were read; a segment whose records were all read may be named too.
    pub row: u64,
    /// The first segment that is needed: by its records, or by idempotency keys that are still promised.
    pub keep: SegmentNumber,
    /// The seals of the log, oldest first: at least those that may be deleted by mistake otherwise.
    pub seals: Vec<SegmentNumber>,
}

impl LogPosition {
    /// The beginning of a log.
    pub const START: Self =
        Self { segment: SegmentNumber::FIRST, row: 0, keep: SegmentNumber::FIRST, seals: Vec::new() };

    /// As a split's payload.
    #[must_use]
    pub fn to_payload(&self) -> Value {
        json!({ MEMBER: self })
    }

    /// From a split's payload; `None`: it has no position in a log.
    ///
    /// # Errors
    /// When it has one that is malformed.
    pub fn of_payload(payload: &Value) -> Result<Option<Self>, String> {
        let Some(value) = payload.get(MEMBER) else { return Ok(None) };
        let position = Self::deserialize(value).map_err(|error| format!("the position in the ingest log: {error}"))?;
        let is_sound = position.segment >= position.keep && position.keep >= SegmentNumber::FIRST;
        is_sound.then_some(Some(position)).ok_or_else(|| "the position in the ingest log is none".to_owned())
    }
}

/// Which of these objects are segments that none of the manifests needs. Every segment is, where there are no manifests; none
/// is, of a log of which one of them knows nothing.
#[must_use]
pub fn unneeded(objects: Vec<String>, kept: &[Manifest]) -> Vec<String> {
    let mut logs: BTreeMap<String, (SegmentNumber, BTreeSet<SegmentNumber>)> = BTreeMap::new();
    for manifest in kept {
        for source in manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref()) {
            for progress in &source.splits {
                let split = &progress.split;
                let position = LogPosition::of_payload(&split.payload).ok().flatten().unwrap_or(LogPosition::START);
                let folder = names::ingest_folder(&manifest.cluster, manifest.job, source.source, &split.id);
                let (keep, seals) = logs.entry(folder).or_insert_with(|| (position.keep, BTreeSet::new()));
                *keep = position.keep.min(*keep);
                seals.extend(position.seals);
            }
        }
    }
    let is_unneeded = |name: &String| match names::segment_of(name) {
        Some((folder, number)) => match logs.get(folder) {
            Some((keep, seals)) => number < *keep && !seals.contains(&number),
            None => kept.is_empty(),
        },
        None => false,
    };
    objects.into_iter().filter(is_unneeded).collect()
}
