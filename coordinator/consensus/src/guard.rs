//! Drops well-formed messages that no member would send now, judged by what this member knows.
//!
//! Raft-rs trusts its peers, and panics on a commit index or an acknowledgement beyond the log. Dropping a message here
//! is safe, because the network might have lost it too.

use raft::{
    Raft, StateRole,
    eraftpb::{Message, MessageType},
};

use crate::log::Log;

/// The most terms by which another member can be ahead: one election in each millisecond of thirty years.
const TERMS_AHEAD_MAX: u64 = 1 << 40;

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Its term is higher than elections can reach.
    Term,
    /// Another member leads in its term, or no leader is known.
    NotLeader,
    /// It acknowledges or names entries that this leader does not have.
    Beyond,
    /// This member does not lead, or does not know the sender as a member, so it serves no reads of it.
    Read,
    /// This member's log is not on disk yet, so it cannot have caused this message.
    Unasked,
}

/// Judges a message. Clears a commit index that it cannot prove.
pub(crate) fn judge(raft: &Raft<Log>, message: &mut Message) -> Result<(), Doubt> {
    if raft.term > 0 && message.term > raft.term.saturating_add(TERMS_AHEAD_MAX) {
        return Err(Doubt::Term);
    }
    let is_of_leader = message.term == raft.term && message.from == raft.leader_id;
    match message.get_msg_type() {
        MessageType::MsgAppend | MessageType::MsgSnapshot => judge_leader(raft, message),
        MessageType::MsgHeartbeat => {
            judge_leader(raft, message)?;
            // This member has acknowledged nothing yet to a leader that is new to it.
            if !is_of_leader {
                message.commit = 0;
            }
            Ok(())
        }
        MessageType::MsgTimeoutNow if !is_of_leader => Err(Doubt::NotLeader),
        MessageType::MsgReadIndexResp if !is_of_leader => Err(Doubt::NotLeader),
        // A candidate's requests leave once its log is on disk. Leadership is handed to a member that has acknowledged
        // the whole log.
        MessageType::MsgTimeoutNow | MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            let is_persisted = raft.raft_log.persisted == raft.raft_log.last_index();
            if is_persisted { Ok(()) } else { Err(Doubt::Unasked) }
        }
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => judge_response(raft, message),
        MessageType::MsgReadIndex => {
            let is_served = raft.state == StateRole::Leader && raft.prs().get(message.from).is_some();
            if is_served { Ok(()) } else { Err(Doubt::Read) }
        }
        _ => Ok(()),
    }
}

/// Only messages of the current term are judged: raft itself answers leaders of past terms.
fn judge_leader(raft: &Raft<Log>, message: &Message) -> Result<(), Doubt> {
    let is_another = raft.leader_id != 0 && raft.leader_id != message.from;
    if message.term == raft.term && is_another { Err(Doubt::NotLeader) } else { Ok(()) }
}

fn judge_response(raft: &Raft<Log>, message: &Message) -> Result<(), Doubt> {
    if message.term != raft.term || raft.state != StateRole::Leader {
        return Ok(());
    }
    let last = raft.raft_log.last_index();
    let most = message.index.max(message.commit).max(message.reject_hint);
    if most > last { Err(Doubt::Beyond) } else { Ok(()) }
}
