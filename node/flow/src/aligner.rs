//! Aligns the barriers of one checkpoint across all inputs of a subtask.
//!
//! ```text
//! Flowing --first barrier(n)--> Aligning(n) --last barrier(n)--> Flowing
//!                                    |--- barrier(m > n) ---> Aligning(m)      the newer one aborts the older
//!                                    '--- abort(n) ---------> Flowing
//! ```
//!
//! While aligning, an input that delivered its barrier must not be read. An input whose data has ended still delivers
//! barriers, so the aligner need not know of the end. A barrier is ignored if its checkpoint is complete, aborted or
//! superseded. Only a regression on one input is a violation, because ids grow on every channel. The algorithm is
//! asynchronous barrier snapshotting (Carbone et al., 2015, arXiv:1506.08603).

use thalweg_types::CheckpointId;
use thiserror::Error;

/// What a barrier led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Other inputs have yet to deliver this barrier.
    Pending,
    /// All inputs have delivered this barrier. Every input may be read again.
    Complete(CheckpointId),
    /// The barrier's checkpoint is over here.
    Ignored,
}

/// An input broke the order of barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BarrierViolation {
    /// The ids of barriers must grow on one input.
    #[error("input {input} delivered the barrier of {got} after that of {last}")]
    Regression {
        /// The index of the input.
        input: usize,
        /// The last barrier before it.
        last: CheckpointId,
        /// The barrier that it delivered now.
        got: CheckpointId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Input {
    last: Option<CheckpointId>,
    blocked: bool,
}

/// The aligner of one subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarrierAligner {
    inputs: Vec<Input>,
    aligning: Option<CheckpointId>,
    /// The newest checkpoint that is over here: complete, aborted or superseded.
    over: Option<CheckpointId>,
    ignored: u64,
}

impl BarrierAligner {
    /// An aligner of `inputs` inputs.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![Input::default(); inputs], aligning: None, over: None, ignored: 0 }
    }

    /// Takes the barrier that an input delivered. Panics if the aligner has no such input.
    ///
    /// # Errors
    /// The input's barriers are out of order.
    pub fn on_barrier(&mut self, input: usize, got: CheckpointId) -> Result<Alignment, BarrierViolation> {
        self.check_order(input, got)?;
        self.inputs[input].last = Some(got);
        if self.is_over(got) || self.aligning.is_some_and(|current| got < current) {
            self.ignored += 1;
            return Ok(Alignment::Ignored);
        }
        if self.aligning != Some(got) {
            self.give_up();
            self.aligning = Some(got);
        }
        self.inputs[input].blocked = true;
        Ok(self.settle())
    }

    /// Aborts a checkpoint. Its late barriers will be ignored.
    pub fn on_abort(&mut self, checkpoint: CheckpointId) {
        if self.aligning.is_some_and(|current| current <= checkpoint) {
            self.give_up();
        }
        self.over = self.over.max(Some(checkpoint));
    }

    /// Whether an input must not be read now.
    #[must_use]
    pub fn is_blocked(&self, input: usize) -> bool {
        self.inputs[input].blocked
    }

    /// The checkpoint that is being aligned.
    #[must_use]
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.aligning
    }

    /// How many barriers were ignored because their checkpoint was over.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        let blocked = self.inputs.iter().filter(|input| input.blocked).count();
        assert!(self.aligning.is_some() || blocked == 0, "an input is blocked without an alignment");
        assert!(self.aligning.is_none() || blocked > 0, "an alignment blocks no input");
        assert!(self.aligning.is_none() || self.aligning > self.over, "an alignment of a checkpoint that is over");
    }

    fn check_order(&self, input: usize, got: CheckpointId) -> Result<(), BarrierViolation> {
        match self.inputs[input].last {
            Some(last) if got <= last => Err(BarrierViolation::Regression { input, last, got }),
            _ => Ok(()),
        }
    }

    fn is_over(&self, checkpoint: CheckpointId) -> bool {
        self.over.is_some_and(|over| checkpoint <= over)
    }

    fn give_up(&mut self) {
        self.over = self.over.max(self.aligning.take());
        self.unblock();
    }

    fn settle(&mut self) -> Alignment {
        let Some(checkpoint) = self.aligning else { return Alignment::Pending };
        if self.inputs.iter().any(|input| !input.blocked) {
            return Alignment::Pending;
        }
        self.give_up();
        Alignment::Complete(checkpoint)
    }

    fn unblock(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.blocked = false);
    }
}

#[cfg(test)]
mod tests;
