//! Selects the leaves of a file to read: those of the wanted fields, by name at any depth.
//!
//! The leaves of a file's Arrow schema, in depth-first order, are those of its Parquet schema. So both are walked
//! together, whatever names the writer gave the levels between (`list.element`, `bag.array_element`, `key_value`, ..).

use ::parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::typed::key_and_value;

/// The leaves of these columns, as indexes in the file.
pub(super) fn leaves(wanted: &Fields, file: &ArrowReaderMetadata) -> Vec<usize> {
    let mut walk = Walk { next: 0, chosen: Vec::new() };
    walk.fields(wanted, file.schema().fields());
    if walk.next != file.parquet_schema().num_columns() {
        // The leaves do not match after all; read whole columns.
        let is_wanted = |leaf: &usize| {
            let path = file.parquet_schema().column(*leaf).path().parts().first().cloned();
            path.is_some_and(|root| wanted.iter().any(|field| *field.name() == root))
        };
        return (0..file.parquet_schema().num_columns()).filter(is_wanted).collect();
    }
    walk.chosen
}

/// The projection of these leaves.
pub(super) fn mask(leaves: &[usize], file: &ArrowReaderMetadata) -> ProjectionMask {
    ProjectionMask::leaves(file.parquet_schema(), leaves.iter().copied())
}

/// The item field of a list of any kind.
pub(super) fn item(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

struct Walk {
    /// The index of the next leaf.
    next: usize,
    chosen: Vec<usize>,
}

impl Walk {
    /// Chooses among the fields of a struct, or among the file's columns.
    fn fields(&mut self, wanted: &Fields, file: &Fields) {
        for field in file {
            match wanted.iter().find(|wanted| wanted.name() == field.name()) {
                Some(wanted) => self.choose(Some(wanted.data_type()), field.data_type()),
                None => self.pass(field.data_type()),
            }
        }
    }

    /// Chooses the wanted leaves of a field of the file; all of them if `wanted` is `None`.
    fn choose(&mut self, wanted: Option<&DataType>, file: &DataType) {
        match (wanted, file) {
            (Some(DataType::Struct(wanted)), DataType::Struct(fields)) => {
                let (before, first) = (self.chosen.len(), self.next);
                self.fields(wanted, fields);
                if self.chosen.len() == before {
                    // None of its fields is wanted, but one leaf is needed to tell whether the struct is null.
                    let behind = std::mem::replace(&mut self.next, first);
                    self.first_of(file);
                    self.next = behind;
                }
            }
            (wanted, DataType::Struct(fields)) => {
                let wanted = wanted.filter(|wanted| wanted.is_null());
                fields.iter().for_each(|field| self.choose(wanted, field.data_type()));
            }
            (Some(DataType::Map(wanted, _)), DataType::Map(entries, _)) => {
                let wanted = key_and_value(wanted);
                if let Some((key, value)) = key_and_value(entries) {
                    self.choose(wanted.map(|(key, _)| key.data_type()), key.data_type());
                    self.choose(wanted.map(|(_, value)| value.data_type()), value.data_type());
                }
            }
            (_, DataType::Map(entries, _)) => self.choose(None, entries.data_type()),
            (wanted, file) => match item(file) {
                Some(field) => self.choose(wanted.and_then(item).map(Field::data_type), field.data_type()),
                None => {
                    self.chosen.push(self.next);
                    self.next += 1;
                }
            },
        }
    }

    /// Chooses the fewest leaves that tell whether a field is null. A map needs both a key and a value.
    fn first_of(&mut self, file: &DataType) {
        match file {
            DataType::Struct(fields) => {
                let mut fields = fields.iter();
                if let Some(first) = fields.next() {
                    self.first_of(first.data_type());
                }
                fields.for_each(|field| self.pass(field.data_type()));
            }
            DataType::Map(entries, _) => {
                if let Some((key, value)) = key_and_value(entries) {
                    self.choose(None, key.data_type());
                    self.first_of(value.data_type());
                }
            }
            file => match item(file) {
                Some(field) => self.first_of(field.data_type()),
                None => self.choose(None, file),
            },
        }
    }

    /// Skips a field.
    fn pass(&mut self, file: &DataType) {
        match file {
            DataType::Struct(fields) => fields.iter().for_each(|field| self.pass(field.data_type())),
            DataType::Map(entries, _) => self.pass(entries.data_type()),
            file => match item(file) {
                Some(field) => self.pass(field.data_type()),
                None => self.next += 1,
            },
        }
    }
}

/// The schema to read a file with: text and bytes as views, which share the decoded pages, so that a value repeated in
/// many rows is stored once.
pub(super) fn with_views(schema: &SchemaRef) -> Schema {
    Schema::new_with_metadata(fields_with_views(schema.fields()), schema.metadata().clone())
}

fn fields_with_views(fields: &Fields) -> Fields {
    fields.iter().map(|field| field_with_views(field)).collect()
}

fn field_with_views(field: &Field) -> Field {
    let inner = |field: &Field| std::sync::Arc::new(field_with_views(field));
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields_with_views(fields)),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::ListView(item) => DataType::ListView(inner(item)),
        DataType::LargeListView(item) => DataType::LargeListView(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(inner(entries), *is_sorted),
        DataType::Dictionary(_, values) => match values.as_ref() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            _ => field.data_type().clone(),
        },
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}
