//! Expressions of the job graph, decoded and compiled: the only place that understands `ExprBytes`.
//!
//! Types were settled by the planner; where a compiled expression's type still differs from the column that it fills, it is
//! cast to it, so that the schemas of the graph hold to the letter.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::{DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue, plan_datafusion_err};
use datafusion_expr::Expr;
use datafusion_physical_expr::{
    PhysicalExpr, aggregate::LoweredAggregate, expressions::Literal, utils::reassign_expr_columns,
};
use thalweg_expr::Functions;
use thalweg_functions::physical::{self, Selection};
use thalweg_types::{ExprBytes, Place, text::with_causes};

use crate::{OperatorError, error::build_error};

/// Every function that an expression may call.
static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let (scalar, aggregate) = thalweg_functions::unnamed();
    Functions::new(
        thalweg_functions::scalar().into_iter().chain(scalar),
        thalweg_functions::aggregate().into_iter().chain(aggregate),
    )
});

/// A compiled expression over batches of one schema.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    text: Arc<str>,
    place: Option<Place>,
    physical: Arc<dyn PhysicalExpr>,
    /// Where it can fail: what it reads of the rows that a guard lets through.
    guarded: Option<Arc<Selection>>,
}

impl Expression {
    /// Compiles an expression over `schema`, to give values of `data_type` where that is stated.
    pub(crate) fn compile(
        bytes: &ExprBytes,
        schema: &SchemaRef,
        data_type: Option<&DataType>,
        operator: &str,
    ) -> Result<Self, OperatorError> {
        let compile = || -> DataFusionResult<Arc<dyn PhysicalExpr>> {
            let logical = decode(bytes)?;
            let df_schema = DFSchema::try_from(schema.clone())?;
            let physical = physical::compile(&logical, &df_schema)?;
            match data_type {
                Some(wanted) => physical::converted(physical, schema, wanted),
                None => Ok(physical),
            }
        };
        let physical = physical::with_room_for(bytes.bytes.len(), compile)
            .map_err(|error| build_error(operator)(format!("expression {}: {error}", bytes.text)))?;
        Ok(Self::named(bytes.text.as_str().into(), bytes.place, physical))
    }

    /// A part of another expression, which stands at this place, that is compiled already.
    pub(crate) fn of(physical: Arc<dyn PhysicalExpr>, place: Option<Place>) -> Self {
        Self::named(physical.to_string().into(), place, physical)
    }

    fn named(text: Arc<str>, place: Option<Place>, physical: Arc<dyn PhysicalExpr>) -> Self {
        let guarded = physical::can_fail(&physical).then(|| Arc::new(Selection::of([&physical])));
        Self { text, place, physical, guarded }
    }

    /// The values for each row of a batch.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, OperatorError> {
        let evaluate = || self.physical.evaluate(batch)?.into_array(batch.num_rows());
        evaluate().map_err(|source| self.failed(source))
    }

    /// As `evaluate`, for a column that must have a value.
    pub(crate) fn evaluate_for(&self, field: &Field, batch: &RecordBatch) -> Result<ArrayRef, OperatorError> {
        let values = self.evaluate(batch)?;
        if !field.is_nullable() && values.logical_null_count() > 0 {
            let (column, expression) = (field.name().clone(), self.text.to_string());
            return Err(OperatorError::Null { column, expression, place: self.place });
        }
        Ok(values)
    }

    /// The values for the rows that a mask (without NULLs) lets through. The others have any: where it might fail, it is not
    /// evaluated for them.
    pub(crate) fn evaluate_where(&self, batch: &RecordBatch, mask: &BooleanArray) -> Result<ArrayRef, OperatorError> {
        match &self.guarded {
            Some(selection) => selection.evaluate(&self.physical, batch, mask).map_err(|source| self.failed(source)),
            None => self.evaluate(batch),
        }
    }

    /// The rows for which it is true; NULL is not.
    pub(crate) fn evaluate_mask(&self, batch: &RecordBatch) -> Result<BooleanArray, OperatorError> {
        let values = self.evaluate(batch)?;
        let mask = values.as_boolean();
        Ok(if mask.nulls().is_some() { prep_null_mask_filter(mask) } else { mask.clone() })
    }

    /// The constant that it is, where it is one.
    pub(crate) fn constant(&self) -> Option<&ScalarValue> {
        self.physical.downcast_ref::<Literal>().map(Literal::value)
    }

    /// The type of its values.
    pub(crate) fn data_type(&self, schema: &SchemaRef) -> DataFusionResult<DataType> {
        self.physical.data_type(schema)
    }

    /// The input columns that it reads.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        datafusion_physical_expr::utils::collect_columns(&self.physical).into_iter().map(|column| column.index())
    }

    /// The same expression over a schema that has its columns under the same names at other places.
    pub(crate) fn over(&self, schema: &SchemaRef) -> DataFusionResult<Self> {
        let physical = reassign_expr_columns(self.physical.clone(), schema)?;
        Ok(Self::named(self.text.clone(), self.place, physical))
    }

    fn failed(&self, source: DataFusionError) -> OperatorError {
        OperatorError::Evaluate { expression: self.text.to_string(), place: self.place, source }
    }
}

/// Compiles a call of an aggregate function over rows of `schema`.
pub(crate) fn compile_aggregate(
    bytes: &ExprBytes,
    schema: &SchemaRef,
    operator: &str,
) -> Result<LoweredAggregate, OperatorError> {
    let compile = || -> DataFusionResult<LoweredAggregate> {
        let logical = decode(bytes)?;
        let df_schema = DFSchema::try_from(schema.clone())?;
        physical::compile_aggregate(&logical, &df_schema)
    };
    physical::with_room_for(bytes.bytes.len(), compile)
        .map_err(|error| build_error(operator)(format!("aggregate {}: {error}", bytes.text)))
}

fn decode(bytes: &ExprBytes) -> DataFusionResult<Expr> {
    thalweg_expr::decode(&bytes.bytes, &FUNCTIONS).map_err(|error| plan_datafusion_err!("{}", with_causes(&error)))
}

#[cfg(test)]
mod tests;
