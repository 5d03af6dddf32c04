//! The watermark of a source subtask, from the watermarks of its splits.
//!
//! Splits of one sequence (the byte ranges of one file) follow one another. The sequence's watermark is that of its
//! lowest unfinished split, but at least the maximum of its finished predecessors. The output is the minimum over all
//! sequences. An unread sequence holds it back, so that the answer does not depend on how many splits are open at once.
//! A finished sequence is out of the minimum, and so is one whose lowest unfinished split is idle. If no other is left,
//! the output is the maximum that they have reached. Once all are finished, the output is `Watermark::MAX`. The output
//! strictly increases.

use std::collections::BTreeMap;

use thalweg_types::{Split, Watermark, checkpoint::SplitProgress};

use crate::watermark::WatermarkTracker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SplitState {
    watermark: Watermark,
    idle: bool,
    finished: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sequence {
    /// Indexes into `splits`, in reading order.
    splits: Vec<usize>,
    /// How many of `splits` are finished, without a gap.
    finished: usize,
    /// The maximum watermark of those.
    reached: Watermark,
}

/// The splits of one source subtask. Methods name a split by its index in the list given at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitWatermarks {
    splits: Vec<SplitState>,
    /// The sequence of each split.
    sequence_of: Vec<usize>,
    sequences: Vec<Sequence>,
    combined: WatermarkTracker,
}

impl SplitWatermarks {
    /// The state for these splits, all unread.
    #[must_use]
    pub fn new(splits: &[Split]) -> Self {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut sequences: Vec<Sequence> = Vec::new();
        let mut sequence_of = Vec::with_capacity(splits.len());
        for (split, index) in splits.iter().zip(0..) {
            let sequence = *names.entry(&split.sequence).or_insert(sequences.len());
            if sequence == sequences.len() {
                sequences.push(Sequence { splits: Vec::new(), finished: 0, reached: Watermark::MIN });
            }
            sequences[sequence].splits.push(index);
            sequence_of.push(sequence);
        }
        for sequence in &mut sequences {
            sequence.splits.sort_by_key(|index| splits[*index].ordinal);
        }
        let unread = SplitState { watermark: Watermark::MIN, idle: false, finished: false };
        let combined = WatermarkTracker::new(sequences.len());
        Self { splits: vec![unread; splits.len()], sequence_of, sequences, combined }
    }

    /// The state that this progress describes.
    #[must_use]
    pub fn restored(progress: &[SplitProgress]) -> Self {
        let splits: Vec<Split> = progress.iter().map(|progress| progress.split.clone()).collect();
        let mut restored = Self::new(&splits);
        for (state, progress) in restored.splits.iter_mut().zip(progress) {
            let finished = progress.state == thalweg_types::checkpoint::SplitState::Finished;
            *state = SplitState { watermark: progress.watermark, idle: progress.is_idle, finished };
        }
        for sequence in 0..restored.sequences.len() {
            restored.skip_finished(sequence);
            // The output is computed once all are in place. What it reaches on the way is at most that.
            restored.note(sequence);
        }
        for sequence in 0..restored.sequences.len() {
            let _ = restored.settle_sequence(sequence);
        }
        restored
    }

    /// The watermark of a split's records so far, and whether the split is idle.
    #[must_use]
    pub fn progress_of(&self, split: usize) -> (Watermark, bool) {
        (self.splits[split].watermark, self.splits[split].idle)
    }

    /// The combined watermark so far.
    #[must_use]
    pub fn output(&self) -> Watermark {
        self.combined.output()
    }

    /// Whether every unfinished sequence is idle.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.combined.is_idle()
    }

    /// The sequences. Each has the indexes of its splits in reading order.
    #[must_use]
    pub fn sequences(&self) -> Vec<Vec<usize>> {
        self.sequences.iter().map(|sequence| sequence.splits.clone()).collect()
    }

    /// The watermark of a split's sequence.
    #[must_use]
    pub fn sequence_watermark(&self, split: usize) -> Watermark {
        let sequence = &self.sequences[self.sequence_of[split]];
        let current = sequence.splits.get(sequence.finished).map(|index| self.splits[*index].watermark);
        sequence.reached.max(current.unwrap_or(Watermark::MIN))
    }

    /// Takes the watermark of a split's records. Returns the output if it grew.
    #[must_use]
    pub fn on_watermark(&mut self, split: usize, watermark: Watermark) -> Option<Watermark> {
        let state = &mut self.splits[split];
        state.watermark = state.watermark.max(watermark);
        state.idle = false;
        self.settle(split)
    }

    /// A split had no data for its idle time, or says itself that it has none now. Returns the output if it grew.
    #[must_use]
    pub fn on_idle(&mut self, split: usize) -> Option<Watermark> {
        self.splits[split].idle = true;
        self.settle(split)
    }

    /// A split has data again. Returns the output if it grew.
    #[must_use]
    pub fn on_active(&mut self, split: usize) -> Option<Watermark> {
        if !self.splits[split].idle {
            return None;
        }
        self.splits[split].idle = false;
        self.settle(split)
    }

    /// A split is read to its end. Returns the output if it grew.
    #[must_use]
    pub fn on_finished(&mut self, split: usize) -> Option<Watermark> {
        self.splits[split].finished = true;
        self.skip_finished(self.sequence_of[split]);
        self.settle(split)
    }

    fn skip_finished(&mut self, sequence: usize) {
        let sequence = &mut self.sequences[sequence];
        while let Some(index) = sequence.splits.get(sequence.finished)
            && self.splits[*index].finished
        {
            sequence.reached = sequence.reached.max(self.splits[*index].watermark);
            sequence.finished += 1;
        }
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        for sequence in &self.sequences {
            let finished = &sequence.splits[..sequence.finished];
            assert!(finished.iter().all(|index| self.splits[*index].finished), "a gap counts as finished");
        }
        assert!(self.combined.output() != Watermark::MAX || self.splits.iter().all(|split| split.finished));
    }

    fn settle(&mut self, split: usize) -> Option<Watermark> {
        self.settle_sequence(self.sequence_of[split])
    }

    /// The lowest unfinished split of a sequence, and the watermark of the sequence.
    fn front(&self, index: usize) -> (Option<SplitState>, Watermark) {
        let sequence = &self.sequences[index];
        let lowest = sequence.splits.get(sequence.finished).map(|lowest| self.splits[*lowest]);
        (lowest, sequence.reached.max(lowest.map_or(Watermark::MIN, |state| state.watermark)))
    }

    fn note(&mut self, index: usize) {
        let (_, reached) = self.front(index);
        self.combined.promise(index, reached);
    }

    fn settle_sequence(&mut self, index: usize) -> Option<Watermark> {
        self.note(index);
        let (lowest, reached) = self.front(index);
        match lowest {
            None => self.combined.on_end(index),
            Some(state) if state.idle => self.combined.on_idle(index),
            // The watermark may not have grown, but the sequence is no longer idle.
            Some(_) => self.combined.on_watermark(index, reached),
        }
    }
}

#[cfg(test)]
mod tests;
