//! Sums and averages of the distinct integers or decimals of groups.

use std::{collections::HashSet, mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, PrimitiveArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Decimal128Type, Field, Int64Type, i256},
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};

use super::totals::{Finish, only};

/// The state: a list of a group's distinct values.
pub(super) fn state_type(values: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(values.clone(), true)))
}

pub(super) struct DistinctTotals {
    values: DataType,
    finish: Finish,
    groups: Vec<HashSet<i128>>,
}

impl DistinctTotals {
    pub(super) fn new(values: DataType, finish: Finish) -> Self {
        Self { values, finish, groups: Vec::new() }
    }

    fn add(&mut self, group: usize, column: &ArrayRef, rows: impl Iterator<Item = usize>) -> Result<()> {
        let group = &mut self.groups[group];
        match column.data_type() {
            DataType::Int64 => {
                let column = column.as_primitive::<Int64Type>();
                group.extend(rows.filter(|row| column.is_valid(*row)).map(|row| i128::from(column.value(row))));
            }
            DataType::Decimal128(_, _) => {
                let column = column.as_primitive::<Decimal128Type>();
                group.extend(rows.filter(|row| column.is_valid(*row)).map(|row| column.value(row)));
            }
            other => return exec_err!("{other} cannot be summed as {}", self.values),
        }
        Ok(())
    }

    fn column_of(&self, values: Vec<i128>) -> Result<ArrayRef> {
        if self.values == DataType::Int64 {
            let narrow = |value| i64::try_from(value).map_err(|_| exec_datafusion_err!("{value} does not fit BIGINT"));
            return Ok(Arc::new(values.into_iter().map(narrow).collect::<Result<Vec<i64>>>().map(Int64Array::from)?));
        }
        let decimals = PrimitiveArray::<Decimal128Type>::from_iter_values(values);
        Ok(Arc::new(decimals.with_data_type(self.values.clone())))
    }
}

impl GroupsAccumulator for DistinctTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, HashSet::new);
        let column = only(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                self.add(*group, column, std::iter::once(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let finish = self.finish;
        let results = emit_to.take_needed(&mut self.groups).into_iter().enumerate().map(|(number, group)| {
            if group.is_empty() {
                return Ok(None);
            }
            let count = i64::try_from(group.len()).map_err(|_| exec_datafusion_err!("too many distinct values"))?;
            // Fewer than 2^63 values of 128 bits: their sum fits 256 bits.
            let sum = group.into_iter().fold(i256::ZERO, |sum, value| sum.wrapping_add(i256::from_i128(value)));
            finish.of(sum, count).map(Some).ok_or_else(|| finish.overflow(number, sum, count).into())
        });
        finish.column(results.collect::<Result<_>>()?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(HashSet::len));
        let mut values = Vec::with_capacity(groups.iter().map(HashSet::len).sum());
        for group in groups {
            let from = values.len();
            values.extend(group);
            values[from..].sort_unstable();
        }
        let item = Arc::new(Field::new_list_field(self.values.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(item, offsets, self.column_of(values)?, None)?)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize_with(total_num_groups, HashSet::new);
        let Some(lists) = only(values)?.as_list_opt::<i32>() else { return exec_err!("a partial is no list") };
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| lists.is_valid(*row)) {
            let list = lists.value(row);
            self.add(*group, &list, 0..list.len())?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = only(values)?.len();
        let mut each = Self::new(self.values.clone(), self.finish);
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let held: usize = self.groups.iter().map(HashSet::capacity).sum();
        self.groups.capacity() * size_of::<HashSet<i128>>() + held * (size_of::<i128>() + 1)
    }
}
