//! Projections: output columns as expressions over an input.

use arrow::array::BooleanArray;
use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{Schema, SchemaRef};
use std::{collections::BTreeSet, sync::Arc};
use thalweg_types::ExprBytes;

use crate::{
    OperatorError,
    error::{arrow_error, build_error},
    expr::Expression,
};

/// Converts batches of one schema to another.
#[derive(Debug)]
pub(crate) struct Projector {
    output: SchemaRef,
    /// Expressions over the input; `None` to pass the input columns on.
    columns: Option<Vec<Expression>>,
    /// For use behind a filter: the input columns that are read, and `columns` over only these.
    narrow: Option<Narrow>,
}

#[derive(Debug)]
struct Narrow {
    inputs: Vec<usize>,
    schema: SchemaRef,
    columns: Vec<Expression>,
}

impl Projector {
    pub(crate) fn new(
        projection: Option<&[ExprBytes]>,
        input: &SchemaRef,
        output: SchemaRef,
        operator: &str,
    ) -> Result<Self, OperatorError> {
        let columns = match projection {
            Some(expressions) => Some(compile_columns(expressions, input, &output, operator)?),
            None if input.fields().len() == output.fields().len() => None,
            None => return Err(build_error(operator)("it passes its input on under another number of columns")),
        };
        let narrow = columns.as_deref().and_then(|columns| Narrow::of(columns, input));
        Ok(Self { output, columns, narrow })
    }

    /// The projection of a batch.
    pub(crate) fn project(&self, batch: RecordBatch) -> Result<RecordBatch, OperatorError> {
        match &self.columns {
            None => self.rename(batch),
            Some(columns) => self.evaluate(columns, &batch),
        }
    }

    /// Projects the `rows` rows of a batch that a mask (without NULLs) selects. Filters only the columns that are read.
    pub(crate) fn project_selected(
        &self,
        batch: &RecordBatch,
        mask: &BooleanArray,
        rows: usize,
    ) -> Result<RecordBatch, OperatorError> {
        let (source, columns) = match (&self.narrow, &self.columns) {
            (Some(narrow), _) => (narrow.pick(batch)?, Some(&narrow.columns)),
            (None, columns) => (batch.clone(), columns.as_ref()),
        };
        let filter = FilterBuilder::new(mask);
        let filter = if source.num_columns() > 1 { filter.optimize() } else { filter }.build();
        let arrays: Result<Vec<_>, _> = source.columns().iter().map(|column| filter.filter(column)).collect();
        let arrays = arrays.map_err(arrow_error("filter a batch"))?;
        let selected = batch_of(&source.schema(), arrays, rows)?;
        match columns {
            None => self.rename(selected),
            Some(columns) => self.evaluate(columns, &selected),
        }
    }

    fn evaluate(&self, columns: &[Expression], batch: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        let fields = self.output.fields().iter();
        let arrays: Result<Vec<_>, _> =
            columns.iter().zip(fields).map(|(column, field)| column.evaluate_for(field, batch)).collect();
        batch_of(&self.output, arrays?, batch.num_rows())
    }

    fn rename(&self, batch: RecordBatch) -> Result<RecordBatch, OperatorError> {
        if Arc::ptr_eq(&self.output, batch.schema_ref()) {
            return Ok(batch);
        }
        batch_of(&self.output, batch.columns().to_vec(), batch.num_rows())
    }
}

impl Narrow {
    /// `None` if every input column is read, or if a column cannot be found by name again.
    fn of(columns: &[Expression], input: &SchemaRef) -> Option<Self> {
        let inputs: BTreeSet<usize> = columns.iter().flat_map(Expression::columns).collect();
        if inputs.len() == input.fields().len() {
            return None;
        }
        let fields: Vec<_> = inputs.iter().map(|index| input.fields()[*index].clone()).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let columns: Result<Vec<_>, _> = columns.iter().map(|column| column.over(&schema)).collect();
        Some(Self { inputs: inputs.into_iter().collect(), schema, columns: columns.ok()? })
    }

    fn pick(&self, batch: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        let arrays = self.inputs.iter().map(|index| batch.column(*index).clone()).collect();
        batch_of(&self.schema, arrays, batch.num_rows())
    }
}

fn compile_columns(
    expressions: &[ExprBytes],
    input: &SchemaRef,
    output: &SchemaRef,
    operator: &str,
) -> Result<Vec<Expression>, OperatorError> {
    if expressions.len() != output.fields().len() {
        let reason = format!("{} expressions for {} columns", expressions.len(), output.fields().len());
        return Err(build_error(operator)(reason));
    }
    let columns = expressions.iter().zip(output.fields());
    columns.map(|(bytes, field)| Expression::compile(bytes, input, Some(field.data_type()), operator)).collect()
}

/// A batch with an explicit number of rows, since it may have no columns.
pub(crate) fn batch_of(
    schema: &SchemaRef,
    columns: Vec<arrow::array::ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, OperatorError> {
    debug_assert!(columns.iter().all(|column| column.len() == rows));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(arrow_error("lay out columns as the plan says"))
}
