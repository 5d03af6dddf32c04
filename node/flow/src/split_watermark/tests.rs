use proptest::prelude::*;
use thalweg_types::SplitId;

use super::*;

fn split(sequence: &str, ordinal: u32) -> Split {
    Split {
        id: SplitId(format!("{sequence}-{ordinal}")),
        sequence: sequence.to_owned(),
        ordinal,
        payload: serde_json::Value::Null,
    }
}

#[test]
fn sequence_goes_on_from_the_maximum_of_its_predecessors() {
    let mut splits = SplitWatermarks::new(&[split("a", 0), split("a", 1)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), Some(Watermark(10)));
    assert_eq!(splits.on_finished(0), None);
    assert_eq!(splits.output(), Watermark(10));
    assert_eq!(splits.on_watermark(1, Watermark(7)), None);
    assert_eq!(splits.on_watermark(1, Watermark(12)), Some(Watermark(12)));
    assert_eq!(splits.on_finished(1), Some(Watermark::MAX));
}

#[test]
fn unread_split_without_started_predecessor_holds_back() {
    let mut splits = SplitWatermarks::new(&[split("a", 0), split("b", 0), split("b", 1)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_finished(0), None);
    assert_eq!(splits.on_watermark(2, Watermark(50)), None);
    assert_eq!(splits.on_watermark(1, Watermark(5)), Some(Watermark(5)));
    assert_eq!(splits.on_finished(1), Some(Watermark(50)));
}

#[test]
fn idle_sequence_steps_out() {
    let mut splits = SplitWatermarks::new(&[split("a", 0), split("b", 0)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_idle(1), Some(Watermark(10)));
    assert!(!splits.is_idle());
    assert_eq!(splits.on_idle(0), None);
    assert!(splits.is_idle());
    assert_eq!(splits.on_active(1), None);
    assert!(!splits.is_idle());
    assert_eq!(splits.on_watermark(1, Watermark(4)), None);
    assert_eq!(splits.output(), Watermark(10));
}

/// A file that was read and a monitor that has found nothing: what the file promised stands.
#[test]
fn a_finished_sequence_is_not_forgotten_while_the_others_are_idle() {
    let mut splits = SplitWatermarks::new(&[split("file", 0), split("file", 1), split("monitor", 0)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_idle(2), Some(Watermark(10)));
    assert_eq!(splits.on_watermark(1, Watermark(40)), None);
    assert_eq!(splits.on_finished(0), Some(Watermark(40)));
    assert_eq!(splits.on_finished(1), None);
    assert!(splits.is_idle());
    assert_eq!(splits.on_active(2), None);
    assert_eq!(splits.on_watermark(2, Watermark(45)), Some(Watermark(45)));
    assert_eq!(splits.on_finished(2), Some(Watermark::MAX));
    let mut splits = SplitWatermarks::new(&[split("file", 0), split("monitor", 0)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_finished(0), None);
    assert_eq!(splits.on_idle(1), Some(Watermark(10)), "idle only after the file has ended");
}

#[test]
fn no_splits_at_all_is_not_idle() {
    let splits = SplitWatermarks::new(&[]);
    assert!(!splits.is_idle());
    splits.check_invariants();
}

proptest! {
    /// Reading the splits of each sequence in order, however sequences are interleaved: the output grows strictly, ends
    /// at MAX exactly when all are finished, and never passes the running maximum of any unfinished sequence.
    #[test]
    fn output_never_passes_an_unfinished_sequence(
        lengths in prop::collection::vec(1u32..4, 1..4),
        steps in prop::collection::vec((0usize..4, 0i64..100, 0u8..5), 1..120),
    ) {
        let list: Vec<Split> = lengths.iter().enumerate()
            .flat_map(|(sequence, length)| (0..*length).map(move |ordinal| split(&sequence.to_string(), ordinal)))
            .collect();
        let mut machine = SplitWatermarks::new(&list);
        let order = machine.sequences();
        let mut at = vec![0usize; order.len()];
        let mut reached = vec![i64::MIN; order.len()];
        let mut last = Watermark::MIN;
        for (pick, value, kind) in steps {
            let sequence = pick % order.len();
            let Some(index) = order[sequence].get(at[sequence]).copied() else { continue };
            let grown = if kind == 0 {
                at[sequence] += 1;
                machine.on_finished(index)
            } else {
                reached[sequence] = reached[sequence].max(value);
                machine.on_watermark(index, Watermark(value))
            };
            machine.check_invariants();
            let open = (0..order.len()).filter(|sequence| at[*sequence] < order[*sequence].len());
            let least = open.map(|sequence| reached[sequence]).min().unwrap_or(i64::MAX);
            if let Some(grown) = grown { prop_assert!(grown > last); last = grown; }
            prop_assert_eq!(machine.output().0, least.max(last.0));
            prop_assert!(machine.output().0 <= least);
        }
    }
}
