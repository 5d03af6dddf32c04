//! What the state of each kind of operator is called in manifests, and which versions of it there are.
//!
//! A version changes whenever a state that an older release wrote would be read wrongly: other tables or values, other
//! columns, or other meanings of the same. Then `written` grows, and `oldest` with it unless older states are still
//! read. A kind's name is persisted, and is part of identities: it never changes.

use super::OperatorKind;

/// The name and the versions of a kind's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateForm {
    /// The kind.
    pub kind: &'static str,
    /// The version that this release writes.
    pub written: u32,
    /// The oldest version that this release reads.
    pub oldest: u32,
}

impl StateForm {
    /// Whether this release reads a version.
    #[must_use]
    pub fn reads(&self, version: u32) -> bool {
        (self.oldest..=self.written).contains(&version)
    }
}

impl OperatorKind {
    /// The name and the versions of its state. Kinds without state of their own have them too: a later release may give
    /// them some.
    #[must_use]
    pub fn state_form(&self) -> StateForm {
        let first = |kind| StateForm { kind, written: 1, oldest: 1 };
        match self {
            Self::Enumerate(_) => first("enumerate"),
            Self::Source(_) => first("source"),
            Self::Calc(_) => first("calc"),
            Self::WindowAssign(_) => first("window_assign"),
            Self::WindowAggregate(_) => first("window_aggregate"),
            Self::WindowJoin(_) => first("window_join"),
            Self::WindowTopN(_) => first("window_top_n"),
            Self::Sort(_) => first("sort"),
            Self::Limit(_) => first("limit"),
            Self::Sink(_) => first("sink"),
            Self::Collect(_) => first("collect"),
        }
    }
}
