//! Casts from one type to another, with Flink's meaning, by the crate's [`cast`](crate::cast).

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion_expr::ColumnarValue;

use crate::{
    cast::{self, Detail, Failing},
    names::sql_type,
};

/// A `CAST` or `TRY_CAST` from one type to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Conversion {
    from: DataType,
    to: DataType,
    /// The detail of the target's SQL type.
    detail: Detail,
    /// Whether a value that cannot be cast becomes NULL.
    tries: bool,
}

impl Conversion {
    /// # Errors
    /// When there is no such cast.
    pub(super) fn try_new(from: &DataType, to: &Field, tries: bool) -> Result<Self> {
        let detail = Detail::of(to);
        let to = to.data_type().clone();
        if let Err(reason) = cast::check(from, &to) {
            return plan_err!("{} cannot be cast to {}: {reason}", sql_type(from), sql_type(&to));
        }
        Ok(Self { from: from.clone(), to, detail, tries })
    }

    pub(super) fn tries(&self) -> bool {
        self.tries
    }

    /// The type of its values.
    pub(super) fn result(&self) -> &DataType {
        &self.to
    }

    /// Whether it fails for some values.
    pub(super) fn can_fail(&self) -> bool {
        !self.tries && !cast::always_fits(&self.from, &self.to)
    }

    /// Whether its result may be NULL for a value that is not.
    pub(super) fn adds_null(&self) -> bool {
        self.tries
    }

    /// Casts values.
    ///
    /// # Errors
    /// When a value cannot be cast.
    pub(super) fn apply(&self, value: ColumnarValue) -> Result<ColumnarValue> {
        let failing = if self.tries { Failing::Null } else { Failing::Error };
        let cast =
            |array| cast::cast(array, &self.to, self.detail, failing).map_err(|error| exec_datafusion_err!("{error}"));
        match value {
            ColumnarValue::Array(array) => cast(&array).map(ColumnarValue::Array),
            ColumnarValue::Scalar(value) => {
                let made = cast(&value.to_array()?)?;
                ScalarValue::try_from_array(&made, 0).map(ColumnarValue::Scalar)
            }
        }
    }
}
