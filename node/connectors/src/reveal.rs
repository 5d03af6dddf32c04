//! Puts the contents of secrets in place of their names, on the node that opens a table, and the files that options name in the form in
//! which the system reaches them.
//!
//! ```text
//! graph: 'password' = secret('db')    --Secrets::resolve---------> options of a copy, which the connector alone sees
//!        'ca.location' = 'links/ca'   --AllowedPaths, opened-----> '/etc/kafka/ca.pem'
//! ```
//!
//! A file is checked like every path that a table names, and opened once: clients that are given a path say of what they cannot read
//! little or nothing.
//!
//! They are read each time that a table is opened, so an attempt finds what has changed since the one before. The copy keeps the
//! names: by them `Debug` and errors know which of its values are nothing to show.

use std::{borrow::Cow, path::Path};

use thalweg_types::{
    connector::{OptionType, TableConnector, find, is_secret_name},
    graph::{SinkOperator, SourceOperator},
};

use crate::{
    AllowedPaths, ConnectorContext, ConnectorError,
    secrets::{SecretError, Secrets},
};

/// The operator with the contents of its secrets in place, and its files found.
pub(crate) fn of_source<'a>(
    spec: &'a SourceOperator,
    context: &ConnectorContext,
) -> Result<Cow<'a, SourceOperator>, ConnectorError> {
    Ok(match in_place(&spec.table, &spec.connector, context)? {
        Some(connector) => Cow::Owned(SourceOperator { connector, ..spec.clone() }),
        None => Cow::Borrowed(spec),
    })
}

/// As `of_source`.
pub(crate) fn of_sink<'a>(
    spec: &'a SinkOperator,
    context: &ConnectorContext,
) -> Result<Cow<'a, SinkOperator>, ConnectorError> {
    Ok(match in_place(&spec.table, &spec.connector, context)? {
        Some(connector) => Cow::Owned(SinkOperator { connector, ..spec.clone() }),
        None => Cow::Borrowed(spec),
    })
}

/// `None`: it has no secrets and names no files.
fn in_place(
    table: &str,
    connector: &TableConnector,
    context: &ConnectorContext,
) -> Result<Option<TableConnector>, ConnectorError> {
    let revealed = revealed(table, connector, &*context.secrets)?;
    let files = files_of(table, revealed.as_ref().unwrap_or(connector), &context.allowed)?;
    if revealed.is_none() && files.is_empty() {
        return Ok(None);
    }
    let mut in_place = revealed.unwrap_or_else(|| connector.clone());
    in_place.options.extend(files);
    Ok(Some(in_place))
}

/// The files that options name, as the system reaches them.
fn files_of(
    table: &str,
    connector: &TableConnector,
    allowed: &AllowedPaths,
) -> Result<Vec<(String, String)>, ConnectorError> {
    let Some(spec) = find(&connector.name) else { return Ok(Vec::new()) };
    let names_file = |key: &str| spec.option(key).is_some_and(|spec| spec.kind == OptionType::File);
    let mut files = Vec::new();
    for (key, path) in connector.options.iter().filter(|(key, _)| names_file(key)) {
        let wrong = |reason: String| {
            let reason = format!("option '{key}' = '{path}': {reason}");
            ConnectorError::Config { table: table.to_owned(), reason }
        };
        let reach = allowed.check_local(Path::new(path)).map_err(|error| wrong(error.to_string()))?;
        reach.open().map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
        let reached = reach.path().to_str().ok_or_else(|| wrong("it leads to a path that is not UTF-8".to_owned()))?;
        files.push((key.clone(), reached.to_owned()));
    }
    Ok(files)
}

/// `None`: it has no secrets.
fn revealed(
    table: &str,
    connector: &TableConnector,
    secrets: &dyn Secrets,
) -> Result<Option<TableConnector>, ConnectorError> {
    if connector.secrets.is_empty() {
        return Ok(None);
    }
    let mut revealed = connector.clone();
    for (option, name) in &connector.secrets {
        let content = match (takes_secret(connector, option), is_secret_name(name)) {
            (false, _) => Err(SecretError::Misplaced),
            (true, false) => Err(SecretError::Name),
            (true, true) => secrets.resolve(name),
        };
        let content = content.map_err(|source| ConnectorError::Secret {
            table: table.to_owned(),
            option: option.clone(),
            secret: name.clone(),
            source: Box::new(source),
        })?;
        revealed.options.insert(option.clone(), content);
    }
    Ok(Some(revealed))
}

/// Whether the option can be a secret, as the planner checks too.
fn takes_secret(connector: &TableConnector, option: &str) -> bool {
    let spec = find(&connector.name).and_then(|connector| connector.option(option));
    spec.is_some_and(|spec| spec.takes_secret(option))
}

#[cfg(test)]
mod tests;
