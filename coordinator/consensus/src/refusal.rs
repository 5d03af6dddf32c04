//! How the configuration of a member contradicts those of the other first members.

use thalweg_types::{ClusterId, MemberId};
use thiserror::Error;

/// Why a member cannot go on as configured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The lists of first members differ, so different groups would begin.
    #[error(
        "the lists of first members differ: this is {own} and was told {ours}; {other} at {address} was told {theirs}. \
         Give all of them the same list (--members)"
    )]
    OtherList {
        /// The member that asked.
        own: MemberId,
        /// The list of the one that asked.
        ours: String,
        /// The member that answered.
        other: MemberId,
        /// Where it answered.
        address: String,
        /// The list of the one that answered.
        theirs: String,
    },
    /// The other member is of another cluster: an address or a cluster's id is wrong.
    #[error("{other} at {address} is of cluster {theirs}, and this is {own} of cluster {ours}")]
    OtherCluster {
        /// The member that asked.
        own: MemberId,
        /// The cluster of the one that asked.
        ours: ClusterId,
        /// The member that answered.
        other: MemberId,
        /// Where it answered.
        address: String,
        /// The cluster of the one that answered.
        theirs: ClusterId,
    },
    /// Two listed addresses reach the same process.
    #[error("the same process answers for {one} and for {other} at {address}: each member needs an address of its own")]
    SameProcess {
        /// The member for which it answered first.
        one: MemberId,
        /// The member for which it answered as well.
        other: MemberId,
        /// Where it answered.
        address: String,
    },
    /// The process has another number than the one listed for its address.
    #[error("{address} stands in the list of first members for {listed}, and {answers} answers there")]
    OtherNumber {
        /// The number in the list.
        listed: MemberId,
        /// The number that the process has.
        answers: MemberId,
        /// Where it answered.
        address: String,
    },
}
