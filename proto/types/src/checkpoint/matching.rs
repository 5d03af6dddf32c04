//! Which operator of a graph goes on from which state of a checkpoint.
//!
//! From format 2 on, the identity decides: an operator may stand elsewhere in the graph, in another chain. A manifest of
//! format 1 has no identities. It is of the same graph, so the index decides; all state was of version 1. State that no
//! operator can go on from is an error, never dropped.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{MANIFEST_FORMAT_MIN, Manifest, Names, RecordedGraph, RecordedOperator, column_difference};
use crate::{
    ENGINE_VERSION,
    chain::ChainPlan,
    graph::{Identities, JobGraph, OperatorIdentity, StateForm},
    id::{ChainId, OperatorId},
};

/// The version of all state in manifests of the oldest format.
const FIRST_VERSION: u32 = 1;
/// The most operators that an error names besides: graphs have thousands at most, and errors are read by people.
const OTHERS_MAX: usize = 3;

/// State of a checkpoint that no operator can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnmatchedState {
    /// No operator of the graph has its identity.
    #[error(
        "the checkpoint holds state of {operator} ({name}: {kind}, identity {identity}, state version {version}, written by \
         release {release}), and no operator of the job's dataflow goes on from it; {others}"
    )]
    NoOperator {
        /// Its index in the graph of the checkpoint.
        operator: OperatorId,
        /// Its description there.
        name: String,
        kind: String,
        identity: OperatorIdentity,
        /// The version of its state.
        version: u32,
        /// The release that took the checkpoint.
        release: String,
        /// What the graph has in its place.
        others: String,
    },
    /// The graph has no operator of its index, in a manifest without identities.
    #[error(
        "the checkpoint holds state of {operator}, and the job's dataflow has no such operator: go on with {release}, which \
         wrote it"
    )]
    NoIndex {
        /// Its index.
        operator: OperatorId,
        /// What took the checkpoint.
        release: String,
    },
    /// This release does not read its version.
    #[error(
        "the checkpoint holds state of {operator} ({kind}) in version {found}, and release {ENGINE_VERSION} reads {known}: \
         go on with {release}, which wrote it"
    )]
    Version {
        /// Its index in the graph of the checkpoint.
        operator: OperatorId,
        kind: String,
        /// The version of its state.
        found: u32,
        /// The versions that this release reads.
        known: String,
        /// What took the checkpoint.
        release: String,
    },
    /// Rows were on their way over an edge that the graph does not have.
    #[error(
        "the checkpoint holds rows on their way {way}, and the job's dataflow has no such exchange: go on with {release}, which \
         wrote it"
    )]
    NoExchange {
        /// From where to where.
        way: String,
        /// What took the checkpoint.
        release: String,
    },
    /// Rows were on their way over an edge that has other columns in the graph.
    #[error(
        "the checkpoint holds rows on their way {way}, where the job's dataflow has other columns: {difference}; go on with \
         {release}, which wrote it"
    )]
    OtherColumns {
        /// From where to where.
        way: String,
        /// What differs first.
        difference: String,
        /// What took the checkpoint.
        release: String,
    },
}

/// The counterparts in a graph of the operators, chains and exchanges that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matching {
    operators: BTreeMap<OperatorId, OperatorId>,
    chains: BTreeMap<ChainId, ChainId>,
    exchanges: BTreeMap<u32, u32>,
}

impl Matching {
    /// The operator of the graph that goes on from the state of an operator of the manifest.
    #[must_use]
    pub fn operator(&self, former: OperatorId) -> Option<OperatorId> {
        self.operators.get(&former).copied()
    }

    /// The chain that goes on with what a chain of the manifest has counted: that of its first operator that there still
    /// is.
    #[must_use]
    pub fn chain(&self, former: ChainId) -> Option<ChainId> {
        self.chains.get(&former).copied()
    }

    /// The exchange that rows of an exchange of the manifest are on.
    #[must_use]
    pub fn exchange(&self, former: u32) -> Option<u32> {
        self.exchanges.get(&former).copied()
    }

    /// The operators of a kind that no operator of the manifest is. Their names say what differs.
    fn others(&self, kind: &str, graph: &JobGraph) -> String {
        let known: BTreeSet<OperatorId> = self.operators.values().copied().collect();
        let others = graph.operators.iter().filter(|other| other.kind.state_form().kind == kind);
        let others = others.filter(|other| !known.contains(&other.id));
        let named: Vec<String> =
            others.take(OTHERS_MAX).map(|other| format!("{} ({})", other.id, other.name)).collect();
        match named.is_empty() {
            true => "it has no other of that kind".to_owned(),
            false => format!("of that kind, it has {} instead", named.join(", ")),
        }
    }

    fn by_index(graph: &JobGraph, plan: &ChainPlan) -> Self {
        let exchanges = plan.exchanges.iter().map(|exchange| (exchange.index, exchange.index));
        Self {
            operators: graph.operators.iter().map(|operator| (operator.id, operator.id)).collect(),
            chains: plan.chains.iter().map(|chain| (chain.id, chain.id)).collect(),
            exchanges: exchanges.collect(),
        }
    }

    fn by_identity(recorded: &RecordedGraph, graph: &JobGraph, plan: &ChainPlan) -> Self {
        let now: BTreeMap<OperatorIdentity, OperatorId> =
            Identities::of(graph).iter().map(|(operator, identity)| (identity, operator)).collect();
        let chain_of: BTreeMap<OperatorId, ChainId> =
            plan.chains.iter().flat_map(|chain| chain.operators.iter().map(|operator| (*operator, chain.id))).collect();
        let mut matching = Self::default();
        for former in &recorded.operators {
            let Some(operator) = now.get(&former.identity) else { continue };
            matching.operators.insert(former.operator, *operator);
            if let Some(chain) = chain_of.get(operator) {
                matching.chains.entry(former.chain).or_insert(*chain);
            }
        }
        for (former, index) in recorded.exchanges.iter().zip(0..) {
            let ends = matching.operator(former.from).zip(matching.operator(former.to));
            let is_it = |edge: &crate::graph::Edge| Some((edge.from, edge.to)) == ends && edge.port == former.port;
            if let Some(exchange) = plan.exchanges.iter().find(|exchange| is_it(&exchange.edge)) {
                matching.exchanges.insert(index, exchange.index);
            }
        }
        matching
    }
}

impl Manifest {
    /// Finds the operators of a graph that go on from this checkpoint. The graph must have passed `JobGraph::check`, and
    /// the manifest `check`.
    ///
    /// # Errors
    /// Names the first state that none of them can go on from.
    pub fn matched(&self, graph: &JobGraph, plan: &ChainPlan) -> Result<Matching, UnmatchedState> {
        let matching = match &self.graph {
            Some(recorded) => Matching::by_identity(recorded, graph, plan),
            None => Matching::by_index(graph, plan),
        };
        for snapshot in &self.subtasks {
            let states = snapshot.operators.iter().map(|state| state.operator);
            for holder in states.chain(snapshot.source.as_ref().map(|source| source.source)) {
                self.check_state(holder, &matching, graph)?;
            }
        }
        let rows = self.subtasks.iter().flat_map(|snapshot| &snapshot.in_flight);
        for exchange in rows.map(|rows| rows.exchange).collect::<BTreeSet<u32>>() {
            self.check_rows(exchange, &matching, graph, plan)?;
        }
        Ok(matching)
    }

    /// An exchange is found by the identities of its ends. They do not say which columns it has, nor in which order.
    fn check_rows(
        &self,
        exchange: u32,
        matching: &Matching,
        graph: &JobGraph,
        plan: &ChainPlan,
    ) -> Result<(), UnmatchedState> {
        let now = matching.exchange(exchange).and_then(|now| plan.exchanges.get(usize::try_from(now).ok()?));
        let Some(now) = now else {
            return Err(UnmatchedState::NoExchange { way: self.way(exchange), release: self.writer() });
        };
        let former = self.graph.as_ref().and_then(|recorded| {
            let edge = recorded.exchanges.get(usize::try_from(exchange).ok()?)?;
            recorded.operator(edge.from)
        });
        // A manifest of the first format is of the same graph.
        let Some(former) = former else { return Ok(()) };
        match column_difference(&former.output, &graph.operator(now.edge.from).output, Names::Compared) {
            Some(difference) => {
                Err(UnmatchedState::OtherColumns { way: self.way(exchange), difference, release: self.writer() })
            }
            None => Ok(()),
        }
    }

    fn check_state(&self, holder: OperatorId, matching: &Matching, graph: &JobGraph) -> Result<(), UnmatchedState> {
        let recorded = self.graph.as_ref().and_then(|recorded| Some((recorded, recorded.operator(holder)?)));
        let Some(now) = matching.operator(holder) else {
            return Err(match recorded {
                Some((RecordedGraph { release, .. }, former)) => {
                    let RecordedOperator { operator, identity, kind, state_version, name, .. } = former.clone();
                    let (version, release, others) = (state_version, release.clone(), matching.others(&kind, graph));
                    UnmatchedState::NoOperator { operator, name, kind, identity, version, release, others }
                }
                None => UnmatchedState::NoIndex { operator: holder, release: self.writer() },
            });
        };
        let form = graph.operator(now).kind.state_form();
        let found = recorded.map_or(FIRST_VERSION, |(_, former)| former.state_version);
        if form.reads(found) {
            return Ok(());
        }
        let StateForm { kind, written, oldest } = form;
        let known = if oldest == written { format!("{written}") } else { format!("{oldest} to {written}") };
        Err(UnmatchedState::Version { operator: holder, kind: kind.to_owned(), found, known, release: self.writer() })
    }

    /// The release that took this checkpoint, for people.
    #[must_use]
    pub fn writer(&self) -> String {
        match &self.graph {
            Some(recorded) => format!("release {}", recorded.release),
            None => format!("a release that writes manifests of format {MANIFEST_FORMAT_MIN}"),
        }
    }

    /// Describes an exchange of this manifest.
    fn way(&self, exchange: u32) -> String {
        let recorded = self.graph.as_ref().and_then(|graph| {
            let edge = graph.exchanges.get(usize::try_from(exchange).ok()?)?;
            Some((graph.operator(edge.from)?, graph.operator(edge.to)?, edge.port))
        });
        match recorded {
            Some((from, to, port)) => format!("from {} to port {port} of {}", from.name, to.name),
            None => format!("over exchange {exchange}"),
        }
    }
}

#[cfg(test)]
mod tests;
