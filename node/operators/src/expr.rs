//! Decodes and compiles expressions of the job graph. Only this module understands `ExprBytes`.
//!
//! The planner has determined types. If a compiled expression's type still differs from its column's, it is cast, so
//! that schemas match the graph exactly.

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

/// The functions that an expression may call.
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
    /// If it can fail: which columns it reads, to evaluate only the rows that a guard admits.
    guarded: Option<Arc<Selection>>,
}

impl Expression {
    /// Compiles an expression over `schema`, with values of `data_type` if that is given.
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

    /// A part of the expression at `place` that is already compiled.
    pub(crate) fn of(physical: Arc<dyn PhysicalExpr>, place: Option<Place>) -> Self {
        Self::named(physical.to_string().into(), place, physical)
    }

    fn named(text: Arc<str>, place: Option<Place>, physical: Arc<dyn PhysicalExpr>) -> Self {
        let guarded = physical::can_fail(&physical).then(|| Arc::new(Selection::of([&physical])));
        Self { text, place, physical, guarded }
    }

    /// The value for each row of a batch.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, OperatorError> {
        let evaluate = || self.physical.evaluate(batch)?.into_array(batch.num_rows());
        evaluate().map_err(|source| self.failed(source))
    }

    /// As `evaluate`; fails if the column is NOT NULL and a value is missing.
    pub(crate) fn evaluate_for(&self, field: &Field, batch: &RecordBatch) -> Result<ArrayRef, OperatorError> {
        let values = self.evaluate(batch)?;
        if !field.is_nullable() && values.logical_null_count() > 0 {
            let (column, expression) = (field.name().clone(), self.text.to_string());
            return Err(OperatorError::Null { column, expression, place: self.place });
        }
        Ok(values)
    }

    /// The values for the rows that a mask (without NULLs) selects; arbitrary for the others. An expression that can
    /// fail is evaluated only for the selected rows.
    pub(crate) fn evaluate_where(&self, batch: &RecordBatch, mask: &BooleanArray) -> Result<ArrayRef, OperatorError> {
        match &self.guarded {
            Some(selection) => selection.evaluate(&self.physical, batch, mask).map_err(|source| self.failed(source)),
            None => self.evaluate(batch),
        }
    }

    /// The rows for which it is true; NULL counts as false.
    pub(crate) fn evaluate_mask(&self, batch: &RecordBatch) -> Result<BooleanArray, OperatorError> {
        let values = self.evaluate(batch)?;
        let mask = values.as_boolean();
        Ok(if mask.nulls().is_some() { prep_null_mask_filter(mask) } else { mask.clone() })
    }

    /// Its value, if it is a constant.
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

    /// The same expression over a schema with the same column names at other indexes.
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
