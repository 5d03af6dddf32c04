//! What a manifest tells of the graph whose state it holds, so that it explains itself, and the rules of manifests.

use std::collections::BTreeSet;

use arrow_schema::{FieldRef, Schema};
use serde::{Deserialize, Serialize};

use super::{MANIFEST_FORMAT, MANIFEST_FORMAT_MIN, Manifest};
use crate::{
    ENGINE_VERSION,
    chain::ChainPlan,
    graph::{GraphFingerprint, Identities, JobGraph, OperatorIdentity, type_text},
    id::{ChainId, OperatorId},
};

/// The operators and exchanges of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedGraph {
    /// The release that took the checkpoint.
    pub release: String,
    /// The graph's fingerprint.
    pub fingerprint: GraphFingerprint,
    /// All operators, by their index.
    pub operators: Vec<RecordedOperator>,
    /// The exchanges, by their index.
    pub exchanges: Vec<RecordedExchange>,
}

/// An operator of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedOperator {
    /// Its index, by which the rest of the manifest names it.
    pub operator: OperatorId,
    /// What its state means: by this the state is found.
    pub identity: OperatorIdentity,
    /// Its kind, as `StateForm` has it. A release need not know every kind.
    pub kind: String,
    /// The version of its state.
    pub state_version: u32,
    /// A description for people.
    pub name: String,
    /// The chain that it was part of.
    pub chain: ChainId,
    /// The columns of its output; of a sink those that it writes. Segments of state have the columns of the tables.
    pub output: Vec<RecordedColumn>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as `type_text` has it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl RecordedColumn {
    /// The columns of a schema.
    #[must_use]
    pub fn all(schema: &Schema) -> Vec<Self> {
        let column = |field: &FieldRef| Self {
            name: field.name().clone(),
            data_type: type_text(field.data_type()),
            nullable: field.is_nullable(),
        };
        schema.fields().iter().map(column).collect()
    }
}

/// An edge of the graph that crossed actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedExchange {
    /// The operator that sent.
    pub from: OperatorId,
    /// The operator that received.
    pub to: OperatorId,
    /// The port of the receiver.
    pub port: u8,
}

impl RecordedGraph {
    /// What manifests tell of a graph, which must have passed `JobGraph::check`.
    #[must_use]
    pub fn of(graph: &JobGraph, plan: &ChainPlan) -> Self {
        let identities = Identities::of(graph);
        let mut operators: Vec<RecordedOperator> = Vec::with_capacity(graph.operators.len());
        for chain in &plan.chains {
            for operator in chain.operators.iter().map(|id| graph.operator(*id)) {
                let form = operator.kind.state_form();
                operators.push(RecordedOperator {
                    operator: operator.id,
                    identity: identities.get(operator.id),
                    kind: form.kind.to_owned(),
                    state_version: form.written,
                    name: operator.name.clone(),
                    chain: chain.id,
                    output: RecordedColumn::all(&operator.output),
                });
            }
        }
        operators.sort_by_key(|recorded| recorded.operator);
        let edges = plan.exchanges.iter().map(|exchange| &exchange.edge);
        let exchanges = edges.map(|edge| RecordedExchange { from: edge.from, to: edge.to, port: edge.port }).collect();
        let release = ENGINE_VERSION.to_owned();
        Self { release, fingerprint: identities.fingerprint(), operators, exchanges }
    }

    /// The operator of an index.
    #[must_use]
    pub fn operator(&self, id: OperatorId) -> Option<&RecordedOperator> {
        self.operators.get(usize::try_from(id.0).ok()?)
    }
}

impl Manifest {
    /// Checks the rules of a manifest that comes from a store. The reason says which one it breaks.
    ///
    /// # Errors
    /// When its format is not known, or its parts contradict each other.
    pub fn check(&self) -> Result<(), String> {
        if !(MANIFEST_FORMAT_MIN..=MANIFEST_FORMAT).contains(&self.format) {
            return Err(format!(
                "it is of format {}, and {MANIFEST_FORMAT_MIN} to {MANIFEST_FORMAT} are known",
                self.format
            ));
        }
        if self.key_groups.owners().iter().any(|owner| *owner >= self.parallelism) {
            return Err("its key groups belong to slices that there are not".to_owned());
        }
        match (&self.graph, self.format) {
            (None, MANIFEST_FORMAT_MIN) => Ok(()),
            (Some(graph), MANIFEST_FORMAT) => self.check_graph(graph),
            (Some(_), _) => Err("it describes its graph, which its format cannot".to_owned()),
            (None, _) => Err("it does not describe its graph".to_owned()),
        }
    }

    fn check_graph(&self, graph: &RecordedGraph) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (recorded, index) in graph.operators.iter().zip(0..) {
            if recorded.operator.0 != index {
                return Err(format!("its operator {index} calls itself {}", recorded.operator));
            }
            if !seen.insert(recorded.identity) {
                return Err(format!("two of its operators have the identity {}", recorded.identity));
            }
        }
        for snapshot in &self.subtasks {
            let holders = snapshot.operators.iter().map(|state| state.operator);
            let holders = holders.chain(snapshot.source.as_ref().map(|source| source.source));
            let sinks = snapshot.prepared.iter().map(|prepared| prepared.committables.sink);
            if let Some(unknown) = holders.chain(sinks).find(|id| graph.operator(*id).is_none()) {
                return Err(format!("it has a part of {unknown}, which it does not describe"));
            }
            let exchanges = snapshot.in_flight.iter().map(|rows| rows.exchange);
            let is_known = |exchange: u32| usize::try_from(exchange).is_ok_and(|at| at < graph.exchanges.len());
            if let Some(unknown) = exchanges.into_iter().find(|exchange| !is_known(*exchange)) {
                return Err(format!("it has rows of exchange {unknown}, which it does not describe"));
            }
        }
        Ok(())
    }
}
