//! Errors of encoding and decoding.

use arrow_schema::{ArrowError, DataType};
use datafusion_common::DataFusionError;
use thiserror::Error;

use crate::{DEPTH_MAX, FORMAT, LINKS_MAX};

/// Why an expression could not be encoded or decoded.
#[derive(Debug, Error)]
pub enum CodecError {
    /// It has a part that no operator evaluates.
    #[error("could not encode {expression}: a job has no expressions of the kind {kind}")]
    Unsupported {
        /// The part, as text.
        expression: String,
        /// DataFusion's name for its kind.
        kind: String,
    },
    /// A column or an alias is qualified by a table.
    #[error("could not encode {0}: a job's columns are not qualified")]
    Qualified(String),
    /// It is nested too deeply.
    #[error("an expression is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// It has a spine of too many links.
    #[error("an expression has more than {LINKS_MAX} operators in a row")]
    TooLong,
    /// A type is illegal, too large, or without an encoding.
    #[error("could not encode or decode the type {data_type}: {reason}")]
    Type {
        data_type: DataType,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value does not belong to its type.
    #[error("could not encode or decode a value of type {data_type}")]
    Value {
        /// The type that it should have.
        data_type: DataType,
        /// What is wrong with it, if a library said so.
        #[source]
        source: Option<Box<DataFusionError>>,
    },
    /// The expression could not be written.
    #[error("could not write an expression")]
    Write(#[source] serde_json::Error),
    /// The bytes cannot be parsed.
    #[error("could not read an expression")]
    Read(#[source] serde_json::Error),
    /// The bytes have another format.
    #[error("could not read an expression of format {found}, this engine reads {FORMAT}")]
    Format {
        /// Their format.
        found: u32,
    },
    /// The nodes are not the post-order of one expression.
    #[error("could not decode an expression: {0}")]
    Shape(&'static str),
    /// It calls a function that is unknown here.
    #[error("could not decode an expression: no function is called {0}")]
    UnknownFunction(String),
}

impl CodecError {
    pub(crate) fn value(data_type: &DataType) -> Self {
        Self::Value { data_type: data_type.clone(), source: None }
    }

    pub(crate) fn invalid(data_type: &DataType) -> impl Fn(DataFusionError) -> Self {
        |source| Self::Value { data_type: data_type.clone(), source: Some(Box::new(source)) }
    }

    pub(crate) fn invalid_array(data_type: &DataType) -> impl Fn(ArrowError) -> Self {
        |source| Self::invalid(data_type)(source.into())
    }
}
