//! What is refused by what this member knows: messages that are well-formed, and that no member would send it now.
//!
//! Raft-rs trusts its peers, and panics on a commit index or an acknowledgement beyond the log. A message that is dropped here is one
//! that the network might have lost.

use raft::{
    Raft, StateRole,
    eraftpb::{Message, MessageType},
};

use crate::log::Log;

/// The most terms by which another member can be ahead: an election in every millisecond of thirty years.
const TERMS_AHEAD_MAX: u64 = 1 << 40;

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Its term is ahead of any that elections reach.
    Term,
    /// Another member leads in its term, or nobody is known to.
    NotLeader,
    /// It acknowledges or tells of entries that this leader does not have.
    Beyond,
    /// This member leads no reads of the sender.
    Read,
    /// No request for this vote can have left this member.
    Unasked,
}

/// Judges a message, and takes from it what it can't prove.
pub(crate) fn judge(raft: &Raft<Log>, message: &mut Message) -> Result<(), Doubt> {
    if raft.term > 0 && message.term > raft.term.saturating_add(TERMS_AHEAD_MAX) {
        return Err(Doubt::Term);
    }
    let is_of_leader = message.term == raft.term && message.from == raft.leader_id;
    match message.get_msg_type() {
        MessageType::MsgAppend | MessageType::MsgSnapshot => judge_leader(raft, message),
        MessageType::MsgHeartbeat => {
            judge_leader(raft, message)?;
            // Nothing was acknowledged to a leader that is new to this member.
            if !is_of_leader {
                message.commit = 0;
            }
            Ok(())
        }
        MessageType::MsgTimeoutNow if !is_of_leader => Err(Doubt::NotLeader),
        MessageType::MsgReadIndexResp if !is_of_leader => Err(Doubt::NotLeader),
        // A candidate's requests leave when its log is on disk.
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

/// Raft answers leaders of the past itself.
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
