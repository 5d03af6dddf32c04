//! Enumerators: the operators that find the splits of a table while the job runs.
//!
//! ```text
//! enumerator (one subtask) --assignments, each to the subtask that its first column names--> source (all subtasks)
//! ```
//!
//! An enumerator and its edge come after all that the planner makes of a script. So a graph that was recorded before
//! there were enumerators gets its own when it is read (`with_enumerators`), and its operators, chains and exchanges keep
//! the numbers by which its checkpoints name them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::{Distribution, Edge, JobGraph, Operator, OperatorKind, Parallelism};
use crate::id::OperatorId;

/// Finds the splits of a table, and assigns each to one subtask of the table's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumerateOperator {
    /// The table's name in the script.
    pub table: String,
}

/// What an enumerator emits: the index of the subtask that the row is for, and a split with its progress as JSON. Without
/// a split the row says only that assignments begin.
#[must_use]
pub fn assignment_schema() -> SchemaRef {
    let fields = vec![Field::new("subtask", DataType::UInt32, false), Field::new("split", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

impl JobGraph {
    /// The graph with an enumerator for each source that needs one and has none.
    #[must_use]
    pub fn with_enumerators(mut self) -> Self {
        let is_fed = |id: OperatorId| self.edges.iter().any(|edge| edge.to == id);
        let lacking: Vec<(OperatorId, String)> = self
            .sources()
            .filter(|(id, source)| source.connector.finds_splits() && !is_fed(*id))
            .map(|(id, source)| (id, source.table.clone()))
            .collect();
        for (source, table) in lacking {
            let Ok(index) = u32::try_from(self.operators.len()) else { return self };
            let id = OperatorId(index);
            self.operators.push(Operator {
                id,
                name: format!("Enumerate {table}"),
                kind: OperatorKind::Enumerate(EnumerateOperator { table }),
                parallelism: Parallelism::One,
                output: assignment_schema(),
            });
            self.edges.push(Edge { from: id, to: source, port: 0, distribution: Distribution::Assigned });
        }
        self
    }

    /// The enumerators, each with the source that it assigns splits to.
    pub fn enumerators(&self) -> impl Iterator<Item = (OperatorId, OperatorId)> + '_ {
        let is_enumerator = |edge: &&Edge| edge.distribution == Distribution::Assigned;
        self.edges.iter().filter(is_enumerator).map(|edge| (edge.from, edge.to))
    }

    /// The enumerator of a source; `None` if its splits are listed once.
    #[must_use]
    pub fn enumerator_of(&self, source: OperatorId) -> Option<OperatorId> {
        self.enumerators().find(|(_, of)| *of == source).map(|(enumerator, _)| enumerator)
    }
}
