//! Parses a table's options. Planning has checked them against the connector's spec, so a mistake that is left is an
//! error.

use std::{str::FromStr, time::Duration};

use thalweg_types::{
    connector::{DeliveryError, TableConnector},
    settings::{parse_bytes, parse_duration},
};

use crate::ConnectorError;

/// A table's options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    table: &'a str,
    connector: &'a TableConnector,
}

impl<'a> Options<'a> {
    pub(crate) fn new(table: &'a str, connector: &'a TableConnector) -> Self {
        Self { table, connector }
    }

    pub(crate) fn table(&self) -> &'a str {
        self.table
    }

    pub(crate) fn connector(&self) -> &'a TableConnector {
        self.connector
    }

    /// What planning has checked.
    pub(crate) fn checked<T>(
        &self,
        read: impl FnOnce(&'a TableConnector) -> Result<T, DeliveryError>,
    ) -> Result<T, ConnectorError> {
        read(self.connector).map_err(|error| self.error(error.to_string()))
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> ConnectorError {
        ConnectorError::Config { table: self.table.to_owned(), reason: reason.into() }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.connector.option(key).filter(|value| !value.is_empty())
    }

    /// Whether the table sets an option itself, rather than by default.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.connector.options.get(key).is_some_and(|value| !value.is_empty())
    }

    pub(crate) fn required(&self, key: &str) -> Result<&'a str, ConnectorError> {
        self.text(key).ok_or_else(|| self.error(format!("option '{key}' is missing")))
    }

    pub(crate) fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ConnectorError> {
        self.parsed(key, |value| value.parse().ok(), "a number")
    }

    pub(crate) fn duration(&self, key: &str) -> Result<Option<Duration>, ConnectorError> {
        self.parsed(key, parse_duration, "a duration such as '10 s'")
    }

    pub(crate) fn bytes(&self, key: &str) -> Result<Option<u64>, ConnectorError> {
        self.parsed(key, parse_bytes, "a size such as '64 MiB'")
    }

    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// The options whose keys begin with `prefix`, with the prefix removed from the keys.
    pub(crate) fn below(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let options = self.connector.options.iter();
        options.filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, ConnectorError> {
        let Some(value) = self.text(key) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                let shown = if self.connector.hides(key) { String::new() } else { format!(" = '{value}'") };
                Err(self.error(format!("option '{key}'{shown}: expected {expected}")))
            }
        }
    }
}
