//! Converts orders: what a leader wants of a node.
//!
//! A deployment is checked as a whole: every slice has a node with an address, every key group has an owner among the
//! slices, and splits belong to sources of the graph.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{
    Assignment, Attempt, ClusterId, JobGraph, JobId, KeyGroupTable, NodeId, OperatorId, OperatorKind, Term,
    checkpoint::{ManifestRef, SinkCommittables, SplitProgress},
    graph::Parallelism,
    session::{Action, Deployment, Order, Publication, SplitAssignment},
};

use super::{SLICES_MAX, address, checkpoint_id, each, json_value, node_id};
use crate::{
    convert::{WireError, trace::trace_from_wire},
    v1,
};

pub(super) fn to_wire(sequence: u64, order: Order) -> v1::Order {
    use v1::order::Action as Wire;
    let action = match order.action {
        Action::Discover { graph, sources } => Wire::Discover(v1::Discover {
            graph: graph.to_bytes(),
            sources: sources.into_iter().map(|source| source.0).collect(),
        }),
        Action::Deploy(deployment) => Wire::Deploy((*deployment).into()),
        Action::Start => Wire::Start(v1::Start {}),
        Action::Cancel => Wire::Cancel(v1::Cancel {}),
        Action::Stop => Wire::Stop(v1::Stop {}),
        Action::BeginCheckpoint { checkpoint } => {
            Wire::BeginCheckpoint(v1::BeginCheckpoint { checkpoint: checkpoint.0 })
        }
        Action::AbortCheckpoint { checkpoint } => {
            Wire::AbortCheckpoint(v1::AbortCheckpoint { checkpoint: checkpoint.0 })
        }
        Action::ConfirmCheckpoint { checkpoint, manifest } => Wire::ConfirmCheckpoint(v1::ConfirmCheckpoint {
            checkpoint: checkpoint.0,
            manifest: manifest.map(Into::into),
        }),
        Action::Commit(publication) => Wire::Commit((*publication).into()),
        Action::Discard { graph, before, checkpoints } => {
            Wire::Discard(v1::Discard { graph: graph.to_bytes(), before: before.0, checkpoints })
        }
    };
    v1::Order {
        sequence,
        term: order.term.0,
        cluster: order.cluster.0,
        job: order.job.0,
        attempt: order.attempt.0,
        action: Some(action),
        trace: order.trace.map(Into::into),
    }
}

pub(super) fn from_wire(wire: v1::Order) -> Result<Order, WireError> {
    let action = wire.action.ok_or_else(|| WireError::new("Order", "it names no action"))?;
    if wire.cluster.is_empty() {
        return Err(WireError::new("Order", "it names no cluster"));
    }
    Ok(Order {
        term: Term(wire.term),
        cluster: ClusterId(wire.cluster),
        job: JobId(wire.job),
        attempt: Attempt(wire.attempt),
        action: action_from_wire(action)?,
        trace: trace_from_wire(wire.trace),
    })
}

fn action_from_wire(wire: v1::order::Action) -> Result<Action, WireError> {
    use v1::order::Action as Wire;
    Ok(match wire {
        Wire::Discover(wire) => discover_from_wire(wire)?,
        Wire::Deploy(wire) => Action::Deploy(Box::new(wire.try_into()?)),
        Wire::Start(v1::Start {}) => Action::Start,
        Wire::Cancel(v1::Cancel {}) => Action::Cancel,
        Wire::Stop(v1::Stop {}) => Action::Stop,
        Wire::BeginCheckpoint(v1::BeginCheckpoint { checkpoint }) => {
            Action::BeginCheckpoint { checkpoint: checkpoint_id("BeginCheckpoint", checkpoint)? }
        }
        Wire::AbortCheckpoint(v1::AbortCheckpoint { checkpoint }) => {
            Action::AbortCheckpoint { checkpoint: checkpoint_id("AbortCheckpoint", checkpoint)? }
        }
        Wire::ConfirmCheckpoint(v1::ConfirmCheckpoint { checkpoint, manifest }) => Action::ConfirmCheckpoint {
            checkpoint: checkpoint_id("ConfirmCheckpoint", checkpoint)?,
            manifest: manifest.map(ManifestRef::try_from).transpose()?,
        },
        Wire::Commit(wire) => Action::Commit(Box::new(wire.try_into()?)),
        Wire::Discard(v1::Discard { graph, before, checkpoints }) => Action::Discard {
            graph: Box::new(graph_from_wire("Discard", &graph)?),
            before: Attempt(before),
            checkpoints: place("Discard", checkpoints)?,
        },
    })
}

fn discover_from_wire(wire: v1::Discover) -> Result<Action, WireError> {
    let graph = graph_from_wire("Discover", &wire.graph)?;
    let sources: Vec<_> = wire.sources.into_iter().map(OperatorId).collect();
    for source in &sources {
        check_source("Discover", &graph, *source)?;
    }
    Ok(Action::Discover { graph: Box::new(graph), sources })
}

impl From<Publication> for v1::Commit {
    fn from(publication: Publication) -> Self {
        let Publication { graph, checkpoint, committables, published, complete, checkpoints } = publication;
        let published = published.into_iter();
        Self {
            graph: graph.to_bytes(),
            committables: committables.into_iter().map(Into::into).collect(),
            checkpoint: checkpoint.0,
            published: published.map(|(sink, last)| v1::PublishedSink { sink: sink.0, checkpoint: last.0 }).collect(),
            complete: complete.0,
            checkpoints,
        }
    }
}

impl TryFrom<v1::Commit> for Publication {
    type Error = WireError;

    fn try_from(wire: v1::Commit) -> Result<Self, WireError> {
        const MESSAGE: &str = "Commit";
        let graph = graph_from_wire(MESSAGE, &wire.graph)?;
        // Not only sinks publish: windows publish late records, sources malformed ones, and any operator failed rows.
        let check_operator = |operator: OperatorId| match kind_of(&graph, operator) {
            Some(_) => Ok(operator),
            None => Err(WireError::new(MESSAGE, format!("{operator} is not an operator of the graph"))),
        };
        let committables = each(wire.committables, SinkCommittables::try_from)?;
        for SinkCommittables { sink, .. } in &committables {
            check_operator(*sink)?;
        }
        let checkpoint = checkpoint_id(MESSAGE, wire.checkpoint)?;
        let complete = checkpoint_id(MESSAGE, wire.complete)?;
        if complete < checkpoint {
            return Err(WireError::new(MESSAGE, format!("{checkpoint} is to be published and not complete")));
        }
        let mut published = BTreeMap::new();
        for v1::PublishedSink { sink, checkpoint: last } in wire.published {
            let sink = check_operator(OperatorId(sink))?;
            if published.insert(sink, checkpoint_id(MESSAGE, last)?).is_some() {
                return Err(WireError::new(MESSAGE, format!("it tells twice what {sink} has published")));
            }
        }
        let checkpoints = place(MESSAGE, wire.checkpoints)?;
        Ok(Self { graph, checkpoint, committables, published, complete, checkpoints })
    }
}

/// The URL of the place for checkpoints.
fn place(message: &'static str, checkpoints: String) -> Result<String, WireError> {
    if checkpoints.is_empty() {
        return Err(WireError::new(message, "it does not say where checkpoints are kept"));
    }
    Ok(checkpoints)
}

impl From<Deployment> for v1::Deploy {
    fn from(deployment: Deployment) -> Self {
        let address = |(node, address): (NodeId, String)| v1::NodeAddress { node: node.0, address };
        Self {
            graph: deployment.graph.to_bytes(),
            slices: deployment.assignment.slices.into_iter().map(|node| node.0).collect(),
            key_group_owners: deployment.assignment.key_groups.owners().to_vec(),
            addresses: deployment.addresses.into_iter().map(address).collect(),
            splits: deployment.splits.into_iter().map(Into::into).collect(),
            checkpoints: deployment.checkpoints,
            takes_checkpoints: deployment.takes_checkpoints,
            restore: deployment.restore.map(Into::into),
        }
    }
}

impl TryFrom<v1::Deploy> for Deployment {
    type Error = WireError;

    fn try_from(wire: v1::Deploy) -> Result<Self, WireError> {
        let graph = graph_from_wire("Deploy", &wire.graph)?;
        let slices = slices_from_wire(wire.slices)?;
        let owners = wire.key_group_owners;
        if owners.len() != usize::from(graph.key_groups) {
            let reason = format!("{} key groups have owners, the graph has {}", owners.len(), graph.key_groups);
            return Err(WireError::new("Deploy", reason));
        }
        if let Some(owner) = owners.iter().find(|owner| **owner as usize >= slices.len()) {
            return Err(WireError::new("Deploy", format!("slice {owner} owns a key group, but there is none")));
        }
        let addresses = addresses_from_wire(wire.addresses, &slices)?;
        let splits = splits_from_wire(wire.splits, &graph, slices.len())?;
        let assignment = Assignment { slices, key_groups: KeyGroupTable::new(owners) };
        let restore = wire.restore.map(ManifestRef::try_from).transpose()?;
        let (checkpoints, takes_checkpoints) = (place("Deploy", wire.checkpoints)?, wire.takes_checkpoints);
        Ok(Self { graph, assignment, addresses, splits, checkpoints, takes_checkpoints, restore })
    }
}

impl From<SplitAssignment> for v1::SplitAssignment {
    fn from(assignment: SplitAssignment) -> Self {
        let SplitAssignment { source, subtask, splits } = assignment;
        let json = |split| serde_json::to_vec(&split).expect("a split has only text and integer keys");
        Self { source: source.0, subtask, splits: splits.into_iter().map(json).collect() }
    }
}

impl From<ManifestRef> for v1::ManifestRef {
    fn from(manifest: ManifestRef) -> Self {
        let ManifestRef { checkpoint, name, bytes, checksum } = manifest;
        Self { checkpoint: checkpoint.0, name, bytes, checksum }
    }
}

impl TryFrom<v1::ManifestRef> for ManifestRef {
    type Error = WireError;

    fn try_from(wire: v1::ManifestRef) -> Result<Self, WireError> {
        let v1::ManifestRef { checkpoint, name, bytes, checksum } = wire;
        if name.is_empty() {
            return Err(WireError::new("ManifestRef", "it has no name"));
        }
        Ok(Self { checkpoint: checkpoint_id("ManifestRef", checkpoint)?, name, bytes, checksum })
    }
}

fn slices_from_wire(slices: Vec<u64>) -> Result<Vec<NodeId>, WireError> {
    if slices.is_empty() || slices.len() > SLICES_MAX {
        return Err(WireError::new("Deploy", format!("{} slices; need 1 to {SLICES_MAX}", slices.len())));
    }
    each(slices, |node| node_id("Deploy", node))
}

fn addresses_from_wire(wire: Vec<v1::NodeAddress>, slices: &[NodeId]) -> Result<Vec<(NodeId, String)>, WireError> {
    let addresses = each(wire, |wire| Ok((node_id("NodeAddress", wire.node)?, address("NodeAddress", wire.address)?)))?;
    let known: BTreeSet<NodeId> = addresses.iter().map(|(node, _)| *node).collect();
    if known.len() != addresses.len() {
        return Err(WireError::new("Deploy", "a node has two addresses"));
    }
    match slices.iter().find(|node| !known.contains(node)) {
        Some(node) => Err(WireError::new("Deploy", format!("{node} holds a slice but has no address"))),
        None => Ok(addresses),
    }
}

fn splits_from_wire(
    wire: Vec<v1::SplitAssignment>,
    graph: &JobGraph,
    slices: usize,
) -> Result<Vec<SplitAssignment>, WireError> {
    const MESSAGE: &str = "SplitAssignment";
    let mut seen = BTreeSet::new();
    each(wire, |v1::SplitAssignment { source, subtask, splits }| {
        let source = OperatorId(source);
        check_source(MESSAGE, graph, source)?;
        let subtasks = match graph.operator(source).parallelism {
            Parallelism::Job => slices,
            Parallelism::One => 1,
        };
        if subtask as usize >= subtasks {
            return Err(WireError::new(MESSAGE, format!("{source} has no subtask {subtask}")));
        }
        if !seen.insert((source, subtask)) {
            return Err(WireError::new(MESSAGE, format!("subtask {subtask} of {source} is named twice")));
        }
        let splits = each(splits, |bytes| json_value::<SplitProgress>(MESSAGE, &bytes))?;
        if splits.iter().any(|progress| progress.split.id.0.is_empty()) {
            return Err(WireError::new(MESSAGE, "a split has no id"));
        }
        Ok(SplitAssignment { source, subtask, splits })
    })
}

fn graph_from_wire(message: &'static str, bytes: &[u8]) -> Result<JobGraph, WireError> {
    JobGraph::from_bytes(bytes).map_err(|error| WireError::new(message, error.to_string()))
}

fn check_source(message: &'static str, graph: &JobGraph, operator: OperatorId) -> Result<(), WireError> {
    match kind_of(graph, operator).and_then(OperatorKind::as_source) {
        Some(_) => Ok(()),
        None => Err(WireError::new(message, format!("{operator} is not a source of the graph"))),
    }
}

fn kind_of(graph: &JobGraph, operator: OperatorId) -> Option<&OperatorKind> {
    graph.operators.get(operator.0 as usize).map(|operator| &operator.kind)
}
