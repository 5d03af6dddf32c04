//! Decides whether a member with an empty store may found its group, from the answers of the other first members.
//!
//! ```text
//!   lists or clusters differ, or one process answers for two --> refuse
//!   one holds more than the founding                         --> never: ask to be admitted
//!   one is silent                                            --> wait for it, unless a person has overridden silence
//!   else                                                     --> found
//! ```
//!
//! An answer is valid from when it was asked for, and a member that has promised anything answers *more* forever. So
//! each round of answers is judged alone, and none is remembered.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{ClusterId, MemberId};

use crate::{config::FirstMembers, refusal::Refusal};

/// What a store holds, as far as founding is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing: it was never written to.
    Nothing,
    /// The founding of a group and no more: term 1, no vote, last index 1. Nothing was promised.
    Founding,
    /// More than the founding.
    More,
}

/// A process's answer to a peek.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// A random number drawn when the process started.
    pub(crate) incarnation: u64,
    /// Its cluster: the store's, or else the configured one.
    pub(crate) cluster: Option<ClusterId>,
    /// Its number: the store's, or else the configured one.
    pub(crate) member: MemberId,
    /// What its store holds.
    pub(crate) holds: Holds,
    /// The first members: the configured ones, or those that its store begins with. Meaningless if its store holds
    /// more.
    pub(crate) first: FirstMembers,
}

/// What a round of answers leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Found the group.
    Found,
    /// Wait for these silent members.
    Wait(BTreeSet<MemberId>),
    /// Never found: these members hold a log, and their leader may admit this one.
    Apply(BTreeSet<MemberId>),
}

/// Judges a round. `answers` has an entry for each first member but this one; `None` if it was silent.
pub(crate) fn decide(
    own: &Sight,
    answers: &BTreeMap<MemberId, Option<Sight>>,
    overrides_silence: bool,
) -> Result<Decision, Refusal> {
    let mut incarnations = BTreeMap::from([(own.incarnation, own.member)]);
    let (mut silent, mut holders) = (BTreeSet::new(), BTreeSet::new());
    for (listed, answer) in answers {
        let address = own.first.get(listed).cloned().unwrap_or_default();
        let Some(sight) = answer else {
            silent.insert(*listed);
            continue;
        };
        if let Some(one) = incarnations.insert(sight.incarnation, *listed) {
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

/// Whoever could found with this member must have the same list, and the number listed for it.
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

/// A list in the form of the command line.
fn shown(first: &FirstMembers) -> String {
    if first.is_empty() {
        return "none (--join)".to_owned();
    }
    first.iter().map(|(member, address)| format!("{}={address}", member.0)).collect::<Vec<_>>().join(",")
}
