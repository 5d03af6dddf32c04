//! Checks the rules of job graphs that come from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::Schema;

use super::{Distribution, Edge, FORMAT, GraphError, JobGraph, Operator, Parallelism, assignment_schema};
use crate::id::OperatorId;

impl JobGraph {
    /// Checks the rules of a job graph.
    ///
    /// # Errors
    /// Names the first broken rule.
    pub fn check(&self) -> Result<(), GraphError> {
        if self.format != FORMAT {
            return Err(GraphError::Format { found: self.format });
        }
        let broken = |what: String| Err(GraphError::Inconsistent(what));
        if !self.key_groups.is_power_of_two() || self.key_groups > 32_768 {
            return broken(format!("{} key groups; need a power of two up to 32768", self.key_groups));
        }
        for (operator, index) in self.operators.iter().zip(0u32..) {
            if operator.id.0 != index {
                return broken(format!("the operator at {index} calls itself {}", operator.id));
            }
            if let Some(name) = first_duplicate(&operator.output) {
                return broken(format!("{} emits two columns named {name}", operator.id));
            }
        }
        for edge in &self.edges {
            self.check_edge(edge)?;
        }
        self.check_enumerators()?;
        self.check_ports()
    }

    fn check_edge(&self, edge: &Edge) -> Result<(), GraphError> {
        let broken = |what: String| Err(GraphError::Inconsistent(what));
        let is_within = |id: OperatorId| (id.0 as usize) < self.operators.len();
        if !is_within(edge.from) || !is_within(edge.to) {
            return broken(format!("an edge goes from {} to {}", edge.from, edge.to));
        }
        let (from, to) = (self.operator(edge.from), self.operator(edge.to));
        // An enumerator has no inputs, so its edges close no circle.
        let assigns = from.kind.is_enumerator();
        if edge.from >= edge.to && !assigns {
            return broken(format!("an edge goes from {} to {}", edge.from, edge.to));
        }
        if assigns != (edge.distribution == Distribution::Assigned) || assigns != to.kind.as_source().is_some() {
            return broken(format!("{} cannot take splits from {}", to.id, from.id));
        }
        if assigns && (*from.output != *assignment_schema() || from.parallelism != Parallelism::One) {
            return broken(format!("{} does not assign splits", from.id));
        }
        if from.kind.is_end() || edge.port >= to.kind.describe().ports {
            return broken(format!("{} cannot feed port {} of {}", from.id, edge.port, to.id));
        }
        match &edge.distribution {
            Distribution::Forward if from.parallelism != to.parallelism => {
                broken(format!("{} forwards to {} of another parallelism", from.id, to.id))
            }
            Distribution::Hash { keys } if keys.iter().any(|key| *key >= from.output.fields().len()) => {
                broken(format!("{} routes by a column that it does not have", from.id))
            }
            Distribution::Gather if to.parallelism != Parallelism::One => {
                broken(format!("{} gathers into {}, which is parallel", from.id, to.id))
            }
            Distribution::Forward
            | Distribution::Hash { .. }
            | Distribution::Rebalance
            | Distribution::Gather
            | Distribution::Assigned => self.check_keys(edge),
        }
    }

    /// The receiver keeps its state by columns that come.
    fn check_keys(&self, edge: &Edge) -> Result<(), GraphError> {
        let (from, to) = (self.operator(edge.from), self.operator(edge.to));
        let keys = to.kind.describe().keys[usize::from(edge.port)];
        match keys.iter().find(|key| **key >= from.output.fields().len()) {
            Some(key) => Err(GraphError::Inconsistent(format!(
                "{} has key column {key}, which {} does not give",
                to.id, from.id
            ))),
            None => Ok(()),
        }
    }

    /// An enumerator and its source belong to each other alone: two enumerators would assign each split twice, and one
    /// for two sources would assign to both.
    fn check_enumerators(&self) -> Result<(), GraphError> {
        let broken = |what: String| Err(GraphError::Inconsistent(what));
        let mut given: BTreeMap<OperatorId, OperatorId> = BTreeMap::new();
        let mut taken: BTreeMap<OperatorId, OperatorId> = BTreeMap::new();
        for (enumerator, source) in self.enumerators() {
            if let Some(other) = given.insert(source, enumerator) {
                if other == enumerator {
                    return broken(format!("{enumerator} assigns splits to {source} over two edges"));
                }
                return broken(format!("both {other} and {enumerator} assign splits to {source}"));
            }
            if let Some(other) = taken.insert(enumerator, source) {
                return broken(format!("{enumerator} assigns splits to both {other} and {source}"));
            }
        }
        let serves_none = |operator: &&Operator| operator.kind.is_enumerator() && !taken.contains_key(&operator.id);
        match self.operators.iter().find(serves_none) {
            Some(operator) => broken(format!("{} assigns splits to no source", operator.id)),
            None => Ok(()),
        }
    }

    fn check_ports(&self) -> Result<(), GraphError> {
        let fed: BTreeSet<(OperatorId, u8)> = self.edges.iter().map(|edge| (edge.to, edge.port)).collect();
        let starved = self
            .operators
            .iter()
            .flat_map(|operator| (0..operator.kind.describe().ports).map(move |port| (operator.id, port)))
            .find(|port| !fed.contains(port));
        match starved {
            Some((operator, port)) => Err(GraphError::Inconsistent(format!("nothing feeds port {port} of {operator}"))),
            None => Ok(()),
        }
    }
}

fn first_duplicate(schema: &Schema) -> Option<&str> {
    let mut seen = BTreeSet::new();
    schema.fields().iter().map(|field| field.name().as_str()).find(|name| !seen.insert(*name))
}
