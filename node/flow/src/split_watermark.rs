//! The watermark of a source subtask, from the watermarks of its splits.
//!
//! Splits of one sequence (the byte ranges of one file) follow one another. The sequence's watermark is that of its
//! lowest unfinished split, but at least the maximum of its finished predecessors. The output is the minimum over all
//! sequences. An unread sequence holds it back, so that the answer does not depend on how many splits are open at once.
//! A finished sequence is out of the minimum, and so is one whose lowest unfinished split is idle. If no other is left,
//! the output is the maximum that they have reached. Once all are finished, the output is `Watermark::MAX`. The output
//! strictly increases.
//!
//! Splits that an enumerator assigns come later, and finished sequences leave. The enumerator is one more input, without a
//! watermark: while it assigns, the output stays where it is, since the splits to come may be of any time.
//!
//! ```text
//! assigning --on_settled--> settled (idle) --on_assigning--> assigning        on_no_more: it has ended
//! ```

use std::collections::BTreeMap;

use thalweg_types::{Split, Watermark, checkpoint::SplitProgress};

use crate::watermark::WatermarkTracker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SplitState {
    watermark: Watermark,
    idle: bool,
    finished: bool,
    sequence: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sequence {
    /// Numbers of its splits, in reading order.
    splits: Vec<usize>,
    /// How many of `splits` are finished, without a gap.
    finished: usize,
    /// The maximum watermark of those.
    reached: Watermark,
    /// Its input of `combined`.
    input: usize,
}

/// The splits of one source subtask, which are numbered in the order in which they come. A number is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitWatermarks {
    splits: BTreeMap<usize, SplitState>,
    /// By number, in the order in which they came.
    sequences: BTreeMap<usize, Sequence>,
    next_split: usize,
    next_sequence: usize,
    combined: WatermarkTracker,
    /// The input of `combined` that is the enumerator; `None`: all splits are known.
    enumerator: Option<usize>,
}

impl SplitWatermarks {
    /// The state for these splits, all unread. There will be no others.
    #[must_use]
    pub fn new(splits: &[Split]) -> Self {
        let unread: Vec<SplitProgress> = splits.iter().cloned().map(SplitProgress::unread).collect();
        Self::restored(&unread)
    }

    /// The state that this progress describes. There will be no other splits.
    #[must_use]
    pub fn restored(progress: &[SplitProgress]) -> Self {
        let mut restored = Self {
            splits: BTreeMap::new(),
            sequences: BTreeMap::new(),
            next_split: 0,
            next_sequence: 0,
            combined: WatermarkTracker::new(0),
            enumerator: None,
        };
        restored.add(progress);
        restored
    }

    /// The state of a subtask that an enumerator assigns splits to, and is about to.
    #[must_use]
    pub fn enumerated() -> Self {
        let mut state = Self::restored(&[]);
        state.enumerator = Some(state.combined.add());
        state
    }

    /// Adds splits with their progress. Those of a sequence must come together. Returns their numbers by sequence, in
    /// reading order.
    pub fn add(&mut self, progress: &[SplitProgress]) -> Vec<Vec<usize>> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ordinals: BTreeMap<usize, u32> = BTreeMap::new();
        let first = self.next_sequence;
        for SplitProgress { split, state, watermark, is_idle, .. } in progress {
            let sequence = *names.entry(&split.sequence).or_insert(self.next_sequence);
            if sequence == self.next_sequence {
                self.next_sequence += 1;
                let input = self.combined.add();
                let new = Sequence { splits: Vec::new(), finished: 0, reached: Watermark::MIN, input };
                self.sequences.insert(sequence, new);
            }
            let number = self.next_split;
            self.next_split += 1;
            let finished = *state == thalweg_types::checkpoint::SplitState::Finished;
            self.splits.insert(number, SplitState { watermark: *watermark, idle: *is_idle, finished, sequence });
            ordinals.insert(number, split.ordinal);
            if let Some(known) = self.sequences.get_mut(&sequence) {
                known.splits.push(number);
            }
        }
        for (number, sequence) in self.sequences.range_mut(first..) {
            sequence.splits.sort_by_key(|split| ordinals[split]);
            Self::skip_finished(&self.splits, sequence);
            // The output is computed once all are in place. What it reaches on the way is at most that.
            let (_, reached) = Self::front(&self.splits, sequence);
            self.combined.promise(sequence.input, reached);
            debug_assert!(*number >= first);
        }
        for sequence in first..self.next_sequence {
            let _ = self.settle_sequence(sequence);
        }
        self.sequences.range(first..).map(|(_, sequence)| sequence.splits.clone()).collect()
    }

    /// Forgets a split's sequence if all of it is finished. What it reached still counts. Returns the numbers that are
    /// forgotten, with the watermark of each.
    pub fn forget_finished(&mut self, split: usize) -> Vec<(usize, Watermark)> {
        let Some(number) = self.splits.get(&split).map(|state| state.sequence) else { return Vec::new() };
        let is_over = |sequence: &Sequence| sequence.finished == sequence.splits.len();
        let Some(sequence) = self.sequences.get(&number).filter(|sequence| is_over(sequence)).cloned() else {
            return Vec::new();
        };
        self.sequences.remove(&number);
        self.combined.remove(sequence.input);
        let splits = sequence.splits.into_iter();
        splits.filter_map(|split| Some((split, self.splits.remove(&split)?.watermark))).collect()
    }

    /// The enumerator assigns splits, or is about to: the output stays where it is.
    pub fn on_assigning(&mut self) {
        if let Some(input) = self.enumerator {
            let _ = self.combined.on_active(input);
        }
    }

    /// All splits that the enumerator knows of are assigned. Returns the output if it grew.
    #[must_use]
    pub fn on_settled(&mut self) -> Option<Watermark> {
        self.enumerator.and_then(|input| self.combined.on_idle(input))
    }

    /// There will be no other splits. Returns the output if it grew.
    #[must_use]
    pub fn on_no_more(&mut self) -> Option<Watermark> {
        self.enumerator.and_then(|input| self.combined.on_end(input))
    }

    /// The watermark of a split's records so far, and whether the split is idle.
    #[must_use]
    pub fn progress_of(&self, split: usize) -> (Watermark, bool) {
        (self.splits[&split].watermark, self.splits[&split].idle)
    }

    /// The combined watermark so far.
    #[must_use]
    pub fn output(&self) -> Watermark {
        self.combined.output()
    }

    /// Whether every unfinished sequence is idle, and the enumerator has settled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.combined.is_idle()
    }

    /// The sequences. Each has the numbers of its splits in reading order.
    #[must_use]
    pub fn sequences(&self) -> Vec<Vec<usize>> {
        self.sequences.values().map(|sequence| sequence.splits.clone()).collect()
    }

    /// The watermark of a split's sequence.
    #[must_use]
    pub fn sequence_watermark(&self, split: usize) -> Watermark {
        Self::front(&self.splits, &self.sequences[&self.splits[&split].sequence]).1
    }

    /// Takes the watermark of a split's records. Returns the output if it grew.
    #[must_use]
    pub fn on_watermark(&mut self, split: usize, watermark: Watermark) -> Option<Watermark> {
        let state = self.state_mut(split);
        state.watermark = state.watermark.max(watermark);
        state.idle = false;
        self.settle(split)
    }

    /// A split had no data for its idle time, or says itself that it has none now. Returns the output if it grew.
    #[must_use]
    pub fn on_idle(&mut self, split: usize) -> Option<Watermark> {
        self.state_mut(split).idle = true;
        self.settle(split)
    }

    /// A split has data again. Returns the output if it grew.
    #[must_use]
    pub fn on_active(&mut self, split: usize) -> Option<Watermark> {
        if !std::mem::take(&mut self.state_mut(split).idle) {
            return None;
        }
        self.settle(split)
    }

    /// A split is read to its end. Returns the output if it grew.
    #[must_use]
    pub fn on_finished(&mut self, split: usize) -> Option<Watermark> {
        let state = self.state_mut(split);
        state.finished = true;
        let sequence = state.sequence;
        if let Some(sequence) = self.sequences.get_mut(&sequence) {
            Self::skip_finished(&self.splits, sequence);
        }
        self.settle(split)
    }

    /// A split is read to its end, and what follows may begin where it has ended. It holds the output where that is, or where its
    /// records have left it if that is later, however silent it was. Returns the output if it grew.
    #[must_use]
    pub fn on_held(&mut self, split: usize) -> Option<Watermark> {
        self.on_watermark(split, self.output())
    }

    fn state_mut(&mut self, split: usize) -> &mut SplitState {
        self.splits.get_mut(&split).expect("the split is known and not forgotten")
    }

    fn skip_finished(splits: &BTreeMap<usize, SplitState>, sequence: &mut Sequence) {
        while let Some(split) = sequence.splits.get(sequence.finished)
            && splits[split].finished
        {
            sequence.reached = sequence.reached.max(splits[split].watermark);
            sequence.finished += 1;
        }
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        for sequence in self.sequences.values() {
            let finished = &sequence.splits[..sequence.finished];
            assert!(finished.iter().all(|split| self.splits[split].finished), "a gap counts as finished");
        }
        assert!(self.combined.output() != Watermark::MAX || self.splits.values().all(|split| split.finished));
        self.combined.check_invariants();
    }

    fn settle(&mut self, split: usize) -> Option<Watermark> {
        self.settle_sequence(self.splits[&split].sequence)
    }

    /// The lowest unfinished split of a sequence, and the watermark of the sequence.
    fn front(splits: &BTreeMap<usize, SplitState>, sequence: &Sequence) -> (Option<SplitState>, Watermark) {
        let lowest = sequence.splits.get(sequence.finished).map(|lowest| splits[lowest]);
        (lowest, sequence.reached.max(lowest.map_or(Watermark::MIN, |state| state.watermark)))
    }

    fn settle_sequence(&mut self, number: usize) -> Option<Watermark> {
        let sequence = &self.sequences[&number];
        let (lowest, reached) = Self::front(&self.splits, sequence);
        self.combined.promise(sequence.input, reached);
        match lowest {
            None => self.combined.on_end(sequence.input),
            Some(state) if state.idle => self.combined.on_idle(sequence.input),
            // The watermark may not have grown, but the sequence is no longer idle.
            Some(_) => self.combined.on_watermark(sequence.input, reached),
        }
    }
}

#[cfg(test)]
mod tests;
