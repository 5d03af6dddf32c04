//! Deals the splits of a source to its subtasks.
//!
//! Splits are dealt round-robin in the order of their discovery. So neighbours in a sequence go to different subtasks,
//! all subtasks read the same region of the input together, and event time advances evenly.

use thalweg_types::{OperatorId, checkpoint::SplitProgress, session::SplitAssignment};

/// Deals splits round-robin over `subtasks` subtasks. The result has an entry for each, even if it gets no split.
#[must_use]
pub fn deal_splits(source: OperatorId, splits: &[SplitProgress], subtasks: u32) -> Vec<SplitAssignment> {
    let mut hands: Vec<SplitAssignment> =
        (0..subtasks).map(|subtask| SplitAssignment { source, subtask, splits: Vec::new() }).collect();
    for (index, split) in splits.iter().enumerate() {
        let turn = index % hands.len().max(1);
        if let Some(hand) = hands.get_mut(turn) {
            hand.splits.push(split.clone());
        }
    }
    hands
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use thalweg_types::{Split, SplitId};

    use super::*;

    fn splits(count: u32) -> Vec<SplitProgress> {
        let split = |ordinal| Split {
            id: SplitId(format!("file-{ordinal}")),
            sequence: "file".to_owned(),
            ordinal,
            payload: serde_json::Value::Null,
        };
        (0..count).map(split).map(SplitProgress::unread).collect()
    }

    proptest! {
        #[test]
        fn every_split_goes_to_one_subtask_in_order_and_neighbours_to_different_ones(
            count in 0..50u32, subtasks in 1..9u32,
        ) {
            let all = splits(count);
            let hands = deal_splits(OperatorId(0), &all, subtasks);
            prop_assert_eq!(hands.len(), subtasks as usize);
            let mut dealt: Vec<(u32, u32)> = Vec::new();
            for hand in &hands {
                prop_assert!(hand.splits.is_sorted_by_key(|progress| progress.split.ordinal));
                dealt.extend(hand.splits.iter().map(|progress| (progress.split.ordinal, hand.subtask)));
            }
            dealt.sort_unstable();
            let expected: Vec<(u32, u32)> = (0..count).map(|ordinal| (ordinal, ordinal % subtasks)).collect();
            prop_assert_eq!(dealt, expected);
        }
    }
}
