//! A result that does not fit its type, with the number of its group: whoever holds the keys can say which group that
//! is.

use datafusion_common::DataFusionError;
use thiserror::Error;

/// The result of a group does not fit its type.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct GroupOverflow {
    /// The group's index among those that were evaluated.
    pub group: usize,
    /// The result, and the type that it does not fit.
    pub message: String,
}

impl GroupOverflow {
    /// The overflow behind an error, if there is one.
    #[must_use]
    pub fn of(error: &DataFusionError) -> Option<&Self> {
        match error.find_root() {
            DataFusionError::External(source) => source.downcast_ref(),
            _ => None,
        }
    }
}

impl From<GroupOverflow> for DataFusionError {
    fn from(overflow: GroupOverflow) -> Self {
        Self::External(Box::new(overflow))
    }
}
