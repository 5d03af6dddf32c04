//! Which pieces of a table may be assigned, where pieces follow one another: the shards of a stream that are split and merged.
//!
//! ```text
//! assigned --read to its end--> ended in its subtask's position --the checkpoint is complete--> ended for the enumerator
//!                                    |                                                              '--> what follows is assigned
//!                                    '<-- forgotten: all that follows is assigned <-----------------------'
//! ```
//!
//! The rules it protects: nothing of a piece is read before the ends of all before it are in one complete checkpoint whose barrier
//! overtook no rows, or its own subtask has read them. So no row can overtake an earlier one of its key on the way from another
//! subtask. An end is either in the position of a subtask or known here, for ever. What a position holds is told again by the
//! first checkpoint after a restore.
//!
//! That a subtask went on by itself is in the same checkpoint as the end: the enumerator learns both at once.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_connectors::Piece;
use thalweg_types::{
    OperatorId, SplitId,
    bug::{self, Bug},
    checkpoint::{Manifest, SplitProgress, SplitState},
    session::SplitAssignment,
};

use crate::known::KnownPieces;

/// What the enumerator has learned of splits that have ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Those that are in the positions of subtasks, as far as that is known. Each is there until all that follows is assigned.
    held: BTreeMap<SplitId, (u32, SplitProgress)>,
    /// Whether something that was listed waits for an end.
    is_awaited: bool,
}

impl Ends {
    /// Takes the splits that the subtasks of the source begin with. Ends among them count once a checkpoint of this attempt has
    /// them: rows that were in flight before may still be on their way.
    pub(crate) fn begin(source: OperatorId, dealt: &[SplitAssignment], known: &mut KnownPieces) {
        let of_source = dealt.iter().filter(|hand| hand.source == source);
        of_source.flat_map(|hand| &hand.splits).for_each(|progress| _ = known.insert(&progress.split.id.0));
    }

    /// Takes the positions that the subtasks of the source had in a complete checkpoint of this attempt. Returns whether any end
    /// was not known before.
    pub(crate) fn learn(&mut self, source: OperatorId, manifest: &Manifest, known: &mut KnownPieces) -> bool {
        // Rows that a barrier has overtaken are in the checkpoint, but perhaps still on their way.
        if manifest.subtasks.iter().any(|subtask| !subtask.in_flight.is_empty()) {
            return false;
        }
        let snapshots = manifest.subtasks.iter();
        let of_source = snapshots.filter_map(|snapshot| Some((snapshot.subtask.index, snapshot.source.as_ref()?)));
        let of_source = of_source.filter(|(_, snapshot)| snapshot.source == source);
        let mut is_new = false;
        for (subtask, snapshot) in of_source {
            for progress in &snapshot.splits {
                is_new |= self.take(subtask, progress, known);
            }
        }
        is_new
    }

    fn take(&mut self, subtask: u32, progress: &SplitProgress, known: &mut KnownPieces) -> bool {
        let id = &progress.split.id;
        known.insert(&id.0);
        if progress.state != SplitState::Finished {
            return false;
        }
        self.held.insert(id.clone(), (subtask, progress.clone()));
        known.set_ended(&id.0)
    }

    /// Whether the next complete checkpoint matters.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The pieces of a listing that are not known, and of which nothing is left to be read before them.
    pub(crate) fn ready(&mut self, listed: &[Piece], known: &KnownPieces) -> Vec<Piece> {
        let names: BTreeSet<&str> = listed.iter().map(|piece| piece.name.as_str()).collect();
        let is_left = |before: &String| {
            let is_to_be_read = known.contains(before) || names.contains(before.as_str());
            is_to_be_read && !known.has_ended(before)
        };
        let new = listed.iter().filter(|piece| !known.contains(&piece.name));
        let (ready, waiting): (Vec<&Piece>, Vec<&Piece>) =
            new.partition(|piece| bug::is_active(Bug::ReadChildEarly) || !piece.after.iter().any(is_left));
        self.is_awaited = !waiting.is_empty();
        ready.into_iter().cloned().collect()
    }

    /// The splits that subtasks need not hold any more: what follows them was listed, and all of it is known. A table from which
    /// one is gone has nothing that follows.
    pub(crate) fn settled(&mut self, listed: &[Piece], known: &KnownPieces) -> Vec<(u32, SplitProgress)> {
        let is_settled = |id: &SplitId| {
            let mut following = listed.iter().filter(|piece| piece.after.contains(&id.0)).peekable();
            let is_listed = listed.iter().any(|piece| piece.name == id.0);
            (following.peek().is_some() || !is_listed) && following.all(|piece| known.contains(&piece.name))
        };
        let settled: Vec<SplitId> = self.held.keys().filter(|id| is_settled(id)).cloned().collect();
        settled.iter().filter_map(|id| self.held.remove(id)).collect()
    }
}

#[cfg(test)]
mod tests;
