//! What can go wrong in an operator.

use thalweg_types::{Fault, Place, text::with_causes};
use thiserror::Error;

/// Why an operator cannot go on.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// An expression failed on the data: the same again would fail the same way.
    #[error("could not evaluate {expression}")]
    Evaluate {
        /// The expression as text.
        expression: String,
        /// Where it stands in the script.
        place: Option<Place>,
        /// Why.
        #[source]
        source: datafusion_common::DataFusionError,
    },
    /// A column has no value for a row, and must have one.
    #[error("column {column} is NOT NULL and has no value")]
    Null {
        /// The column.
        column: String,
        /// What was to give the value, as text.
        expression: String,
        /// Where that stands in the script.
        place: Option<Place>,
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
    /// A batch breaks the plan's promises, such as a window column that is NULL.
    #[error("{operator} was given rows that its plan rules out: {reason}")]
    Input {
        /// The operator's name.
        operator: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A window of a record has bounds that no timestamp holds.
    #[error(
        "event time {time} in column {column} is too far away: its window would begin or end where no timestamp reaches"
    )]
    Time {
        /// The column of the event time.
        column: String,
        /// The time.
        time: String,
    },
    /// The rows make more together than one evaluation may: nothing has changed, and fewer of them may be given. Of a single row: the
    /// actor is cancelled.
    #[error("{rows} rows of a batch make more together than one evaluation may")]
    TooMuch {
        /// How many they are.
        rows: usize,
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

impl OperatorError {
    /// As what is wrong with one row.
    pub(crate) fn into_fault(self, row: usize) -> Fault {
        let reason = match &self {
            // Whose error it is says nothing to whoever wrote the expression.
            Self::Evaluate { source, .. } => without_origin(&with_causes(source)).to_owned(),
            other => with_causes(other),
        };
        match self {
            Self::Evaluate { expression, place, .. } | Self::Null { expression, place, .. } => {
                Fault { row, expression, place, reason }
            }
            _ => Fault { row, expression: String::new(), place: None, reason },
        }
    }
}

/// An error's text without the libraries that it went through.
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

/// Names what was attempted when arrow refuses it.
pub(crate) fn arrow_error(attempted: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> OperatorError {
    move |source| OperatorError::Arrow { attempted, source }
}

/// Names the expression, or the part of an aggregation, that DataFusion failed on.
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
