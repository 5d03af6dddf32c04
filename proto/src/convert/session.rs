//! Converts the session service's messages to and from `thalweg_types::session`.
//!
//! `order` and `report` convert the two messages with many cases, this file the envelopes and the parts that both use.
//! A message is checked in full before anyone acts on it: graphs by their own rules, indexes against the graph and the
//! assignment, JSON as JSON, and words against the lists of known ones.
//!
//! On the wire a node's id is never 0: 0 stands for no node.

use std::time::Duration;

use prost::Message as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thalweg_types::{
    Attempt, ChainId, CheckpointId, Incarnation, JobId, NodeId, OperatorId, Split, SplitId, SubtaskId, Term,
    address::can_be_dialled,
    checkpoint::SinkCommittables,
    job::SubtaskMetrics,
    node::NodeRegistration,
    session::{CoordinatorMessage, NodeMessage, Report, ReportBody, SubtaskReport, SubtaskState},
};

use super::WireError;
use crate::v1;

mod order;
mod report;
#[cfg(test)]
mod tests;

/// The most slices of a job, as `parallelism.default` allows. This bounds every subtask's index.
const SLICES_MAX: usize = 4096;
/// A longer lease is taken for a mistake: for so long a lost node would go unnoticed.
const LEASE_MAX: Duration = Duration::from_hours(24);

/// The most bytes of each text of a registration: these texts are kept, logged and shown.
const REGISTERED_BYTES_MAX: usize = 255;

const STATES: [(SubtaskState, &str); 4] = [
    (SubtaskState::Ready, "ready"),
    (SubtaskState::Running, "running"),
    (SubtaskState::Finished, "finished"),
    (SubtaskState::Failed, "failed"),
];

/// Whether a report's message is short enough for a coordinator to accept it.
#[must_use]
pub fn fits_in_a_message(report: &Report) -> bool {
    /// Bytes of tags, lengths and numbers around the snapshot.
    const FRAME: usize = 256;
    if let ReportBody::Snapshot { snapshot, .. } = &report.body {
        return snapshot.text().len() + FRAME <= crate::MESSAGE_BYTES_MAX;
    }
    let longest = NodeMessage::Report { sequence: u64::MAX, report: report.clone() };
    v1::NodeMessage::from(longest).encoded_len() <= crate::MESSAGE_BYTES_MAX
}

/// The length of an encoded message in bytes.
#[must_use]
pub fn bytes_of(message: &v1::NodeMessage) -> usize {
    message.encoded_len()
}

impl From<NodeMessage> for v1::NodeMessage {
    fn from(message: NodeMessage) -> Self {
        use v1::node_message::Message;
        let message = match message {
            NodeMessage::Register(registration) => Message::Register(registration.into()),
            NodeMessage::Reattach { subtasks } => {
                Message::Reattach(v1::Reattach { subtasks: subtasks.into_iter().map(Into::into).collect() })
            }
            NodeMessage::Heartbeat { metrics } => {
                Message::Heartbeat(v1::Heartbeat { subtasks: metrics.into_iter().map(measured_to_wire).collect() })
            }
            NodeMessage::Acknowledge { sequence, refused } => {
                Message::Acknowledge(v1::Acknowledge { sequence, refused: refusal_to_wire(refused) })
            }
            NodeMessage::Report { sequence, report } => Message::Report(report::to_wire(sequence, report)),
            NodeMessage::Leaving => Message::Leaving(v1::Leaving {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::NodeMessage> for NodeMessage {
    type Error = WireError;

    fn try_from(wire: v1::NodeMessage) -> Result<Self, WireError> {
        use v1::node_message::Message;
        Ok(match wire.message.ok_or_else(|| WireError::new("NodeMessage", "it is empty"))? {
            Message::Register(registration) => Self::Register(registration.try_into()?),
            Message::Reattach(wire) => Self::Reattach { subtasks: each(wire.subtasks, SubtaskReport::try_from)? },
            Message::Heartbeat(wire) => Self::Heartbeat { metrics: each(wire.subtasks, measured_from_wire)? },
            Message::Acknowledge(v1::Acknowledge { sequence, refused }) => {
                Self::Acknowledge { sequence, refused: Some(refused).filter(|reason| !reason.is_empty()) }
            }
            Message::Report(wire) => Self::Report { sequence: wire.sequence, report: Report::try_from(wire)? },
            Message::Leaving(v1::Leaving {}) => Self::Leaving,
        })
    }
}

impl From<CoordinatorMessage> for v1::CoordinatorMessage {
    fn from(message: CoordinatorMessage) -> Self {
        use v1::coordinator_message::Message;
        let message = match message {
            CoordinatorMessage::Registered { node, term, lease_ms } => {
                Message::Registered(v1::Registered { node: node.0, term: term.0, lease_ms })
            }
            CoordinatorMessage::Refused { reason } => Message::Refused(v1::Refused { reason }),
            CoordinatorMessage::Order { sequence, order } => Message::Order(order::to_wire(sequence, order)),
            CoordinatorMessage::ReportAcknowledged { sequence } => {
                Message::ReportAcknowledged(v1::ReportAcknowledged { sequence })
            }
            CoordinatorMessage::LeaveRecorded => Message::LeaveRecorded(v1::LeaveRecorded {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::CoordinatorMessage> for CoordinatorMessage {
    type Error = WireError;

    fn try_from(wire: v1::CoordinatorMessage) -> Result<Self, WireError> {
        use v1::coordinator_message::Message;
        Ok(match wire.message.ok_or_else(|| WireError::new("CoordinatorMessage", "it is empty"))? {
            Message::Registered(v1::Registered { node, term, lease_ms }) => {
                let lease = Duration::from_millis(lease_ms);
                if lease.is_zero() || lease > LEASE_MAX {
                    return Err(WireError::new("Registered", format!("a lease of {lease_ms} ms")));
                }
                Self::Registered { node: node_id("Registered", node)?, term: Term(term), lease_ms }
            }
            Message::Refused(v1::Refused { reason }) => Self::Refused { reason },
            Message::Order(wire) => Self::Order { sequence: wire.sequence, order: order::from_wire(wire)? },
            Message::ReportAcknowledged(v1::ReportAcknowledged { sequence }) => Self::ReportAcknowledged { sequence },
            Message::LeaveRecorded(v1::LeaveRecorded {}) => Self::LeaveRecorded,
        })
    }
}

impl From<NodeRegistration> for v1::Registration {
    fn from(registration: NodeRegistration) -> Self {
        Self {
            node: registration.node.0,
            incarnation: registration.incarnation.0,
            address: registration.address,
            http_address: registration.http_address,
            slots: registration.slots,
            zone: registration.zone,
            version: registration.version,
        }
    }
}

impl TryFrom<v1::Registration> for NodeRegistration {
    type Error = WireError;

    fn try_from(wire: v1::Registration) -> Result<Self, WireError> {
        const MESSAGE: &str = "Registration";
        if usize::try_from(wire.slots).map_or(true, |slots| slots > SLICES_MAX) {
            return Err(WireError::new(MESSAGE, format!("{} slots, at most {SLICES_MAX} are allowed", wire.slots)));
        }
        let texts = [&wire.version, &wire.zone, &wire.address, &wire.http_address];
        for (text, what) in texts.into_iter().zip(["version", "zone", "address", "HTTP address"]) {
            if text.len() > REGISTERED_BYTES_MAX || text.chars().any(char::is_control) {
                let reason = format!("its {what} is no plain text of at most {REGISTERED_BYTES_MAX} bytes");
                return Err(WireError::new(MESSAGE, reason));
            }
        }
        if wire.version.is_empty() {
            return Err(WireError::new(MESSAGE, "it tells no version"));
        }
        let http_address = match wire.http_address {
            none if none.is_empty() => none,
            given => address(MESSAGE, given)?,
        };
        Ok(Self {
            node: node_id(MESSAGE, wire.node)?,
            incarnation: Incarnation(wire.incarnation),
            address: address(MESSAGE, wire.address)?,
            http_address,
            slots: wire.slots,
            zone: wire.zone,
            version: wire.version,
        })
    }
}

impl From<SubtaskReport> for v1::SubtaskReport {
    fn from(report: SubtaskReport) -> Self {
        let word = STATES.iter().find(|(state, _)| *state == report.state).map(|(_, word)| *word);
        Self {
            subtask: Some(subtask_to_wire(report.job, report.attempt, report.subtask)),
            state: word.expect("every state has a word").to_owned(),
        }
    }
}

impl TryFrom<v1::SubtaskReport> for SubtaskReport {
    type Error = WireError;

    fn try_from(wire: v1::SubtaskReport) -> Result<Self, WireError> {
        let (job, attempt, subtask) = subtask_from_wire("SubtaskReport", wire.subtask)?;
        let state = STATES.iter().find(|(_, word)| *word == wire.state).map(|(state, _)| *state);
        let state = state.ok_or_else(|| WireError::new("SubtaskReport", format!("unknown state '{}'", wire.state)))?;
        Ok(Self { job, attempt, subtask, state })
    }
}

impl From<Split> for v1::Split {
    fn from(split: Split) -> Self {
        Self { id: split.id.0, sequence: split.sequence, ordinal: split.ordinal, payload: split.payload.to_string() }
    }
}

impl TryFrom<v1::Split> for Split {
    type Error = WireError;

    fn try_from(wire: v1::Split) -> Result<Self, WireError> {
        if wire.id.is_empty() {
            return Err(WireError::new("Split", "it has no id"));
        }
        let payload = json("Split", &wire.payload)?;
        Ok(Self { id: SplitId(wire.id), sequence: wire.sequence, ordinal: wire.ordinal, payload })
    }
}

impl From<SinkCommittables> for v1::SinkCommittables {
    fn from(prepared: SinkCommittables) -> Self {
        Self {
            sink: prepared.sink.0,
            subtask: prepared.subtask,
            committables: prepared.committables.iter().map(Value::to_string).collect(),
        }
    }
}

impl TryFrom<v1::SinkCommittables> for SinkCommittables {
    type Error = WireError;

    fn try_from(wire: v1::SinkCommittables) -> Result<Self, WireError> {
        Ok(Self {
            sink: OperatorId(wire.sink),
            subtask: subtask_index("SinkCommittables", wire.subtask)?,
            committables: each(wire.committables, |text| json("SinkCommittables", &text))?,
        })
    }
}

/// Encodes a refusal. Empty text stands for "taken", so a refusal always has words.
fn refusal_to_wire(refused: Option<String>) -> String {
    match refused {
        None => String::new(),
        Some(reason) if reason.is_empty() => "no reason given".to_owned(),
        Some(reason) => reason,
    }
}

fn measured_to_wire(
    (job, attempt, subtask, metrics): (JobId, Attempt, SubtaskId, SubtaskMetrics),
) -> v1::MeasuredSubtask {
    v1::MeasuredSubtask { subtask: Some(subtask_to_wire(job, attempt, subtask)), metrics: Some(metrics.into()) }
}

fn measured_from_wire(wire: v1::MeasuredSubtask) -> Result<(JobId, Attempt, SubtaskId, SubtaskMetrics), WireError> {
    let (job, attempt, subtask) = subtask_from_wire("MeasuredSubtask", wire.subtask)?;
    let metrics = wire.metrics.ok_or_else(|| WireError::new("MeasuredSubtask", "it has no metrics"))?;
    Ok((job, attempt, subtask, metrics.into()))
}

fn subtask_to_wire(job: JobId, attempt: Attempt, subtask: SubtaskId) -> v1::SubtaskRef {
    v1::SubtaskRef { job: job.0, attempt: attempt.0, chain: subtask.chain.0, index: subtask.index }
}

fn subtask_from_wire(
    message: &'static str,
    wire: Option<v1::SubtaskRef>,
) -> Result<(JobId, Attempt, SubtaskId), WireError> {
    let wire = wire.ok_or_else(|| WireError::new(message, "it names no subtask"))?;
    let subtask = SubtaskId { chain: ChainId(wire.chain), index: subtask_index(message, wire.index)? };
    Ok((JobId(wire.job), Attempt(wire.attempt), subtask))
}

fn subtask_index(message: &'static str, index: u32) -> Result<u32, WireError> {
    match usize::try_from(index) {
        Ok(at) if at < SLICES_MAX => Ok(index),
        _ => Err(WireError::new(message, format!("subtask {index}, at most {SLICES_MAX} are allowed"))),
    }
}

fn node_id(message: &'static str, node: u64) -> Result<NodeId, WireError> {
    match node {
        0 => Err(WireError::new(message, "a node has the id 0")),
        node => Ok(NodeId(node)),
    }
}

fn address(message: &'static str, text: String) -> Result<String, WireError> {
    match can_be_dialled(&text) {
        true => Ok(text),
        false => Err(WireError::new(message, format!("'{text}' is not host:port"))),
    }
}

/// Checks the id of a checkpoint: ids begin at 1.
fn checkpoint_id(message: &'static str, checkpoint: u64) -> Result<CheckpointId, WireError> {
    match checkpoint {
        0 => Err(WireError::new(message, "a checkpoint has the id 0")),
        checkpoint => Ok(CheckpointId(checkpoint)),
    }
}

fn json(message: &'static str, text: &str) -> Result<Value, WireError> {
    json_value(message, text.as_bytes())
}

fn json_value<T: DeserializeOwned>(message: &'static str, text: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(text).map_err(|error| WireError::new(message, format!("its JSON cannot be read: {error}")))
}

fn each<W, D>(wire: Vec<W>, convert: impl FnMut(W) -> Result<D, WireError>) -> Result<Vec<D>, WireError> {
    wire.into_iter().map(convert).collect()
}
