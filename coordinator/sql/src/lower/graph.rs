//! The job graph under construction.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use thalweg_types::{
    ENGINE_VERSION, JobGraph, Operator, OperatorId, OperatorKind,
    graph::{Distribution, Edge, FORMAT, Parallelism},
};

use crate::explain;

/// The operators and edges so far.
#[derive(Debug, Default)]
pub(super) struct GraphBuilder {
    operators: Vec<Operator>,
    edges: Vec<Edge>,
}

/// How rows reach an operator's port.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Routing {
    /// To the subtask of the same index. Between different parallelisms, to the only subtask or in turn.
    Local,
    /// By the hash of these columns.
    Hash(Vec<usize>),
    /// To the only subtask.
    Gather,
}

/// An input of an operator that is about to be added.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    pub(super) port: u8,
    pub(super) senders: Vec<OperatorId>,
    pub(super) routing: Routing,
}

/// An operator that is about to be added.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: OperatorKind,
    pub(super) parallelism: Parallelism,
    pub(super) output: SchemaRef,
}

impl GraphBuilder {
    pub(super) fn operator(&self, id: OperatorId) -> &Operator {
        &self.operators[id.0 as usize]
    }

    pub(super) fn senders(&self, id: OperatorId) -> impl Iterator<Item = OperatorId> + '_ {
        self.edges.iter().filter(move |edge| edge.to == id).map(|edge| edge.from)
    }

    /// `One` if all of these operators are `One`, else `Job`.
    pub(super) fn parallelism_of(&self, operators: &[OperatorId]) -> Parallelism {
        let one = operators.iter().all(|id| self.operator(*id).parallelism == Parallelism::One);
        if one { Parallelism::One } else { Parallelism::Job }
    }

    /// Adds an operator with these inputs, or returns an equal one that exists.
    pub(super) fn add(&mut self, draft: Draft, feeds: &[Feed]) -> OperatorId {
        let found = self.operators.iter().find(|known| {
            known.kind == draft.kind
                && known.parallelism == draft.parallelism
                && known.output == draft.output
                && self.inputs_of(known.id) == self.edges_for(known.id, draft.parallelism, feeds)
        });
        match found {
            Some(known) => known.id,
            None => self.add_new(draft, feeds),
        }
    }

    /// Adds an operator with these inputs, also if an equal one exists.
    pub(super) fn add_new(&mut self, draft: Draft, feeds: &[Feed]) -> OperatorId {
        let id = OperatorId(u32::try_from(self.operators.len()).expect("fewer operators than u32::MAX"));
        self.edges.extend(self.edges_for(id, draft.parallelism, feeds));
        let Draft { kind, parallelism, output } = draft;
        self.operators.push(Operator { id, name: explain::name_of(&kind, &output), kind, parallelism, output });
        id
    }

    pub(super) fn finish(mut self, key_groups: u16, settings: BTreeMap<String, String>) -> JobGraph {
        self.edges.sort_by_key(|edge| (edge.to, edge.port, edge.from));
        JobGraph {
            format: FORMAT,
            engine_version: ENGINE_VERSION.to_owned(),
            key_groups,
            operators: self.operators,
            edges: self.edges,
            settings,
        }
    }

    fn inputs_of(&self, id: OperatorId) -> Vec<Edge> {
        self.edges.iter().filter(|edge| edge.to == id).cloned().collect()
    }

    fn edges_for(&self, to: OperatorId, parallelism: Parallelism, feeds: &[Feed]) -> Vec<Edge> {
        let mut edges = Vec::new();
        for feed in feeds {
            for from in &feed.senders {
                let distribution = match &feed.routing {
                    Routing::Hash(keys) => Distribution::Hash { keys: keys.clone() },
                    Routing::Local | Routing::Gather => self.local(*from, parallelism),
                };
                edges.push(Edge { from: *from, to, port: feed.port, distribution });
            }
        }
        edges
    }

    fn local(&self, from: OperatorId, parallelism: Parallelism) -> Distribution {
        match (self.operator(from).parallelism, parallelism) {
            (Parallelism::Job, Parallelism::One) => Distribution::Gather,
            (Parallelism::One, Parallelism::Job) => Distribution::Rebalance,
            _ => Distribution::Forward,
        }
    }
}
