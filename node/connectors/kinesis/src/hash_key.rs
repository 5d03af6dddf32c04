//! How Kinesis finds the shard of a record: the MD5 of its partition key, a number of 128 bits, falls in one open shard's range.

use std::fmt;

use md5::{Digest as _, Md5};

/// The hash key of a partition key.
#[must_use]
pub fn hash_key_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The hash keys of one shard; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKeyRange {
    /// The first.
    pub first: u128,
    /// The last.
    pub last: u128,
}

impl HashKeyRange {
    /// All hash keys.
    pub const ALL: Self = Self { first: 0, last: u128::MAX };

    /// Whether a record of this hash key belongs to the shard.
    #[must_use]
    pub fn contains(&self, hash_key: u128) -> bool {
        (self.first..=self.last).contains(&hash_key)
    }
}

impl fmt::Display for HashKeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MD5 of "a" by RFC 1321, section A.5, and that of nothing.
    #[test]
    fn hash_keys_are_md5_as_a_number() {
        assert_eq!(hash_key_of("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(hash_key_of(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let range = HashKeyRange { first: 5, last: 7 };
        assert_eq!([4, 5, 7, 8].map(|key| range.contains(key)), [false, true, true, false]);
        assert!(HashKeyRange::ALL.contains(u128::MAX));
    }
}
