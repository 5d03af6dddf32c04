//! Which node holds which slice of a job, and which slice owns which key groups.
//!
//! Goals, most important first: no node holds more slices than it has free slots; nodes are evenly loaded; failure
//! zones are evenly loaded; few slices and key groups move. A second run on its own output changes nothing.
//!
//! `check_assignment` verifies a proposal against these rules, independently of the planner.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{Assignment, KeyGroupTable, NodeId};
use thiserror::Error;

/// A node that could hold slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOffer {
    /// The node's id.
    pub node: NodeId,
    /// Its failure zone; empty if unknown. All nodes of unknown zone count as one zone.
    pub zone: String,
    /// Slots that nothing else holds.
    pub free: u32,
}

/// What the next placement avoids if there is room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Avoid {
    /// Nodes on which an attempt failed.
    pub nodes: BTreeSet<NodeId>,
    /// Pairs of nodes between which a stream broke.
    pub pairs: BTreeSet<(NodeId, NodeId)>,
}

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// How many slices.
    pub parallelism: u32,
    /// How many key groups the job has.
    pub key_groups: u16,
    /// The nodes on which they can go.
    pub nodes: &'a [NodeOffer],
    /// The assignment of the last attempt.
    pub previous: Option<&'a Assignment>,
    /// What to avoid.
    pub avoid: &'a Avoid,
}

/// There are fewer free slots than slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{wanted} slices need as many free slots; there are {free}")]
pub struct NoRoom {
    /// The wanted number of slices.
    pub wanted: u32,
    /// Free slots.
    pub free: u32,
}

/// A broken rule of a proposed assignment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssignmentFault {
    /// The proposal has another number of slices than the request.
    #[error("{found} slices instead of {wanted}")]
    Slices {
        /// How many the proposal has.
        found: usize,
        wanted: u32,
    },
    /// A node holds more slices than it has free slots, or was not offered.
    #[error("{node} holds {held} slices in {free} free slots")]
    Overfull {
        node: NodeId,
        /// Slices placed on it.
        held: u32,
        /// Its free slots.
        free: u32,
    },
    /// A key group has no owner, or one that does not exist.
    #[error("key group {0} has no owner")]
    Unowned(usize),
    /// One slice owns at least two key groups more than another.
    #[error("slices own between {least} and {most} key groups")]
    Uneven {
        /// The fewest that a slice owns.
        least: usize,
        /// The most that a slice owns.
        most: usize,
    },
}

/// Places the slices of a job.
///
/// # Errors
/// There are too few free slots.
pub fn plan_assignment(request: &PlacementRequest<'_>) -> Result<Assignment, NoRoom> {
    let wanted = request.parallelism;
    let offers = acceptable(request);
    let free = total_free(&offers);
    if wanted == 0 || free < u64::from(wanted) {
        return Err(NoRoom { wanted, free: u32::try_from(free).unwrap_or(u32::MAX) });
    }
    let previous = request.previous.map_or(&[][..], |assignment| &assignment.slices[..]);
    let slices = place_slices(&offers, previous, wanted);
    let key_groups = match request.previous {
        Some(before) if before.key_groups.groups() == request.key_groups => {
            spread_key_groups(&before.key_groups, wanted)
        }
        _ => KeyGroupTable::even(request.key_groups, wanted),
    };
    Ok(Assignment { slices, key_groups })
}

/// Verifies a proposal by the rules of this module. Does not check the number of moves.
///
/// # Errors
/// Names the first broken rule.
pub fn check_assignment(request: &PlacementRequest<'_>, proposal: &Assignment) -> Result<(), AssignmentFault> {
    let slices = &proposal.slices;
    if u32::try_from(slices.len()) != Ok(request.parallelism) || slices.is_empty() {
        return Err(AssignmentFault::Slices { found: slices.len(), wanted: request.parallelism });
    }
    for (node, held) in count(slices) {
        let free = request.nodes.iter().find(|offer| offer.node == node).map_or(0, |offer| offer.free);
        if held > free {
            return Err(AssignmentFault::Overfull { node, held, free });
        }
    }
    let owners = proposal.key_groups.owners();
    if owners.len() < usize::from(request.key_groups) {
        return Err(AssignmentFault::Unowned(owners.len()));
    }
    if let Some(group) = owners.iter().position(|owner| *owner >= request.parallelism) {
        return Err(AssignmentFault::Unowned(group));
    }
    let owned = (0..request.parallelism).map(|slice| proposal.key_groups.owned_by(slice).count());
    let (least, most) = owned.fold((usize::MAX, 0), |(least, most), owned| (least.min(owned), most.max(owned)));
    if most - least > 1 { Err(AssignmentFault::Uneven { least, most }) } else { Ok(()) }
}

/// The offers without those to avoid, if enough room is left. Tries to leave out the avoided nodes and one end of each
/// broken pair, then only the ends, then only the avoided nodes, then nothing.
fn acceptable<'a>(request: &PlacementRequest<'a>) -> Vec<&'a NodeOffer> {
    let all: Vec<&NodeOffer> = request.nodes.iter().filter(|offer| offer.free > 0).collect();
    let pair_ends = ends_to_leave_out(&all, &request.avoid.pairs);
    let both = request.avoid.nodes.union(&pair_ends).copied().collect();
    let candidates = [both, pair_ends, request.avoid.nodes.clone()];
    let without = |left_out: &BTreeSet<NodeId>| -> Vec<&'a NodeOffer> {
        all.iter().copied().filter(|offer| !left_out.contains(&offer.node)).collect()
    };
    let enough = |offers: &Vec<&NodeOffer>| total_free(offers) >= u64::from(request.parallelism);
    candidates.iter().map(without).find(enough).unwrap_or(all)
}

/// The end with less room of each broken pair, unless the other end is left out already.
fn ends_to_leave_out(offers: &[&NodeOffer], pairs: &BTreeSet<(NodeId, NodeId)>) -> BTreeSet<NodeId> {
    let room: BTreeMap<NodeId, u32> = offers.iter().map(|offer| (offer.node, offer.free)).collect();
    let mut left_out = BTreeSet::new();
    for (one, other) in pairs {
        let (Some(at_one), Some(at_other)) = (room.get(one), room.get(other)) else { continue };
        if !left_out.contains(one) && !left_out.contains(other) {
            left_out.insert(if (at_one, one) < (at_other, other) { *one } else { *other });
        }
    }
    left_out
}

fn total_free(offers: &[&NodeOffer]) -> u64 {
    offers.iter().map(|offer| u64::from(offer.free)).sum()
}

fn count(slices: &[NodeId]) -> BTreeMap<NodeId, u32> {
    slices.iter().fold(BTreeMap::new(), |mut counts, node| {
        *counts.entry(*node).or_insert(0) += 1;
        counts
    })
}

/// Decides how many slices each node gets, then which ones. Slices stay on their node if they can.
fn place_slices(offers: &[&NodeOffer], previous: &[NodeId], wanted: u32) -> Vec<NodeId> {
    let kept = previous.get(..wanted as usize).unwrap_or(previous);
    let picks = pick_nodes(offers, &count(kept), wanted);
    let mut target = count(&picks);
    let mut take = |node: NodeId| -> Option<NodeId> {
        let left = target.get_mut(&node).filter(|left| **left > 0)?;
        *left -= 1;
        Some(node)
    };
    let mut slices: Vec<Option<NodeId>> = kept.iter().map(|node| take(*node)).collect();
    slices.resize(wanted as usize, None);
    let mut rest = picks.iter().filter_map(|node| take(*node));
    slices.into_iter().map(|slice| slice.or_else(|| rest.next()).expect("as many picks as slices")).collect()
}

/// Picks one node per slice: the least loaded; among those, one in the least loaded zone; among those, one that held
/// slices before.
///
/// Preferring former holders only among equals keeps the loads as even as without them. The loads of nodes, and of
/// zones within the last level, are unique but for ties. So a former result is always among the equals.
fn pick_nodes(offers: &[&NodeOffer], before: &BTreeMap<NodeId, u32>, wanted: u32) -> Vec<NodeId> {
    let mut load: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut zone_load: BTreeMap<&str, u32> = BTreeMap::new();
    let mut picks = Vec::new();
    for _ in 0..wanted {
        let key = |offer: &NodeOffer| {
            let at_node = load.get(&offer.node).copied().unwrap_or(0);
            let in_zone = zone_load.get(offer.zone.as_str()).copied().unwrap_or(0);
            let held_more = before.get(&offer.node).copied().unwrap_or(0) > at_node;
            (at_node, in_zone, !held_more, offer.node)
        };
        let open = offers.iter().filter(|offer| load.get(&offer.node).copied().unwrap_or(0) < offer.free);
        let offer = open.min_by_key(|offer| key(offer)).expect("the caller counted the free slots");
        *load.entry(offer.node).or_insert(0) += 1;
        *zone_load.entry(offer.zone.as_str()).or_insert(0) += 1;
        picks.push(offer.node);
    }
    picks
}

/// Evens out a table over `parallelism` slices. A group moves only from a slice that is gone or owns more than its
/// share.
fn spread_key_groups(before: &KeyGroupTable, parallelism: u32) -> KeyGroupTable {
    let share = shares(before, parallelism);
    let mut owned = vec![0usize; share.len()];
    let mut owners: Vec<Option<u32>> = Vec::with_capacity(before.owners().len());
    for owner in before.owners() {
        let slice = *owner as usize;
        let stays = slice < share.len() && owned[slice] < share[slice];
        if stays {
            owned[slice] += 1;
        }
        owners.push(stays.then_some(*owner));
    }
    let mut takers = (0..parallelism).flat_map(|slice| {
        let at = slice as usize;
        std::iter::repeat_n(slice, share[at] - owned[at])
    });
    let settle = |owner: Option<u32>| owner.or_else(|| takers.next()).expect("the shares add up to all groups");
    KeyGroupTable::new(owners.into_iter().map(settle).collect())
}

/// How many groups each slice is to own: as even as possible. The larger shares go to slices that own most already.
fn shares(before: &KeyGroupTable, parallelism: u32) -> Vec<usize> {
    let (groups, slices) = (before.owners().len(), parallelism as usize);
    let (base, larger) = (groups / slices, groups % slices);
    let mut by_owned: Vec<(usize, u32)> =
        (0..parallelism).map(|slice| (before.owned_by(slice).count(), slice)).collect();
    by_owned.sort_by_key(|(owned, slice)| (std::cmp::Reverse(*owned), *slice));
    let mut share = vec![base; slices];
    for (_, slice) in by_owned.into_iter().take(larger) {
        share[slice as usize] += 1;
    }
    share
}

#[cfg(test)]
mod tests;
