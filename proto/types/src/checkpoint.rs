//! The parts of a checkpoint: the snapshots of all subtasks, and the objects that they refer to.
//!
//! ```text
//! Manifest (one object, JSON) -> SubtaskSnapshot -> OperatorSnapshot -> BatchRef -> segments of a state object
//!                                               '-> SplitProgress (positions), Prepared (committables)
//! ```
//!
//! State itself is not here: its rows are in state objects, whose names hold job, attempt, subtask and checkpoint, so
//! no two writers share a name. Later checkpoints may refer to a batch that was uploaded for an earlier one.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Attempt, CheckpointId, ClusterId, JobId, OperatorId, SubtaskId},
    key_group::KeyGroupTable,
    split::Split,
    time::Watermark,
    trace::TraceContext,
};

mod columns;
mod matching;
mod recorded;
mod staged;

pub use columns::{Names, column_difference};
pub use matching::{Matching, UnmatchedState};
pub use recorded::{RecordedColumn, RecordedExchange, RecordedGraph, RecordedOperator};
pub use staged::{STAGED, staged_objects};

/// The version of the manifest format that is written.
pub const MANIFEST_FORMAT: u32 = 2;
/// The oldest version that is read. It did not describe the graph.
pub const MANIFEST_FORMAT_MIN: u32 = 1;

/// Separates the records of one checkpoint from those of the next, on their way through the dataflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint that it belongs to.
    pub checkpoint: CheckpointId,
    /// Whether it has overtaken rows. They are part of the checkpoint, so a subtask that gets it takes its part at
    /// once.
    pub is_unaligned: bool,
    /// The checkpoint's span, where somebody traces.
    pub trace: Option<TraceContext>,
}

impl Barrier {
    /// A barrier that keeps its place among the rows.
    #[must_use]
    pub fn aligned(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, is_unaligned: false, trace: None }
    }

    /// A barrier that overtakes rows.
    #[must_use]
    pub fn unaligned(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, is_unaligned: true, trace: None }
    }

    /// The same, for the checkpoint's span.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }
}

/// A batch of state rows: some segments of one state object, each of a range of key groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRef {
    /// The object's name below the root of checkpoints.
    pub object: String,
    /// Indexes of the segments in the object, in the order of their rows.
    pub segments: Vec<u32>,
}

/// An object that holds state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateObject {
    /// Its name below the root of checkpoints.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// xxh3-64 of the whole object.
    pub checksum: u64,
}

/// The state of one operator instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSnapshot {
    /// The operator.
    pub operator: OperatorId,
    /// Numbers of the instance as a whole, by name.
    pub values: BTreeMap<String, i64>,
    /// Rows by table.
    pub tables: BTreeMap<String, Vec<BatchRef>>,
}

/// How far a split was read.
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

/// A split, how far it was read, and its watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitProgress {
    /// The split, with its position.
    pub split: Split,
    /// How far it was read.
    pub state: SplitState,
    /// The watermark of the records that were read.
    pub watermark: Watermark,
    /// Whether the split was idle, and so did not hold back the watermark.
    pub is_idle: bool,
    /// Rows before the position that were read but not emitted yet.
    pub held: Vec<BatchRef>,
}

impl SplitProgress {
    /// A split that was not read yet.
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
    /// All splits that the subtask was assigned.
    pub splits: Vec<SplitProgress>,
}

/// Rows between two subtasks that the barrier of a checkpoint overtook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlightRows {
    /// The exchange's index in the plan.
    pub exchange: u32,
    /// The index of the receiving subtask.
    pub to: u32,
    /// The rows, in order.
    pub batches: Vec<BatchRef>,
}

/// What a sink's writer prepared, and the checkpoint that publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// The epoch of the rows, named by the checkpoint whose barrier ended it; `CheckpointId::FINAL` if none did.
    pub epoch: CheckpointId,
    /// What the committer needs to publish the rows.
    pub committables: SinkCommittables,
}

/// What one sink subtask's writer has prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCommittables {
    /// The sink.
    pub sink: OperatorId,
    /// The subtask's index.
    pub subtask: u32,
    /// Only the connector understands them.
    pub committables: Vec<serde_json::Value>,
}

/// The cost of a subtask's part of a checkpoint, in microseconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCost {
    /// Time from the first barrier to the last.
    pub alignment_micros: u64,
    /// Time in which the subtask did nothing else.
    pub freeze_micros: u64,
    /// Time from then until everything was durable.
    pub upload_micros: u64,
    /// Bytes uploaded for this checkpoint.
    pub uploaded_bytes: u64,
    /// Bytes of all objects that the snapshot refers to.
    pub state_bytes: u64,
    /// Whether its barrier overtook rows.
    pub is_unaligned: bool,
}

/// Records that a subtask counted up to a checkpoint, over all attempts; each record counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCounts {
    /// Records that came in.
    pub records_in: u64,
    /// Records that went out.
    pub records_out: u64,
    /// Records judged late.
    pub late_records: u64,
    /// Malformed records, set aside as dead letters.
    pub dead_letters: u64,
    /// Rows set aside because they could not be evaluated.
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
    /// The subtask.
    pub subtask: SubtaskId,
    /// Whether it had processed all its input.
    pub is_finished: bool,
    /// State by operator, without operators that have none.
    pub operators: Vec<OperatorSnapshot>,
    /// The splits of a source.
    pub source: Option<SourceSnapshot>,
    /// Rows on the way to the subtask that the barrier overtook.
    pub in_flight: Vec<InFlightRows>,
    /// Every object that the fields above refer to.
    pub objects: Vec<StateObject>,
    /// What the subtask counted up to the checkpoint.
    pub counts: RecordCounts,
    /// What its sinks prepared and the subtask does not know to be published.
    pub prepared: Vec<Prepared>,
    /// The cost of this part.
    pub cost: SnapshotCost,
}

/// A subtask's part of a checkpoint on its way to the leader. It may be large, so clones share it, and the first call
/// of `text` encodes it for all.
#[derive(Debug, Clone)]
pub struct ToldSnapshot(Arc<Told>);

#[derive(Debug)]
struct Told {
    snapshot: SubtaskSnapshot,
    text: OnceLock<Vec<u8>>,
}

impl ToldSnapshot {
    /// The snapshot as JSON.
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
    /// The version of the format, from `MANIFEST_FORMAT_MIN` to `MANIFEST_FORMAT`.
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt whose state it is.
    pub attempt: Attempt,
    /// The checkpoint's number.
    pub checkpoint: CheckpointId,
    /// The owner of each key group: a subtask's state covers the groups of its slice.
    pub key_groups: KeyGroupTable,
    /// The number of slices.
    pub parallelism: u32,
    /// The graph whose state it is; `None` in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<RecordedGraph>,
    /// The parts of all subtasks.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// Names a manifest and allows its content to be verified. The replicated record holds this for each checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// The checkpoint's number.
    pub checkpoint: CheckpointId,
    /// Its name below the root of checkpoints.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// xxh3-64 of the whole manifest.
    pub checksum: u64,
}
