use std::collections::BTreeMap;

use thalweg_types::{job::FailureKind, text::with_causes};

use super::*;
use crate::testing::{context, sink, source};

#[derive(Debug)]
struct Given(BTreeMap<&'static str, &'static str>);

impl Secrets for Given {
    fn resolve(&self, name: &str) -> Result<String, SecretError> {
        let content = self.0.get(name).map(|content| (*content).to_owned());
        content.ok_or_else(|| SecretError::Missing { looked: format!("there is no file /s/{name}") })
    }
}

fn with(secrets: Given) -> ConnectorContext {
    ConnectorContext { secrets: std::sync::Arc::new(secrets), ..context() }
}

fn with_secret(option: &str, name: &str) -> SourceOperator {
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    let mut spec = source("kafka", &[("topic", "t")], schema);
    spec.connector.secrets.insert(option.to_owned(), name.to_owned());
    spec
}

#[tokio::test]
async fn contents_are_put_in_place_of_names_and_never_shown() {
    let spec = with_secret("properties.sasl.username", "user");
    let revealed = of_source(&spec, &with(Given([("user", "hunter2")].into()))).unwrap();
    assert_eq!(revealed.connector.option("properties.sasl.username"), Some("hunter2"));
    assert_eq!(spec.connector.option("properties.sasl.username"), None, "the graph's stays as it is");
    let debug = format!("{revealed:?}");
    assert!(debug.contains("secret('user')") && !debug.contains("hunter2"), "{debug}");
}

#[tokio::test]
async fn what_has_no_secrets_is_not_copied() {
    let spec = sink("print", &[]);
    assert!(matches!(of_sink(&spec, &context()).unwrap(), Cow::Borrowed(_)));
}

#[tokio::test]
async fn a_missing_secret_is_named_with_its_table_and_option_and_where_it_was_looked_for() {
    let error = of_source(&with_secret("properties.sasl.password", "db"), &with(Given(BTreeMap::new()))).unwrap_err();
    assert_eq!(
        with_causes(&error),
        "table t: option 'properties.sasl.password' needs secret 'db': it was not found: there is no file /s/db"
    );
    assert_eq!(error.failure_kind(), FailureKind::Data, "another attempt would find no more");
    let spec = with_secret("properties.sasl.password", "../etc/passwd");
    let error = of_source(&spec, &with(Given([("../etc/passwd", "x")].into()))).unwrap_err();
    assert!(with_causes(&error).ends_with("this cannot be the name of a secret"), "{error:?}");
}

#[tokio::test]
async fn a_secret_where_none_can_be_is_not_looked_for() {
    for option in ["properties.isolation.level", "properties.security.protocol", "topic", "nothing.such"] {
        let error = of_source(&with_secret(option, "level"), &with(Given([("level", "hunter2")].into()))).unwrap_err();
        let told = with_causes(&error);
        assert!(told.ends_with("this option cannot be a secret") && !told.contains("hunter2"), "{told}");
        assert_eq!(error.failure_kind(), FailureKind::Data);
    }
}

/// A table of a topic, which is read by a client with this file of authorities.
fn with_authority(path: &Path) -> SourceOperator {
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    let path = path.to_str().unwrap();
    source("kafka", &[("topic", "t"), ("properties.ssl.ca.location", path), ("properties.client.id", path)], schema)
}

#[tokio::test]
async fn a_client_reads_no_file_that_tables_may_not_name() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().canonicalize().unwrap();
    let (open, closed) = (home.join("open"), home.join("closed"));
    for place in [&open, &closed] {
        std::fs::create_dir(place).unwrap();
        std::fs::write(place.join("ca.pem"), "x").unwrap();
    }
    std::os::unix::fs::symlink(closed.join("ca.pem"), open.join("out")).unwrap();
    std::os::unix::fs::symlink("ca.pem", open.join("in")).unwrap();
    let allowed = AllowedPaths::below([open.to_str().unwrap()], None).unwrap().of("the node");
    let context = ConnectorContext { allowed, ..context() };
    let told = |path: &Path| with_causes(&of_source(&with_authority(path), &context).unwrap_err());

    let spec = with_authority(&open.join("in"));
    let found = of_source(&spec, &context).unwrap();
    let ca = open.join("ca.pem");
    assert_eq!(found.connector.option("properties.ssl.ca.location"), ca.to_str(), "as the system reaches it");
    assert_eq!(found.connector.option("properties.client.id"), open.join("in").to_str(), "this names no file");

    // What is there and what is not are told alike.
    let outside = |path: &Path| told(path).replace(path.to_str().unwrap(), "PATH");
    assert_eq!(outside(&closed.join("ca.pem")), outside(&closed.join("nothing")));
    assert!(outside(&closed.join("ca.pem")).contains("only those below"), "{}", outside(&closed.join("ca.pem")));
    assert!(told(&open.join("out")).contains("only those below"));
    for (path, reason) in [("nothing", "No such file"), (".", "it is not a regular file")] {
        let path = open.join(path);
        let told = told(&path);
        assert!(told.starts_with("table t: option 'properties.ssl.ca.location' = '"), "{told}");
        assert!(told.contains(path.to_str().unwrap()) && told.contains(reason), "{told}");
    }
}

#[tokio::test]
async fn where_secrets_are_no_client_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kafka-password");
    std::fs::write(&file, "hunter2").unwrap();
    let context = context();
    assert!(of_source(&with_authority(&file), &context).is_ok());
    context.allowed.refuse(directory.path().to_str().unwrap());
    assert!(of_source(&with_authority(&file), &context).is_err());
}
