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

/// What follows may begin where the split has ended, at the output if that is further.
#[test]
fn a_held_end_is_not_idle_and_not_behind_the_output() {
    let mut splits = SplitWatermarks::new(&[split("a", 0), split("b", 0), split("c", 0)]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_watermark(1, Watermark(30)), None);
    assert_eq!(splits.on_watermark(2, Watermark(50)), Some(Watermark(10)));
    assert_eq!(splits.on_idle(0), Some(Watermark(30)));
    assert_eq!(splits.on_held(0), None);
    assert_eq!(splits.progress_of(0), (Watermark(30), false));
    assert_eq!(splits.on_held(2), None);
    assert_eq!(splits.progress_of(2), (Watermark(50), false), "it has not gone back");
    assert_eq!(splits.on_watermark(1, Watermark(90)), None, "both hold");
    assert_eq!(splits.on_finished(0), Some(Watermark(50)));
}

/// A file that was read, and a monitor that has found nothing: the file's watermark counts.
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

fn unread(splits: &[Split]) -> Vec<SplitProgress> {
    splits.iter().cloned().map(SplitProgress::unread).collect()
}

#[test]
fn splits_that_are_assigned_later_hold_the_output_where_it_is() {
    let mut splits = SplitWatermarks::enumerated();
    assert!(!splits.is_idle(), "something may be assigned");
    assert_eq!(splits.add(&unread(&[split("a", 0), split("b", 1), split("b", 0)])), [vec![0], vec![2, 1]]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), None);
    assert_eq!(splits.on_watermark(2, Watermark(20)), None);
    assert_eq!(splits.on_settled(), Some(Watermark(10)));
    assert_eq!(splits.on_finished(0), Some(Watermark(20)));
    assert_eq!(splits.forget_finished(0), [(0, Watermark(10))]);
    assert_eq!(splits.on_watermark(1, Watermark(30)), None);
    assert_eq!(splits.on_finished(2), Some(Watermark(30)));
    assert!(splits.forget_finished(2).is_empty(), "the sequence goes on");
    assert_eq!(splits.on_finished(1), None);
    assert_eq!(splits.forget_finished(1), [(2, Watermark(20)), (1, Watermark(30))]);
    assert!(splits.is_idle() && splits.sequences().is_empty());
    splits.on_assigning();
    assert!(!splits.is_idle());
    assert_eq!(splits.add(&unread(&[split("c", 0)])), [vec![3]], "numbers are used once");
    assert_eq!(splits.on_watermark(3, Watermark(25)), None);
    assert_eq!(splits.on_settled(), None);
    assert_eq!((splits.output(), splits.sequence_watermark(3)), (Watermark(30), Watermark(25)));
    assert_eq!(splits.on_no_more(), None);
    assert_eq!(splits.on_finished(3), Some(Watermark::MAX));
    splits.check_invariants();
}

/// What finished splits reached counts once nothing else is left, also after they are forgotten.
#[test]
fn what_was_forgotten_still_counts() {
    let mut splits = SplitWatermarks::enumerated();
    splits.add(&unread(&[split("a", 0), split("b", 0)]));
    assert_eq!(splits.on_settled(), None);
    assert_eq!(splits.on_watermark(1, Watermark(50)), None);
    assert_eq!(splits.on_finished(1), None);
    assert_eq!(splits.forget_finished(1), [(1, Watermark(50))]);
    assert_eq!(splits.on_watermark(0, Watermark(10)), Some(Watermark(10)));
    assert_eq!(splits.on_finished(0), Some(Watermark(50)));
}

proptest! {
    /// The splits of each sequence are read in order, and sequences are interleaved at random. The output strictly
    /// increases, is MAX exactly once all are finished, and never passes the running maximum of any unfinished
    /// sequence.
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

/// What a checkpoint holds of these splits.
fn progress(machine: &SplitWatermarks, splits: &[Split], finished: &[bool]) -> Vec<SplitProgress> {
    use thalweg_types::checkpoint::SplitState;
    let of = |(index, split): (usize, &Split)| {
        let (watermark, is_idle) = machine.progress_of(index);
        let state = if finished[index] { SplitState::Finished } else { SplitState::Open };
        SplitProgress { split: split.clone(), state, watermark, is_idle, held: Vec::new() }
    };
    splits.iter().enumerate().map(of).collect()
}

#[test]
fn a_finished_sequence_and_an_idle_one_are_restored_as_they_were() {
    let list = [split("file", 0), split("file", 1), split("monitor", 0)];
    let mut before = SplitWatermarks::new(&list);
    assert_eq!(before.on_watermark(0, Watermark(40)), None);
    assert_eq!(before.on_finished(0), None);
    assert_eq!(before.on_watermark(1, Watermark(30)), None);
    assert_eq!(before.on_finished(1), None);
    assert_eq!(before.on_idle(2), Some(Watermark(40)));
    let mut restored = SplitWatermarks::restored(&progress(&before, &list, &[true, true, false]));
    assert_eq!(restored, before);
    assert_eq!((restored.output(), restored.is_idle()), (Watermark(40), true));
    assert_eq!((restored.sequence_watermark(1), restored.sequence_watermark(2)), (Watermark(40), Watermark::MIN));
    assert_eq!(restored.on_active(2), None);
    assert_eq!(restored.on_watermark(2, Watermark(45)), Some(Watermark(45)));
    assert_eq!(restored.on_finished(2), Some(Watermark::MAX));
    let all = SplitWatermarks::restored(&progress(&before, &list, &[true; 3]));
    assert_eq!(all.output(), Watermark::MAX, "nothing is left");
}

/// One step of a test: a split's watermark, idleness, return or end.
fn take(machine: &mut SplitWatermarks, split: usize, value: i64, kind: u8) -> Option<Watermark> {
    match kind {
        0 => machine.on_finished(split),
        1 | 2 => machine.on_idle(split),
        3 => machine.on_active(split),
        _ => machine.on_watermark(split, Watermark(value)),
    }
}

proptest! {
    /// Whenever it is restored, it continues as if it had not been. Its output differs only if an idle split had let it
    /// grow and then returned behind it: that output is already promised, and grows again from there.
    #[test]
    fn restored_splits_go_on_as_they_were(
        lengths in prop::collection::vec(1u32..4, 1..4),
        before in prop::collection::vec((0usize..16, 0i64..100, 0u8..10), 0..40),
        after in prop::collection::vec((0usize..16, 0i64..100, 0u8..10), 0..40),
    ) {
        let list: Vec<Split> = lengths.iter().enumerate()
            .flat_map(|(sequence, length)| (0..*length).map(move |ordinal| split(&sequence.to_string(), ordinal)))
            .collect();
        let mut finished = vec![false; list.len()];
        let mut machine = SplitWatermarks::new(&list);
        for (pick, value, kind) in before {
            let split = pick % list.len();
            if !finished[split] {
                finished[split] = kind == 0;
                let _ = take(&mut machine, split, value, kind);
            }
        }
        let promised = machine.output();
        let mut restored = SplitWatermarks::restored(&progress(&machine, &list, &finished));
        prop_assert!(restored.output() <= promised);
        let same = |machine: &SplitWatermarks, restored: &SplitWatermarks| {
            restored.check_invariants();
            prop_assert_eq!(restored.output().max(promised), machine.output());
            prop_assert_eq!(restored.is_idle(), machine.is_idle());
            for split in 0..list.len() {
                prop_assert_eq!(restored.progress_of(split), machine.progress_of(split));
                prop_assert_eq!(restored.sequence_watermark(split), machine.sequence_watermark(split));
            }
            Ok(())
        };
        same(&machine, &restored)?;
        for (pick, value, kind) in after {
            let split = pick % list.len();
            if finished[split] {
                continue;
            }
            finished[split] = kind == 0;
            let grown = take(&mut machine, split, value, kind);
            let again = take(&mut restored, split, value, kind);
            prop_assert_eq!(again.filter(|again| *again > promised), grown);
            same(&machine, &restored)?;
        }
    }
}
