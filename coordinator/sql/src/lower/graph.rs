//! The job graph under construction.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use arrow::datatypes::SchemaRef;
use thalweg_types::{
    ENGINE_VERSION, JobGraph, Operator, OperatorId, OperatorKind,
    graph::{Distribution, Edge, FORMAT, Parallelism, SourceOperator},
};

use crate::explain;

/// The operators and edges so far.
#[derive(Debug, Default)]
pub(super) struct GraphBuilder {
    operators: Vec<Operator>,
    /// Of each operator.
    inputs: Vec<Vec<Input>>,
    /// Operators that may be equal, so that a new one is held against few.
    alike: BTreeMap<u64, Vec<OperatorId>>,
}

/// An edge to an operator.
#[derive(Debug, Clone, PartialEq)]
struct Input {
    from: OperatorId,
    port: u8,
    distribution: Distribution,
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

    /// The sources that rows of these operators come from.
    pub(super) fn sources_of(&self, operators: &[OperatorId]) -> impl Iterator<Item = &SourceOperator> {
        let (mut seen, mut pending) = (BTreeSet::new(), operators.to_vec());
        while let Some(id) = pending.pop() {
            if seen.insert(id) {
                pending.extend(self.inputs[id.0 as usize].iter().map(|input| input.from));
            }
        }
        seen.into_iter().filter_map(move |id| self.operator(id).kind.as_source())
    }

    /// `One` if all of these operators are `One`, else `Job`.
    pub(super) fn parallelism_of(&self, operators: &[OperatorId]) -> Parallelism {
        let one = operators.iter().all(|id| self.operator(*id).parallelism == Parallelism::One);
        if one { Parallelism::One } else { Parallelism::Job }
    }

    /// Adds an operator with these inputs, or returns an equal one that exists.
    pub(super) fn add(&mut self, draft: Draft, feeds: &[Feed]) -> OperatorId {
        let inputs = self.inputs_from(draft.parallelism, feeds);
        let is_equal = |id: &&OperatorId| {
            let known = self.operator(**id);
            (known.parallelism, &known.kind, &known.output) == (draft.parallelism, &draft.kind, &draft.output)
                && self.inputs[id.0 as usize] == inputs
        };
        let name = explain::name_of(&draft.kind, &draft.output);
        let alike = self.alike.get(&hash_of(&name, &inputs));
        match alike.into_iter().flatten().find(is_equal) {
            Some(known) => *known,
            None => self.push(draft, name, inputs),
        }
    }

    /// Adds an operator with these inputs, also if an equal one exists.
    pub(super) fn add_new(&mut self, draft: Draft, feeds: &[Feed]) -> OperatorId {
        let inputs = self.inputs_from(draft.parallelism, feeds);
        let name = explain::name_of(&draft.kind, &draft.output);
        self.push(draft, name, inputs)
    }

    fn push(&mut self, draft: Draft, name: String, inputs: Vec<Input>) -> OperatorId {
        let id = OperatorId(u32::try_from(self.operators.len()).expect("fewer operators than u32::MAX"));
        let Draft { kind, parallelism, output } = draft;
        self.alike.entry(hash_of(&name, &inputs)).or_default().push(id);
        self.operators.push(Operator { id, name, kind, parallelism, output });
        self.inputs.push(inputs);
        id
    }

    pub(super) fn finish(self, key_groups: u16, settings: BTreeMap<String, String>) -> JobGraph {
        let mut edges = Vec::new();
        for (operator, inputs) in self.operators.iter().zip(self.inputs) {
            let edge = |Input { from, port, distribution }| Edge { from, to: operator.id, port, distribution };
            edges.extend(inputs.into_iter().map(edge));
        }
        edges.sort_by_key(|edge| (edge.to, edge.port, edge.from));
        JobGraph {
            format: FORMAT,
            engine_version: ENGINE_VERSION.to_owned(),
            key_groups,
            operators: self.operators,
            edges,
            settings,
        }
    }

    fn inputs_from(&self, parallelism: Parallelism, feeds: &[Feed]) -> Vec<Input> {
        let mut inputs = Vec::new();
        for feed in feeds {
            for from in &feed.senders {
                let distribution = match &feed.routing {
                    Routing::Hash(keys) => Distribution::Hash { keys: keys.clone() },
                    Routing::Local | Routing::Gather => self.local(*from, parallelism),
                };
                inputs.push(Input { from: *from, port: feed.port, distribution });
            }
        }
        inputs
    }

    fn local(&self, from: OperatorId, parallelism: Parallelism) -> Distribution {
        match (self.operator(from).parallelism, parallelism) {
            (Parallelism::Job, Parallelism::One) => Distribution::Gather,
            (Parallelism::One, Parallelism::Job) => Distribution::Rebalance,
            _ => Distribution::Forward,
        }
    }
}

/// Of equal operators with equal inputs, the same. Names have no places in the script, by which no operator differs.
fn hash_of(name: &str, inputs: &[Input]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    inputs.iter().for_each(|input| (input.from.0, input.port).hash(&mut hasher));
    hasher.finish()
}
