//! `AND` and `OR`: one node for a whole chain.
//!
//! Terms are evaluated from left to right. A term is evaluated for the rows that earlier terms leave open: those that
//! are not false yet for `AND`, not true yet for `OR`. A term that cannot fail is evaluated for all rows instead, if
//! many are open: that changes no row's value, and costs less than picking.

use std::{fmt, sync::Arc};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and_kleene, not, or_kleene};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{PhysicalExpr, expressions::Literal};

use super::{
    Part, can_fail,
    selection::{Selection, booleans},
    with_room,
};

/// If at most one row in so many is open, rows are picked even for a term that cannot fail.
const FEW_OPEN: usize = 8;

/// A chain of `AND`s or of `OR`s.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Logic {
    connective: Connective,
    terms: Vec<Term>,
    can_fail: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Connective {
    And,
    Or,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Term {
    condition: Part,
    selection: Selection,
    can_fail: bool,
}

impl Connective {
    /// The value that settles a row.
    fn settles(self) -> bool {
        self == Self::Or
    }

    fn join(self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(match self {
            Self::And => and_kleene(left, right)?,
            Self::Or => or_kleene(left, right)?,
        })
    }

    /// The rows whose value is not settled.
    fn open(self, values: &BooleanArray) -> BooleanArray {
        let settled = match self {
            Self::And => !values.values(),
            Self::Or => values.values().clone(),
        };
        let settled = match values.nulls() {
            Some(nulls) => &settled & nulls.inner(),
            None => settled,
        };
        BooleanArray::new(!&settled, None)
    }
}

impl Logic {
    pub(super) fn over(connective: Connective, conditions: Vec<Arc<dyn PhysicalExpr>>) -> Arc<dyn PhysicalExpr> {
        let term = |condition: Arc<dyn PhysicalExpr>| Term {
            selection: Selection::of([&condition]),
            can_fail: can_fail(&condition),
            condition: Part(condition),
        };
        let terms: Vec<Term> = conditions.into_iter().map(term).collect();
        let can_fail = terms.iter().any(|term| term.can_fail);
        Arc::new(Self { connective, terms, can_fail })
    }

    pub(super) fn can_fail(&self) -> bool {
        self.can_fail
    }

    fn values(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let settles = self.connective.settles();
        // The result of the terms so far: a constant for as long as they are constants.
        let mut so_far = ColumnarValue::Scalar(ScalarValue::Boolean(Some(!settles)));
        for term in &self.terms {
            let values = match &so_far {
                ColumnarValue::Scalar(ScalarValue::Boolean(Some(value))) if *value == settles => return Ok(so_far),
                ColumnarValue::Scalar(_) => term.condition.evaluate(batch)?,
                ColumnarValue::Array(array) => match self.term(term, array.as_boolean(), batch)? {
                    Some(values) => values,
                    None => return Ok(so_far),
                },
            };
            so_far = self.joined(&so_far, values, rows)?;
        }
        Ok(so_far)
    }

    /// The values of a term, which may be NULL for settled rows; `None` if all rows are settled.
    fn term(&self, term: &Term, so_far: &BooleanArray, batch: &RecordBatch) -> Result<Option<ColumnarValue>> {
        let open = self.connective.open(so_far);
        let count = open.true_count();
        if count == 0 {
            return Ok(None);
        }
        let all = count == batch.num_rows() || (!term.can_fail && count > batch.num_rows() / FEW_OPEN);
        if all {
            return term.condition.evaluate(batch).map(Some);
        }
        let values = term.selection.evaluate(&term.condition, batch, &open)?;
        Ok(Some(ColumnarValue::Array(values)))
    }

    fn joined(&self, so_far: &ColumnarValue, values: ColumnarValue, rows: usize) -> Result<ColumnarValue> {
        match (so_far, &values) {
            // A constant that settles no row changes nothing.
            (ColumnarValue::Scalar(ScalarValue::Boolean(Some(_))), _) => Ok(values),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => {
                let joined = self.connective.join(&booleans(so_far, 1)?, &booleans(&values, 1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?))
            }
            _ => {
                let joined = self.connective.join(&booleans(so_far, rows)?, &booleans(&values, rows)?)?;
                Ok(ColumnarValue::Array(Arc::new(joined)))
            }
        }
    }
}

/// `low AND high` of two evaluated conditions, or its negation.
pub(super) fn both(low: &ColumnarValue, high: &ColumnarValue, negated: bool, rows: usize) -> Result<ColumnarValue> {
    let are_scalars = matches!((low, high), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let rows = if are_scalars { 1 } else { rows };
    let both = and_kleene(&booleans(low, rows)?, &booleans(high, rows)?)?;
    let both = if negated { not(&both)? } else { both };
    Ok(match are_scalars {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&both, 0)?),
        false => ColumnarValue::Array(Arc::new(both)),
    })
}

/// A condition of type BOOLEAN that is NULL for every row.
pub(super) fn unknown() -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Boolean(None)))
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.connective {
            Connective::And => " AND ",
            Connective::Or => " OR ",
        };
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(word)?;
            }
            match term.condition.is::<Self>() {
                true => write!(f, "({})", *term.condition)?,
                false => write!(f, "{}", *term.condition)?,
            }
        }
        Ok(())
    }
}

impl PhysicalExpr for Logic {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        for term in &self.terms {
            if term.condition.nullable(schema)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        with_room(|| self.values(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.terms.iter().map(|term| &term.condition.0).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        if children.len() != self.terms.len() {
            return internal_err!("a chain keeps its terms");
        }
        Ok(Self::over(self.connective, children))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
