//! The formats of files. Files and the standard input ask for one by the table's `'format'`, never for one of a name. What is POSTed,
//! printed or set aside is JSON.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::{
    ConnectorError, avro, csv,
    format::{Format, LineFormat, Ranges},
    json,
    options::Options,
    parquet,
};

/// All formats of files; each has a spec of its name.
const FORMATS: &[Format] = &[json::FORMAT, csv::FORMAT, parquet::FORMAT, avro::FORMAT];

/// The format that a table names; `otherwise` if it names none.
///
/// # Errors
/// If there is no such format, or the table must name one.
pub(crate) fn format_of(
    options: &Options<'_>,
    otherwise: Option<&'static str>,
) -> Result<&'static Format, ConnectorError> {
    let name = match (options.text("format"), otherwise) {
        (None, Some(otherwise)) => otherwise,
        _ => options.required("format")?,
    };
    let found = FORMATS.iter().find(|format| format.name == name);
    found.ok_or_else(|| options.error(format!("there are no files of format '{name}'")))
}

/// The lines of a table whose records come one after the other, such as the standard input.
///
/// # Errors
/// As `format_of`; if the format has no lines; if it cannot hold the table's columns.
pub(crate) fn lines_of(
    options: &Options<'_>,
    otherwise: &'static str,
    schema: &SchemaRef,
) -> Result<Arc<dyn LineFormat>, ConnectorError> {
    let format = format_of(options, Some(otherwise))?;
    match format.ranges {
        Ranges::Lines(open) => open(options, schema),
        Ranges::RowGroups | Ranges::Blocks => Err(options.error(format!("format '{}' has no lines", format.name))),
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::connector;

    use super::FORMATS;

    #[test]
    fn every_format_has_a_spec_and_every_spec_a_format() {
        let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
        assert_eq!(
            names(&mut FORMATS.iter().map(|format| format.name)),
            names(&mut connector::FORMATS.iter().filter(|spec| spec.files).map(|spec| spec.name))
        );
    }
}
