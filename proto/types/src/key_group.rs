//! Key groups: fixed slices of the key hash space, the unit of state ownership and of rescaling.
//!
//! A key's group depends on the key and on the job's number of groups only, never on the parallelism. Which subtask
//! owns a group is an explicit table of the attempt.

use serde::{Deserialize, Serialize};

/// One slice of the key hash space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyGroup(pub u16);

/// The default number of key groups of a job.
pub const DEFAULT_KEY_GROUPS: u16 = 256;

impl KeyGroup {
    /// The group of a key by its routing hash: the hash's top bits. `groups` is a power of two of at most 32768.
    #[must_use]
    pub fn of_hash(hash: u64, groups: u16) -> Self {
        debug_assert!(groups.is_power_of_two());
        let bits = groups.trailing_zeros();
        if bits == 0 {
            return Self(0);
        }
        let group = hash >> (64 - bits);
        Self(u16::try_from(group).expect("the top bits fit the number of groups"))
    }
}

/// Which slice (subtask index) of a job owns each key group, for one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyGroupTable {
    /// The owning slice, indexed by key group.
    owners: Vec<u32>,
}

impl KeyGroupTable {
    /// A table from the owner of each group, in the order of the groups.
    #[must_use]
    pub fn new(owners: Vec<u32>) -> Self {
        Self { owners }
    }

    /// Contiguous ranges of groups for `parallelism` slices, as even as possible.
    #[must_use]
    pub fn even(groups: u16, parallelism: u32) -> Self {
        let owner = |group: u16| {
            let owner = u64::from(group) * u64::from(parallelism) / u64::from(groups);
            u32::try_from(owner).expect("below the parallelism")
        };
        Self { owners: (0..groups).map(owner).collect() }
    }

    /// The number of groups.
    #[must_use]
    pub fn groups(&self) -> u16 {
        u16::try_from(self.owners.len()).expect("at most 32768 groups")
    }

    /// The owner of a group. The group must be below `groups()`.
    #[must_use]
    pub fn owner(&self, group: KeyGroup) -> u32 {
        self.owners[usize::from(group.0)]
    }

    /// The owner of each group, in the order of the groups.
    #[must_use]
    pub fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// The groups that a slice owns, ascending.
    pub fn owned_by(&self, slice: u32) -> impl Iterator<Item = KeyGroup> + '_ {
        self.owners.iter().zip(0u16..).filter(move |(owner, _)| **owner == slice).map(|(_, group)| KeyGroup(group))
    }
}

#[cfg(test)]
mod tests;
