//! Timestamps of the deprecated type `INT96`, read as microseconds.
//!
//! Arrow would read them as nanoseconds, which overflow: year 9999 becomes 1816. The last three digits are cut off.

use std::sync::Arc;

use ::parquet::{arrow::arrow_reader::ArrowReaderMetadata, basic::Type, schema::types::SchemaDescriptor};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};

/// The schema, with microseconds for the file's `INT96` columns. It must have the file's leaves, in their order.
pub(super) fn in_micros(schema: &Schema, file: &ArrowReaderMetadata) -> Schema {
    let mut walk = Walk { leaves: file.parquet_schema(), next: 0 };
    Schema::new_with_metadata(walk.fields(schema.fields()), schema.metadata().clone())
}

/// Whether a file has `INT96` columns.
pub(super) fn is_in(file: &ArrowReaderMetadata) -> bool {
    let leaves = file.parquet_schema();
    (0..leaves.num_columns()).any(|leaf| leaves.column(leaf).physical_type() == Type::INT96)
}

struct Walk<'a> {
    leaves: &'a SchemaDescriptor,
    next: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &Fields) -> Fields {
        fields.iter().map(|field| self.field(field)).collect()
    }

    fn field(&mut self, field: &FieldRef) -> FieldRef {
        let data_type = match field.data_type() {
            DataType::Struct(fields) => DataType::Struct(self.fields(fields)),
            DataType::List(item) => DataType::List(self.field(item)),
            DataType::LargeList(item) => DataType::LargeList(self.field(item)),
            DataType::ListView(item) => DataType::ListView(self.field(item)),
            DataType::LargeListView(item) => DataType::LargeListView(self.field(item)),
            DataType::FixedSizeList(item, length) => DataType::FixedSizeList(self.field(item), *length),
            DataType::Map(entries, is_sorted) => DataType::Map(self.field(entries), *is_sorted),
            leaf => self.leaf(leaf),
        };
        Arc::new(Field::clone(field).with_data_type(data_type))
    }

    fn leaf(&mut self, data_type: &DataType) -> DataType {
        let is_old =
            self.next < self.leaves.num_columns() && self.leaves.column(self.next).physical_type() == Type::INT96;
        self.next += 1;
        match data_type {
            DataType::Timestamp(TimeUnit::Nanosecond, zone) if is_old => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            other => other.clone(),
        }
    }
}
