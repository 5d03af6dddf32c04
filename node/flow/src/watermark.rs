//! The combined watermark of several inputs.
//!
//! The output is the minimum over the active inputs, and strictly increases. An idle input leaves the minimum until it
//! becomes active again, which cannot pull the output back. An ended input leaves it for good. If no input is active,
//! nothing has to be waited for, and the output is the maximum of all inputs. The rules for idle inputs are those of
//! Flink's `StatusWatermarkValve`. Once every input has ended, the output is `Watermark::MAX`. An input's
//! `Watermark::MAX` is its end and says nothing about its records, so the input's last watermark is kept.

use std::collections::BTreeMap;

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

/// The tracker of one subtask, or of one operator with several inputs. There may be very many inputs: each call takes
/// logarithmic time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkTracker {
    inputs: Vec<Input>,
    /// How many active inputs have each watermark.
    active: BTreeMap<Watermark, usize>,
    /// How many inputs are idle.
    idle: usize,
    /// The greatest watermark of any input, also of those that were removed.
    reached: Watermark,
    output: Watermark,
    /// Places of removed inputs, for new ones.
    free: Vec<usize>,
}

impl WatermarkTracker {
    /// A tracker of `inputs` inputs, all active and without a watermark.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        let (reached, output) = (Watermark::MIN, Watermark::MIN);
        let mut tracker =
            Self { inputs: Vec::new(), active: BTreeMap::new(), idle: 0, reached, output, free: Vec::new() };
        for _ in 0..inputs {
            let _ = tracker.add();
        }
        tracker
    }

    /// The combined watermark so far.
    #[must_use]
    pub fn output(&self) -> Watermark {
        self.output
    }

    /// Whether no input is active and some have not ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle > 0 && self.active.is_empty()
    }

    /// Whether every input has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.idle == 0 && self.active.is_empty()
    }

    /// Takes an input's watermark, which makes the input active. One that goes back is ignored. Returns the output if
    /// it grew.
    #[must_use]
    pub fn on_watermark(&mut self, input: usize, watermark: Watermark) -> Option<Watermark> {
        if watermark.is_end() {
            return self.on_end(input);
        }
        self.promise(input, watermark);
        if self.inputs[input].activity == Activity::Idle {
            self.set(input, Activity::Active);
        }
        self.advance()
    }

    /// An input becomes idle. Returns the output if it grew.
    #[must_use]
    pub fn on_idle(&mut self, input: usize) -> Option<Watermark> {
        if self.inputs[input].activity == Activity::Active {
            self.set(input, Activity::Idle);
        }
        self.advance()
    }

    /// An input has records again. Returns the output if it grew: if all others are idle, the minimum is this input's.
    #[must_use]
    pub fn on_active(&mut self, input: usize) -> Option<Watermark> {
        if self.inputs[input].activity != Activity::Idle {
            return None;
        }
        self.set(input, Activity::Active);
        self.advance()
    }

    /// An input has ended. Returns the output if it grew.
    #[must_use]
    pub fn on_end(&mut self, input: usize) -> Option<Watermark> {
        self.set(input, Activity::Ended);
        self.advance()
    }

    /// Adds an input, active and without a watermark, so it holds the output where it is. Returns its index.
    #[must_use]
    pub fn add(&mut self) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.inputs.push(Input { watermark: Watermark::MIN, activity: Activity::Ended });
            self.inputs.len() - 1
        });
        self.set(place, Activity::Active);
        place
    }

    /// Removes an input that has ended. What it reached still counts; its index may be another's from now on.
    pub fn remove(&mut self, input: usize) {
        let state = &mut self.inputs[input];
        assert!(state.activity == Activity::Ended, "an input is removed before its end");
        state.watermark = Watermark::MIN;
        self.free.push(input);
    }

    /// Notes an input's watermark. The next call computes the output.
    pub(crate) fn promise(&mut self, input: usize, watermark: Watermark) {
        let Input { watermark: before, activity } = self.inputs[input];
        if watermark <= before {
            return;
        }
        self.set(input, Activity::Ended);
        self.inputs[input].watermark = watermark;
        self.set(input, activity);
        self.reached = self.reached.max(watermark);
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        assert!(self.least().is_none_or(|least| least <= self.output), "the output is behind all active inputs");
        let is = |activity| move |input: &&Input| input.activity == activity;
        assert_eq!(self.idle, self.inputs.iter().filter(is(Activity::Idle)).count(), "idle inputs are miscounted");
        let active: Vec<Watermark> =
            self.inputs.iter().filter(is(Activity::Active)).map(|input| input.watermark).collect();
        assert_eq!(self.active.values().sum::<usize>(), active.len(), "active inputs are miscounted");
        assert_eq!(self.least(), active.into_iter().min(), "the least watermark is another");
    }

    fn set(&mut self, input: usize, activity: Activity) {
        let Input { watermark, activity: before } = self.inputs[input];
        match before {
            Activity::Active => {
                if let Some(count) = self.active.get_mut(&watermark) {
                    *count -= 1;
                    if *count == 0 {
                        self.active.remove(&watermark);
                    }
                }
            }
            Activity::Idle => self.idle -= 1,
            Activity::Ended => {}
        }
        match activity {
            Activity::Active => *self.active.entry(watermark).or_default() += 1,
            Activity::Idle => self.idle += 1,
            Activity::Ended => {}
        }
        self.inputs[input].activity = activity;
    }

    fn least(&self) -> Option<Watermark> {
        self.active.first_key_value().map(|(watermark, _)| *watermark)
    }

    fn advance(&mut self) -> Option<Watermark> {
        let candidate = if self.is_ended() { Watermark::MAX } else { self.least().unwrap_or(self.reached) };
        if candidate <= self.output {
            return None;
        }
        self.output = candidate;
        Some(candidate)
    }
}

#[cfg(test)]
mod tests;
