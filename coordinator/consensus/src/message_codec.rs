//! Raft's messages on the wire: opaque bytes in envelopes, in pieces if they are large.
//!
//! Messages are parsed and checked before raft sees them, because raft-rs panics on messages that its own peers never
//! send. Members never forward proposals or leadership transfers, so these are refused. Protobuf 2.28 recurses without
//! limit on unknown groups (RUSTSEC-2024-0437). No message of this crate has groups, so they are refused before it
//! parses.

use bytes::{Bytes, BytesMut};
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType};
use thalweg_proto::v1::RaftEnvelope;
use thalweg_types::{ClusterId, MemberId};
use thiserror::Error;

use crate::{
    config::check_address,
    log::encode_message,
    record_codec::{Origin, RecordError, decode_seat, decode_snapshot},
};

/// The size of one piece. Small enough that a snapshot does not hold up the connection's other streams.
const PIECE_BYTES: usize = 1 << 20;
/// The most bytes of an envelope: a piece and the fields around it.
pub(crate) const ENVELOPE_BYTES_MAX: usize = PIECE_BYTES + 4096;
/// The most bytes of one message. Only snapshots are that large; both sides hold them in memory.
const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Indexes and terms must be below this number. No real ones come near it.
const NUMBER_MAX: u64 = 1 << 62;

/// Why an envelope is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("this member belongs to {ours}, and the message came from cluster {theirs:?}")]
    OtherCluster { ours: ClusterId, theirs: String },
    #[error("the message is for member-{to}, and this is {ours}")]
    OtherMember { ours: MemberId, to: u64 },
    #[error("the message has more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("malformed raft message: {0}")]
    Malformed(&'static str),
    #[error("malformed raft message")]
    Record(#[from] RecordError),
}

/// A checked message, and where its sender listens.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) message: Message,
    pub(crate) address: String,
}

/// How this member addresses what it sends, and what it accepts.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) member: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) address: String,
}

impl Post {
    /// The envelopes of a message, in the order in which they must be sent.
    pub(crate) fn envelopes(&self, message: &Message) -> impl Iterator<Item = RaftEnvelope> {
        let mut rest = Some(encode_message(message));
        let to = message.to;
        std::iter::from_fn(move || {
            let mut bytes = rest.take()?;
            if bytes.len() > PIECE_BYTES {
                rest = Some(bytes.split_off(PIECE_BYTES));
            }
            Some(RaftEnvelope {
                cluster: self.cluster.0.clone(),
                from: self.member.0,
                to,
                message: bytes,
                more: rest.is_some(),
                from_address: self.address.clone(),
            })
        })
    }
}

/// Reassembles the pieces of one stream.
#[derive(Debug)]
pub(crate) struct Assembly {
    post: Post,
    from: Option<u64>,
    pieces: BytesMut,
}

impl Assembly {
    pub(crate) fn new(post: Post) -> Self {
        Self { post, from: None, pieces: BytesMut::new() }
    }

    /// Takes an envelope. Returns the message once its last piece is there.
    pub(crate) fn accept(&mut self, envelope: RaftEnvelope) -> Result<Option<Incoming>, Refusal> {
        if envelope.cluster != self.post.cluster.0 {
            return Err(Refusal::OtherCluster { ours: self.post.cluster.clone(), theirs: envelope.cluster });
        }
        if envelope.to != self.post.member.0 {
            return Err(Refusal::OtherMember { ours: self.post.member, to: envelope.to });
        }
        if *self.from.get_or_insert(envelope.from) != envelope.from {
            return Err(Refusal::Malformed("a stream has one sender"));
        }
        if self.pieces.len() + envelope.message.len() > MESSAGE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        if envelope.more {
            self.pieces.extend_from_slice(&envelope.message);
            return Ok(None);
        }
        let bytes = if self.pieces.is_empty() {
            envelope.message
        } else {
            self.pieces.extend_from_slice(&envelope.message);
            std::mem::take(&mut self.pieces).freeze()
        };
        let message = parse(&bytes)?;
        if message.from != envelope.from || message.to != envelope.to {
            return Err(Refusal::Malformed("the envelope names other members"));
        }
        check_address(MemberId(envelope.from), &envelope.from_address)
            .map_err(|_| Refusal::Malformed("the sender's address"))?;
        Ok(Some(Incoming { message, address: envelope.from_address }))
    }
}

fn parse(bytes: &Bytes) -> Result<Message, Refusal> {
    refuse_groups(bytes, Shape::Message)?;
    let message = Message::parse_from_bytes(bytes).map_err(|_| Refusal::Malformed("not protobuf"))?;
    check(&message)?;
    Ok(message)
}

/// Refuses messages on which raft-rs would panic, and those that members never send.
fn check(message: &Message) -> Result<(), Refusal> {
    let is_read = message.get_msg_type() == MessageType::MsgReadIndex;
    if message.from == 0 || message.from == message.to {
        return Err(Refusal::Malformed("it has no sender"));
    }
    // Raft takes a message without a term for one of its own. Of those from others, only read requests have none.
    if (message.term == 0) != is_read {
        return Err(Refusal::Malformed("its term"));
    }
    check_numbers(message)?;
    match message.get_msg_type() {
        MessageType::MsgAppend => check_entries(message),
        MessageType::MsgSnapshot => check_snapshot(message),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => check_read(message.get_entries()),
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow => Ok(()),
        MessageType::MsgPropose
        | MessageType::MsgTransferLeader
        | MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => Err(Refusal::Malformed("its type is never sent")),
    }
}

/// Raft-rs adds to these numbers without checking for overflow. Members never ask for snapshots.
fn check_numbers(message: &Message) -> Result<(), Refusal> {
    let indexes = [message.index, message.commit, message.reject_hint, message.get_snapshot().get_metadata().index];
    let terms = [message.term, message.log_term, message.commit_term];
    if indexes.into_iter().chain(terms).any(|number| number >= NUMBER_MAX) || message.request_snapshot != 0 {
        return Err(Refusal::Malformed("its numbers"));
    }
    Ok(())
}

/// The position before the first entry has term 0, and every other one has a term of at least 1. Raft-rs takes an index
/// that it does not have for one of term 0.
fn check_entries(message: &Message) -> Result<(), Refusal> {
    let (mut index, mut term) = (message.index, message.log_term);
    if (index == 0) != (term == 0) || term > message.term {
        return Err(Refusal::Malformed("its place in the log"));
    }
    for entry in message.get_entries() {
        if Some(entry.index) != index.checked_add(1) || entry.term < term.max(1) || entry.term > message.term {
            return Err(Refusal::Malformed("its entries are no log"));
        }
        check_entry(entry)?;
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

/// Refuses entries for which a member would have to stop once they are committed.
fn check_entry(entry: &Entry) -> Result<(), Refusal> {
    if !entry.context.is_empty() {
        Origin::decode(&entry.context)?;
    }
    match entry.get_entry_type() {
        EntryType::EntryNormal => Ok(()),
        EntryType::EntryConfChange => {
            refuse_groups(&entry.data, Shape::Leaf)?;
            let change = ConfChange::parse_from_bytes(&entry.data).map_err(|_| Refusal::Malformed("its change"))?;
            match change.get_change_type() {
                _ if change.node_id == 0 => Err(Refusal::Malformed("its change names no member")),
                ConfChangeType::RemoveNode => Ok(()),
                ConfChangeType::AddNode | ConfChangeType::AddLearnerNode => Ok(decode_seat(&change.context).map(drop)?),
            }
        }
        EntryType::EntryConfChangeV2 => Err(Refusal::Malformed("its change is of a kind that is never sent")),
    }
}

fn check_snapshot(message: &Message) -> Result<(), Refusal> {
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term {
        return Err(Refusal::Malformed("its snapshot has no place in the log"));
    }
    let configuration = metadata.get_conf_state();
    // Members change one at a time, never by joint consensus.
    let is_joint = !configuration.get_voters_outgoing().is_empty()
        || !configuration.get_learners_next().is_empty()
        || configuration.auto_leave;
    if configuration.get_voters().is_empty() || is_joint {
        return Err(Refusal::Malformed("its snapshot's members"));
    }
    let (roster, _) = decode_snapshot(&message.get_snapshot().data)?;
    let ids = configuration.get_voters().iter().chain(configuration.get_learners());
    let mut sorted: Vec<u64> = ids.copied().collect();
    sorted.sort_unstable();
    if sorted.first() == Some(&0) || !sorted.iter().copied().eq(roster.seats.keys().map(|member| member.0)) {
        return Err(Refusal::Malformed("its snapshot's members and seats differ"));
    }
    Ok(())
}

fn check_read(entries: &[Entry]) -> Result<(), Refusal> {
    match entries {
        [entry] if Origin::decode(&entry.data).is_ok() => Ok(()),
        _ => Err(Refusal::Malformed("it names no read")),
    }
}

/// Which fields of a message are messages, by raft's proto file.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Message,
    Snapshot,
    Metadata,
    Leaf,
}

impl Shape {
    fn nested(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Message, 7) | (Self::Metadata, 1) => Some(Self::Leaf),
            (Self::Message, 9) => Some(Self::Snapshot),
            (Self::Snapshot, 2) => Some(Self::Metadata),
            _ => None,
        }
    }
}

/// Refuses bytes that hold a group anywhere the parser would look. Recurses only as deep as the schema.
pub(crate) fn refuse_groups(mut bytes: &[u8], shape: Shape) -> Result<(), Refusal> {
    const BROKEN: Refusal = Refusal::Malformed("not protobuf");
    while !bytes.is_empty() {
        let key = varint(&mut bytes).ok_or(BROKEN)?;
        let length = match key & 7 {
            0 => varint(&mut bytes).map(|_| 0).ok_or(BROKEN)?,
            1 => 8,
            2 => varint(&mut bytes).and_then(|length| usize::try_from(length).ok()).ok_or(BROKEN)?,
            5 => 4,
            _ => return Err(Refusal::Malformed("it holds a group")),
        };
        let (field, rest) = bytes.split_at_checked(length).ok_or(BROKEN)?;
        if let Some(nested) = shape.nested(key >> 3).filter(|_| key & 7 == 2) {
            refuse_groups(field, nested)?;
        }
        bytes = rest;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
