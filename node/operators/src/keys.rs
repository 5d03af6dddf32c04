//! Keys are told apart by their bits, so all operators bring them into one form first.

use arrow::{array::ArrayRef, error::ArrowError};
use thalweg_functions::canonical::canonical;

use crate::{OperatorError, error::arrow_error};

/// The keys in canonical form: equal keys have equal bits.
pub(crate) fn canonical_keys(keys: &[ArrayRef]) -> Result<Vec<ArrayRef>, OperatorError> {
    let keys: Result<Vec<ArrayRef>, ArrowError> = keys.iter().map(canonical).collect();
    keys.map_err(arrow_error("bring keys into their canonical form"))
}
