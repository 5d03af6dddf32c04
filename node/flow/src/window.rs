//! Windows of event time: which windows a time belongs to, and how windows are cut into slices that share work.
//!
//! All times are in microseconds. A window is `[start, end)`. A *slice* is the largest interval whose times have the
//! same windows, as in Flink's `SliceAssigners`:
//!
//! ```text
//! tumble    the window                       |-----|-----|
//! hop       a slide                          |--|--|--|--|    a window is size / slide slices
//! cumulate  a step                           |--|--|--|--|    the n-th window of a cycle is its first n slices
//! ```
//!
//! A *pane* is a slice together with the windows that it still feeds: all windows of the slice, or the rest of them for
//! records that came after the first had closed. Its number is sent between the phases of an aggregation as
//! `slice_end`:
//!
//! | windows | pane of a record that is late for the slice's first j windows | its number |
//! |---|---|---|
//! | tumble | none where j > 0: it is late altogether | slice's end |
//! | cumulate | the slice j steps on, which feeds the same windows | that slice's end |
//! | hop | the slice, less j windows | slice's end + j microseconds, so j must be below the slide |
//!
//! Arithmetic saturates. Callers that assign windows must refuse times closer to the ends of the range than a window is
//! long.

use std::fmt;

use thalweg_types::graph::WindowSpec;
use thiserror::Error;

/// An interval of event time, `[start, end)`. Ordered by end, the order in which windows close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first microsecond in it.
    pub start: i64,
    /// The first microsecond after it.
    pub end: i64,
}

impl Ord for Window {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.end, self.start).cmp(&(other.end, other.start))
    }
}

impl PartialOrd for Window {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}us, {}us)", self.start, self.end)
    }
}

/// A slice, and the windows that it still feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pane {
    /// The slice's end, in microseconds.
    pub slice_end: i64,
    /// How many of the slice's first windows it does not feed. Always 0 unless windows hop.
    pub skipped: i64,
}

impl Pane {
    /// The pane of all windows of the slice that ends at `slice_end`.
    #[must_use]
    pub fn whole(slice_end: i64) -> Self {
        Self { slice_end, skipped: 0 }
    }
}

/// Why the windows of a specification cannot be assigned from a time alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WindowSpecError {
    /// Sessions depend on the other records of a key.
    #[error("sessions cannot be assigned from a time alone")]
    Session,
    /// A length is not positive.
    #[error("a window's lengths must be positive: {0:?}")]
    NotPositive(WindowSpec),
    /// The size is not a multiple of the slide or step.
    #[error("a window's size must be a multiple of its slide or step: {0:?}")]
    Ragged(WindowSpec),
}

/// Assigns windows and slices to times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowAssigner {
    shape: Shape,
    /// The length of a slice, in microseconds.
    slice: i64,
    /// The length of the longest window, in microseconds.
    size: i64,
    offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Hopping windows, and tumbling ones, which hop by their size.
    Hop,
    Cumulate,
}

impl WindowAssigner {
    /// Checks a specification.
    ///
    /// # Errors
    /// Sessions, lengths that are not positive, and sizes that are not a multiple of the slide or step.
    pub fn new(spec: WindowSpec) -> Result<Self, WindowSpecError> {
        let (shape, slice, size, offset) = match spec {
            WindowSpec::Tumble { size, offset } => (Shape::Hop, size, size, offset),
            WindowSpec::Hop { size, slide, offset } => (Shape::Hop, slide, size, offset),
            WindowSpec::Cumulate { size, step, offset } => (Shape::Cumulate, step, size, offset),
            WindowSpec::Session { .. } => return Err(WindowSpecError::Session),
        };
        if slice <= 0 || size <= 0 {
            return Err(WindowSpecError::NotPositive(spec));
        }
        if size % slice != 0 {
            return Err(WindowSpecError::Ragged(spec));
        }
        let period = if shape == Shape::Hop { slice } else { size };
        Ok(Self { shape, slice, size, offset: offset.rem_euclid(period) })
    }

    /// The length of a slice, in microseconds.
    #[must_use]
    pub fn slice_length(&self) -> i64 {
        self.slice
    }

    /// How far a window reaches at most from a time in it, in microseconds.
    #[must_use]
    pub fn reach(&self) -> i64 {
        self.size
    }

    /// The most windows that a time belongs to.
    #[must_use]
    pub fn windows_per_slice(&self) -> i64 {
        self.size / self.slice
    }

    /// The slice that contains a time.
    #[must_use]
    pub fn slice_of(&self, time: i64) -> Window {
        let start = i128::from(time) - self.past_grid(time, self.slice);
        Window { start: clamp(start), end: clamp(start + i128::from(self.slice)) }
    }

    /// The windows that contain a time, ordered by end.
    #[must_use]
    pub fn windows_of_time(&self, time: i64) -> Windows {
        self.windows_of_pane(Pane::whole(self.slice_of(time).end))
    }

    /// The pane of a record that would be in `pane`, given that the windows that end at or before `watermark` have
    /// closed. `None` if all windows of the pane have.
    #[must_use]
    pub fn open_pane(&self, pane: Pane, watermark: i64) -> Option<Pane> {
        let first = self.windows_of_pane(pane).next?;
        if first > watermark {
            return Some(pane);
        }
        let open = self.window_of_pane_after(pane, watermark)?;
        Some(match self.shape {
            Shape::Hop => {
                let skipped = open.end.saturating_sub(pane.slice_end) / self.slice;
                Pane { slice_end: pane.slice_end, skipped }
            }
            Shape::Cumulate => Pane::whole(open.end),
        })
    }

    /// Whether every pane has a number of its own. False if a window has more slides than a slide has microseconds.
    #[must_use]
    pub fn has_distinct_numbers(&self) -> bool {
        self.shape == Shape::Cumulate || self.windows_per_slice() <= self.slice
    }

    /// The number of a pane.
    #[must_use]
    pub fn number_of(&self, pane: Pane) -> i64 {
        pane.slice_end.saturating_add(pane.skipped)
    }

    /// The pane of a number. Requires distinct numbers.
    #[must_use]
    pub fn pane_of_number(&self, number: i64) -> Pane {
        match self.shape {
            Shape::Hop => {
                let slice_end = self.hop_slice_end(number);
                Pane { slice_end, skipped: number.saturating_sub(slice_end) }
            }
            Shape::Cumulate => Pane::whole(number),
        }
    }

    /// The windows that a pane feeds, ordered by end.
    #[must_use]
    pub fn windows_of_pane(&self, pane: Pane) -> Windows {
        let slice_end = pane.slice_end;
        match self.shape {
            Shape::Hop => {
                let first = slice_end.saturating_add(pane.skipped.saturating_mul(self.slice));
                let last = slice_end.saturating_add(self.size - self.slice);
                Windows { assigner: *self, next: Some(first).filter(|first| *first <= last), last }
            }
            Shape::Cumulate => {
                let last = self.cycle_start(slice_end).saturating_add(self.size);
                Windows { assigner: *self, next: Some(slice_end), last }
            }
        }
    }

    /// The first window that a pane feeds and that ends after `after`.
    #[must_use]
    pub fn window_of_pane_after(&self, pane: Pane, after: i64) -> Option<Window> {
        let Windows { next, last, .. } = self.windows_of_pane(pane);
        let first = next?;
        let skipped = (i128::from(after) - i128::from(first)).div_euclid(i128::from(self.slice)) + 1;
        let end = i128::from(first) + skipped.max(0) * i128::from(self.slice);
        let end = i64::try_from(end).ok().filter(|end| *end <= last)?;
        Some(self.window_ending(end))
    }

    /// The ends of the slices whose panes can feed the window that ends at `end`: an interval `(end - size, end]`.
    #[must_use]
    pub fn panes_range(&self, end: i64) -> (i64, i64) {
        (end.saturating_sub(self.size), end)
    }

    /// The end of the last window that a pane feeds.
    #[must_use]
    pub fn last_end_of_pane(&self, pane: Pane) -> i64 {
        self.windows_of_pane(pane).last
    }

    /// Whether a pane feeds the window that ends at `end`. A window must end there.
    #[must_use]
    pub fn feeds(&self, pane: Pane, end: i64) -> bool {
        let windows = self.windows_of_pane(pane);
        windows.next.is_some_and(|first| first <= end) && end <= windows.last
    }

    /// The window that ends at `end`. A window must end there.
    #[must_use]
    pub fn window_ending(&self, end: i64) -> Window {
        let start = match self.shape {
            Shape::Hop => end.saturating_sub(self.size),
            Shape::Cumulate => self.cycle_start(end),
        };
        Window { start, end }
    }

    /// The end of the slice that a number of a pane of hopping windows belongs to.
    fn hop_slice_end(&self, number: i64) -> i64 {
        if number == i64::MAX { number } else { clamp(i128::from(number) - self.past_grid(number, self.slice)) }
    }

    /// The start of the cycle of cumulating windows one of which ends at `end`.
    fn cycle_start(&self, end: i64) -> i64 {
        let last = end.saturating_sub(1);
        clamp(i128::from(last) - self.past_grid(last, self.size))
    }

    /// How far a time is past the last multiple of `period` from the offset.
    fn past_grid(&self, time: i64, period: i64) -> i128 {
        (i128::from(time) - i128::from(self.offset)).rem_euclid(i128::from(period))
    }
}

fn clamp(micros: i128) -> i64 {
    let limited = micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(limited).expect("it was limited to the range")
}

/// The windows of a time or pane, ordered by end.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    assigner: WindowAssigner,
    next: Option<i64>,
    last: i64,
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let end = self.next?;
        let following = end.checked_add(self.assigner.slice);
        self.next = following.filter(|following| *following <= self.last);
        Some(self.assigner.window_ending(end))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let slices = |first: i64| (i128::from(self.last) - i128::from(first)) / i128::from(self.assigner.slice) + 1;
        let count = usize::try_from(self.next.map_or(0, slices)).ok();
        (count.unwrap_or(usize::MAX), count)
    }

    /// Does not iterate, because there may be millions.
    fn count(self) -> usize {
        self.size_hint().0
    }
}

#[cfg(test)]
mod tests;
