//! Shards and places in them.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::HashKeyRange;

/// The most digits of a sequence number, by Kinesis' own reference.
const DIGITS_MAX: usize = 129;

/// The id of a shard, such as `shardId-000000000000`. Ids of one stream sort by when their shards came to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub Arc<str>);

impl ShardId {
    /// As Kinesis writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a shard: a whole number of up to 129 digits, which grows along it. Those of one stream can be compared, and a child's are
/// greater than all of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

/// What is no sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{given}' is no sequence number: it needs 1 to {DIGITS_MAX} digits, the first no 0")]
pub struct NotASequenceNumber {
    /// What was given, the beginning of it.
    pub given: String,
}

impl SequenceNumber {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SequenceNumber {
    type Err = NotASequenceNumber;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let all_digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
        let is_canonical = given == "0" || !given.starts_with('0');
        if all_digits && is_canonical && given.len() <= DIGITS_MAX {
            return Ok(Self(given.into()));
        }
        Err(NotASequenceNumber { given: given.chars().take(DIGITS_MAX + 1).collect() })
    }
}

impl From<u128> for SequenceNumber {
    fn from(number: u128) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By number: without leading zeros, more digits are more.
impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &*self.0).cmp(&(other.0.len(), &*other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The sequence numbers of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceNumberRange {
    /// All records have this one or a greater one.
    pub start: SequenceNumber,
    /// No record has a greater one; `None`: the shard is open.
    pub end: Option<SequenceNumber>,
}

/// A shard that Kinesis knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// What was split into it, or merged with another; `None`: the shard came with the stream. The parent may not be known any more.
    pub parent: Option<ShardId>,
    /// The other one that was merged.
    pub adjacent_parent: Option<ShardId>,
    /// The records that it gets, or got.
    pub hash_keys: HashKeyRange,
    /// Where it begins and ends.
    pub sequence_numbers: SequenceNumberRange,
}

impl Shard {
    /// Both parents, of those that it has.
    pub fn parents(&self) -> impl Iterator<Item = &ShardId> {
        self.parent.iter().chain(&self.adjacent_parent)
    }

    /// Whether it takes records.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sequence_numbers.end.is_none()
    }
}

/// A shard that goes on where its parents have ended, as their end tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildShard {
    /// Its id.
    pub id: ShardId,
    /// One parent after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// The records that it gets.
    pub hash_keys: HashKeyRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(digits: &str) -> SequenceNumber {
        digits.parse().expect("digits")
    }

    #[test]
    fn sequence_numbers_compare_as_numbers() {
        let mut sorted = ["100", "20", "3", "0", "21"].map(number);
        sorted.sort();
        assert_eq!(sorted.map(|number| number.to_string()), ["0", "3", "20", "21", "100"]);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for given in ["", "01", "-1", "1a", " 1", "1.0", &"9".repeat(130)] {
            assert!(given.parse::<SequenceNumber>().is_err(), "{given}");
        }
        assert!("9".repeat(129).parse::<SequenceNumber>().is_ok());
    }
}
