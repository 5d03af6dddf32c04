//! Identifiers. Each is a newtype, so that one can never stand where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

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
    /// A worker node, as it names itself in its configuration or is named by its coordinator.
    NodeId, u64, "node-"
);
number_id!(
    /// One life of a node process. A newer incarnation makes the older one lost at once.
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
    /// Raft's own term.
    Term, u64, "term-"
);
number_id!(
    /// A vertex of the job graph: its index there.
    OperatorId, u32, "op-"
);
number_id!(
    /// Operators fused into one actor: the index in the job's `ChainPlan`.
    ChainId, u32, "chain-"
);
number_id!(
    /// The number of one checkpoint of one job, from 1, never reused.
    CheckpointId, u64, "checkpoint-"
);

impl CheckpointId {
    /// Stands for the end of a job, which comes after all of its checkpoints.
    pub const FINAL: Self = Self(u64::MAX);
}

/// One parallel instance of a chain: one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The chain.
    pub chain: ChainId,
    /// The slice of the job it is, from 0.
    pub index: u32,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chain, self.index)
    }
}

/// Names one request of one client, so that a repeated one is answered and not executed again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The random name of a cluster, drawn once; the first part of every object name that the cluster writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
