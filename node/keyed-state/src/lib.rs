//! State by key group: what an operator hands over when it is frozen and takes back when it is restored.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use thalweg_types::KeyGroup;

/// The state of one operator instance at one moment, as immutable batches.
#[derive(Debug, Clone, Default)]
pub struct FrozenState {
    /// Rows by table name.
    pub tables: BTreeMap<String, Vec<StateBatch>>,
    /// Values that belong to the instance as a whole, such as its watermark.
    pub values: BTreeMap<String, i64>,
}

/// Rows of state with the key group of each.
#[derive(Debug, Clone)]
pub struct StateBatch {
    /// The key group of each row.
    pub key_groups: Vec<KeyGroup>,
    /// The rows.
    pub rows: RecordBatch,
}
