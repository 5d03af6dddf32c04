//! Names of part files, hidden and final, and what is said of prepared ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_types::{
    Attempt, ClusterId, JobId,
    bug::{self, Bug},
};

use crate::SinkIdentity;

const HIDDEN_SUFFIX: &str = ".inprogress";

/// The prefix of published files' names.
pub(super) const PART_STEM: &str = "part";

/// What a committer needs to publish one part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartCommittable {
    /// The file's name while it is hidden.
    pub(crate) hidden: String,
    /// The file's final name.
    pub(crate) published: String,
    /// The directory of both, relative to the table's path; empty if the table has no partitions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) directory: String,
    /// The file's length when it was finished. A file of another length is not the one that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

impl PartCommittable {
    /// Whether a file of this length may be the finished one.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.bytes.is_none_or(|finished| finished == bytes)
    }

    /// The number of partition levels above the file.
    pub(super) fn levels(&self) -> usize {
        self.directory.split('/').filter(|name| !name.is_empty()).count()
    }

    /// The file that this part and others are merged into. Its names are this part's, marked: no other file is merged
    /// from this part, so a file of such a name holds all of them.
    pub(super) fn merged(&self) -> Self {
        let stem_end = self.published.rfind('-').unwrap_or_default();
        let at = self.published[stem_end..].find('.').map_or(self.published.len(), |at| stem_end + at);
        let (stem, extension) = self.published.split_at(at);
        let published = format!("{stem}-merged{extension}");
        let hidden = format!(".{published}{HIDDEN_SUFFIX}");
        Self { hidden, published, directory: self.directory.clone(), bytes: None }
    }

    /// The hidden name while one node writes the file; `nonce` keeps nodes that do so at once apart.
    pub(super) fn hidden_of_node(&self, nonce: u64) -> String {
        format!(".{}-{nonce:016x}{HIDDEN_SUFFIX}", self.published)
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a committable has only text keys")
    }
}

/// An empty file that says that a partition is complete. It comes behind all files of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    /// The file's name.
    pub(super) marker: String,
    /// The partition's directory, relative to the table's path.
    pub(super) directory: String,
}

impl Marker {
    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a marker has only text keys")
    }
}

/// Committables as a writer returns them.
pub(crate) fn to_values(parts: &[PartCommittable]) -> Vec<Value> {
    parts.iter().map(PartCommittable::to_value).collect()
}

/// The attempt in a hidden name, if the name belongs to the cluster's job.
pub(super) fn attempt_of(name: &str, stem: &str, (cluster, job): (&ClusterId, JobId)) -> Option<Attempt> {
    let rest = name.strip_prefix(&hidden_prefix(stem, cluster, job))?.strip_suffix(HIDDEN_SUFFIX)?;
    let (attempt, _) = rest.split_once('-')?;
    attempt.parse().ok().map(Attempt)
}

/// The prefix of all hidden names of a cluster's job.
fn hidden_prefix(stem: &str, cluster: &ClusterId, job: JobId) -> String {
    format!(".{stem}-{}-{}-", cluster.object_part(), job.0)
}

/// The name of a small file that is written as a whole, until it is; `nonce` keeps nodes apart.
pub(super) fn hidden_whole(stem: &str, (cluster, job): (&ClusterId, JobId), attempt: Attempt, nonce: u64) -> String {
    format!("{}{}-whole-{nonce:016x}{HIDDEN_SUFFIX}", hidden_prefix(stem, cluster, job), attempt.0)
}

/// Names the files of one writer.
#[derive(Debug, Clone)]
pub(crate) struct PartNames {
    /// The prefix of the names.
    pub(crate) stem: &'static str,
    /// The file extension, such as `json`.
    pub(crate) extension: String,
    pub(crate) identity: SinkIdentity,
}

impl PartNames {
    pub(super) fn of(&self, number: u32) -> PartCommittable {
        let SinkIdentity { cluster, job, attempt, sink, subtask } = &self.identity;
        let Self { stem, extension, .. } = self;
        let attempt = if bug::is_active(Bug::ZombieWrites) { &Attempt(1) } else { attempt };
        let rest = format!("{sink}-{subtask}-{number}.{extension}");
        PartCommittable {
            hidden: format!("{}{}-{rest}{HIDDEN_SUFFIX}", hidden_prefix(stem, cluster, *job), attempt.0),
            published: format!("{stem}-{}-{}-{}-{rest}", cluster.object_part(), job.0, attempt.0),
            directory: String::new(),
            bytes: None,
        }
    }
}
