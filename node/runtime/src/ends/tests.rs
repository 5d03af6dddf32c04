use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_types::{
    Attempt, ChainId, CheckpointId, ClusterId, JobId, KeyGroupTable, Split, SubtaskId, Watermark,
    checkpoint::{MANIFEST_FORMAT, RecordCounts, SnapshotCost, SourceSnapshot, SubtaskSnapshot},
};

use super::*;

fn piece(name: &str, after: &[&str]) -> Piece {
    Piece { name: name.to_owned(), bytes: 0, after: after.iter().map(|name| (*name).to_owned()).collect() }
}

fn progress(name: &str, state: SplitState) -> SplitProgress {
    let split =
        Split { id: SplitId(name.to_owned()), sequence: name.to_owned(), ordinal: 0, payload: serde_json::Value::Null };
    SplitProgress { state, ..SplitProgress::unread(split) }
}

fn names(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|piece| piece.name.as_str()).collect()
}

#[test]
fn a_piece_waits_for_what_is_listed_or_assigned_and_has_not_ended() {
    let (mut ends, mut known) = (Ends::default(), KnownPieces::default());
    let listed = [piece("a", &["gone"]), piece("b", &["a"]), piece("c", &["a", "x"])];
    assert_eq!(
        names(&ends.ready(&listed, &known)),
        ["a"],
        "what is not listed and was never assigned is not waited for"
    );
    assert!(ends.is_awaited());
    known.insert("a");
    // It is not listed any more, but its reader is still at it.
    assert!(ends.ready(&listed[1..], &known).is_empty());
    known.set_ended("a");
    assert_eq!(names(&ends.ready(&listed, &known)), ["b", "c"]);
    assert!(!ends.is_awaited());
}

#[test]
fn an_end_is_held_until_all_that_follows_is_known() {
    let (mut ends, mut known) = (Ends::default(), KnownPieces::default());
    assert!(ends.take(3, &progress("a", SplitState::Finished), &mut known), "it is new");
    assert!(!ends.take(3, &progress("a", SplitState::Finished), &mut known));
    let only = [piece("a", &[])];
    assert!(ends.settled(&only, &known).is_empty(), "what follows may not be listed yet");
    let listed = [piece("a", &[]), piece("b", &["a"]), piece("c", &["a"])];
    known.insert("b");
    assert!(ends.settled(&listed, &known).is_empty());
    known.insert("c");
    let settled: Vec<(u32, String)> =
        ends.settled(&listed, &known).into_iter().map(|(subtask, progress)| (subtask, progress.split.id.0)).collect();
    assert_eq!(settled, [(3, "a".to_owned())]);
    assert!(ends.settled(&listed, &known).is_empty(), "once");
    ends.take(3, &progress("z", SplitState::Finished), &mut known);
    assert_eq!(ends.settled(&listed, &known).len(), 1, "a piece that is gone has nothing that follows");
}

fn ended_at(name: &str, watermark: i64) -> SplitProgress {
    SplitProgress { watermark: Watermark(watermark), ..progress(name, SplitState::Finished) }
}

#[test]
fn what_follows_goes_to_the_end_with_the_lowest_watermark() {
    let (mut ends, mut known) = (Ends::default(), KnownPieces::default());
    let merged = piece("c", &["a", "b"]);
    assert_eq!(ends.place(&merged), None);
    for (subtask, end) in [(5, ended_at("a", 30)), (2, ended_at("b", 20)), (7, ended_at("z", 10))] {
        ends.take(subtask, &end, &mut known);
    }
    assert_eq!(ends.place(&merged), Some(2));
    assert_eq!(ends.place(&piece("d", &["a", "gone"])), Some(5));
    assert_eq!(ends.place(&piece("e", &[])), None, "it follows nothing");
}

fn manifest(subtask: u32, splits: Vec<SplitProgress>) -> Manifest {
    let snapshot = SubtaskSnapshot {
        subtask: SubtaskId { chain: ChainId(0), index: subtask },
        is_finished: false,
        operators: Vec::new(),
        source: Some(SourceSnapshot { source: OperatorId(0), splits }),
        in_flight: Vec::new(),
        objects: Vec::new(),
        counts: RecordCounts::default(),
        prepared: Vec::new(),
        cost: SnapshotCost::default(),
    };
    Manifest {
        format: MANIFEST_FORMAT,
        cluster: ClusterId("c".to_owned()),
        job: JobId(1),
        attempt: Attempt(2),
        checkpoint: CheckpointId(3),
        key_groups: KeyGroupTable::even(16, 1),
        parallelism: 1,
        graph: None,
        subtasks: vec![snapshot],
    }
}

#[test]
fn a_restored_attempt_learns_where_ends_are_before_anything_follows_them() {
    let mut known = KnownPieces::default();
    known.insert("a");
    known.set_ended("a");
    let mut ends = Ends::new(true);
    let listed = [piece("a", &[]), piece("b", &["a"]), piece("new", &[])];
    assert_eq!(names(&ends.ready(&listed, &known)), ["new"]);
    assert!(ends.is_awaited());
    let end = progress("a", SplitState::Finished);
    assert!(ends.learn(OperatorId(0), &manifest(3, vec![end]), &mut known), "it tells, though no end is new");
    assert_eq!(names(&ends.ready(&listed, &known)), ["b", "new"]);
    assert_eq!(ends.place(&listed[1]), Some(3));
}

proptest! {
    /// Whatever is split and merged, and however ends and listings interleave: nothing is assigned before the ends of what is
    /// before it, everything is in the end, and each end is let go of.
    #[test]
    fn every_piece_is_assigned_once_and_after_those_before_it(
        parents in proptest::collection::vec(proptest::collection::vec(0usize..20, 0..3), 1..20),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let name = |index: usize| format!("shard-{index}");
        let pieces: Vec<Piece> = parents.iter().enumerate().map(|(index, before)| {
            let before: BTreeSet<usize> = before.iter().copied().filter(|before| *before < index).collect();
            Piece { name: name(index), bytes: 0, after: before.into_iter().map(name).collect() }
        }).collect();
        let (mut ends, mut known) = (Ends::default(), KnownPieces::default());
        let mut reading: Vec<String> = Vec::new();
        let mut ended: BTreeMap<String, bool> = BTreeMap::new();
        for choice in order {
            for piece in ends.ready(&pieces, &known) {
                prop_assert!(piece.after.iter().all(|before| ended.contains_key(before)), "{} is early", piece.name);
                prop_assert!(known.insert(&piece.name));
                reading.push(piece.name);
            }
            for (_, progress) in ends.settled(&pieces, &known) {
                prop_assert_eq!(ended.insert(progress.split.id.0.clone(), true), Some(false));
            }
            if reading.is_empty() {
                break;
            }
            let over = reading.swap_remove(choice.index(reading.len()));
            ends.take(0, &progress(&over, SplitState::Finished), &mut known);
            ended.insert(over, false);
        }
        prop_assert_eq!(ended.len(), pieces.len());
        prop_assert!(!ends.is_awaited());
        for piece in &pieces {
            let has_followers = pieces.iter().any(|next| next.after.contains(&piece.name));
            prop_assert!(!has_followers || ended[&piece.name], "{} is held", piece.name);
        }
    }
}
