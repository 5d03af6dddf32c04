//! What can go wrong in an operator.

use thiserror::Error;

/// Why an operator cannot go on.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// An expression failed on the data: the same again would fail the same way.
    #[error("could not evaluate {expression}")]
    Evaluate {
        /// The expression as text.
        expression: String,
        /// Why.
        #[source]
        source: datafusion_common::DataFusionError,
    },
    /// The plan asks for something that this engine cannot build.
    #[error("could not build {operator}: {reason}")]
    Build {
        /// The operator's name.
        operator: String,
        /// Why.
        reason: String,
    },
    /// Arrow refused an operation on batches.
    #[error("could not {attempted}")]
    Arrow {
        /// What was attempted.
        attempted: &'static str,
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A frozen state is not one of this operator.
    #[error("could not restore the state of {operator}: {reason}")]
    Restore {
        /// The operator's name.
        operator: String,
        /// Why.
        reason: String,
    },
}
