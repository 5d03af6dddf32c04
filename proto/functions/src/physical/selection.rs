//! Selects the rows of a batch that a guard lets through, and merges the values found for them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions, Scalar, UInt32Array,
    new_null_array,
};
use arrow::compute::{
    FilterBuilder, FilterPredicate,
    kernels::merge::{MergeIndex, merge, merge_n},
    not, prep_null_mask_filter,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{PhysicalExpr, utils::collect_columns};

/// The columns that some expressions read. Only these are copied for selected rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    columns: Vec<usize>,
}

impl Selection {
    /// For these expressions, over batches of one schema.
    #[must_use]
    pub fn of<'a>(expressions: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Self {
        let columns = expressions.into_iter().flat_map(collect_columns).map(|column| column.index());
        let mut columns: Vec<usize> = columns.collect();
        columns.sort_unstable();
        columns.dedup();
        Self { columns }
    }

    /// The rows of a batch for which a mask is true. Columns that no expression reads become columns of NULLs.
    fn select(&self, batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
        self.filter(batch, &self.predicate(mask))
    }

    /// The values of one of the expressions for the rows of a batch for which a mask (without NULLs) is true. The
    /// expression is not evaluated for the other rows, which are NULL.
    ///
    /// # Errors
    /// When it fails for one of those rows.
    pub fn evaluate(
        &self,
        expression: &Arc<dyn PhysicalExpr>,
        batch: &RecordBatch,
        mask: &BooleanArray,
    ) -> Result<ArrayRef> {
        let count = mask.true_count();
        if count == 0 {
            return Ok(new_null_array(&expression.data_type(batch.schema_ref())?, batch.num_rows()));
        }
        if count == batch.num_rows() {
            return expression.evaluate(batch)?.into_array(count);
        }
        let values = expression.evaluate(&self.select(batch, mask)?)?.into_array(count)?;
        let null = Scalar::new(new_null_array(values.data_type(), 1));
        Ok(merge(mask, &values, &null)?)
    }

    pub(super) fn predicate(&self, mask: &BooleanArray) -> FilterPredicate {
        let filter = FilterBuilder::new(mask);
        if self.columns.len() > 1 { filter.optimize() } else { filter }.build()
    }

    pub(super) fn filter(&self, batch: &RecordBatch, predicate: &FilterPredicate) -> Result<RecordBatch> {
        let rows = predicate.count();
        let schema = batch.schema_ref();
        let nothing: ArrayRef = Arc::new(NullArray::new(rows));
        let unread = Arc::new(Field::new("", DataType::Null, true));
        let mut fields = vec![unread; batch.num_columns()];
        let mut columns = vec![nothing; batch.num_columns()];
        for index in self.columns.iter().copied().filter(|index| *index < batch.num_columns()) {
            fields[index] = schema.fields()[index].clone();
            columns[index] = predicate.filter(batch.column(index))?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

/// A condition's values as booleans, one per row.
pub(super) fn booleans(value: &ColumnarValue, rows: usize) -> Result<BooleanArray> {
    let array = value.to_array(rows)?;
    let array = array.as_boolean_opt();
    array.cloned().ok_or_else(|| exec_datafusion_err!("a condition is of type {}", value.data_type()))
}

/// The rows for which a condition is true, as a mask without NULLs.
pub(super) fn mask(condition: &BooleanArray) -> BooleanArray {
    if condition.nulls().is_some() { prep_null_mask_filter(condition) } else { condition.clone() }
}

/// The values of a batch's rows, found in several steps.
pub(super) struct Results {
    data_type: DataType,
    rows: usize,
    found: Vec<ArrayRef>,
    /// For each row, which of the found arrays has its next value.
    places: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const NONE: Self = Self(u32::MAX);
}

impl MergeIndex for Place {
    fn index(&self) -> Option<usize> {
        if *self == Self::NONE { None } else { usize::try_from(self.0).ok() }
    }
}

impl Results {
    pub(super) fn new(data_type: &DataType, rows: usize) -> Self {
        Self { data_type: data_type.clone(), rows, found: Vec::new(), places: Vec::new() }
    }

    /// Adds values for rows that have none yet. The rows are in order; `None` stands for all rows.
    pub(super) fn add(&mut self, rows: Option<&UInt32Array>, value: ColumnarValue) -> Result<()> {
        let count = rows.map_or(self.rows, Array::len);
        let values = value.into_array(count)?;
        let values = if *values.data_type() == self.data_type {
            values
        } else {
            arrow::compute::cast(&values, &self.data_type)?
        };
        if self.places.is_empty() && count < self.rows {
            self.places = vec![Place::NONE; self.rows];
        }
        if let Some(rows) = rows.filter(|_| count < self.rows) {
            let next = u32::try_from(self.found.len()).ok().filter(|next| *next < u32::MAX);
            let next = next.ok_or_else(|| exec_datafusion_err!("too many branches"))?;
            for row in rows.values() {
                if let Some(place) = usize::try_from(*row).ok().and_then(|row| self.places.get_mut(row)) {
                    *place = Place(next);
                }
            }
        }
        self.found.push(values);
        Ok(())
    }

    /// The value of each row; NULL if none was found.
    pub(super) fn finish(self) -> Result<ColumnarValue> {
        if self.places.is_empty() {
            return match self.found.into_iter().next() {
                Some(all) => Ok(ColumnarValue::Array(all)),
                None => Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(&self.data_type)?)),
            };
        }
        let found: Vec<&dyn Array> = self.found.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(merge_n(&found, &self.places)?))
    }
}

/// The rows of a batch that no branch has taken yet.
pub(super) struct Rest<'a> {
    selection: &'a Selection,
    pub(super) batch: RecordBatch,
    /// The numbers of the rows in the whole batch; `None`: all of them.
    pub(super) rows: Option<UInt32Array>,
    /// A value for each row, such as the operand of a `CASE`.
    pub(super) beside: Option<ArrayRef>,
}

impl<'a> Rest<'a> {
    pub(super) fn all(selection: &'a Selection, batch: &RecordBatch, beside: Option<ArrayRef>) -> Self {
        Self { selection, batch: batch.clone(), rows: None, beside }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// The rows for which a mask (without NULLs) is true.
    pub(super) fn picked(&self, mask: &BooleanArray) -> Result<Self> {
        let predicate = self.selection.predicate(mask);
        let batch = self.selection.filter(&self.batch, &predicate)?;
        let rows = match &self.rows {
            Some(rows) => predicate.filter(rows)?.as_primitive().clone(),
            None => numbers_of(mask)?,
        };
        let beside = self.beside.as_ref().map(|beside| predicate.filter(beside)).transpose()?;
        Ok(Self { selection: self.selection, batch, rows: Some(rows), beside })
    }

    /// Splits off the rows for which a mask (without NULLs) is true; `None` if there are none.
    pub(super) fn split(&mut self, mask: &BooleanArray) -> Result<Option<Self>> {
        let taken = match mask.true_count() {
            0 => return Ok(None),
            all if all == mask.len() => {
                Self { selection: self.selection, batch: self.batch.clone(), rows: self.rows.clone(), beside: None }
            }
            _ => self.picked(mask)?,
        };
        *self = if taken.batch.num_rows() == mask.len() { self.none() } else { self.picked(&not(mask)?)? };
        Ok(Some(taken))
    }

    fn none(&self) -> Self {
        Self { selection: self.selection, batch: self.batch.slice(0, 0), rows: None, beside: None }
    }
}

fn numbers_of(mask: &BooleanArray) -> Result<UInt32Array> {
    let numbers = mask.values().set_indices().map(u32::try_from).collect::<Result<Vec<u32>, _>>();
    Ok(UInt32Array::from(numbers.map_err(|_| exec_datafusion_err!("a batch has too many rows"))?))
}
