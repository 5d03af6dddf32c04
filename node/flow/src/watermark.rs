//! The combined watermark of several inputs.
//!
//! The output is the minimum over the active inputs, and strictly increases. An idle input leaves the minimum until it
//! becomes active again, which cannot pull the output back. An ended input leaves it for good. If no input is active,
//! nothing has to be waited for, and the output is the maximum of all inputs. The rules for idle inputs are those of
//! Flink's `StatusWatermarkValve`. Once every input has ended, the output is `Watermark::MAX`. An input's
//! `Watermark::MAX` is its end and says nothing about its records, so the input's last watermark is kept.

use thalweg_types::Watermark;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Active,
    Idle,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Input {
    watermark: Watermark,
    activity: Activity,
}

/// The tracker of one subtask, or of one operator with several inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkTracker {
    inputs: Vec<Input>,
    output: Watermark,
    /// The greatest watermark of inputs that were removed.
    removed: Watermark,
    /// Places of removed inputs, for new ones.
    free: Vec<usize>,
}

impl WatermarkTracker {
    /// A tracker of `inputs` inputs, all active and without a watermark.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        let input = Input { watermark: Watermark::MIN, activity: Activity::Active };
        Self { inputs: vec![input; inputs], output: Watermark::MIN, removed: Watermark::MIN, free: Vec::new() }
    }

    /// The combined watermark so far.
    #[must_use]
    pub fn output(&self) -> Watermark {
        self.output
    }

    /// Whether no input is active and some have not ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is = |activity| move |input: &Input| input.activity == activity;
        self.inputs.iter().any(is(Activity::Idle)) && !self.inputs.iter().any(is(Activity::Active))
    }

    /// Whether every input has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.inputs.iter().all(|input| input.activity == Activity::Ended)
    }

    /// Takes an input's watermark, which makes the input active. One that goes back is ignored. Returns the output if
    /// it grew.
    #[must_use]
    pub fn on_watermark(&mut self, input: usize, watermark: Watermark) -> Option<Watermark> {
        if watermark.is_end() {
            return self.on_end(input);
        }
        self.promise(input, watermark);
        let state = &mut self.inputs[input];
        if state.activity == Activity::Idle {
            state.activity = Activity::Active;
        }
        self.advance()
    }

    /// An input becomes idle. Returns the output if it grew.
    #[must_use]
    pub fn on_idle(&mut self, input: usize) -> Option<Watermark> {
        if self.inputs[input].activity == Activity::Active {
            self.inputs[input].activity = Activity::Idle;
        }
        self.advance()
    }

    /// An input has records again. Returns the output if it grew: if all others are idle, the minimum is this input's.
    #[must_use]
    pub fn on_active(&mut self, input: usize) -> Option<Watermark> {
        if self.inputs[input].activity != Activity::Idle {
            return None;
        }
        self.inputs[input].activity = Activity::Active;
        self.advance()
    }

    /// An input has ended. Returns the output if it grew.
    #[must_use]
    pub fn on_end(&mut self, input: usize) -> Option<Watermark> {
        self.inputs[input].activity = Activity::Ended;
        self.advance()
    }

    /// Adds an input, active and without a watermark, so it holds the output where it is. Returns its index.
    #[must_use]
    pub fn add(&mut self) -> usize {
        let input = Input { watermark: Watermark::MIN, activity: Activity::Active };
        if let Some(place) = self.free.pop() {
            self.inputs[place] = input;
            return place;
        }
        self.inputs.push(input);
        self.inputs.len() - 1
    }

    /// Removes an input that has ended. What it reached still counts; its index may be another's from now on.
    pub fn remove(&mut self, input: usize) {
        let state = &mut self.inputs[input];
        assert!(state.activity == Activity::Ended, "an input is removed before its end");
        self.removed = self.removed.max(std::mem::replace(&mut state.watermark, Watermark::MIN));
        self.free.push(input);
    }

    /// Notes an input's watermark. The next call computes the output.
    pub(crate) fn promise(&mut self, input: usize, watermark: Watermark) {
        let state = &mut self.inputs[input];
        state.watermark = state.watermark.max(watermark);
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        assert!(self.least().is_none_or(|least| least <= self.output), "the output is behind all active inputs");
    }

    fn least(&self) -> Option<Watermark> {
        let active = self.inputs.iter().filter(|input| input.activity == Activity::Active);
        active.map(|input| input.watermark).min()
    }

    fn advance(&mut self) -> Option<Watermark> {
        let promised = || self.inputs.iter().map(|input| input.watermark).max().map(|max| max.max(self.removed));
        let candidate = if self.is_ended() { Watermark::MAX } else { self.least().or_else(promised)? };
        if candidate <= self.output {
            return None;
        }
        self.output = candidate;
        Some(candidate)
    }
}

#[cfg(test)]
mod tests;
