//! The meaning of operators, between values of two types.

use std::{fmt, hash::Hash, sync::Arc};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::{Result, ScalarValue, not_impl_err};
use datafusion_expr::{ColumnarValue, Operator, binary::BinaryTypeCoercer};
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{self, BinaryExpr},
};

use super::{
    logic::{Connective, Logic},
    steps::{Step, Steps},
};
use crate::canonical::{canonical, has_twins};

/// One binary operator other than `AND` and `OR`, between values of two types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Operation {
    operator: Operator,
    left: DataType,
    right: DataType,
    result: DataType,
}

impl Operation {
    /// # Errors
    /// When the operator is not defined between these types.
    pub(super) fn try_new(operator: Operator, left: &DataType, right: &DataType) -> Result<Self> {
        let result = BinaryTypeCoercer::new(left, &operator, right).get_result_type()?;
        Ok(Self { operator, left: left.clone(), right: right.clone(), result })
    }

    pub(super) fn operator(&self) -> Operator {
        self.operator
    }

    /// The type of the result.
    pub(super) fn result(&self) -> &DataType {
        &self.result
    }

    /// Whether it fails for some values.
    pub(super) fn can_fail(&self) -> bool {
        use Operator::{
            BitwiseAnd, BitwiseOr, BitwiseXor, Divide, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq,
            Minus, Modulo, Multiply, NotEq, Plus, StringConcat,
        };
        match self.operator {
            Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => self.left != self.right,
            Plus | Minus | Multiply | Divide | Modulo => !(self.left.is_floating() && self.right.is_floating()),
            BitwiseAnd | BitwiseOr | BitwiseXor | StringConcat => false,
            _ => true,
        }
    }

    /// Whether it is a comparison.
    fn compares(&self) -> bool {
        use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
        matches!(self.operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
    }

    /// Whether its result may be NULL if neither side is.
    pub(super) fn adds_null(&self) -> bool {
        false
    }

    /// Whether its result may be NULL if a side is.
    pub(super) fn passes_null(&self) -> bool {
        !matches!(self.operator, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
    }

    /// The results for `rows` rows.
    ///
    /// # Errors
    /// When it is not defined for one of the values.
    pub(super) fn apply(&self, left: ColumnarValue, right: ColumnarValue, rows: usize) -> Result<ColumnarValue> {
        let (left, right) = match self.compares() {
            true => (canonical_value(left)?, canonical_value(right)?),
            false => (left, right),
        };
        let given = BinaryExpr::new(Given::of(left), self.operator, Given::of(right));
        given.evaluate(&no_columns(rows)?)
    }
}

/// The canonical form of values, in which equal ones have equal bits.
fn canonical_value(value: ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(canonical(&array)?),
        ColumnarValue::Scalar(scalar) if has_twins(&scalar.data_type()) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&canonical(&scalar.to_array()?)?, 0)?)
        }
        scalar => scalar,
    })
}

/// Negates a number or an interval.
pub(super) fn negative(value: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    expressions::negative(value, schema)
}

/// Whether [`negative`] fails for some values of a type.
pub(super) fn negative_can_fail(data_type: &DataType) -> bool {
    !data_type.is_floating()
}

/// Whether a value is in a list; with `negated`, whether it is not.
pub(super) fn member(
    value: Arc<dyn PhysicalExpr>,
    list: Vec<Arc<dyn PhysicalExpr>>,
    negated: bool,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let of = value.data_type(schema)?;
    if !has_twins(&of) {
        return expressions::in_list(value, list, &negated, schema);
    }
    // Compare as `=` does, which is not by bits.
    let equals = |item: Arc<dyn PhysicalExpr>| -> Result<Arc<dyn PhysicalExpr>> {
        let operation = Operation::try_new(Operator::Eq, &of, &item.data_type(schema)?)?;
        Ok(Steps::over(value.clone(), vec![Step::Operation(operation, item)]))
    };
    let any = Logic::over(Connective::Or, list.into_iter().map(equals).collect::<Result<_>>()?);
    if negated { expressions::not(any) } else { Ok(any) }
}

/// Evaluated values as an expression.
#[derive(Debug)]
pub(super) struct Given(ColumnarValue);

impl Given {
    pub(super) fn of(value: ColumnarValue) -> Arc<dyn PhysicalExpr> {
        Arc::new(Self(value))
    }
}

/// A batch of rows without columns.
pub(super) fn no_columns(rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Given {}

impl Hash for Given {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.data_type().hash(state);
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl PhysicalExpr for Given {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.0.data_type())
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(self.0.clone())
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        if children.is_empty() { Ok(self) } else { not_impl_err!("values have no parts") }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Float64Array};

    use super::*;

    /// The results of an operator between a column's values and one value.
    fn check(operator: Operator, column: &[f64], value: f64) -> Vec<bool> {
        let operation = Operation::try_new(operator, &DataType::Float64, &DataType::Float64).expect("floats compare");
        let column = ColumnarValue::Array(Arc::new(Float64Array::from(column.to_vec())));
        let value = ColumnarValue::Scalar(ScalarValue::Float64(Some(value)));
        let said = operation.apply(column, value, 4).expect("a comparison").into_array(4).expect("an array");
        (0..said.len()).map(|row| said.as_boolean().value(row)).collect()
    }

    #[test]
    fn floats_are_compared_by_value() {
        let column = [0.0, -0.0, f64::NAN, -f64::NAN];
        assert_eq!(check(Operator::Eq, &column, -0.0), [true, true, false, false]);
        assert_eq!(check(Operator::Lt, &column, 0.0), [false; 4]);
        assert_eq!(check(Operator::Eq, &column, f64::NAN), [false, false, true, true]);
        assert_eq!(check(Operator::Gt, &column, f64::INFINITY), [false, false, true, true]);
        assert_eq!(check(Operator::IsDistinctFrom, &column, 0.0), [false, false, true, true]);
    }

    #[test]
    fn floats_are_members_by_value() {
        let item =
            |value: f64| -> Arc<dyn PhysicalExpr> { Arc::new(expressions::Literal::new(ScalarValue::from(value))) };
        let schema = Schema::empty();
        for (value, expected) in [(-0.0, true), (-f64::NAN, true), (1.0, false)] {
            let member =
                member(item(value), vec![item(0.0), item(f64::NAN)], false, &schema).expect("a list of floats");
            let said =
                member.evaluate(&no_columns(1).expect("a row")).expect("a value").into_array(1).expect("an array");
            assert_eq!(said.as_boolean().value(0), expected, "{value}");
        }
    }
}
