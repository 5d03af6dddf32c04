//! What the state of an operator means, as a number: its identity, by which a later attempt finds the state again.
//!
//! ```text
//! JobGraph --Identities::of--> an identity per operator --> manifests, names of ingest logs and of sinks' files
//! ```
//!
//! An identity says what the state means, not where the operator stands. Another query in the script, a filter below,
//! or a column that somebody else reads changes none; another key, aggregate, window or input does.
//!
//! # The rule
//!
//! An identity is the xxh3-64 (seed 0) of a sequence of parts. A *number* is 8 bytes, little-endian (two's complement,
//! if negative). A *word* is the number of its bytes and these bytes of UTF-8. A *list* is the number of its items, and
//! these. A *hash* is the number that the xxh3-64 of other parts is. `[x]` is an option: the number 0, or 1 and x. The
//! parts are: the word `thalweg-state-1`, the word of the kind (`StateForm::kind`), those below, and the number of
//! operators before this one in the graph that have the same parts so far.
//!
//! | kind | parts |
//! |---|---|
//! | `source` | words: table, connector; of rows that stand in the script, also the word of these (`VALUES_ROWS`) |
//! | `sink` | words: table, connector; of one that keeps its newest rows by key, also the list of numbers of the key's columns, and the list of types of port 0 |
//! | `enumerate` | word: table |
//! | `window_aggregate` | word of the phase (`single`, `local`, `global`); windows; list of *places* of the keys; list of *shapes* of the aggregates; numbers 0 or 1 for each of the window's start, end and time that is emitted; list of the types of places; hash of port 0 |
//! | `window_join` | lists of numbers of columns: start and end of the left window, then of the right one; the left keys; the right keys; list of types and hash of port 0, and of port 1 |
//! | `window_top_n` | lists of numbers of columns: the window's start and end; the partition; order; number of rows; 0 or 1: the row number is emitted; list of types and hash of port 0 |
//! | `sort` | order; offset; [limit]; list of types and hash of port 0 |
//! | `limit` | offset; [limit]; hash of port 0, of no column |
//! | `collect` | list of types and hash of port 0 |
//! | `calc` | [shape of the filter]; [list of shapes of the projection]; list of types and hash of port 0 |
//! | `window_assign` | word of the window and its numbers; place of the time; list of types and hash of port 0 |
//!
//! - *Windows*: the word `event time`, the window, and the place of the time; or the word `attached` and the places of
//!   start and end. A *window*: the word `tumble` and size, offset; `hop` and size, slide, offset; `cumulate` and size,
//!   step, offset; `session` and gap: numbers of microseconds.
//! - *Order*: a list; of each column its number and 0 or 1 twice: largest first, NULLs first.
//! - *Place*: columns of an input are numbered in the order in which the parts first mention them, from 0. Where rows are
//!   kept whole (`window_join`, `window_top_n`, `sort`, `collect`), and for `calc` and `window_assign`, all columns are
//!   mentioned first, in order, so that a place is the column's index. *Types* are words (`type_text`) in the order of
//!   places. The aggregates of the `global` phase name columns of the local phase's input: they are numbered apart, and
//!   their types are a list behind the others.
//! - *Shape* of an expression: its nodes, in the encoding of `thalweg-expr`, as a word of JSON without spaces, the
//!   members of objects in the order of their names, with `{"column":PLACE}` for each column. So neither names of columns
//!   nor the encoding's format number count. Bytes that are no such expression are the word `opaque`, a word of these bytes
//!   in base 16, and mention all columns of their input.
//!
//! The hash of a port is that of its sender; of several senders (`UNION ALL`) that of the word `union` and the list of
//! theirs, in ascending order. The hash of a sender says what rows come, by the mentioned columns only, in the order of
//! places:
//!
//! - a source: the word `source`, its identity, and a list of the shapes of the columns, with `{"column":NAME}` for the
//!   table's columns, and `{"column":{"metadata":KEY}}` for those of the connector's metadata, whatever the table calls
//!   them;
//! - a `calc` is passed through: if it only passes columns, each once, the hash of its port, by the columns that these
//!   are. Else the word `calc`, the list of the shapes of the columns, and the hash of its port, by the columns that the
//!   shapes mention. Its filter does not count;
//! - a `window_assign` is passed through: if no column of a window is mentioned, the hash of its port. Else the word
//!   `window_assign`, its window, a list of the columns, each the word `column` and its place or the word `window` and
//!   0, 1 or 2 for start, end and time, and the hash of its port. The time is mentioned first;
//! - any other: the word `output`, its identity, and a list of the columns' numbers. So is a stateless one that
//!   `PASSED_MAX` others come before without a state between.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::meaning::Meanings;
use super::{Distribution, JobGraph, Parallelism};
use crate::id::OperatorId;

mod meaning;
mod parts;
mod shape;
#[cfg(test)]
mod tests;
mod type_text;

pub use type_text::type_text;

use parts::Parts;
#[cfg(test)]
pub(crate) use shape::as_column;

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAHash;

            fn from_str(text: &str) -> Result<Self, NotAHash> {
                let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let is_fit = text.len() == 16 && text.bytes().all(is_digit);
                let number = u64::from_str_radix(text, 16).ok().filter(|_| is_fit);
                number.map(Self).ok_or(NotAHash)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

hash_id!(
    /// What the state of an operator means. Written as 16 hexadecimal digits; unique within a graph.
    OperatorIdentity
);
hash_id!(
    /// Of which operators and edges a graph consists. Written as 16 hexadecimal digits.
    GraphFingerprint
);

/// A text is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 hexadecimal digits")]
pub struct NotAHash;

/// How many stateless operators, one behind the other, are passed through. No planner makes as many.
const PASSED_MAX: u32 = 128;

/// The identities of a graph's operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    /// By operator.
    identities: Vec<OperatorIdentity>,
    fingerprint: GraphFingerprint,
}

impl Identities {
    /// The identities of a graph. It must have passed `JobGraph::check`.
    #[must_use]
    pub fn of(graph: &JobGraph) -> Self {
        let mut meanings = Meanings::new(graph);
        let mut equal: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for operator in &graph.operators {
            let mut parts = meanings.of(operator);
            let before = equal.entry(parts.bytes().to_vec()).or_insert(0);
            parts.number(*before);
            *before += 1;
            meanings.know(OperatorIdentity(parts.hash()));
        }
        let identities = meanings.into_identities();
        let fingerprint = fingerprint(graph, &identities);
        Self { identities, fingerprint }
    }

    /// The identity of an operator of the graph.
    #[must_use]
    pub fn get(&self, operator: OperatorId) -> OperatorIdentity {
        self.identities[operator.0 as usize]
    }

    /// The identities with the operators that have them.
    pub fn iter(&self) -> impl Iterator<Item = (OperatorId, OperatorIdentity)> + '_ {
        (0..).map(OperatorId).zip(self.identities.iter().copied())
    }

    /// The xxh3-64 of the word `thalweg-graph-1`; the number of key groups; a list of the operators: identity, word of the
    /// kind, 0 or 1 for `Parallelism::One` or `Job`, and a list of the output's columns, each a word of its name, one of
    /// its type, and 0 or 1: it may be NULL; and a list of the edges, in the graph's order: numbers of sender, receiver and
    /// port, and the word `forward`, `hash` with a list of numbers, `rebalance`, `gather` or `assigned`.
    #[must_use]
    pub fn fingerprint(&self) -> GraphFingerprint {
        self.fingerprint
    }
}

fn fingerprint(graph: &JobGraph, identities: &[OperatorIdentity]) -> GraphFingerprint {
    let mut parts = Parts::default();
    parts.word("thalweg-graph-1");
    parts.number(graph.key_groups.into());
    parts.list(graph.operators.iter().zip(identities), |parts, (operator, identity)| {
        parts.number(identity.0);
        parts.word(operator.kind.state_form().kind);
        parts.flag(operator.parallelism == Parallelism::Job);
        parts.list(operator.output.fields(), |parts, field| {
            parts.word(field.name());
            parts.word(&type_text(field.data_type()));
            parts.flag(field.is_nullable());
        });
    });
    parts.list(&graph.edges, |parts, edge| {
        parts.number(edge.from.0.into());
        parts.number(edge.to.0.into());
        parts.number(edge.port.into());
        match &edge.distribution {
            Distribution::Forward => parts.word("forward"),
            Distribution::Hash { keys } => {
                parts.word("hash");
                parts.indexes(keys);
            }
            Distribution::Rebalance => parts.word("rebalance"),
            Distribution::Gather => parts.word("gather"),
            Distribution::Assigned => parts.word("assigned"),
        }
    });
    GraphFingerprint(parts.hash())
}
