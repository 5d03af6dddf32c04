//! What casts mean, from one type to another.

use arrow::compute::CastOptions;
use arrow::datatypes::DataType;
use datafusion_common::{Result, format::DEFAULT_CAST_OPTIONS};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::expressions;

use super::operation::{Given, no_columns};

/// A `CAST` or `TRY_CAST` from one type to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Conversion {
    from: DataType,
    to: DataType,
    /// NULL where it would fail.
    tries: bool,
}

impl Conversion {
    /// # Errors
    /// Where there is no such cast.
    pub(super) fn try_new(from: &DataType, to: &DataType, tries: bool) -> Result<Self> {
        // Building the cast checks that there is one.
        let null = datafusion_common::ScalarValue::try_new_null(from)?;
        let schema = arrow::datatypes::Schema::empty();
        expressions::cast(Given::of(ColumnarValue::Scalar(null)), &schema, to.clone())?;
        Ok(Self { from: from.clone(), to: to.clone(), tries })
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
        !self.tries && !always_fits(&self.from, &self.to)
    }

    /// Whether its value may be NULL where what it is given is not.
    pub(super) fn adds_null(&self) -> bool {
        self.tries
    }

    /// The values.
    ///
    /// # Errors
    /// Where one of them has no counterpart.
    pub(super) fn apply(&self, value: ColumnarValue) -> Result<ColumnarValue> {
        if self.tries {
            let given = Given::of(value);
            let cast = expressions::TryCastExpr::new(given, self.to.clone());
            return datafusion_physical_expr::PhysicalExpr::evaluate(&cast, &no_columns(1)?);
        }
        let options: CastOptions<'static> = DEFAULT_CAST_OPTIONS;
        value.cast_to(&self.to, Some(&options))
    }
}

/// Whether every value of a type has a counterpart in the other.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, LargeUtf8, Null, Utf8, Utf8View};
    let widens = |from: &DataType, to: &DataType| {
        let bits = |data_type: &DataType| data_type.primitive_width();
        from.is_signed_integer() && to.is_signed_integer() && bits(from) <= bits(to)
    };
    match (from, to) {
        _ if from == to => true,
        (Null, _) => true,
        (Boolean, to) => to.is_numeric() || matches!(to, Utf8 | LargeUtf8 | Utf8View),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (from, Utf8 | LargeUtf8 | Utf8View) => from.is_integer() || from.is_floating(),
        (from, to) if to.is_floating() => from.is_numeric(),
        (from, to) => widens(from, to),
    }
}
