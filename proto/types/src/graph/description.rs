//! What the rest of the system must know of an operator's kind, told once for all of them.
//!
//! A new kind is described here, named in `state_form`, and given an identity (the rule is at the top of `identity`, the code in
//! `identity/meaning`). Beside these only those who build it ask what a kind is: its lowering, its text in EXPLAIN, its running
//! form.

use super::{AggregatePhase, CollectOperator, JobGraph, Operator, OperatorKind, SinkOperator, SourceOperator};
use crate::id::OperatorId;

/// What an operator is to its neighbours, to checkpoints and to the outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Description<'a> {
    /// Where it stands in the dataflow.
    pub role: Role<'a>,
    /// How many inputs it has.
    pub ports: u8,
    /// Per port the columns of the input that its state is kept by, besides windows. Empty where it has no key.
    pub keys: Vec<&'a [usize]>,
    /// What it keeps across barriers.
    pub state: StateScope,
    /// What it writes besides its rows, published in its name.
    pub side_output: Option<SideOutput<'a>>,
    /// Whether output that it still holds is emitted before its state is frozen. This is so for an operator without keys,
    /// since no other subtask could take that output over.
    pub drains_at_barriers: bool,
}

/// Where an operator stands in the dataflow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role<'a> {
    /// Reads a table.
    Source(&'a SourceOperator),
    /// Finds the splits of a source.
    Enumerator,
    /// Has inputs and outputs.
    Transform,
    /// Writes a table.
    Sink(&'a SinkOperator),
    /// Keeps rows for a client.
    Collect(&'a CollectOperator),
}

/// What an operator keeps across barriers, and who can take it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateScope {
    /// Nothing of its own; the positions of a source are its splits'.
    None,
    /// Rows by key group: whoever owns the group.
    KeyGroups,
    /// What belongs to a subtask as a whole, such as a count or a watermark, and no key group parts.
    Subtask,
}

/// A side output of an operator, as files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideOutput<'a> {
    /// Records that cannot be read, into this directory.
    DeadLetters(&'a str),
    /// Rows that came after their window had closed, into the job's `late.path`.
    LateRows,
}

impl OperatorKind {
    /// What the rest of the system must know of it.
    #[must_use]
    pub fn describe(&self) -> Description<'_> {
        match self {
            Self::Source(source) => {
                let assigned = source.connector.finds_splits();
                Description {
                    ports: assigned.into(),
                    keys: if assigned { vec![&[]] } else { Vec::new() },
                    side_output: source.connector.dead_letter_path().map(SideOutput::DeadLetters),
                    ..stateless(Role::Source(source))
                }
            }
            Self::Enumerate(_) => {
                Description { ports: 0, keys: Vec::new(), state: StateScope::KeyGroups, ..stateless(Role::Enumerator) }
            }
            Self::Calc(_) => Description { drains_at_barriers: true, ..stateless(Role::Transform) },
            Self::WindowAssign(_) => Description { drains_at_barriers: true, ..stateless(Role::Transform) },
            Self::WindowAggregate(aggregate) => match aggregate.phase {
                AggregatePhase::Local => Description {
                    state: StateScope::Subtask,
                    side_output: Some(SideOutput::LateRows),
                    drains_at_barriers: true,
                    ..stateless(Role::Transform)
                },
                AggregatePhase::Single | AggregatePhase::Global => windowed(vec![&aggregate.keys]),
            },
            Self::WindowJoin(join) => windowed(vec![&join.left_keys, &join.right_keys]),
            Self::WindowTopN(top_n) => windowed(vec![&top_n.partition]),
            Self::Sort(_) => Description { state: StateScope::Subtask, ..stateless(Role::Transform) },
            Self::Limit(_) => {
                Description { state: StateScope::Subtask, drains_at_barriers: true, ..stateless(Role::Transform) }
            }
            Self::Sink(sink) => Description {
                keys: vec![sink.table_key().unwrap_or_default()],
                state: StateScope::KeyGroups,
                ..stateless(Role::Sink(sink))
            },
            Self::Collect(collect) => Description { state: StateScope::Subtask, ..stateless(Role::Collect(collect)) },
        }
    }

    /// The source that it is, if it is one.
    #[must_use]
    pub fn as_source(&self) -> Option<&SourceOperator> {
        match self.describe().role {
            Role::Source(source) => Some(source),
            Role::Enumerator | Role::Transform | Role::Sink(_) | Role::Collect(_) => None,
        }
    }

    /// Whether it finds the splits of a source.
    #[must_use]
    pub fn is_enumerator(&self) -> bool {
        match self.describe().role {
            Role::Enumerator => true,
            Role::Source(_) | Role::Transform | Role::Sink(_) | Role::Collect(_) => false,
        }
    }

    /// The sink that it is, if it is one.
    #[must_use]
    pub fn as_sink(&self) -> Option<&SinkOperator> {
        match self.describe().role {
            Role::Sink(sink) => Some(sink),
            Role::Source(_) | Role::Enumerator | Role::Transform | Role::Collect(_) => None,
        }
    }

    /// What it keeps for a client, if it does.
    #[must_use]
    pub fn as_collect(&self) -> Option<&CollectOperator> {
        match self.describe().role {
            Role::Collect(collect) => Some(collect),
            Role::Source(_) | Role::Enumerator | Role::Transform | Role::Sink(_) => None,
        }
    }

    /// Whether it has no outputs.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self.describe().role {
            Role::Sink(_) | Role::Collect(_) => true,
            Role::Source(_) | Role::Enumerator | Role::Transform => false,
        }
    }
}

impl JobGraph {
    /// The sources, with their ids.
    pub fn sources(&self) -> impl Iterator<Item = (OperatorId, &SourceOperator)> {
        self.operators.iter().filter_map(|operator| Some((operator.id, operator.kind.as_source()?)))
    }

    /// The sinks, with their ids.
    pub fn sinks(&self) -> impl Iterator<Item = (OperatorId, &SinkOperator)> {
        self.operators.iter().filter_map(|operator| Some((operator.id, operator.kind.as_sink()?)))
    }

    /// The operators that keep rows for clients, with the query that each serves.
    pub fn collects(&self) -> impl Iterator<Item = (&Operator, u32)> {
        self.operators.iter().filter_map(|operator| Some((operator, operator.kind.as_collect()?.query)))
    }
}

/// An operator with one input that keeps nothing.
fn stateless(role: Role<'_>) -> Description<'_> {
    Description {
        role,
        ports: 1,
        keys: vec![&[]],
        state: StateScope::None,
        side_output: None,
        drains_at_barriers: false,
    }
}

/// An operator that keeps rows by window and key until their window closes, with a key per port.
fn windowed<'a>(keys: Vec<&'a [usize]>) -> Description<'a> {
    Description {
        role: Role::Transform,
        ports: u8::try_from(keys.len()).expect("an operator has one or two inputs"),
        keys,
        state: StateScope::KeyGroups,
        side_output: Some(SideOutput::LateRows),
        drains_at_barriers: false,
    }
}
