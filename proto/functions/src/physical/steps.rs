//! A value and the steps that are applied to it in order: `a + b - c`, `CAST(a AS INT) = 2`.
//!
//! A left-deep chain of operators and casts is one node, however long it is.

use std::{fmt, hash::Hash, sync::Arc};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{Result, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use super::{Part, can_fail, conversion::Conversion, operation::Operation, with_room};

/// A value and the steps that are applied to it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Steps {
    first: Part,
    steps: Vec<Step>,
    result: DataType,
    can_fail: bool,
}

/// A step from one value to the next.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The value is the left side of an operator with this right side.
    Operation(Operation, Arc<dyn PhysicalExpr>),
    Conversion(Conversion),
}

impl Step {
    fn result(&self) -> &DataType {
        match self {
            Self::Operation(operation, _) => operation.result(),
            Self::Conversion(conversion) => conversion.result(),
        }
    }

    fn can_fail(&self) -> bool {
        match self {
            Self::Operation(operation, right) => operation.can_fail() || can_fail(right),
            Self::Conversion(conversion) => conversion.can_fail(),
        }
    }

    fn apply(&self, value: ColumnarValue, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self {
            Self::Operation(operation, right) => operation.apply(value, right.evaluate(batch)?, batch.num_rows()),
            Self::Conversion(conversion) => conversion.apply(value),
        }
    }

    fn nullable(&self, given: bool, schema: &Schema) -> Result<bool> {
        Ok(match self {
            Self::Operation(operation, right) => {
                operation.adds_null() || (operation.passes_null() && (given || right.nullable(schema)?))
            }
            Self::Conversion(conversion) => given || conversion.adds_null(),
        })
    }
}

impl Steps {
    /// Applies steps to a value.
    pub(super) fn over(first: Arc<dyn PhysicalExpr>, steps: Vec<Step>) -> Arc<dyn PhysicalExpr> {
        let Some(result) = steps.last().map(Step::result).cloned() else { return first };
        let can_fail = can_fail(&first) || steps.iter().any(Step::can_fail);
        Arc::new(Self { first: Part(first), steps, result, can_fail })
    }

    pub(super) fn can_fail(&self) -> bool {
        self.can_fail
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let casts = self.steps.iter().rev().filter_map(|step| match step {
            Step::Conversion(conversion) => Some(conversion),
            Step::Operation(..) => None,
        });
        for conversion in casts {
            f.write_str(if conversion.tries() { "TRY_CAST(" } else { "CAST(" })?;
        }
        write!(f, "{}", *self.first)?;
        for step in &self.steps {
            match step {
                Step::Operation(operation, right) if right.children().is_empty() => {
                    write!(f, " {} {right}", operation.operator())?;
                }
                Step::Operation(operation, right) => write!(f, " {} ({right})", operation.operator())?,
                Step::Conversion(conversion) => write!(f, " AS {})", conversion.result())?,
            }
        }
        Ok(())
    }
}

impl PhysicalExpr for Steps {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        let first = self.first.nullable(schema)?;
        self.steps.iter().try_fold(first, |given, step| step.nullable(given, schema))
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::new("", self.result.clone(), self.nullable(schema)?)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        with_room(|| {
            let first = self.first.evaluate(batch)?;
            self.steps.iter().try_fold(first, |value, step| step.apply(value, batch))
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        let rights = self.steps.iter().filter_map(|step| match step {
            Step::Operation(_, right) => Some(right),
            Step::Conversion(_) => None,
        });
        std::iter::once(&self.first.0).chain(rights).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let Some(first) = children.next() else { return internal_err!("steps begin with a value") };
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            steps.push(match step {
                Step::Conversion(conversion) => Step::Conversion(conversion.clone()),
                Step::Operation(operation, _) => match children.next() {
                    Some(right) => Step::Operation(operation.clone(), right),
                    None => return internal_err!("an operator has a right side"),
                },
            });
        }
        Ok(Self::over(first, steps))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `value BETWEEN low AND high`, which evaluates the value once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Between {
    pub(super) value: Part,
    pub(super) low: Part,
    pub(super) high: Part,
    pub(super) at_least: Operation,
    pub(super) at_most: Operation,
    pub(super) negated: bool,
}

impl Between {
    pub(super) fn can_fail(&self) -> bool {
        self.at_least.can_fail() || self.at_most.can_fail() || self.children().into_iter().any(can_fail)
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "NOT " } else { "" };
        write!(f, "{} {not}BETWEEN {} AND {}", *self.value, *self.low, *self.high)
    }
}

impl PhysicalExpr for Between {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.value.nullable(schema)? || self.low.nullable(schema)? || self.high.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        with_room(|| {
            let rows = batch.num_rows();
            let value = self.value.evaluate(batch)?;
            let low = self.at_least.apply(value.clone(), self.low.evaluate(batch)?, rows)?;
            let high = self.at_most.apply(value, self.high.evaluate(batch)?, rows)?;
            super::logic::both(&low, &high, self.negated, rows)
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.value.0, &self.low.0, &self.high.0]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok(parts) = <[Arc<dyn PhysicalExpr>; 3]>::try_from(children) else {
            return internal_err!("BETWEEN has three parts");
        };
        let [value, low, high] = parts.map(Part);
        let (at_least, at_most) = (self.at_least.clone(), self.at_most.clone());
        Ok(Arc::new(Self { value, low, high, at_least, at_most, negated: self.negated }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
