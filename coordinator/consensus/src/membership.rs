//! Who the members are, where they listen, and what is still to change.
//!
//! Raft's configuration knows ids only. The addresses travel beside it: in the context of each change and in each
//! snapshot, so that every member knows the address of every other.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;
use thalweg_types::MemberId;

use crate::config::Member;

/// A change of members that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add(Member),
    Remove(MemberId),
}

/// What the group remembers of a member besides its vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Where it listens.
    pub(crate) address: String,
    /// It shall vote once it has caught up.
    pub(crate) is_promotable: bool,
}

/// Who is a member, and who was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roster {
    /// The members' seats.
    pub(crate) seats: BTreeMap<MemberId, Seat>,
    /// Who was removed. Others may not know yet, and count on what a member of that number has promised: one that comes back
    /// without its store would break its promises, and two halves of a group could decide differently.
    pub(crate) retired: BTreeSet<MemberId>,
}

impl Roster {
    pub(crate) fn from_members(members: &[Member]) -> Self {
        let seat = |member: &Member| Seat { address: member.address.clone(), is_promotable: member.voter };
        let seats = members.iter().map(|member| (member.member, seat(member))).collect();
        Self { seats, retired: BTreeSet::new() }
    }

    pub(crate) fn address(&self, member: MemberId) -> Option<&str> {
        self.seats.get(&member).map(|seat| seat.address.as_str())
    }

    /// The members, with their votes.
    pub(crate) fn members(&self, voters: &[u64]) -> Vec<Member> {
        let member = |(id, seat): (&MemberId, &Seat)| Member {
            member: *id,
            address: seat.address.clone(),
            voter: voters.contains(&id.0),
        };
        self.seats.iter().map(member).collect()
    }
}

/// What a change comes to, given the present members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is so already.
    Done,
    /// The group would have no voter.
    LastVoter,
    /// A member of that number was removed.
    Retired(MemberId),
    /// The leader has to hand over first.
    HandOver,
    /// To propose: the member, its new seat, and whether it votes; no seat to remove it.
    Propose { member: MemberId, seat: Option<Seat>, is_voter: bool },
}

/// Judges a change on the leader.
pub(crate) fn judge(change: &Change, roster: &Roster, configuration: &ConfState, leader: MemberId) -> Verdict {
    match change {
        Change::Add(member) if roster.retired.contains(&member.member) => Verdict::Retired(member.member),
        Change::Add(member) => {
            let seat = Seat { address: member.address.clone(), is_promotable: member.voter };
            let is_voter = configuration.get_voters().contains(&member.member.0);
            let is_same = roster.seats.get(&member.member) == Some(&seat);
            if is_same { Verdict::Done } else { Verdict::Propose { member: member.member, seat: Some(seat), is_voter } }
        }
        Change::Remove(member) if !roster.seats.contains_key(member) => Verdict::Done,
        Change::Remove(member) if configuration.get_voters() == [member.0] => Verdict::LastVoter,
        Change::Remove(member) if *member == leader => Verdict::HandOver,
        Change::Remove(member) => Verdict::Propose { member: *member, seat: None, is_voter: false },
    }
}
