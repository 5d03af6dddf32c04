//! One round of raft's work: send, persist, send what had to wait for that, apply.
//!
//! ```text
//!   ready -> messages of a leader          leave at once: they promise nothing of its own log
//!         -> snapshot, entries, vote       into the store, in one write
//!         -> messages of everybody else    leave now: they acknowledge what is on disk
//!         -> committed entries             are applied, in order, once the large ones are decoded; callers are answered
//! ```

use std::sync::Arc;

use bytes::Bytes;
use protobuf::Message as _;
use raft::{
    Ready, SnapshotStatus,
    eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType, Snapshot},
};
use thalweg_types::MemberId;
use tracing::{info, warn};

use super::{Driver, Fault};
use crate::{
    Replicated, Unreadable,
    beside::Beside,
    consensus::ConsensusError,
    log::{encode_entries, encode_message, new_snapshot, position_of},
    message_codec::{Shape, refuse_groups},
    record_codec::{Origin, decode_seat, decode_snapshot, encode_snapshot},
    store::{LogPosition, LogStore, LogWrite, StoreError},
};

/// A snapshot is taken early once the entries in memory have this many bytes.
const ENTRIES_BYTES_MAX: u64 = 64 << 20;
/// A command of at least this many bytes is decoded outside the driver's task.
const LARGE_BYTES: usize = 64 << 10;

/// Answers to callers. They are sent once the state shows the effects.
struct Answers<O> {
    outcomes: Vec<(u64, O)>,
    changes: Vec<(u64, Result<(), ConsensusError>)>,
}

impl<R: Replicated> Driver<R> {
    pub(super) async fn on_ready(&mut self) -> Result<(), Fault> {
        let mut ready = self.node.ready();
        let mut unsent = self.send(ready.take_messages());
        self.persist(&ready).await?;
        unsent.extend(self.send(ready.take_persisted_messages()));
        for state in ready.take_read_states() {
            self.on_read_state(&state.request_ctx, state.index);
        }
        let mut committed = ready.take_committed_entries();
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().set_commit(commit);
        }
        unsent.extend(self.send(light.take_messages()));
        committed.extend(light.take_committed_entries());
        // Only now: applying may change raft's members, which raft forbids between `ready` and `advance`.
        self.unapplied.extend(committed);
        self.apply(None)?;
        // Raft has decided whether it takes the leader's snapshot.
        self.restored = None;
        for (member, message) in unsent {
            self.on_unsent(member, message);
        }
        self.snapshot_if_due();
        Ok(())
    }

    /// Queues messages to their members. Returns those that were dropped.
    fn send(&mut self, messages: Vec<Message>) -> Vec<(MemberId, MessageType)> {
        let mut unsent = Vec::new();
        for message in messages {
            let header = (MemberId(message.to), message.get_msg_type());
            if !self.peers.send(message) {
                unsent.push(header);
            }
        }
        unsent
    }

    fn on_unsent(&mut self, member: MemberId, message: MessageType) {
        self.node.report_unreachable(member.0);
        if message == MessageType::MsgSnapshot {
            self.node.report_snapshot(member.0, SnapshotStatus::Failure);
        }
    }

    /// Writes what must be on disk. A commit index alone need not be: a restarted member learns it again.
    async fn persist(&mut self, ready: &Ready) -> Result<(), Fault> {
        if let Some(state) = ready.hs() {
            self.node.mut_store().set_hard_state(state.clone());
        }
        if !ready.must_sync() {
            return Ok(());
        }
        let mut write = LogWrite { entries: encode_entries(ready.entries()), ..LogWrite::default() };
        if !ready.snapshot().is_empty() {
            write.snapshot = Some(self.install(ready.snapshot())?);
            write.clears_log = true;
            write.compacted = Some(self.applied);
        }
        write.hard_state = Some(self.node.store().hard_state());
        let began = self.published.meter.now();
        self.store.write(write).await?;
        self.published.meter.on_written(began);
        self.node.mut_store().append(ready.entries());
        Ok(())
    }

    /// Installs a leader's snapshot, and returns its bytes for the store. The state machine takes it before it goes to
    /// disk: a snapshot that the machine refuses must not replace a good log.
    fn install(&mut self, snapshot: &Snapshot) -> Result<Bytes, Fault> {
        let (roster, bytes) = decode_snapshot(&snapshot.data)?;
        let metadata = snapshot.get_metadata();
        let decoded = self.restored.take().filter(|decoded| decoded.at == position_of(snapshot));
        let (state, encoded) = match decoded {
            Some(Restored { state, bytes, .. }) => (state, bytes),
            None => {
                let mut state = R::clone(&self.machine.read());
                state.restore(&bytes).map_err(Fault::Restore)?;
                (state, encode_message(snapshot))
            }
        };
        *self.machine.write() = Arc::new(state);
        // The snapshot covers these entries.
        self.unapplied.clear();
        self.decoding = None;
        info!(member = %self.config.member, index = metadata.index, "took over a leader's snapshot");
        self.node.mut_store().install(snapshot.clone());
        self.applied = LogPosition { index: metadata.index, term: metadata.term };
        self.roster = roster;
        self.on_members_changed(metadata.get_conf_state().get_voters());
        self.on_applied();
        Ok(encoded)
    }

    /// The first waiting entry is decoded.
    pub(super) fn on_decoded(&mut self, command: Option<Result<R::Command, Unreadable>>) -> Result<(), Fault> {
        self.apply(Some(command.ok_or(Fault::Beside)?))
    }

    /// Applies committed entries up to one that must be decoded outside the driver. `decoded` is the command of the
    /// first one.
    fn apply(&mut self, mut decoded: Option<Result<R::Command, Unreadable>>) -> Result<(), Fault> {
        let mut answers = Answers { outcomes: Vec::new(), changes: Vec::new() };
        let before = self.applied.index;
        let machine = self.machine.clone();
        let mut machine = machine.write();
        while self.decoding.is_none()
            && let Some(entry) = self.unapplied.pop_front()
        {
            if decoded.is_none() && is_large(&entry) {
                let data = entry.data.clone();
                self.unapplied.push_front(entry);
                self.decoding = Some(Beside::begin(&self.compute, "decode a command", async move { R::decode(&data) }));
                break;
            }
            assert_eq!(entry.index, self.applied.index + 1, "entries are applied in order, each once");
            self.applied = LogPosition { index: entry.index, term: entry.term };
            match entry.get_entry_type() {
                // Raft's own entries, such as the first of each term, have no origin.
                EntryType::EntryNormal if entry.context.is_empty() => {}
                EntryType::EntryNormal => {
                    let command = decoded.take().unwrap_or_else(|| R::decode(&entry.data));
                    self.apply_command(Arc::make_mut(&mut machine), &entry, command, &mut answers)?;
                }
                EntryType::EntryConfChange => self.apply_change(&entry, &mut answers)?,
                EntryType::EntryConfChangeV2 => return Err(Fault::Change(entry.index)),
            }
        }
        drop(machine);
        // Also after a snapshot.
        self.node.advance_apply_to(self.applied.index);
        if self.applied.index > before {
            self.on_applied();
        }
        for (number, outcome) in answers.outcomes {
            if let Some(since) = self.calls.proposals.answer(number, Ok(outcome)) {
                self.published.meter.on_committed(since);
            }
        }
        for (number, outcome) in answers.changes {
            self.calls.changing.answer(number, outcome);
        }
        Ok(())
    }

    fn apply_command(
        &mut self,
        machine: &mut R,
        entry: &Entry,
        command: Result<R::Command, Unreadable>,
        answers: &mut Answers<R::Outcome>,
    ) -> Result<(), Fault> {
        let origin = Origin::decode(&entry.context)?;
        let command = command.map_err(|source| Fault::Command { index: entry.index, source })?;
        let outcome = machine.apply(entry.index, command);
        if self.is_ours(origin) {
            answers.outcomes.push((origin.number, outcome));
        }
        Ok(())
    }

    fn apply_change(&mut self, entry: &Entry, answers: &mut Answers<R::Outcome>) -> Result<(), Fault> {
        let unreadable = || Fault::Change(entry.index);
        refuse_groups(&entry.data, Shape::Leaf).map_err(|_| unreadable())?;
        let change = ConfChange::parse_from_bytes(&entry.data).map_err(|_| unreadable())?;
        let outcome = self.change_members(&change)?;
        if entry.context.is_empty() {
            return Ok(());
        }
        let origin = Origin::decode(&entry.context)?;
        if self.is_ours(origin) {
            answers.changes.push((origin.number, outcome));
        }
        Ok(())
    }

    /// Applies a change of members. All members judge it in the same way, by the log alone.
    fn change_members(&mut self, change: &ConfChange) -> Result<Result<(), ConsensusError>, Fault> {
        let member = MemberId(change.node_id);
        let seat = match change.get_change_type() {
            ConfChangeType::RemoveNode => None,
            ConfChangeType::AddNode | ConfChangeType::AddLearnerNode => Some(decode_seat(&change.context)?),
        };
        let configuration = match self.node.apply_conf_change(change) {
            Ok(configuration) => configuration,
            Err(error) => {
                warn!(%member, %error, "a change of members was refused");
                return Ok(Err(ConsensusError::ChangeRefused(error.to_string())));
            }
        };
        match seat {
            Some(seat) => {
                // A snapshot taken before the member was added is of no use to it: raft-rs ignores a snapshot that does
                // not name it.
                self.is_snapshot_wanted |= !self.roster.seats.contains_key(&member);
                self.roster.seats.insert(member, seat);
            }
            None => {
                self.roster.seats.remove(&member);
                self.roster.retired.insert(member);
            }
        }
        self.on_members_changed(configuration.get_voters());
        if self.is_leading() && self.node.raft.prs().get(self.config.member.0).is_none() {
            // This leader has committed its own removal, which an earlier leader proposed. Raft-rs would go on leading,
            // and panic.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, 0);
        }
        Ok(Ok(()))
    }

    fn on_members_changed(&mut self, voters: &[u64]) {
        let members = self.roster.members(voters);
        info!(member = %self.config.member, ?members, "members");
        self.peers.update(&self.roster);
        self.published.heard.keep(|member| self.roster.seats.contains_key(member));
        self.published.members.send_replace(members);
    }

    fn on_applied(&mut self) {
        self.published.applied.send_replace(self.applied.index);
        self.calls.reads.on_applied(self.applied.index);
    }

    fn on_read_state(&mut self, context: &[u8], index: u64) {
        // Only the member that made a context gets it back, and contexts of others were checked when they arrived.
        let Ok(origin) = Origin::decode(context) else { return };
        if self.is_ours(origin) {
            self.calls.reads.on_confirmed(origin.number, index);
            self.calls.reads.on_applied(self.applied.index);
        }
    }

    fn is_ours(&self, origin: Origin) -> bool {
        (origin.member, origin.incarnation) == (self.config.member, self.incarnation)
    }

    /// Bounds the log: takes a snapshot of the applied state, and drops the entries before it. Every member takes its
    /// own. It is encoded outside the driver's task, while the log goes on.
    fn snapshot_if_due(&mut self) {
        let log = self.node.store();
        let entries = self.applied.index.saturating_sub(log.snapshot_index());
        let is_large = log.entries_bytes() >= ENTRIES_BYTES_MAX;
        let is_due = entries >= self.config.snapshot_every_entries || self.is_snapshot_wanted || is_large;
        if !is_due || entries == 0 || self.encoding.is_some() {
            return;
        }
        self.is_snapshot_wanted = false;
        let keep = if is_large { 0 } else { self.config.snapshot_every_entries / 2 };
        let (machine, roster) = (self.machine.read().clone(), self.roster.clone());
        let (at, configuration) = (self.applied, self.node.raft.prs().conf().to_conf_state());
        let store = self.store.clone();
        self.encoding = Some(Beside::begin(&self.compute, "encode a snapshot", async move {
            let snapshot = new_snapshot(at, configuration, encode_snapshot(&roster, &machine.snapshot()));
            let bytes = encode_message(&snapshot);
            store.prepare(&bytes).await?;
            Ok(Encoded { bytes, snapshot, keep })
        }));
    }

    /// A snapshot is encoded. It is dropped if a leader's snapshot has replaced the log meanwhile.
    pub(super) async fn on_encoded(&mut self, encoded: Option<Result<Encoded, StoreError>>) -> Result<(), Fault> {
        let Encoded { snapshot, bytes, keep } = encoded.ok_or(Fault::Beside)??;
        let at = position_of(&snapshot);
        if at.index <= self.node.store().snapshot_index() {
            return Ok(());
        }
        let compacted = self.node.store().cut_before(at.index, keep);
        self.store
            .write(LogWrite {
                hard_state: Some(self.node.store().hard_state()),
                snapshot: Some(bytes),
                compacted: Some(compacted),
                ..LogWrite::default()
            })
            .await?;
        self.node.mut_store().compact(snapshot, compacted);
        Ok(())
    }
}

/// A snapshot of the applied state, and its bytes for the store.
pub(crate) struct Encoded {
    snapshot: Snapshot,
    bytes: Bytes,
    /// How many entries before it stay in the log.
    keep: u64,
}

/// A leader's snapshot, and its decoded state; `None` if it could not be decoded.
pub(crate) struct Restoring<R> {
    pub(super) message: Box<Message>,
    pub(super) restored: Option<Restored<R>>,
}

/// A decoded snapshot of a leader.
pub(crate) struct Restored<R> {
    at: LogPosition,
    state: R,
    /// Its bytes for the store, which has prepared for them.
    bytes: Bytes,
}

/// Decodes a leader's snapshot.
pub(super) async fn restored<R: Replicated>(
    message: Message,
    mut state: R,
    store: Arc<dyn LogStore>,
) -> Result<Restoring<R>, StoreError> {
    let snapshot = message.get_snapshot();
    let decoded = decode_snapshot(&snapshot.data).ok().map(|(_, bytes)| state.restore(&bytes));
    let restored = match decoded {
        Some(Ok(())) => {
            let bytes = encode_message(snapshot);
            store.prepare(&bytes).await?;
            Some(Restored { at: position_of(snapshot), state, bytes })
        }
        _ => None,
    };
    Ok(Restoring { message: Box::new(message), restored })
}

/// Whether decoding a command takes so long that it would delay heartbeats.
fn is_large(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryNormal && entry.data.len() >= LARGE_BYTES
}
