//! Identifiers. Each is a newtype, so that the compiler tells them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        number_id!($(#[$doc])* $name, $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
    // One that is shown in a way of its own.
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number_id!(
    /// A submitted job; assigned by the replicated state machine, never reused.
    JobId, u64, "job-"
);
number_id!(
    /// A worker node. Its configuration, or else the coordinator, gives the id.
    NodeId, u64, "node-"
);
number_id!(
    /// One run of a node's process. A newer incarnation makes the older one lost at once.
    Incarnation, u64, "i"
);
number_id!(
    /// A coordinator: the member's id in the Raft group, bound to its data directory.
    MemberId, u64, "member-"
);
number_id!(
    /// The n-th deployment of a job, from 1: the fencing token of every order, acknowledgement and frame.
    Attempt, u32, "attempt-"
);
number_id!(
    /// Raft's leader term.
    Term, u64, "term-"
);
number_id!(
    /// A vertex of the job graph, by its index there.
    OperatorId, u32, "op-"
);
number_id!(
    /// Operators fused into one actor, by the index in the job's `ChainPlan`.
    ChainId, u32, "chain-"
);
number_id!(
    /// The number of one checkpoint of one job, from 1, never reused.
    CheckpointId, u64
);

impl CheckpointId {
    /// The end of a job, after all of its checkpoints.
    pub const FINAL: Self = Self(u64::MAX);
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FINAL => f.write_str("the end"),
            Self(number) => write!(f, "checkpoint-{number}"),
        }
    }
}

/// One parallel instance of a chain: one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The chain.
    pub chain: ChainId,
    /// The job's slice that it belongs to, from 0.
    pub index: u32,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chain, self.index)
    }
}

/// Identifies one request of one client: the cluster executes a repeated one once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The random name of a cluster, drawn once. The names of all objects that the cluster writes begin with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ids of lower-case letters and digits, up to this length, are parts of object names as they are. Random ids are such.
const PLAIN_ID_MAX: usize = 16;

impl ClusterId {
    /// The id as a part of object and file names: at most 33 characters of `a-z`, `0-9` and `_`. It has no `-`, which
    /// separates parts. Different ids have different parts (up to collisions of a 64-bit hash), also in file systems
    /// that ignore case.
    #[must_use]
    pub fn object_part(&self) -> String {
        let Self(id) = self;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !id.is_empty() && id.len() <= PLAIN_ID_MAX && id.bytes().all(is_plain) {
            return id.clone();
        }
        // FNV-1a with 64 bits, as many as a random id has.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        let lower = id.to_ascii_lowercase();
        let readable: String = lower.chars().filter(char::is_ascii_alphanumeric).take(PLAIN_ID_MAX).collect();
        format!("{readable}_{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clusters_have_different_parts_of_one_form() {
        let part = |id: &str| ClusterId(id.to_owned()).object_part();
        assert_eq!(part("00c0ffee00c0ffee"), "00c0ffee00c0ffee");
        let ids = [
            "c",
            "C",
            "c-1",
            "c1",
            "c/1",
            "",
            "-",
            "production-of-the-west-1",
            "production-of-the-west-2",
            "caf\u{e9}",
        ];
        let parts: BTreeSet<String> = ids.iter().map(|id| part(id)).collect();
        assert_eq!(parts.len(), ids.len(), "{parts:?}");
        let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= 33 && part.chars().all(is_fit)), "{parts:?}");
    }

    #[test]
    fn the_end_of_a_job_is_no_number() {
        assert_eq!([CheckpointId(7), CheckpointId::FINAL].map(|id| id.to_string()), ["checkpoint-7", "the end"]);
    }
}
