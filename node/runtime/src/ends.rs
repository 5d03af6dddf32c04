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
//! subtask. An end is either in the position of a subtask or known here, for ever.
//!
//! What follows goes where the end before it holds the watermark. No other subtask will do: its watermark may be further, and the first
//! rows of what follows may be as early as the last ones of what ended. Of several ends the one with the lowest watermark counts. A
//! subtask that holds it has not gone beyond that, and the others hold theirs until what follows is on its way.
//!
//! That a subtask went on by itself is in the same checkpoint as the end: the enumerator learns both at once.
//!
//! A restore deals ends anew, and what subtasks went on with by themselves. The first complete checkpoint of the attempt tells where all
//! of that is now. Nothing that follows anything is assigned before.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_connectors::Piece;
use thalweg_types::{
    OperatorId, SplitId,
    bug::{self, Bug},
    checkpoint::{Manifest, SplitProgress, SplitState},
};

use crate::known::KnownPieces;

/// What the enumerator has learned of splits that have ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Those that are in the positions of subtasks, as far as that is known. Each is there until all that follows is assigned.
    held: BTreeMap<SplitId, (u32, SplitProgress)>,
    /// Whether something that was listed waits for an end.
    is_awaited: bool,
    /// Whether subtasks began with splits of a former attempt, and no checkpoint of this one has told which.
    is_untold: bool,
}

impl Ends {
    /// The ends of an attempt, which goes on from a checkpoint or not.
    pub(crate) fn new(is_restored: bool) -> Self {
        Self { is_untold: is_restored, ..Self::default() }
    }

    /// Takes the positions that the subtasks of the source had in a complete checkpoint of this attempt. Returns whether that may
    /// let something be assigned.
    pub(crate) fn learn(&mut self, source: OperatorId, manifest: &Manifest, known: &mut KnownPieces) -> bool {
        // Rows that a barrier has overtaken are in the checkpoint, but perhaps still on their way.
        if manifest.subtasks.iter().any(|subtask| !subtask.in_flight.is_empty()) {
            return false;
        }
        let snapshots = manifest.subtasks.iter();
        let of_source = snapshots.filter_map(|snapshot| Some((snapshot.subtask.index, snapshot.source.as_ref()?)));
        let of_source = of_source.filter(|(_, snapshot)| snapshot.source == source);
        let mut is_new = std::mem::take(&mut self.is_untold);
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
        self.is_awaited || self.is_untold
    }

    /// The pieces of a listing that are not known, and of which nothing is left to be read before them.
    pub(crate) fn ready(&mut self, listed: &[Piece], known: &KnownPieces) -> Vec<Piece> {
        let names: BTreeSet<&str> = listed.iter().map(|piece| piece.name.as_str()).collect();
        let is_left = |before: &String| {
            let is_to_be_read = known.contains(before) || names.contains(before.as_str());
            is_to_be_read && !known.has_ended(before)
        };
        let is_ready = |piece: &&Piece| {
            let is_told = !self.is_untold || piece.after.is_empty();
            is_told && (bug::is_active(Bug::ReadChildEarly) || !piece.after.iter().any(is_left))
        };
        let new = listed.iter().filter(|piece| !known.contains(&piece.name));
        let (ready, waiting): (Vec<&Piece>, Vec<&Piece>) = new.partition(is_ready);
        self.is_awaited = !waiting.is_empty();
        ready.into_iter().cloned().collect()
    }

    /// The subtask that a piece must go to: of those that hold an end before it, the one with the lowest watermark. `None`: any.
    pub(crate) fn place(&self, piece: &Piece) -> Option<u32> {
        if bug::is_active(Bug::FollowElsewhere) {
            return None;
        }
        let before = piece.after.iter().filter_map(|before| self.held.get(&SplitId(before.clone())));
        before.min_by_key(|(_, progress)| progress.watermark).map(|(subtask, _)| *subtask)
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
