//! Whom a checkpoint waits for, as far as the leader knows.
//!
//! A job may have thousands of subtasks, and each of them may be waited for. So only the first few are listed, senders before
//! receivers: barriers pass one chain after the other, and the first that has not answered holds up those behind it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most subtasks that are listed: as many as one can look after.
pub const AWAITED_MAX: usize = 10;
/// The most characters of the names of a chain's operators, which may hold whole expressions.
const NAME_CHARS_MAX: usize = 120;

/// Whom a checkpoint waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointWaits {
    /// Subtasks that have not answered, senders before receivers; at most `AWAITED_MAX`. If there are none, all have
    /// answered, and it waits for its manifest.
    pub subtasks: Vec<AwaitedSubtask>,
    /// How many others have not answered.
    pub more: u64,
}

/// A subtask that has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedSubtask {
    /// The operators of its chain.
    pub name: String,
    /// The chain's number.
    pub chain: u32,
    /// Which subtask of the chain.
    pub index: u32,
    /// The node that runs it.
    pub node: u64,
}

impl CheckpointWaits {
    /// The first few of all subtasks that have not answered.
    #[must_use]
    pub fn of<T>(awaited: &[T], tell: impl Fn(&T) -> AwaitedSubtask) -> Self {
        let listed = awaited.iter().take(AWAITED_MAX);
        let more = awaited.len().saturating_sub(AWAITED_MAX);
        Self {
            subtasks: listed.map(|subtask| tell(subtask).shortened()).collect(),
            more: u64::try_from(more).unwrap_or(u64::MAX),
        }
    }

    /// How many subtasks have not answered.
    #[must_use]
    pub fn awaited(&self) -> u64 {
        self.more.saturating_add(u64::try_from(self.subtasks.len()).unwrap_or(u64::MAX))
    }
}

impl AwaitedSubtask {
    fn shortened(self) -> Self {
        Self { name: shortened_name(self.name), ..self }
    }
}

/// The names of a chain's operators, cut to what people read.
#[must_use]
pub fn shortened_name(mut name: String) -> String {
    if let Some((at, _)) = name.char_indices().nth(NAME_CHARS_MAX) {
        name.truncate(at);
        name.push('…');
    }
    name
}

impl fmt::Display for CheckpointWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.awaited() == 0 {
            return f.write_str("its manifest");
        }
        for (at, subtask) in self.subtasks.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{subtask}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for AwaitedSubtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain-{}/{} on node-{} ({})", self.chain, self.index, self.node, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(count: u32) -> CheckpointWaits {
        let of = |index: &u32| AwaitedSubtask { name: "a -> b".to_owned(), chain: 3, index: *index, node: 2 };
        CheckpointWaits::of(&(0..count).collect::<Vec<_>>(), of)
    }

    #[test]
    fn the_first_few_are_listed_and_the_others_counted() {
        assert_eq!(awaited(0).to_string(), "its manifest");
        assert_eq!(awaited(2).to_string(), "chain-3/0 on node-2 (a -> b), chain-3/1 on node-2 (a -> b)");
        let many = awaited(1000);
        assert_eq!((many.subtasks.len(), many.more, many.awaited()), (AWAITED_MAX, 990, 1000));
        assert!(many.to_string().ends_with("chain-3/9 on node-2 (a -> b) and 990 more"), "{many}");
    }

    #[test]
    fn long_names_are_shortened() {
        let long = |(): &()| AwaitedSubtask { name: "ä".repeat(5000), chain: 0, index: 0, node: 1 };
        let waits = CheckpointWaits::of(&[()], long);
        assert_eq!(waits.subtasks[0].name, "ä".repeat(NAME_CHARS_MAX) + "…");
    }
}
