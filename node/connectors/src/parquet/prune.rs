//! Skips row groups whose statistics show that no row can satisfy a predicate.
//!
//! Statistics are bounds: possibly wider than the values, never narrower. They describe the file's values, but a
//! predicate applies to the table's, so times are first rounded down as the table's column does. A group is read if the
//! statistics do not decide.

use std::cmp::Ordering;

use ::parquet::{
    arrow::arrow_reader::ArrowReaderMetadata,
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use arrow::datatypes::{DataType, Fields, TimeUnit};
use thalweg_types::graph::{ColumnPredicate, Comparison, PredicateValue};

/// The row groups of a range that may hold a row that satisfies all predicates. `wanted` are the table's columns.
pub(super) fn keep(
    metadata: &ArrowReaderMetadata,
    groups: std::ops::Range<usize>,
    predicates: &[ColumnPredicate],
    wanted: &Fields,
) -> Vec<usize> {
    let types = |predicate: &ColumnPredicate| Types {
        file: arrow_type(metadata.schema().fields(), &predicate.path),
        table: arrow_type(wanted, &predicate.path),
    };
    let may_match =
        |group: &RowGroupMetaData| predicates.iter().all(|predicate| !rules_out(group, predicate, types(predicate)));
    let row_groups = metadata.metadata().row_groups();
    groups.filter(|index| row_groups.get(*index).is_some_and(may_match)).collect()
}

/// The types of a column in the file and in the table.
#[derive(Debug, Clone, Copy)]
struct Types<'a> {
    file: Option<&'a DataType>,
    table: Option<&'a DataType>,
}

fn arrow_type<'a>(fields: &'a Fields, path: &[String]) -> Option<&'a DataType> {
    let (name, below) = path.split_first()?;
    let data_type = fields.iter().find(|field| field.name() == name)?.data_type();
    match data_type {
        _ if below.is_empty() => Some(data_type),
        DataType::Struct(fields) => arrow_type(fields, below),
        _ => None,
    }
}

fn rules_out(group: &RowGroupMetaData, predicate: &ColumnPredicate, types: Types<'_>) -> bool {
    let is_it = |path: &[String]| path == predicate.path.as_slice();
    let Some(column) = group.columns().iter().find(|column| is_it(column.column_path().parts())) else {
        return false;
    };
    let (Some(statistics), Some(data_type)) = (column.statistics(), types.file) else { return false };
    let rows = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
    let nulls = statistics.null_count_opt();
    match (predicate.comparison, &predicate.value) {
        (Comparison::IsNull, _) => nulls == Some(0),
        (Comparison::IsNotNull, _) => nulls == Some(rows),
        (comparison, Some(value)) => {
            let (low, high) = bounds(statistics, data_type, types.table, value);
            no_value_fits(comparison, low, high)
        }
        (_, None) => false,
    }
}

/// How the minimum and maximum compare with the constant, if that is known.
fn bounds(
    statistics: &Statistics,
    data_type: &DataType,
    table: Option<&DataType>,
    value: &PredicateValue,
) -> (Option<Ordering>, Option<Ordering>) {
    let is_unsigned = data_type.is_unsigned_integer();
    match (statistics, value) {
        (Statistics::Int32(s), PredicateValue::Integer(v)) if !is_unsigned && data_type.is_integer() => {
            (s.min_opt().map(|min| i64::from(*min).cmp(v)), s.max_opt().map(|max| i64::from(*max).cmp(v)))
        }
        (Statistics::Int64(s), PredicateValue::Integer(v)) if !is_unsigned && data_type.is_integer() => {
            (s.min_opt().map(|min| min.cmp(v)), s.max_opt().map(|max| max.cmp(v)))
        }
        (Statistics::Int64(s), PredicateValue::TimestampMicros(v)) => {
            let (DataType::Timestamp(unit, _), Some(DataType::Timestamp(rounded_to, _))) = (data_type, table) else {
                return (None, None);
            };
            let step = in_nanos(1, *rounded_to);
            let compare = |bound: &i64| {
                let floor = in_nanos(*bound, *unit).div_euclid(step) * step;
                floor.cmp(&(i128::from(*v) * 1000))
            };
            (s.min_opt().map(compare), s.max_opt().map(compare))
        }
        // Old writers compared bytes as signed, and wrote the bounds into fields that are now deprecated.
        (Statistics::ByteArray(s), PredicateValue::Text(v))
            if !data_type.is_binary() && !statistics.is_min_max_deprecated() =>
        {
            let compare = |bound: &[u8]| bound.cmp(v.as_bytes());
            (s.min_opt().map(|min| compare(min.data())), s.max_opt().map(|max| compare(max.data())))
        }
        _ => (None, None),
    }
}

fn in_nanos(value: i64, unit: TimeUnit) -> i128 {
    let factor = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    i128::from(value) * factor
}

fn no_value_fits(comparison: Comparison, low: Option<Ordering>, high: Option<Ordering>) -> bool {
    let (Some(low), Some(high)) = (low, high) else { return false };
    match comparison {
        Comparison::Equal => low.is_gt() || high.is_lt(),
        Comparison::Less => low.is_ge(),
        Comparison::LessOrEqual => low.is_gt(),
        Comparison::Greater => high.is_le(),
        Comparison::GreaterOrEqual => high.is_lt(),
        Comparison::NotEqual | Comparison::IsNull | Comparison::IsNotNull => false,
    }
}

#[cfg(test)]
mod tests;
