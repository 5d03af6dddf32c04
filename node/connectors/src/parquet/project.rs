//! Which leaves of a file are read: those of the fields that are asked for, by name at any depth.
//!
//! The leaves of a file's Arrow schema, first child first, are those of its Parquet schema. So both are walked together, however
//! the writer has named what lies between (`list.element`, `bag.array_element`, `key_value`, ..).

use ::parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

/// The leaves of these columns, by their index in the file.
pub(super) fn leaves(wanted: &Fields, file: &ArrowReaderMetadata) -> Vec<usize> {
    let mut walk = Walk { next: 0, chosen: Vec::new() };
    walk.fields(wanted, file.schema().fields());
    if walk.next != file.parquet_schema().num_columns() {
        // Not the same leaves after all: whole columns are read then.
        let is_wanted = |leaf: &usize| {
            let path = file.parquet_schema().column(*leaf).path().parts().first().cloned();
            path.is_some_and(|root| wanted.iter().any(|field| *field.name() == root))
        };
        return (0..file.parquet_schema().num_columns()).filter(is_wanted).collect();
    }
    walk.chosen
}

/// What reads these leaves alone.
pub(super) fn mask(leaves: &[usize], file: &ArrowReaderMetadata) -> ProjectionMask {
    ProjectionMask::leaves(file.parquet_schema(), leaves.iter().copied())
}

/// The items of a list of any kind.
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

/// The key and the value of a map's entries.
pub(super) fn key_and_value(entries: &Field) -> Option<(&Field, &Field)> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    }
}

struct Walk {
    /// The index of the next leaf.
    next: usize,
    chosen: Vec<usize>,
}

impl Walk {
    /// The fields of a struct, or the file's columns.
    fn fields(&mut self, wanted: &Fields, file: &Fields) {
        for field in file {
            match wanted.iter().find(|wanted| wanted.name() == field.name()) {
                Some(wanted) => self.choose(Some(wanted.data_type()), field.data_type()),
                None => self.pass(field.data_type()),
            }
        }
    }

    /// Chooses what is wanted of a field that the file has; all of it, where nothing is known of what is wanted.
    fn choose(&mut self, wanted: Option<&DataType>, file: &DataType) {
        match (wanted, file) {
            (Some(DataType::Struct(wanted)), DataType::Struct(fields)) => {
                let (before, first) = (self.chosen.len(), self.next);
                self.fields(wanted, fields);
                if self.chosen.len() == before {
                    // None of its fields is wanted: any leaf tells whether it is null.
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

    /// The least that tells where a field is null: a map without a key or a value is none.
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

    /// Leaves a field out.
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

/// The schema as which a file is read: text and bytes as views, which share the pages that they were read from. So a value that
/// very many rows have is there once.
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
