//! Compares with the definition: a window has the bounds of the specification, and contains its times.

use proptest::prelude::*;
use thalweg_types::graph::WindowSpec;

use super::{Pane, Window, WindowAssigner, WindowSpecError};

fn assigner(spec: WindowSpec) -> WindowAssigner {
    WindowAssigner::new(spec).expect("a legal specification")
}

/// Enumerates windows by the definition of each kind.
fn windows_by_definition(spec: WindowSpec, time: i64) -> Vec<Window> {
    let span = |size: i64, period: i64, offset: i64| {
        let around = (time - offset) / period;
        let reach = size / period + 2;
        (around - reach..=around + reach).map(move |n| n * period + offset)
    };
    let mut windows: Vec<Window> = match spec {
        WindowSpec::Tumble { size, offset } => {
            span(size, size, offset).map(|start| Window { start, end: start + size }).collect()
        }
        WindowSpec::Hop { size, slide, offset } => {
            span(size, slide, offset).map(|start| Window { start, end: start + size }).collect()
        }
        WindowSpec::Cumulate { size, step, offset } => span(size, size, offset)
            .flat_map(|start| (1..=size / step).map(move |n| Window { start, end: start + n * step }))
            .collect(),
        WindowSpec::Session { .. } => unreachable!("not assigned from a time"),
    };
    windows.retain(|window| window.start <= time && time < window.end);
    windows.sort();
    windows
}

fn spec() -> impl Strategy<Value = WindowSpec> {
    (0..3u8, 1..40i64, 1..6i64, -100..100i64).prop_map(|(kind, slice, count, offset)| match kind {
        0 => WindowSpec::Tumble { size: slice, offset },
        1 => WindowSpec::Hop { size: slice * count, slide: slice, offset },
        _ => WindowSpec::Cumulate { size: slice * count, step: slice, offset },
    })
}

#[test]
fn refuses_what_has_no_windows() {
    let gap = WindowSpec::Session { gap: 5 };
    assert_eq!(WindowAssigner::new(gap), Err(WindowSpecError::Session));
    let empty = WindowSpec::Tumble { size: 0, offset: 0 };
    assert_eq!(WindowAssigner::new(empty), Err(WindowSpecError::NotPositive(empty)));
    let ragged = WindowSpec::Hop { size: 10, slide: 4, offset: 0 };
    assert_eq!(WindowAssigner::new(ragged), Err(WindowSpecError::Ragged(ragged)));
}

#[test]
fn the_ends_of_time_have_windows() {
    for spec in [
        WindowSpec::Tumble { size: 1000, offset: 7 },
        WindowSpec::Hop { size: 5000, slide: 1000, offset: 0 },
        WindowSpec::Cumulate { size: 5000, step: 1000, offset: 3 },
    ] {
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let windows: Vec<Window> = assigner(spec).windows_of_time(time).collect();
            assert!(!windows.is_empty() && windows.len() <= 5, "{spec:?} at {time}: {windows:?}");
        }
    }
}

#[test]
fn millions_of_windows_are_counted_and_skipped_without_a_walk() {
    let hop = assigner(WindowSpec::Hop { size: 1_000_000_000_000_000, slide: 1, offset: 0 });
    let pane = Pane::whole(hop.slice_of(7).end);
    assert_eq!(hop.windows_of_pane(pane).count(), 1_000_000_000_000_000);
    assert_eq!(hop.window_of_pane_after(pane, 500_000_000_000_000).map(|window| window.end), Some(500_000_000_000_001));
    assert_eq!(hop.window_of_pane_after(pane, hop.last_end_of_pane(pane)), None);
}

proptest! {
    #[test]
    fn counts_and_successors_are_those_of_a_walk(spec in spec(), time in -2000..2000i64, after in -2500..2500i64) {
        let assigner = assigner(spec);
        let pane = Pane::whole(assigner.slice_of(time).end);
        let walked: Vec<Window> = assigner.windows_of_pane(pane).collect();
        prop_assert_eq!(assigner.windows_of_pane(pane).count(), walked.len());
        let successor = walked.into_iter().find(|window| window.end > after);
        prop_assert_eq!(assigner.window_of_pane_after(pane, after), successor);
    }

    #[test]
    fn windows_are_those_of_the_definition(spec in spec(), time in -2000..2000i64) {
        let assigned: Vec<Window> = assigner(spec).windows_of_time(time).collect();
        prop_assert_eq!(assigned, windows_by_definition(spec, time));
    }

    #[test]
    fn times_of_a_slice_share_their_windows(spec in spec(), time in -2000..2000i64) {
        let assigner = assigner(spec);
        let slice = assigner.slice_of(time);
        prop_assert!(slice.start <= time && time < slice.end);
        for other in slice.start..slice.end {
            prop_assert_eq!(assigner.slice_of(other), slice);
            prop_assert!(assigner.windows_of_time(other).eq(assigner.windows_of_time(time)));
        }
    }

    #[test]
    fn a_pane_feeds_exactly_the_open_windows(spec in spec(), time in -2000..2000i64, ahead in -50..300i64) {
        let assigner = assigner(spec);
        let watermark = time + ahead;
        let open: Vec<Window> = windows_by_definition(spec, time).into_iter().filter(|w| w.end > watermark).collect();
        match assigner.open_pane(Pane::whole(assigner.slice_of(time).end), watermark) {
            None => prop_assert!(open.is_empty()),
            Some(pane) => {
                prop_assert_eq!(assigner.windows_of_pane(pane).collect::<Vec<_>>(), open.clone());
                if assigner.has_distinct_numbers() {
                    prop_assert_eq!(assigner.pane_of_number(assigner.number_of(pane)), pane);
                }
                for window in open {
                    let (after, to) = assigner.panes_range(window.end);
                    prop_assert!(after < pane.slice_end && pane.slice_end <= to);
                }
            }
        }
    }

    #[test]
    fn feeding_agrees_with_the_windows(spec in spec(), time in -500..500i64, ahead in -50..300i64, end in -500..900i64) {
        let assigner = assigner(spec);
        let Some(pane) = assigner.open_pane(Pane::whole(assigner.slice_of(time).end), time + ahead) else { return Ok(()) };
        let ends: Vec<i64> = assigner.windows_of_pane(pane).map(|window| window.end).collect();
        for candidate in ends.iter().copied() {
            prop_assert!(assigner.feeds(pane, candidate));
        }
        // Only ends of windows may be asked for, so this asks for one on the grid.
        let on_grid = assigner.slice_of(end).end;
        prop_assert_eq!(assigner.feeds(pane, on_grid), ends.contains(&on_grid));
    }
}
