//! A result that does not fit, with the number of its group: who holds the keys says which group that is.

use datafusion_common::DataFusionError;
use thiserror::Error;

/// The result of a group does not fit its type.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct GroupOverflow {
    /// Which of the groups that were evaluated.
    pub group: usize,
    /// The result, and the type that it does not fit.
    pub message: String,
}

impl GroupOverflow {
    /// The overflow that an error is.
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
