use std::collections::BTreeMap;

use thalweg_types::{connector::is_secret_name, job::FailureKind};

use super::*;
use crate::{
    ConnectorContext, Notices, SecretError, Secrets, check_sink, open_source,
    testing::{context, identity, open_sink_committer, open_sink_writer, schema, settings, sink, source},
};

const SECRET: &str = "hunter-of-file";

#[derive(Debug)]
struct Given(BTreeMap<&'static str, &'static str>);

impl Secrets for Given {
    fn resolve(&self, name: &str) -> Result<String, SecretError> {
        assert!(is_secret_name(name));
        self.0.get(name).map(|content| (*content).to_owned()).ok_or(SecretError::Name)
    }
}

fn hidden(options: &[(&str, &str)]) -> Hidden {
    Hidden::of(&sink("kafka", options).connector)
}

#[test]
fn every_kind_of_error_is_told_without_secrets() {
    let hidden = hidden(&[("properties.sasl.password", SECRET), ("topic", "t")]);
    let cause = || -> Box<dyn Error + Send + Sync> {
        let inner = Cause { text: format!("inner {SECRET}"), source: None };
        Box::new(Cause { text: format!("outer {SECRET}"), source: Some(Box::new(inner)) })
    };
    let said = || format!("a {SECRET} b");
    for (error, kind) in [
        (ConnectorError::Config { table: "t".to_owned(), reason: said() }, FailureKind::Data),
        (ConnectorError::Record { position: said(), reason: said() }, FailureKind::Data),
        (ConnectorError::Data { attempted: said(), reason: said() }, FailureKind::Data),
        (ConnectorError::Store { attempted: said(), source: cause() }, FailureKind::Store),
        (ConnectorError::GaveUp { attempted: said(), times: 3, source: cause() }, FailureKind::Operator),
        (ConnectorError::Refused { attempted: said(), advice: said(), source: cause() }, FailureKind::Data),
    ] {
        let before = with_causes(&error);
        let told = hidden.error(error);
        assert_eq!(with_causes(&told), before.replace(SECRET, "***"));
        assert_eq!(told.failure_kind(), kind, "{told:?}");
        assert!(!format!("{told:?}").contains(SECRET), "{told:?}");
    }
}

#[test]
fn what_quotes_no_secret_stays_as_it_is() {
    let hidden = hidden(&[("properties.sasl.password", "in"), ("properties.client.id", "topic")]);
    assert_eq!(hidden.text("the topic".to_owned()), "the topic");
    let error = ConnectorError::Store { attempted: "look".to_owned(), source: Box::new(std::io::Error::other("x")) };
    let ConnectorError::Store { source, .. } = hidden.error(error) else { panic!("it is of another kind") };
    assert!(source.is::<std::io::Error>(), "its cause is the same");
    assert!(Hidden::default().is_empty() && Hidden::of(&sink("print", &[]).connector).is_empty());
}

#[test]
fn a_key_is_found_by_its_lines_and_a_secret_within_another_leaves_nothing() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n";
    let given = hidden(&[("properties.ssl.key.pem", pem)]);
    assert_eq!(given.text("at MIIEvQIBADANBg: bad".to_owned()), "at ***: bad");
    assert_eq!(given.text("no -----BEGIN PRIVATE KEY-----".to_owned()), "no -----BEGIN PRIVATE KEY-----");
    let given = hidden(&[("properties.sasl.password", "abc"), ("properties.ssl.key.password", "xabcx")]);
    assert_eq!(given.text("xabcx abc".to_owned()), "*** ***");
}

#[test]
fn a_secret_that_stands_in_the_script_is_told_by_its_option() {
    let given = [("properties.sasl.password", SECRET), ("properties.sasl.username", "u"), ("topic", "t")];
    let mut connector = sink("kafka", &given).connector;
    assert_eq!(written(&connector).collect::<Vec<_>>(), ["properties.sasl.password"]);
    let told = written_notice(&connector, "properties.sasl.password");
    assert!(
        told.contains("'properties.sasl.password'") && told.contains("secret('name')") && !told.contains(SECRET),
        "{told}"
    );
    connector.secrets.insert("properties.sasl.password".to_owned(), "s".to_owned());
    assert_eq!(written(&connector).count(), 0, "a node has put its content in place");
    let address = sink("http", &[("url", "http://me:hunter2@h/x")]).connector;
    assert_eq!(written(&address).collect::<Vec<_>>(), ["url"]);
    assert!(!written_notice(&address, "url").contains("secret('name')"), "this option cannot be one");
}

/// A context in which `secret('s')` is the secret.
fn with_secret() -> ConnectorContext {
    let given = context();
    let kafka: Arc<dyn thalweg_kafka::Kafka> = Arc::new(thalweg_kafka::model::ModelKafka::new(&given.seams));
    ConnectorContext { secrets: Arc::new(Given([("s", SECRET)].into())), kafka: Some(kafka), ..given }
}

/// The secret stands where the connector quotes what it is given: in the name of a topic, for example.
#[tokio::test]
async fn whoever_opens_a_table_is_told_no_secret() {
    let context = with_secret();
    let columns = schema(&[("a", arrow::datatypes::DataType::Int64, true)]);
    let quoted = format!("a b{SECRET}");
    let given = [
        ("properties.bootstrap.servers", "a:1"),
        ("scan.startup.mode", "earliest-offset"),
        ("topic", quoted.as_str()),
        ("format", "json"),
    ];
    let secret = ("properties.sasl.password".to_owned(), "s".to_owned());
    let mut read = source("kafka", &given, columns.clone());
    read.connector.secrets.extend([secret.clone()]);
    let mut written = sink("kafka", &given);
    written.connector.secrets.extend([secret]);
    let told = [
        open_source(&read, &settings(10), &context).map(drop),
        open_sink_writer(&written, columns.clone(), identity(1, 1, 0), &context).map(drop),
        open_sink_committer(&written, columns.clone(), &context).map(drop),
        check_sink(&written, columns, false, &context).await,
    ];
    for told in told {
        let told = told.expect_err("a topic has no such name");
        let text = format!("{} {told:?}", with_causes(&told));
        assert!(text.contains("'a b***'") && !text.contains(SECRET), "{text}");
    }
}

#[test]
fn notices_have_no_secrets() {
    let notices = Notices::default().hiding(hidden(&[("properties.sasl.password", SECRET)])).of(None, "t");
    assert_eq!(notices.said(format!("a broker said {SECRET}")), "table t: a broker said ***");
    assert_eq!(Notices::default().of(None, "t").said(SECRET.to_owned()), format!("table t: {SECRET}"));
}
