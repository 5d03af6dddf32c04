//! Which pieces of a table its enumerator has found: for ever, so that none is read twice.
//!
//! A piece is known by the 128-bit xxh3 of its name, 16 bytes whatever the name's length. Its end is known by another, where
//! pieces follow one another. The hashes are state like that of
//! an operator: batches that never change. A checkpoint uploads those that are new, and refers to all others again; small
//! batches become larger ones, each hash a few times. So a checkpoint costs what is new, however much there was before.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use thalweg_connectors::Listing;
use thalweg_keyed_state::{FrozenState, StateBatch};
use thalweg_types::KeyGroup;
use xxhash_rust::xxh3::xxh3_128;

/// The table of hashes.
const PIECES: &str = "pieces";
/// The value that says how many splits have been assigned.
const ASSIGNED: &str = "assigned";
/// The value that says that the first listing is known. Checkpoints of releases that had no need of it lack it.
const LISTED: &str = "listed";
/// What stands before the name of a piece in what is hashed for its end. No piece's name begins with it.
const END: &str = "\0end ";
const HASH_BYTES: i32 = 16;
/// Batches that exceed this together stay apart, as a segment of a state file is not larger.
const MERGED_BYTES_MAX: usize = 1 << 20;
/// What a hash takes in the set, with the room that the set keeps free, and in its batch.
const ENTRY_BYTES: usize = 48;

/// What an enumerator remembers.
#[derive(Debug, Default)]
pub(crate) struct KnownPieces {
    hashes: HashSet<u128>,
    /// Those that a checkpoint has been handed.
    batches: Vec<StateBatch>,
    new: Vec<u128>,
    /// How many splits have been assigned: the next one goes to the next subtask.
    assigned: u64,
    /// Whether all that the first listing found is known.
    is_listed: bool,
}

impl KnownPieces {
    /// Goes on from frozen states.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub(crate) fn restored(states: &[FrozenState]) -> Result<Self, String> {
        let mut known = Self::default();
        for state in states {
            for batch in state.table(PIECES) {
                let column = batch.rows.columns().first().and_then(|column| column.as_fixed_size_binary_opt());
                let column = column.ok_or("its rows are no hashes")?;
                for row in 0..column.len() {
                    let bytes = column.value(row).try_into().map_err(|_| "a hash has another length")?;
                    known.hashes.insert(u128::from_be_bytes(bytes));
                }
                known.batches.push(batch.clone());
            }
            let assigned = state.values.get(ASSIGNED).and_then(|assigned| u64::try_from(*assigned).ok());
            known.assigned = known.assigned.max(assigned.unwrap_or(0));
            known.is_listed |= state.values.contains_key(LISTED);
        }
        Ok(known)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.hashes.contains(&xxh3_128(name.as_bytes()))
    }

    /// Returns whether the name was not known.
    pub(crate) fn insert(&mut self, name: &str) -> bool {
        let hash = xxh3_128(name.as_bytes());
        let is_new = self.hashes.insert(hash);
        if is_new {
            self.new.push(hash);
        }
        is_new
    }

    /// Whether the end of a piece is known.
    pub(crate) fn has_ended(&self, name: &str) -> bool {
        self.contains(&format!("{END}{name}"))
    }

    /// A piece was read to its end. Returns whether that was not known.
    pub(crate) fn set_ended(&mut self, name: &str) -> bool {
        self.insert(&format!("{END}{name}"))
    }

    /// The listing that is next.
    pub(crate) fn listing(&self) -> Listing {
        if self.is_listed { Listing::Later } else { Listing::First }
    }

    /// All that the first listing found is known.
    pub(crate) fn set_listed(&mut self) {
        self.is_listed = true;
    }

    /// The subtask of the next split: each in turn, over all listings, so that single files are spread, too.
    pub(crate) fn next_subtask(&mut self, subtasks: u32) -> u32 {
        let turn = self.assigned % u64::from(subtasks.max(1));
        self.assigned += 1;
        u32::try_from(turn).expect("it is less than the number of subtasks")
    }

    pub(crate) fn state_bytes(&self) -> usize {
        self.hashes.len() * ENTRY_BYTES
    }

    /// What is known now.
    ///
    /// # Errors
    /// Arrow cannot make the batches.
    pub(crate) fn freeze(&mut self) -> Result<FrozenState, ArrowError> {
        if !self.new.is_empty() {
            let new = std::mem::take(&mut self.new);
            let hashes = FixedSizeBinaryArray::try_from_iter(new.iter().map(|hash| hash.to_be_bytes()))?;
            let column: ArrayRef = Arc::new(hashes);
            self.batches.push(remade(RecordBatch::try_new(schema(), vec![column])?));
            while StateBatch::shorten(&mut self.batches, MERGED_BYTES_MAX, remade)?.is_some() {}
        }
        let mut state = FrozenState::default();
        state.extend(PIECES, self.batches.iter().cloned());
        // There is always a value: without it, an enumerator that knows nothing yet could not be told from none.
        state.values.insert(ASSIGNED.to_owned(), i64::try_from(self.assigned).unwrap_or(i64::MAX));
        if self.is_listed {
            state.values.insert(LISTED.to_owned(), 1);
        }
        Ok(state)
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("hash", DataType::FixedSizeBinary(HASH_BYTES), false)]))
}

/// A batch of an operator with one subtask, whatever the key group.
fn remade(rows: RecordBatch) -> StateBatch {
    let count = rows.num_rows();
    StateBatch::lazy(rows, move || vec![KeyGroup(0); count].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(state: &FrozenState) -> Vec<usize> {
        state.table(PIECES).iter().map(|batch| batch.rows.num_rows()).collect()
    }

    #[test]
    fn a_checkpoint_hands_over_what_is_new_and_the_rest_again() {
        let mut known = KnownPieces::default();
        assert!(sizes(&known.freeze().unwrap()).is_empty());
        (0..20_000).for_each(|number| _ = known.insert(&format!("file-{number}")));
        let before = known.freeze().unwrap();
        (20_000..20_300).for_each(|number| _ = known.insert(&format!("file-{number}")));
        known.insert("file-7");
        let after = known.freeze().unwrap();
        assert_eq!(sizes(&after), [20_000, 300]);
        assert!(after.table(PIECES)[0].is_same(&before.table(PIECES)[0]), "nothing of it is uploaded again");
        let again = known.freeze().unwrap();
        assert!(again.table(PIECES).iter().zip(after.table(PIECES)).all(|(one, other)| one.is_same(other)));
    }

    #[test]
    fn what_was_known_is_known_again() {
        let mut known = KnownPieces::default();
        let mut turns = Vec::new();
        for number in 0..1000 {
            known.insert(&format!("file-{number}"));
            turns.push(known.next_subtask(3));
            known.freeze().unwrap();
        }
        let frozen = known.freeze().unwrap();
        assert!(frozen.table(PIECES).len() < 30, "single files do not take a batch each");
        let mut restored = KnownPieces::restored(&[frozen]).unwrap();
        assert!((0..1000).all(|number| restored.contains(&format!("file-{number}"))));
        assert!(!restored.contains("file-1000"));
        assert_eq!((turns[0], turns[1], turns[2], turns[3]), (0, 1, 2, 0));
        assert_eq!(restored.next_subtask(3), 1, "the turns go on");
    }

    /// A release before has written no more than how many splits were assigned.
    #[test]
    fn the_first_listing_is_known_once_it_was_said_to_be() {
        let mut known = KnownPieces::default();
        let before = known.freeze().unwrap();
        assert_eq!(before.values.keys().collect::<Vec<_>>(), [ASSIGNED]);
        known.set_listed();
        let after = known.freeze().unwrap();
        let listing = |state| KnownPieces::restored(&[state]).unwrap().listing();
        assert_eq!((listing(before), listing(after)), (Listing::First, Listing::Later));
    }

    #[test]
    fn state_of_another_form_is_refused() {
        let column: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("hash", column)]).unwrap();
        let mut state = FrozenState::default();
        state.extend(PIECES, [remade(rows)]);
        assert!(KnownPieces::restored(&[state]).is_err());
    }
}
