//! Tables whose newest rows are state of the job (`thalweg-operators`), and are asked over HTTP: the texts of requests as keys.
//!
//! Nothing is written here, so such a table has no writer; the runtime keeps its rows.

use std::collections::BTreeSet;

use arrow::{
    array::ArrayRef,
    datatypes::{Field, Schema, SchemaRef},
};
use futures::FutureExt as _;
use thalweg_functions::names::sql_type;

use crate::{
    connector::{Connector, Sink, publishes_nothing},
    csv::read_value,
    json::{JsonWriter, timestamp::TimestampForm},
    options::Options,
};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "queryable",
    source: None,
    sink: Some(Sink {
        writer: |table, _| {
            let options = Options::new(&table.spec.table, &table.spec.connector);
            Err(options.error("its rows are state of the job, and nothing writes them"))
        },
        committer: publishes_nothing,
        check: Some(|table, _| {
            // Answers are JSON, so a column that JSON cannot hold is told before the job runs.
            let options = Options::new(&table.spec.table, &table.spec.connector);
            let written = JsonWriter::new(table.schema, TimestampForm::Sql).map_err(|reason| options.error(reason));
            std::future::ready(written.map(drop)).boxed()
        }),
    }),
};

/// Why texts are no values of a key's first columns: what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// The values of the first columns of a key, each a column of one row, of texts by the columns' names.
///
/// # Errors
/// If a text is no value of its column, or they are not of the first columns of the key. Says what was expected.
pub fn key_of_texts(schema: &Schema, key: &[usize], texts: &[(String, String)]) -> Result<Vec<ArrayRef>, KeyError> {
    values_of(schema, key, texts).map_err(KeyError)
}

fn values_of(schema: &Schema, key: &[usize], texts: &[(String, String)]) -> Result<Vec<ArrayRef>, String> {
    let fields: Vec<&Field> = key.iter().filter_map(|column| schema.fields().get(*column)).map(AsRef::as_ref).collect();
    let names = || fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    let mut given = BTreeSet::new();
    for (name, _) in texts {
        if !fields.iter().any(|field| field.name() == name) {
            return Err(format!("{} is no column of the table's key, which is ({})", shown(name), names()));
        }
        if !given.insert(name.as_str()) {
            return Err(format!("{} is given twice", shown(name)));
        }
    }
    let (first, rest) = fields.split_at(texts.len().min(fields.len()));
    if let Some(missing) = first.iter().find(|field| !given.contains(field.name().as_str())) {
        let later = rest.iter().find(|field| given.contains(field.name().as_str()));
        let later = later.map_or("", |field| field.name());
        return Err(format!("{later} needs {} too, since the table's key is ({})", missing.name(), names()));
    }
    first.iter().map(|field| value_of(field, texts)).collect()
}

fn value_of(field: &Field, texts: &[(String, String)]) -> Result<ArrayRef, String> {
    let text = texts.iter().find(|(name, _)| name == field.name()).map_or("", |(_, text)| text.as_str());
    let schema: SchemaRef = Schema::new(vec![field.clone()]).into();
    let rows = read_value(&schema, text)
        .map_err(|_| format!("{}: expected {}, found {}", field.name(), sql_type(field.data_type()), shown(text)))?;
    Ok(rows.column(0).clone())
}

/// What a client has sent, quoted and shortened: it may be anything.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    let rest = if characters.next().is_some() { "…" } else { "" };
    format!("'{beginning}{rest}'")
}

#[cfg(test)]
mod tests;
