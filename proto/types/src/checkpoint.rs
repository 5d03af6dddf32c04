//! What a checkpoint consists of: the snapshots of all subtasks, and the objects that they refer to.
//!
//! ```text
//! Manifest (one object, JSON) -> SubtaskSnapshot -> OperatorSnapshot -> BatchRef -> segments of a state object
//!                                               '-> SplitProgress (positions), Prepared (committables)
//! ```
//!
//! Nothing here is state itself: rows lie in state objects, whose names hold job, attempt, subtask and checkpoint, so that
//! no two writers have one in common. A batch that was uploaded for one checkpoint may be referred to by all later ones.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Attempt, CheckpointId, ClusterId, JobId, OperatorId, SubtaskId},
    key_group::KeyGroupTable,
    session::SinkCommittables,
    split::Split,
    time::Watermark,
};

/// The version of the format of manifests.
pub const MANIFEST_FORMAT: u32 = 1;

/// The mark between the records of one epoch and those of the next, on its way through the dataflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint that it belongs to.
    pub checkpoint: CheckpointId,
    /// Whether it has overtaken rows, which are part of the checkpoint: whoever gets it takes its part at once.
    pub is_unaligned: bool,
}

impl Barrier {
    /// A barrier that keeps its place among the rows.
    #[must_use]
    pub fn aligned(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, is_unaligned: false }
    }

    /// A barrier that overtakes rows.
    #[must_use]
    pub fn unaligned(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, is_unaligned: true }
    }
}

/// A batch of rows of state: some segments of one state object, each of a range of key groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRef {
    /// The object's name below the root of checkpoints.
    pub object: String,
    /// The segments' indexes in the object, in the order of their rows.
    pub segments: Vec<u32>,
}

/// An object that holds state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateObject {
    /// Its name below the root of checkpoints.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// xxh3-64 of all of it.
    pub checksum: u64,
}

/// The state of one operator instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSnapshot {
    /// The operator.
    pub operator: OperatorId,
    /// Values of the instance as a whole.
    pub values: BTreeMap<String, i64>,
    /// Rows by table.
    pub tables: BTreeMap<String, Vec<BatchRef>>,
}

/// Where reading a split is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitState {
    /// Nothing was read.
    Unread,
    /// Read up to its position.
    Open,
    /// Read to its end.
    Finished,
}

/// A split, how far it was read, and what its records have promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitProgress {
    /// The split at its position.
    pub split: Split,
    /// Where reading is.
    pub state: SplitState,
    /// What its records have promised.
    pub watermark: Watermark,
    /// Whether it was out of the minimum.
    pub is_idle: bool,
    /// Rows that were read, lie before the position, and had not gone on yet.
    pub held: Vec<BatchRef>,
}

impl SplitProgress {
    /// A split of which nothing was read.
    #[must_use]
    pub fn unread(split: Split) -> Self {
        Self { split, state: SplitState::Unread, watermark: Watermark::MIN, is_idle: false, held: Vec::new() }
    }
}

/// The splits of one source subtask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSnapshot {
    /// The source.
    pub source: OperatorId,
    /// All splits that the subtask was dealt.
    pub splits: Vec<SplitProgress>,
}

/// Rows that were between two subtasks when a checkpoint overtook them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlightRows {
    /// The exchange's index in the plan.
    pub exchange: u32,
    /// The index of the subtask that they were for.
    pub to: u32,
    /// The rows, in their order.
    pub batches: Vec<BatchRef>,
}

/// What a sink's writer prepared, and the checkpoint that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// The first checkpoint whose barrier came after the rows; `CheckpointId::FINAL` where none has come.
    pub epoch: CheckpointId,
    /// What publishes them.
    pub committables: SinkCommittables,
}

/// What a subtask's part of a checkpoint took. Microseconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCost {
    /// From the first barrier to the last.
    pub alignment_micros: u64,
    /// In which the subtask did nothing else.
    pub freeze_micros: u64,
    /// From then until everything was durable.
    pub upload_micros: u64,
    /// Uploaded for this checkpoint.
    pub uploaded_bytes: u64,
    /// Of all objects that the snapshot refers to.
    pub state_bytes: u64,
    /// Whether its barrier overtook rows.
    pub is_unaligned: bool,
}

/// Records that a subtask had counted up to a checkpoint, by all attempts together: each record once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCounts {
    /// Records that came in.
    pub records_in: u64,
    /// Records that went out.
    pub records_out: u64,
    /// Records judged late.
    pub late_records: u64,
    /// Records set aside as malformed.
    pub dead_letters: u64,
    /// Rows set aside since they could not be evaluated.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_rows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl std::ops::AddAssign for RecordCounts {
    fn add_assign(&mut self, other: Self) {
        self.records_in += other.records_in;
        self.records_out += other.records_out;
        self.late_records += other.late_records;
        self.dead_letters += other.dead_letters;
        self.failed_rows += other.failed_rows;
    }
}

/// One subtask's part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubtaskSnapshot {
    /// Which.
    pub subtask: SubtaskId,
    /// Whether it had processed all its input.
    pub is_finished: bool,
    /// State, by operator; operators without any are left out.
    pub operators: Vec<OperatorSnapshot>,
    /// The splits of a source.
    pub source: Option<SourceSnapshot>,
    /// Rows on its way in.
    pub in_flight: Vec<InFlightRows>,
    /// Every object that the above refers to.
    pub objects: Vec<StateObject>,
    /// What it had counted.
    pub counts: RecordCounts,
    /// What its sinks have prepared and the subtask does not know to be published.
    pub prepared: Vec<Prepared>,
    /// What it took.
    pub cost: SnapshotCost,
}

/// A subtask's part of a checkpoint on its way to the leader. It may be large: it is shared, and written out once, by whoever has the
/// time for it.
#[derive(Debug, Clone)]
pub struct ToldSnapshot(Arc<Told>);

#[derive(Debug)]
struct Told {
    snapshot: SubtaskSnapshot,
    text: OnceLock<Vec<u8>>,
}

impl ToldSnapshot {
    /// As JSON.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        let write = || serde_json::to_vec(&self.0.snapshot).expect("a snapshot has only text keys");
        self.0.text.get_or_init(write)
    }
}

impl From<SubtaskSnapshot> for ToldSnapshot {
    fn from(snapshot: SubtaskSnapshot) -> Self {
        Self(Arc::new(Told { snapshot, text: OnceLock::new() }))
    }
}

impl Deref for ToldSnapshot {
    type Target = SubtaskSnapshot;

    fn deref(&self) -> &SubtaskSnapshot {
        &self.0.snapshot
    }
}

impl PartialEq for ToldSnapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.snapshot == other.0.snapshot
    }
}

impl Eq for ToldSnapshot {}

/// A checkpoint: everything that an attempt needs to go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: `MANIFEST_FORMAT`.
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt whose state it is.
    pub attempt: Attempt,
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Which slice owned which key group: a subtask's state is of the groups of its slice.
    pub key_groups: KeyGroupTable,
    /// How many slices there were.
    pub parallelism: u32,
    /// Every subtask.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// Names a manifest and proves it whole: what the replicated record holds of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Its name below the root of checkpoints.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// xxh3-64 of it.
    pub checksum: u64,
}
