use proptest::prelude::*;

use super::*;

fn checkpoint(id: u64) -> CheckpointId {
    CheckpointId(id)
}

#[test]
fn abort_unblocks_and_makes_late_barriers_stale() {
    let mut aligner = BarrierAligner::new(2);
    assert_eq!(aligner.on_barrier(0, checkpoint(1)), Ok(Alignment::Pending));
    assert!(aligner.is_blocked(0));
    aligner.on_abort(checkpoint(1));
    assert!(!aligner.is_blocked(0));
    assert_eq!(aligner.on_barrier(1, checkpoint(1)), Ok(Alignment::Ignored));
    assert_eq!(aligner.ignored(), 1);
}

#[test]
fn newer_barrier_aborts_the_older_alignment() {
    let mut aligner = BarrierAligner::new(3);
    assert_eq!(aligner.on_barrier(0, checkpoint(1)), Ok(Alignment::Pending));
    assert_eq!(aligner.on_barrier(1, checkpoint(2)), Ok(Alignment::Pending));
    assert!(!aligner.is_blocked(0) && aligner.is_blocked(1));
    assert_eq!(aligner.on_barrier(2, checkpoint(1)), Ok(Alignment::Ignored));
    assert_eq!(aligner.on_barrier(0, checkpoint(2)), Ok(Alignment::Pending));
    assert_eq!(aligner.on_barrier(2, checkpoint(2)), Ok(Alignment::Complete(checkpoint(2))));
}

#[test]
fn regression_on_one_input_is_a_violation() {
    let mut aligner = BarrierAligner::new(2);
    assert_eq!(aligner.on_barrier(0, checkpoint(4)), Ok(Alignment::Pending));
    aligner.on_abort(checkpoint(4));
    let expected = BarrierViolation::Regression { input: 0, last: checkpoint(4), got: checkpoint(4) };
    assert_eq!(aligner.on_barrier(0, checkpoint(4)), Err(expected));
}

/// Reads inputs, each with a barrier after every entry, in the order of `picks`. Returns for each record how many
/// barriers were complete before it, and the completed ids.
fn epochs(inputs: &[Vec<u8>], picks: &[usize]) -> (Vec<Vec<u64>>, Vec<u64>) {
    let mut aligner = BarrierAligner::new(inputs.len());
    // What is left of each input: how many records come before each barrier.
    let mut queues: Vec<std::collections::VecDeque<Option<u64>>> = inputs
        .iter()
        .map(|counts| {
            let epoch = |(index, count): (usize, &u8)| {
                let barrier = Some(index as u64 + 1);
                std::iter::repeat_n(None, usize::from(*count)).chain([barrier]).collect::<Vec<_>>()
            };
            counts.iter().enumerate().flat_map(epoch).collect()
        })
        .collect();
    let (mut seen, mut completed) = (vec![Vec::new(); inputs.len()], Vec::new());
    let mut ended = vec![false; inputs.len()];
    let mut picks = picks.iter().cycle();
    while ended.iter().any(|ended| !ended) {
        let open: Vec<usize> =
            (0..inputs.len()).filter(|input| !ended[*input] && !aligner.is_blocked(*input)).collect();
        let input = open[picks.next().expect("picks are not empty") % open.len()];
        let alignment = match queues[input].pop_front() {
            Some(None) => {
                seen[input].push(completed.len() as u64);
                Alignment::Pending
            }
            Some(Some(barrier)) => aligner.on_barrier(input, checkpoint(barrier)).expect("in order"),
            None => {
                ended[input] = true;
                Alignment::Pending
            }
        };
        aligner.check_invariants();
        if let Alignment::Complete(id) = alignment {
            completed.push(id.0);
        }
    }
    (seen, completed)
}

proptest! {
    #[test]
    fn every_interleaving_splits_records_into_the_same_epochs(
        barriers in 1usize..5,
        counts in prop::collection::vec(prop::collection::vec(0u8..4, 6), 1..4),
        picks in prop::collection::vec(0usize..100, 1..40),
    ) {
        let inputs: Vec<Vec<u8>> = counts.into_iter().map(|counts| counts[..=barriers].to_vec()).collect();
        let (seen, completed) = epochs(&inputs, &picks);
        prop_assert_eq!(completed, (1..=barriers as u64 + 1).collect::<Vec<_>>());
        for (counts, seen) in inputs.iter().zip(seen) {
            let expected: Vec<u64> = counts.iter().zip(0u64..).flat_map(|(count, epoch)| std::iter::repeat_n(epoch, usize::from(*count))).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn no_id_completes_twice_nor_after_its_abort(
        steps in prop::collection::vec((0usize..3, 1u64..8, 0u8..8), 1..80),
    ) {
        let mut aligner = BarrierAligner::new(3);
        let mut last = [0u64; 3];
        let (mut completed, mut aborted) = (Vec::new(), 0);
        for (input, step, kind) in steps {
            let alignment = match kind {
                0 => { aligner.on_abort(checkpoint(step)); aborted = aborted.max(step); Alignment::Pending }
                _ if aligner.is_blocked(input) => continue,
                _ => {
                    last[input] += step;
                    aligner.on_barrier(input, checkpoint(last[input])).expect("ids grow")
                }
            };
            aligner.check_invariants();
            if let Alignment::Complete(id) = alignment {
                prop_assert!(id.0 > aborted);
                prop_assert!(completed.last().is_none_or(|newest| *newest < id.0));
                completed.push(id.0);
            }
        }
    }
}
