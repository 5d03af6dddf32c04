use proptest::prelude::*;

use super::*;

#[test]
fn idle_input_steps_out_and_cannot_pull_back() {
    let mut tracker = WatermarkTracker::new(2);
    assert_eq!(tracker.on_watermark(0, Watermark(10)), None);
    assert_eq!(tracker.on_idle(1), Some(Watermark(10)));
    assert_eq!(tracker.on_watermark(1, Watermark(3)), None);
    assert_eq!(tracker.output(), Watermark(10));
    assert_eq!(tracker.on_watermark(0, Watermark(20)), None);
    assert_eq!(tracker.on_watermark(1, Watermark(15)), Some(Watermark(15)));
}

#[test]
fn all_ended_is_the_end_and_all_idle_is_not() {
    let mut tracker = WatermarkTracker::new(2);
    assert_eq!(tracker.on_end(0), None);
    assert_eq!(tracker.on_idle(1), None);
    assert_eq!(tracker.output(), Watermark::MIN);
    assert!(tracker.is_idle() && !tracker.is_ended());
    assert_eq!(tracker.on_end(1), Some(Watermark::MAX));
    assert!(tracker.is_ended() && !tracker.is_idle());
}

#[test]
fn the_furthest_promise_counts_when_none_is_active() {
    let mut tracker = WatermarkTracker::new(3);
    assert_eq!(tracker.on_watermark(0, Watermark(30)), None);
    assert_eq!(tracker.on_watermark(1, Watermark(20)), None);
    assert_eq!(tracker.on_idle(2), Some(Watermark(20)));
    assert_eq!(tracker.on_end(0), None);
    assert_eq!(tracker.on_idle(1), Some(Watermark(30)));
    assert_eq!(tracker.on_watermark(2, Watermark(25)), None);
    assert_eq!(tracker.on_watermark(2, Watermark(35)), Some(Watermark(35)));
}

#[test]
fn the_end_of_an_input_is_no_promise_about_the_others() {
    let mut tracker = WatermarkTracker::new(2);
    assert_eq!(tracker.on_watermark(0, Watermark(10)), None);
    assert_eq!(tracker.on_idle(1), Some(Watermark(10)));
    assert_eq!(tracker.on_watermark(0, Watermark::MAX), None);
    assert_eq!(tracker.on_end(0), None);
    assert_eq!(tracker.on_watermark(1, Watermark(12)), Some(Watermark(12)));
    assert_eq!(tracker.on_watermark(1, Watermark::MAX), Some(Watermark::MAX));
}

proptest! {
    #[test]
    fn output_grows_strictly_and_is_the_minimum_of_the_active(
        steps in prop::collection::vec((0usize..3, 0u8..8, -50i64..50), 1..100),
    ) {
        let mut tracker = WatermarkTracker::new(3);
        // The model: the newest watermark of each input, whether it is active, and whether it has ended.
        let mut model = [(i64::MIN, true, false); 3];
        let mut last = Watermark::MIN;
        for (input, kind, value) in steps {
            let (newest, active, ended) = &mut model[input];
            if *ended { continue }
            let grown = match kind {
                0 => { *active = false; tracker.on_idle(input) }
                1 => { *active = true; tracker.on_active(input) }
                2 => { *ended = true; tracker.on_end(input) }
                _ => { *newest = (*newest).max(value); *active = true; tracker.on_watermark(input, Watermark(value)) }
            };
            tracker.check_invariants();
            if let Some(grown) = grown {
                prop_assert!(grown > last);
                let least = model.iter().filter(|(_, active, ended)| *active && !ended).map(|(newest, ..)| *newest).min();
                let furthest = model.iter().map(|(newest, ..)| *newest).max().unwrap_or(i64::MIN);
                let is_ended = model.iter().all(|(.., ended)| *ended);
                prop_assert_eq!(grown.0, least.unwrap_or(if is_ended { i64::MAX } else { furthest }));
                last = grown;
            }
            prop_assert_eq!(tracker.output(), last);
            if tracker.is_idle() {
                prop_assert!(model.iter().all(|(newest, ..)| *newest <= last.0));
            }
        }
    }
}
