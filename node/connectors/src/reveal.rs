//! Puts the contents of secrets in place of their names, on the node that opens a table.
//!
//! ```text
//! graph: 'password' = secret('db') --Secrets::resolve--> options of a copy, which the connector alone sees
//! ```
//!
//! They are read each time that a table is opened, so an attempt finds what has changed since the one before. The copy keeps the
//! names: by them `Debug` and errors know which of its values are nothing to show.

use std::borrow::Cow;

use thalweg_types::{
    connector::{TableConnector, find, is_secret_name},
    graph::{SinkOperator, SourceOperator},
};

use crate::{
    ConnectorError,
    secrets::{SecretError, Secrets},
};

/// The operator with the contents of its secrets in place.
pub(crate) fn of_source<'a>(
    spec: &'a SourceOperator,
    secrets: &dyn Secrets,
) -> Result<Cow<'a, SourceOperator>, ConnectorError> {
    Ok(match revealed(&spec.table, &spec.connector, secrets)? {
        Some(connector) => Cow::Owned(SourceOperator { connector, ..spec.clone() }),
        None => Cow::Borrowed(spec),
    })
}

/// The operator with the contents of its secrets in place.
pub(crate) fn of_sink<'a>(
    spec: &'a SinkOperator,
    secrets: &dyn Secrets,
) -> Result<Cow<'a, SinkOperator>, ConnectorError> {
    Ok(match revealed(&spec.table, &spec.connector, secrets)? {
        Some(connector) => Cow::Owned(SinkOperator { connector, ..spec.clone() }),
        None => Cow::Borrowed(spec),
    })
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
mod tests {
    use std::collections::BTreeMap;

    use thalweg_types::{job::FailureKind, text::with_causes};

    use super::*;
    use crate::{
        NoSecrets,
        testing::{sink, source},
    };

    #[derive(Debug)]
    struct Given(BTreeMap<&'static str, &'static str>);

    impl Secrets for Given {
        fn resolve(&self, name: &str) -> Result<String, SecretError> {
            let content = self.0.get(name).map(|content| (*content).to_owned());
            content.ok_or_else(|| SecretError::Missing { looked: format!("there is no file /s/{name}") })
        }
    }

    fn with_secret(option: &str, name: &str) -> SourceOperator {
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
        let mut spec = source("kafka", &[("topic", "t")], schema);
        spec.connector.secrets.insert(option.to_owned(), name.to_owned());
        spec
    }

    #[test]
    fn contents_are_put_in_place_of_names_and_never_shown() {
        let spec = with_secret("properties.sasl.username", "user");
        let secrets = Given([("user", "hunter2")].into());
        let revealed = of_source(&spec, &secrets).unwrap();
        assert_eq!(revealed.connector.option("properties.sasl.username"), Some("hunter2"));
        assert_eq!(spec.connector.option("properties.sasl.username"), None, "the graph's stays as it is");
        let debug = format!("{revealed:?}");
        assert!(debug.contains("secret('user')") && !debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn what_has_no_secrets_is_not_copied() {
        let spec = sink("print", &[]);
        assert!(matches!(of_sink(&spec, &NoSecrets).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn a_missing_secret_is_named_with_its_table_and_option_and_where_it_was_looked_for() {
        let error = of_source(&with_secret("properties.sasl.password", "db"), &Given(BTreeMap::new())).unwrap_err();
        assert_eq!(
            with_causes(&error),
            "table t: option 'properties.sasl.password' needs secret 'db': it was not found: there is no file /s/db"
        );
        assert_eq!(error.failure_kind(), FailureKind::Data, "another attempt would find no more");
        let spec = with_secret("properties.sasl.password", "../etc/passwd");
        let error = of_source(&spec, &Given([("../etc/passwd", "x")].into())).unwrap_err();
        assert!(with_causes(&error).ends_with("this cannot be the name of a secret"), "{error:?}");
    }

    #[test]
    fn a_secret_where_none_can_be_is_not_looked_for() {
        for option in ["properties.isolation.level", "properties.security.protocol", "topic", "nothing.such"] {
            let error = of_source(&with_secret(option, "level"), &Given([("level", "hunter2")].into())).unwrap_err();
            let told = with_causes(&error);
            assert!(told.ends_with("this option cannot be a secret") && !told.contains("hunter2"), "{told}");
            assert_eq!(error.failure_kind(), FailureKind::Data);
        }
    }
}
