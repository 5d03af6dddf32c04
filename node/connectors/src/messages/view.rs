//! The format of one part of a table's messages, with its options as if the table had that part alone.

use thalweg_types::connector::{TableConnector, find_format};

use super::Part;
use crate::{ConnectorError, options::Options};

/// A part's format and its options. Not to be shown: some are secret.
pub(super) struct FormatView {
    table: String,
    connector: TableConnector,
    name: &'static str,
}

impl FormatView {
    /// The format that a table names for a part: `key.format`; `value.format` or `format`. Its options stand as `key.x` for
    /// keys, as `value.x` or `x` for values, where `x` is the option's key, such as `json.timestamp-format`.
    pub(super) fn new(options: &Options<'_>, part: Part) -> Result<Self, ConnectorError> {
        let (key, prefixes): (_, &[&str]) = match part {
            Part::Key => ("key.format", &["key."]),
            Part::Value if options.is_set("value.format") => ("value.format", &["value.", ""]),
            Part::Value => ("format", &["value.", ""]),
        };
        let name = options.required(key)?;
        let Some(spec) = find_format(name) else {
            return Err(options.error(format!("option '{key}' = '{name}': there is no such format")));
        };
        let mut connector = options.connector().clone();
        let given = std::mem::take(&mut connector.options);
        connector.options.insert("format".to_owned(), name.to_owned());
        for option in spec.options {
            let found = prefixes.iter().find_map(|prefix| given.get(&format!("{prefix}{}", option.key)));
            connector.options.extend(found.map(|value| (option.key.to_owned(), value.clone())));
        }
        Ok(Self { table: options.table().to_owned(), connector, name: spec.name })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The options, without prefixes.
    pub(super) fn options(&self) -> Options<'_> {
        Options::new(&self.table, &self.connector)
    }
}
