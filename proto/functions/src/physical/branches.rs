//! `CASE` and `COALESCE`: a branch is evaluated only for the rows that reach it.

use std::{fmt, sync::Arc};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{is_not_null, is_null};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{Result, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use super::{
    Part, can_fail,
    operation::Operation,
    selection::{Rest, Results, Selection, booleans, mask},
    with_room,
};

/// `CASE [operand] WHEN … THEN … [ELSE …] END`, all results of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Case {
    operand: Option<Arc<dyn PhysicalExpr>>,
    branches: Vec<Branch>,
    otherwise: Option<Arc<dyn PhysicalExpr>>,
    result: DataType,
    selection: Selection,
    can_fail: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Branch {
    /// How the operand is compared with `when`. Without an operand, `when` is a condition.
    pub(super) equals: Option<Operation>,
    pub(super) when: Part,
    pub(super) then: Part,
}

impl Case {
    pub(super) fn over(
        operand: Option<Arc<dyn PhysicalExpr>>,
        branches: Vec<Branch>,
        otherwise: Option<Arc<dyn PhysicalExpr>>,
        result: DataType,
    ) -> Arc<dyn PhysicalExpr> {
        let mut made = Self { operand, branches, otherwise, result, selection: Selection::of([]), can_fail: false };
        made.selection = Selection::of(made.children());
        let compares = |branch: &Branch| branch.equals.as_ref().is_some_and(Operation::can_fail);
        made.can_fail = made.children().into_iter().any(can_fail) || made.branches.iter().any(compares);
        Arc::new(made)
    }

    pub(super) fn can_fail(&self) -> bool {
        self.can_fail
    }

    fn values(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let operand = self.operand.as_ref().map(|operand| operand.evaluate(batch)?.into_array(rows)).transpose()?;
        let mut results = Results::new(&self.result, rows);
        let mut rest = Rest::all(&self.selection, batch, operand);
        for branch in &self.branches {
            if rest.is_empty() {
                break;
            }
            let taken = match branch.holds(&rest)? {
                Holds::All(true) => rest.split(&BooleanArray::from(vec![true; rest.batch.num_rows()]))?,
                Holds::All(false) => None,
                Holds::Some(mask) => rest.split(&mask)?,
            };
            if let Some(taken) = taken {
                results.add(taken.rows.as_ref(), branch.then.evaluate(&taken.batch)?)?;
            }
        }
        if let Some(otherwise) = self.otherwise.as_ref().filter(|_| !rest.is_empty()) {
            results.add(rest.rows.as_ref(), otherwise.evaluate(&rest.batch)?)?;
        }
        results.finish()
    }
}

enum Holds {
    All(bool),
    /// Without NULLs.
    Some(BooleanArray),
}

impl Branch {
    fn holds(&self, rest: &Rest<'_>) -> Result<Holds> {
        let rows = rest.batch.num_rows();
        let when = self.when.evaluate(&rest.batch)?;
        let holds = match (&self.equals, &rest.beside) {
            (Some(equals), Some(operand)) => equals.apply(ColumnarValue::Array(operand.clone()), when, rows)?,
            _ => when,
        };
        Ok(match holds {
            ColumnarValue::Scalar(_) => Holds::All(booleans(&holds, 1)?.iter().next().flatten().unwrap_or(false)),
            ColumnarValue::Array(_) => Holds::Some(mask(&booleans(&holds, rows)?)),
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CASE ")?;
        if let Some(operand) = &self.operand {
            write!(f, "{operand} ")?;
        }
        for branch in &self.branches {
            write!(f, "WHEN {} THEN {} ", *branch.when, *branch.then)?;
        }
        if let Some(otherwise) = &self.otherwise {
            write!(f, "ELSE {otherwise} ")?;
        }
        f.write_str("END")
    }
}

impl PhysicalExpr for Case {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        let Some(otherwise) = &self.otherwise else { return Ok(true) };
        for then in self.branches.iter().map(|branch| &branch.then.0).chain([otherwise]) {
            if then.nullable(schema)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("", self.result.clone(), self.nullable(schema)?)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        with_room(|| self.values(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        let branches = self.branches.iter().flat_map(|branch| [&branch.when.0, &branch.then.0]);
        self.operand.iter().chain(branches).chain(&self.otherwise).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let mut next = || match children.next() {
            Some(child) => Ok(child),
            None => internal_err!("CASE keeps its parts"),
        };
        let operand = self.operand.is_some().then(&mut next).transpose()?;
        let branches = self
            .branches
            .iter()
            .map(|branch| Ok(Branch { equals: branch.equals.clone(), when: Part(next()?), then: Part(next()?) }));
        let branches = branches.collect::<Result<Vec<_>>>()?;
        let otherwise = self.otherwise.is_some().then(&mut next).transpose()?;
        Ok(Self::over(operand, branches, otherwise, self.result.clone()))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `COALESCE`: the first value that is not NULL. All values have one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Coalesce {
    values: Vec<Arc<dyn PhysicalExpr>>,
    result: DataType,
    selection: Selection,
    can_fail: bool,
}

impl Coalesce {
    pub(super) fn over(values: Vec<Arc<dyn PhysicalExpr>>, result: DataType) -> Arc<dyn PhysicalExpr> {
        let (selection, can_fail) = (Selection::of(&values), values.iter().any(can_fail));
        Arc::new(Self { values, result, selection, can_fail })
    }

    pub(super) fn can_fail(&self) -> bool {
        self.can_fail
    }

    fn first_of_each(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut results = Results::new(&self.result, batch.num_rows());
        let mut rest = Rest::all(&self.selection, batch, None);
        for value in &self.values {
            if rest.is_empty() {
                break;
            }
            let values = value.evaluate(&rest.batch)?.into_array(rest.batch.num_rows())?;
            match values.logical_null_count() {
                0 => {
                    results.add(rest.rows.as_ref(), ColumnarValue::Array(values))?;
                    return results.finish();
                }
                all if all == values.len() => {}
                _ => {
                    let known = is_not_null(&values)?;
                    let taken = rest.picked(&known)?;
                    let known = arrow::compute::filter(&values, &known)?;
                    results.add(taken.rows.as_ref(), ColumnarValue::Array(known))?;
                    rest = rest.picked(&is_null(&values)?)?;
                }
            }
        }
        results.finish()
    }
}

impl fmt::Display for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.values.iter().enumerate() {
            write!(f, "{}{value}", if index == 0 { "COALESCE(" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl PhysicalExpr for Coalesce {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        for value in &self.values {
            if !value.nullable(schema)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("", self.result.clone(), self.nullable(schema)?)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        with_room(|| self.first_of_each(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.values.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        if children.len() != self.values.len() {
            return internal_err!("COALESCE keeps its values");
        }
        Ok(Self::over(children, self.result.clone()))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
