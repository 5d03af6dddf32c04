//! Whether a member with an empty store may found its group: a decision over what the other first members answer.
//!
//! ```text
//!   lists or clusters differ, or one process answers for two --> refuse
//!   one holds more than the founding                         --> never: ask to be admitted
//!   one is silent                                            --> wait for it, unless a person has overridden silence
//!   else                                                     --> found
//! ```
//!
//! An answer counts from the moment on when it was asked for, and whoever has promised anything answers *more* for ever. So
//! each round of answers is judged by itself, and none is remembered.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{ClusterId, MemberId};
use thiserror::Error;

/// The members that a group begins with, and where they listen.
pub(crate) type FirstMembers = BTreeMap<MemberId, String>;

/// What a store holds, as far as founding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing: it was never written to.
    Nothing,
    /// The founding of a group and no more: term 1, no vote, last index 1. Nothing was promised.
    Founding,
    /// More than that.
    More,
}

/// What a process answers when it is peeked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Drawn at the start of the process.
    pub(crate) life: u64,
    /// Its cluster: the store's, else the one that it was given.
    pub(crate) cluster: Option<ClusterId>,
    /// Its number: the store's, else the one that it was given.
    pub(crate) member: MemberId,
    /// What its store holds.
    pub(crate) holds: Holds,
    /// The first members that it was given, or that its store begins with. Of no meaning where it holds more.
    pub(crate) first: FirstMembers,
}

/// What follows from a round of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To found.
    Found,
    /// To wait for these.
    Wait(BTreeSet<MemberId>),
    /// Never to found: these hold a log, and their leader may admit this member.
    Apply(BTreeSet<MemberId>),
}

/// Why a member can't go on as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Groups of other members would begin.
    #[error(
        "the lists of first members differ: this is {own} and was told {ours}; {other} at {address} was told {theirs}. \
         Give all of them the same list (--members)"
    )]
    OtherList {
        /// Who asked.
        own: MemberId,
        /// Its list.
        ours: String,
        /// Who answered.
        other: MemberId,
        /// Where.
        address: String,
        /// Its list.
        theirs: String,
    },
    /// A wrong address, or a wrong name.
    #[error("{other} at {address} is of cluster {theirs}, and this is {own} of cluster {ours}")]
    OtherCluster {
        /// Who asked.
        own: MemberId,
        /// Its cluster.
        ours: ClusterId,
        /// Who answered.
        other: MemberId,
        /// Where.
        address: String,
        /// Its cluster.
        theirs: ClusterId,
    },
    /// Two addresses are one.
    #[error("the same process answers for {one} and for {other} at {address}: each member needs an address of its own")]
    SameProcess {
        /// For whom it answered first.
        one: MemberId,
        /// For whom as well.
        other: MemberId,
        /// Where.
        address: String,
    },
    /// The list has another number for it.
    #[error("{address} stands in the list of first members for {listed}, and {answers} answers there")]
    OtherNumber {
        /// As it is listed.
        listed: MemberId,
        /// Who it says it is.
        answers: MemberId,
        /// Where.
        address: String,
    },
}

/// Judges a round: `answers` has an entry for every first member but this one, `None` where it was silent.
pub(crate) fn decide(
    own: &Sight,
    answers: &BTreeMap<MemberId, Option<Sight>>,
    overrides_silence: bool,
) -> Result<Decision, Refusal> {
    let mut lives = BTreeMap::from([(own.life, own.member)]);
    let (mut silent, mut holders) = (BTreeSet::new(), BTreeSet::new());
    for (listed, answer) in answers {
        let address = own.first.get(listed).cloned().unwrap_or_default();
        let Some(sight) = answer else {
            silent.insert(*listed);
            continue;
        };
        if let Some(one) = lives.insert(sight.life, *listed) {
            return Err(Refusal::SameProcess { one, other: *listed, address });
        }
        check_cluster(own, sight, &address)?;
        match sight.holds {
            Holds::More => _ = holders.insert(*listed),
            Holds::Nothing | Holds::Founding => check_founder(own, *listed, sight, address)?,
        }
    }
    Ok(if !holders.is_empty() {
        Decision::Apply(holders)
    } else if !silent.is_empty() && !overrides_silence {
        Decision::Wait(silent)
    } else {
        Decision::Found
    })
}

fn check_cluster(own: &Sight, sight: &Sight, address: &str) -> Result<(), Refusal> {
    match (&own.cluster, &sight.cluster) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(Refusal::OtherCluster {
            own: own.member,
            ours: ours.clone(),
            other: sight.member,
            address: address.to_owned(),
            theirs: theirs.clone(),
        }),
        _ => Ok(()),
    }
}

/// Whoever would found with this one must be told the same.
fn check_founder(own: &Sight, listed: MemberId, sight: &Sight, address: String) -> Result<(), Refusal> {
    if sight.first != own.first {
        let (ours, theirs) = (shown(&own.first), shown(&sight.first));
        return Err(Refusal::OtherList { own: own.member, ours, other: sight.member, address, theirs });
    }
    if sight.member != listed {
        return Err(Refusal::OtherNumber { listed, answers: sight.member, address });
    }
    Ok(())
}

/// A list as people give it.
fn shown(first: &FirstMembers) -> String {
    if first.is_empty() {
        return "none (--join)".to_owned();
    }
    first.iter().map(|(member, address)| format!("{}={address}", member.0)).collect::<Vec<_>>().join(",")
}
