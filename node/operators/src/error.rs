//! Errors of operators.

use thalweg_types::{Fault, Place, text::with_causes};
use thiserror::Error;

/// Why an operator cannot go on.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// An expression failed on the data; it would fail the same way again.
    #[error("could not evaluate {expression}")]
    Evaluate {
        /// The expression as text.
        expression: String,
        /// The expression's place in the script.
        place: Option<Place>,
        #[source]
        source: datafusion_common::DataFusionError,
    },
    /// A NOT NULL column has no value in a row.
    #[error("column {column} is NOT NULL and has no value")]
    Null {
        column: String,
        /// The expression that should give the value, as text.
        expression: String,
        /// The expression's place in the script.
        place: Option<Place>,
    },
    /// The plan asks for something that this engine cannot build.
    #[error("could not build {operator}: {reason}")]
    Build {
        /// The operator's name.
        operator: String,
        reason: String,
    },
    /// Arrow refused an operation on batches.
    #[error("could not {attempted}")]
    Arrow {
        attempted: &'static str,
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A batch breaks a promise of the plan, such as by a NULL in a window column.
    #[error("{operator} was given rows that its plan rules out: {reason}")]
    Input {
        /// The operator's name.
        operator: &'static str,
        reason: String,
    },
    /// A record's window has bounds that no timestamp can hold.
    #[error(
        "event time {time} in column {column} is too far away: its window would begin or end where no timestamp reaches"
    )]
    Time {
        /// The event-time column.
        column: String,
        time: String,
    },
    /// The rows make more together than one evaluation may: nothing has changed, and fewer of them may be given. Of a single row: the
    /// actor is cancelled.
    #[error("{rows} rows of a batch make more together than one evaluation may")]
    TooMuch {
        /// How many rows were given.
        rows: usize,
    },
    /// A frozen state is not one of this operator.
    #[error("could not restore the state of {operator}: {reason}")]
    Restore {
        /// The operator's name.
        operator: String,
        reason: String,
    },
}

impl OperatorError {
    /// Converts to the fault of one row.
    pub(crate) fn into_fault(self, row: usize) -> Fault {
        let (text, place, reason) = match &self {
            Self::Evaluate { expression, place, source } => {
                // The failing library means nothing to the author of the expression.
                (expression.as_str(), *place, without_origin(&with_causes(source)).to_owned())
            }
            Self::Null { expression, place, .. } => (expression.as_str(), *place, with_causes(&self)),
            Self::Build { .. }
            | Self::Arrow { .. }
            | Self::Input { .. }
            | Self::Time { .. }
            | Self::TooMuch { .. }
            | Self::Restore { .. } => ("", None, with_causes(&self)),
        };
        Fault { row, expression: text.to_owned(), place, reason }
    }

    /// Whether the same rows may succeed in smaller batches: nothing has changed.
    #[must_use]
    pub fn asks_for_fewer_rows(&self) -> bool {
        match self {
            Self::TooMuch { .. } => true,
            Self::Evaluate { .. }
            | Self::Null { .. }
            | Self::Build { .. }
            | Self::Arrow { .. }
            | Self::Input { .. }
            | Self::Time { .. }
            | Self::Restore { .. } => false,
        }
    }
}

/// An error's text without the names of libraries that passed it on.
fn without_origin(text: &str) -> &str {
    const ORIGINS: [&str; 6] = [
        "Execution error: ",
        "Arrow error: ",
        "Compute error: ",
        "Cast error: ",
        "Invalid argument error: ",
        "External error: ",
    ];
    match ORIGINS.iter().find_map(|origin| text.strip_prefix(origin)) {
        Some(rest) => without_origin(rest),
        None => text,
    }
}

/// Names what was attempted when Arrow fails.
pub(crate) fn arrow_error(attempted: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> OperatorError {
    move |source| OperatorError::Arrow { attempted, source }
}

/// Names the expression, or the part of an aggregation, on which DataFusion failed.
pub(crate) fn evaluate_error(
    expression: impl Into<String>,
) -> impl FnOnce(datafusion_common::DataFusionError) -> OperatorError {
    move |source| OperatorError::Evaluate { expression: expression.into(), place: None, source }
}

/// Names the operator that cannot be built.
pub(crate) fn build_error<E: std::fmt::Display>(operator: &str) -> impl FnOnce(E) -> OperatorError {
    let operator = operator.to_owned();
    move |reason| OperatorError::Build { operator, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;
    use datafusion_common::DataFusionError;

    use super::*;

    #[test]
    fn a_fault_names_no_library() {
        let reason = |source: DataFusionError| evaluate_error("a / b")(source).into_fault(0).reason;
        assert_eq!(reason(ArrowError::ComputeError("too large".to_owned()).into()), "too large");
        assert_eq!(reason(ArrowError::CastError("no number".to_owned()).into()), "no number");
        assert_eq!(reason(DataFusionError::Execution("Arrow is no error".to_owned())), "Arrow is no error");
    }
}
