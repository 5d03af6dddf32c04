//! Who the members are, where they listen, and which change comes next.
//!
//! Raft's configuration knows ids only. Addresses travel beside it, in the context of each change and in each snapshot,
//! so that every member knows the address of every other.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;
use thalweg_types::MemberId;

use crate::config::Member;

/// A change of members that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add(MemberId, Seat),
    Remove(MemberId),
}

/// What the group remembers of a member besides its vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Where it listens.
    pub(crate) address: String,
    /// Whether it becomes a voter once it has caught up.
    pub(crate) is_promotable: bool,
    /// The process with an empty store that the leader gave this number to, if any.
    pub(crate) application: Option<u64>,
}

impl Seat {
    /// The seat that a caller asks for.
    pub(crate) fn of(member: &Member) -> Self {
        Self { address: member.address.clone(), is_promotable: member.voter, application: None }
    }
}

/// The current and the removed members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roster {
    /// The members' seats.
    pub(crate) seats: BTreeMap<MemberId, Seat>,
    /// The removed numbers. Members that do not know of a removal still count on what that number promised. If one came
    /// back without its store, it would break its promises, and two halves of a group could decide differently.
    pub(crate) retired: BTreeSet<MemberId>,
}

impl Roster {
    pub(crate) fn from_members(members: &[Member]) -> Self {
        let seats = members.iter().map(|member| (member.member, Seat::of(member))).collect();
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

/// What to do about a change, given the current members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangeDecision {
    /// There is nothing to change.
    Done,
    /// The group would have no voter.
    LastVoter,
    /// A member of that number was removed.
    Retired(MemberId),
    /// No member has or had that number.
    Unknown(MemberId),
    /// The leader must hand over first.
    HandOver,
    /// The change to propose. `seat` is the member's new seat; `None` removes it.
    Propose { member: MemberId, seat: Option<Seat>, is_voter: bool },
}

/// Decides about a change. Called on the leader.
pub(crate) fn decide_change(
    change: &Change,
    roster: &Roster,
    configuration: &ConfState,
    leader: MemberId,
) -> ChangeDecision {
    match change {
        Change::Add(member, _) if roster.retired.contains(member) => ChangeDecision::Retired(*member),
        Change::Add(member, seat) => {
            let known = roster.seats.get(member);
            let application = seat.application.or(known.and_then(|known| known.application));
            let seat = Seat { application, ..seat.clone() };
            let is_voter = configuration.get_voters().contains(&member.0);
            let is_same = known == Some(&seat);
            if is_same {
                ChangeDecision::Done
            } else {
                ChangeDecision::Propose { member: *member, seat: Some(seat), is_voter }
            }
        }
        Change::Remove(member) if roster.retired.contains(member) => ChangeDecision::Done,
        Change::Remove(member) if !roster.seats.contains_key(member) => ChangeDecision::Unknown(*member),
        Change::Remove(member) if configuration.get_voters() == [member.0] => ChangeDecision::LastVoter,
        Change::Remove(member) if *member == leader => ChangeDecision::HandOver,
        Change::Remove(member) => ChangeDecision::Propose { member: *member, seat: None, is_voter: false },
    }
}

/// A process with an empty store that asks for a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applicant {
    /// Where it listens, as the group knows it.
    pub(crate) address: String,
    /// A random number drawn when the process started.
    pub(crate) incarnation: u64,
}

/// The next step for an applicant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is a member with this number, and no other number has its address.
    Done(MemberId),
    /// The group must make this change first.
    Next(Change),
    /// It may be admitted later, for this reason.
    NotNow(String),
    /// It is not admitted as it is, for this reason.
    Never(String),
}

/// Decides the next step for an applicant. Called on the leader. `heard` are the members heard lately.
///
/// The applicant gets the next number that was never used. The number that had its address is removed: that store is
/// empty, so what the number promised is lost. Members are admitted one at a time, and only while the other voters that
/// were heard are a majority, because the applicant cannot vote before it has the log.
pub(crate) fn admit(
    applicant: &Applicant,
    roster: &Roster,
    configuration: &ConfState,
    heard: &BTreeSet<MemberId>,
    leader: MemberId,
) -> Admission {
    let at_address = roster.seats.iter().filter(|(_, seat)| seat.address == applicant.address);
    let (own, before): (Vec<_>, Vec<_>) =
        at_address.partition(|(_, seat)| seat.application == Some(applicant.incarnation));
    let before: Vec<MemberId> = before.into_iter().map(|(member, _)| *member).collect();
    let own = own.first().map(|(member, _)| **member);
    let voters = configuration.get_voters();
    if let (Some(member), []) = (own, &before[..]) {
        return Admission::Done(member);
    }
    if own.is_none() && before.is_empty() {
        return Admission::Never(format!(
            "no member of the group is known at {}: start it with --join, and add it by hand",
            applicant.address
        ));
    }
    if before.contains(&leader) {
        return Admission::Never(format!("the leader itself is known at {}", applicant.address));
    }
    let is_coming = |(member, seat): &(&MemberId, &Seat)| {
        seat.address != applicant.address && seat.application.is_some() && !voters.contains(&member.0)
    };
    if let Some((member, seat)) = roster.seats.iter().find(is_coming) {
        return Admission::NotNow(format!(
            "{member} at {} was admitted before and has yet to catch up: one after the other",
            seat.address
        ));
    }
    let is_there = |voter: &&u64| {
        let voter = MemberId(**voter);
        !before.contains(&voter) && (voter == leader || heard.contains(&voter))
    };
    let there = voters.iter().filter(is_there).count();
    if there * 2 <= voters.len() {
        return Admission::NotNow(format!(
            "of the other members {there} are heard: too few of {} to do without the one that was there",
            voters.len()
        ));
    }
    let Some(retired) = own.and(before.first()) else {
        let used = roster.seats.keys().chain(&roster.retired).max();
        let next = MemberId(used.map_or(1, |used| used.0.saturating_add(1)));
        let application = Some(applicant.incarnation);
        let seat = Seat { address: applicant.address.clone(), is_promotable: true, application };
        return Admission::Next(Change::Add(next, seat));
    };
    Admission::Next(Change::Remove(*retired))
}
