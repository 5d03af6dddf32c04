use super::*;
use crate::connector::{CONNECTORS, FORMATS, KEYED_OPTIONS, OptionType};

const fn option(key: &'static str, secret: bool) -> OptionSpec {
    OptionSpec { key, kind: OptionType::Text, default: "", required: false, secret, doc: "d" }
}

const SPEC: ConnectorSpec = ConnectorSpec {
    name: "outside",
    source: None,
    sink: None,
    formats: &["json"],
    keys: true,
    metadata: &[],
    options: &[option("pin", true), option("url", false), option("properties.*", true), option("fields.*", false)],
    fixed_columns: "",
    doc: "d",
};

#[test]
fn names_of_secrets_are_names_of_files() {
    for name in ["db", "kafka-password", "a.b_c-1", "_x", "-x", &"x".repeat(SECRET_NAME_BYTES_MAX)] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in
        ["", ".", "..", "..data", ".x", "a/b", "../x", "a b", "ä", "a\0", &"x".repeat(SECRET_NAME_BYTES_MAX + 1)]
    {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn an_option_is_secret_by_its_spec_or_by_its_key() {
    let secret = ["pin", "properties.sasl.password", "properties.sasl.jaas.config", "properties.ssl.key.pem", "token"];
    for key in secret {
        assert!(is_secret(Some(&SPEC), key, "x"), "{key}");
    }
    let shown = ["url", "properties.bootstrap.servers", "fields.password.kind", "json.timestamp-format", "key.format"];
    for key in shown {
        assert!(!is_secret(Some(&SPEC), key, "x"), "{key}");
    }
    assert!(is_secret(None, "properties.Sasl_Password", "x"));
    assert!(is_secret(None, "avro-confluent.basic-auth.user-info", "x"));
    assert!(!is_secret(None, "pin", "x"));
}

#[test]
fn of_options_of_all_kinds_only_those_that_are_secrets_take_one() {
    let takes = |key: &str| SPEC.option(key).is_some_and(|spec| spec.takes_secret(key));
    for key in ["pin", "properties.sasl.password", "properties.sasl.username", "properties.ssl.certificate.pem"] {
        assert!(takes(key), "{key}");
    }
    let others = ["security.protocol", "sasl.mechanism", "socket.timeout.ms", "debug", "metadata.broker.list"];
    for key in others.map(|key| format!("properties.{key}")).iter().map(String::as_str).chain(["url", "fields.pem"]) {
        assert!(!takes(key), "{key}");
    }
}

#[test]
fn an_address_with_a_password_is_secret_by_itself() {
    for value in
        ["http://u:p@h", "https://u:p@h:8081/x?y", "https://a, https://u:p@b", "http://u:p/x@h", "x http://:p@h"]
    {
        assert!(is_secret(Some(&SPEC), "url", value), "{value}");
    }
    for value in ["http://h:80", "http://u@h:80/", "u:p@h", "", "://", "http://a:1,http://u@b", "s3://bucket/a"] {
        assert!(!is_secret(Some(&SPEC), "url", value), "{value}");
    }
}

/// Else a secret could not be given by name.
#[test]
fn an_option_that_looks_secret_can_be_one() {
    let of_connectors = CONNECTORS.iter().flat_map(|spec| spec.options);
    let named = of_connectors.clone().filter_map(OptionSpec::named).flat_map(|named| named.known);
    let of_formats = FORMATS.iter().flat_map(|format| format.options);
    for option in of_connectors.chain(of_formats).chain(KEYED_OPTIONS).chain(named) {
        assert!(option.secret || option.is_choice() || !looks_secret(option.key), "{}", option.key);
    }
}

#[test]
fn no_secret_is_shown() {
    let options = [("url", "http://a"), ("token", "hunter2"), ("properties.x", "hunter3")];
    let connector = TableConnector {
        name: "outside".to_owned(),
        options: options.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        secrets: [("pin", "its"), ("properties.x", "file")].map(|(key, name)| (key.to_owned(), name.to_owned())).into(),
    };
    let shown: Vec<String> = connector.shown_options().iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(shown, ["pin=secret('its')", "properties.x=secret('file')", "token='***'", "url='http://a'"]);
    let keys: Vec<&str> = connector.shown_secrets().map(|(key, _)| key).collect();
    assert_eq!(keys, ["pin", "properties.x", "token"]);
    let debug = format!("{connector:?} {connector:#?}");
    assert!(debug.contains("http://a") && !debug.contains("hunter"), "{debug}");
}

#[test]
fn a_table_without_secrets_is_recorded_as_before() {
    let mut connector = TableConnector { name: "print".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    let text = serde_json::to_string(&connector).unwrap();
    assert_eq!(text, r#"{"name":"print","options":{}}"#);
    assert_eq!(serde_json::from_str::<TableConnector>(&text).unwrap(), connector);
    connector.secrets.insert("pin".to_owned(), "its".to_owned());
    let text = serde_json::to_string(&connector).unwrap();
    assert_eq!(text, r#"{"name":"print","options":{},"secrets":{"pin":"its"}}"#);
    assert_eq!(serde_json::from_str::<TableConnector>(&text).unwrap(), connector);
}
