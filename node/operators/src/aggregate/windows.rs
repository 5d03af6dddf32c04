//! Maps rows to panes, and panes to windows.

use std::ops::RangeInclusive;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use thalweg_flow::{Pane, Window, WindowAssigner};
use thalweg_types::graph::{AggregatePhase, WindowAggregate, WindowSpec, Windowing};

use crate::{
    OperatorError,
    error::build_error,
    event_time::{check_nulls, check_reach, check_timestamps, split_attached, times_of},
    split::{RowSelection, split_by},
    time,
};

/// Identifies a pane. Ordered by end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PaneKey {
    /// The end of the pane's slice, or of its attached window.
    pub(crate) end: i64,
    /// How many of the slice's first windows the pane does not feed, or the start of its attached window.
    pub(crate) detail: i64,
}

/// How windows are determined.
#[derive(Debug)]
pub(crate) enum Windows {
    /// Assigned here, by event time.
    Assigned {
        assigner: WindowAssigner,
        column: usize,
        /// Whether the column holds pane numbers assigned by the local phase, instead of event times.
        holds_numbers: bool,
    },
    /// Given by columns of the input.
    Attached { start: usize, end: usize },
}

/// Whether windows depend on the other rows of a key.
pub(crate) fn is_session(windowing: &Windowing) -> bool {
    matches!(windowing, Windowing::EventTime { spec: WindowSpec::Session { .. }, .. })
}

impl Windows {
    pub(crate) fn new(aggregate: &WindowAggregate, operator: &str, input: &SchemaRef) -> Result<Self, OperatorError> {
        match aggregate.windowing {
            Windowing::EventTime { column, spec } => {
                check_timestamps(operator, input, &[column])?;
                let assigner = WindowAssigner::new(spec).map_err(build_error(operator))?;
                if aggregate.phase != AggregatePhase::Single && !assigner.has_distinct_numbers() {
                    let reason = "its windows have more slides than a slide has microseconds: use one phase";
                    return Err(build_error(operator)(reason));
                }
                Ok(Self::Assigned { assigner, column, holds_numbers: aggregate.phase == AggregatePhase::Global })
            }
            Windowing::Attached { start, end } => {
                check_timestamps(operator, input, &[start, end])?;
                Ok(Self::Attached { start, end })
            }
        }
    }

    /// The rows of each pane, without regard to lateness.
    pub(crate) fn split(&self, batch: &RecordBatch) -> Result<Vec<(PaneKey, RowSelection)>, OperatorError> {
        match self {
            Self::Assigned { assigner, column, holds_numbers: true } => {
                let numbers = times_of(batch, *column)?;
                Ok(split_by(batch.num_rows(), |row| assigner.pane_of_number(numbers[row]).into()))
            }
            Self::Assigned { assigner, column, holds_numbers: false } => split_by_slice(batch, *column, assigner),
            Self::Attached { start, end } => Ok(split_attached(batch, *start, *end)?
                .into_iter()
                .map(|(window, rows)| (window.into(), rows))
                .collect()),
        }
    }

    /// The pane for the windows of `key` that are open at a watermark; `None` if all are closed.
    pub(crate) fn open(&self, key: PaneKey, watermark: i64) -> Option<PaneKey> {
        match self {
            Self::Assigned { assigner, .. } => assigner.open_pane(key.pane(), watermark).map(PaneKey::from),
            Self::Attached { .. } => Some(key).filter(|key| key.end > watermark),
        }
    }

    /// The windows that a pane feeds, in order of their ends.
    pub(crate) fn windows_of(&self, key: PaneKey) -> impl Iterator<Item = Window> + use<> {
        let (assigned, attached) = match self {
            Self::Assigned { assigner, .. } => (Some(assigner.windows_of_pane(key.pane())), None),
            Self::Attached { .. } => (None, Some(key.window())),
        };
        assigned.into_iter().flatten().chain(attached)
    }

    /// The first window that a pane feeds and that ends after `after`.
    pub(crate) fn window_after(&self, key: PaneKey, after: i64) -> Option<Window> {
        match self {
            Self::Assigned { assigner, .. } => assigner.window_of_pane_after(key.pane(), after),
            Self::Attached { .. } => Some(key.window()).filter(|own| own.end > after),
        }
    }

    /// Whether a window is the last one that a pane feeds.
    pub(crate) fn is_last(&self, key: PaneKey, window: Window) -> bool {
        match self {
            Self::Assigned { assigner, .. } => assigner.last_end_of_pane(key.pane()) == window.end,
            Self::Attached { .. } => true,
        }
    }

    /// The range of keys in which a window's panes lie.
    pub(crate) fn range_of(&self, window: Window) -> RangeInclusive<PaneKey> {
        match self {
            Self::Assigned { assigner, .. } => {
                let (after, to) = assigner.panes_range(window.end);
                PaneKey { end: after, detail: i64::MIN }..=PaneKey { end: to, detail: i64::MAX }
            }
            Self::Attached { .. } => window.into()..=window.into(),
        }
    }

    /// Whether a pane in a window's `range_of` feeds the window.
    pub(crate) fn feeds(&self, key: PaneKey, window: Window) -> bool {
        match self {
            Self::Assigned { assigner, .. } => assigner.feeds(key.pane(), window.end),
            Self::Attached { .. } => true,
        }
    }

    /// How the local phase identifies a pane to the global one: by its number, or by its window's start and end.
    pub(crate) fn sent_as(&self, key: PaneKey) -> Vec<i64> {
        match self {
            Self::Assigned { assigner, .. } => vec![assigner.number_of(key.pane())],
            Self::Attached { .. } => vec![key.detail, key.end],
        }
    }

    /// Whether a frozen state's `fired` applies: all windows that end at or before it have fired, and panes still there
    /// must not fire them again. An attached window goes with its pane, so there it does not.
    pub(crate) fn remembers_fired(&self) -> bool {
        matches!(self, Self::Assigned { .. })
    }
}

impl PaneKey {
    fn pane(self) -> Pane {
        Pane { slice_end: self.end, skipped: self.detail }
    }

    fn window(self) -> Window {
        Window { start: self.detail, end: self.end }
    }
}

impl From<Pane> for PaneKey {
    fn from(pane: Pane) -> Self {
        Self { end: pane.slice_end, detail: pane.skipped }
    }
}

impl From<Window> for PaneKey {
    fn from(window: Window) -> Self {
        Self { end: window.end, detail: window.start }
    }
}

fn split_by_slice(
    batch: &RecordBatch,
    column: usize,
    assigner: &WindowAssigner,
) -> Result<Vec<(PaneKey, RowSelection)>, OperatorError> {
    let rows = batch.num_rows();
    let key_of = |slice: Window| Pane::whole(slice.end).into();
    check_nulls(batch.column(column))?;
    check_reach(batch, column, assigner.reach())?;
    let Some((first, last)) = time::bounds(batch.column(column)) else { return Ok(Vec::new()) };
    let mut slice = assigner.slice_of(first);
    if last < slice.end {
        return Ok(vec![(key_of(slice), RowSelection::All(rows))]);
    }
    let times = times_of(batch, column)?;
    Ok(split_by(rows, |row| {
        let time = times[row];
        if time < slice.start || time >= slice.end {
            slice = assigner.slice_of(time);
        }
        key_of(slice)
    }))
}
