//! From the job graph to chains: operators with the same parallelism that are linked by `Forward` edges run in one
//! actor.
//!
//! An edge is fused when it forwards and is the receiver's only input; every other edge is an exchange. A chain is thus a
//! tree with one head; only the head may have several inputs.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    graph::{Distribution, Edge, JobGraph, Parallelism},
    id::{ChainId, OperatorId, SubtaskId},
};

/// Operators fused into one actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its index in the plan.
    pub id: ChainId,
    /// Ascending; the first is the head.
    pub operators: Vec<OperatorId>,
    /// How many subtasks it has.
    pub parallelism: Parallelism,
}

impl Chain {
    /// Its operators, for people.
    #[must_use]
    pub fn name(&self, graph: &JobGraph) -> String {
        let names: Vec<&str> = self.operators.iter().map(|operator| graph.operator(*operator).name.as_str()).collect();
        names.join(" -> ")
    }
}

/// An edge of the job graph that crosses actors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its index in the plan; part of every channel's id.
    pub index: u32,
    /// The chain that sends.
    pub from: ChainId,
    /// The chain that receives, at its head.
    pub to: ChainId,
    /// The edge.
    pub edge: Edge,
}

/// A channel: one sending subtask to one receiving subtask, over one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId {
    /// The exchange's index in the plan.
    pub exchange: u32,
    /// The sender's subtask index.
    pub from: u32,
    /// The receiver's subtask index.
    pub to: u32,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange-{}:{}->{}", self.exchange, self.from, self.to)
    }
}

/// A job graph cut into chains. Deterministic: every node and coordinator derives the same plan from the same graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPlan {
    /// Ordered by head.
    pub chains: Vec<Chain>,
    /// Ordered as the graph's edges.
    pub exchanges: Vec<Exchange>,
}

impl ChainPlan {
    /// Cuts a graph into chains. The graph must have passed `JobGraph::check`: this indexes operators by their ids.
    #[must_use]
    pub fn of(graph: &JobGraph) -> Self {
        let mut chain_of: BTreeMap<OperatorId, ChainId> = BTreeMap::new();
        let mut chains: Vec<Chain> = Vec::new();
        for operator in &graph.operators {
            let fused = fused_input(graph, operator.id).map(|edge| chain_of[&edge.from]);
            let chain = fused.unwrap_or_else(|| {
                let id = ChainId(u32::try_from(chains.len()).expect("fewer chains than operators"));
                chains.push(Chain { id, operators: Vec::new(), parallelism: operator.parallelism });
                id
            });
            chains[chain.0 as usize].operators.push(operator.id);
            chain_of.insert(operator.id, chain);
        }
        let crossing = graph.edges.iter().filter(|edge| fused_input(graph, edge.to) != Some(*edge));
        let exchanges = crossing
            .zip(0u32..)
            .map(|(edge, index)| Exchange {
                index,
                from: chain_of[&edge.from],
                to: chain_of[&edge.to],
                edge: edge.clone(),
            })
            .collect();
        Self { chains, exchanges }
    }

    /// How many subtasks a chain has in a job of `parallelism` slices.
    #[must_use]
    pub fn subtasks_of(&self, chain: ChainId, parallelism: u32) -> u32 {
        match self.chains[chain.0 as usize].parallelism {
            Parallelism::Job => parallelism,
            Parallelism::One => 1,
        }
    }

    /// All subtasks of a job of `parallelism` slices, by chain and index.
    pub fn subtasks(&self, parallelism: u32) -> impl Iterator<Item = SubtaskId> + '_ {
        self.chains.iter().flat_map(move |chain| {
            (0..self.subtasks_of(chain.id, parallelism)).map(move |index| SubtaskId { chain: chain.id, index })
        })
    }

    /// The channels into a subtask, by exchange and sender.
    #[must_use]
    pub fn inputs(&self, subtask: SubtaskId, parallelism: u32) -> Vec<ChannelId> {
        let into = self.exchanges.iter().filter(|exchange| exchange.to == subtask.chain);
        into.flat_map(|exchange| self.channels(exchange, parallelism)).filter(|id| id.to == subtask.index).collect()
    }

    /// The channels out of a subtask over one exchange, by receiver.
    #[must_use]
    pub fn outputs(&self, subtask: SubtaskId, exchange: &Exchange, parallelism: u32) -> Vec<ChannelId> {
        self.channels(exchange, parallelism).into_iter().filter(|id| id.from == subtask.index).collect()
    }

    fn channels(&self, exchange: &Exchange, parallelism: u32) -> Vec<ChannelId> {
        let (senders, receivers) =
            (self.subtasks_of(exchange.from, parallelism), self.subtasks_of(exchange.to, parallelism));
        let index = exchange.index;
        let to = |from: u32| match exchange.edge.distribution {
            Distribution::Forward => from..from + 1,
            Distribution::Gather => 0..1,
            Distribution::Hash { .. } | Distribution::Rebalance | Distribution::Assigned => 0..receivers,
        };
        (0..senders).flat_map(|from| to(from).map(move |to| ChannelId { exchange: index, from, to })).collect()
    }
}

/// The edge that fuses an operator into its sender's chain, if there is one.
fn fused_input(graph: &JobGraph, operator: OperatorId) -> Option<&Edge> {
    let mut inputs = graph.inputs(operator);
    match (inputs.next(), inputs.next()) {
        (Some(edge), None) if edge.distribution == Distribution::Forward => Some(edge),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
