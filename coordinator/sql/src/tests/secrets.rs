//! `secret('name')`, and what is shown of secrets that stand in the script.

use super::{TOPIC, explained, plan_text, refusals::refused};
use crate::without_secrets;

/// Without these a client would ignore who it is.
const SASL: &str = "'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'PLAIN'";

fn declared(option: &str) -> String {
    format!("CREATE TABLE x (a INT) WITH {TOPIC}, {SASL}, 'format' = 'json', {option})")
}

#[track_caller]
fn refused_at(option: &str, at: &str, words: &str) -> String {
    let sql = declared(option);
    let column = sql.rfind(at).unwrap_or_else(|| panic!("{at} is not in {sql}")) + 1;
    refused(&sql, u64::try_from(column).expect("a column"), words);
    super::nexmark(&sql).expect_err("it is refused").to_string()
}

#[test]
fn the_graph_has_the_name_alone() {
    let sql =
        declared("'properties.sasl.password' = secret('kafka-1.x_y'), 'properties.sasl.username' = SECRET('user')");
    let graph = plan_text(&format!("{sql}; SELECT a FROM x")).expect("planned").graph.expect("a query");
    let connector = &graph.sources().next().expect("a source").1.connector;
    let secrets: Vec<_> = connector.secrets.iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
    assert_eq!(secrets, [("properties.sasl.password", "kafka-1.x_y"), ("properties.sasl.username", "user")]);
    assert!(!connector.options.contains_key("properties.sasl.password"));
    assert_eq!(connector.option("topic"), Some("t"));
}

#[test]
fn explain_shows_names_of_secrets_and_hides_those_that_are_written_out() {
    let both = "'properties.sasl.username' = 'me', 'properties.sasl.password' = 'hunter2', 'properties.ssl.key.password' = secret('key')";
    let tables = declared(both);
    let text = explained(plan_text(&format!("{tables}; INSERT INTO x SELECT a FROM x; EXPLAIN SELECT a FROM x")));
    let shown = "(kafka, 'properties.sasl.password' = '***', 'properties.ssl.key.password' = secret('key')";
    let parts = [format!("Source x {shown}): a"), format!("Sink x {shown}, exactly once): a")];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let planned =
        plan_text(&format!("{tables}; INSERT INTO x SELECT a FROM x; EXPLAIN SELECT a FROM x")).expect("planned");
    let graph = planned.graph.expect("a query");
    let names: Vec<&str> = graph.operators.iter().map(|operator| operator.name.as_str()).collect();
    assert!(!format!("{graph:?} {names:?} {:?}", planned.explain).contains("hunter2"));
    assert!(names.contains(&"Sink x (kafka, exactly once)"), "{names:?}");
}

#[test]
fn only_options_that_can_be_secrets_take_names() {
    let words = "option 'topic-pattern' cannot be a secret (what can is properties.*)";
    refused_at("'topic-pattern' = secret('x')", "secret(", words);
    let words =
        "'properties.socket.timeout.ms' cannot be a secret (of properties.* passwords, keys, certificates, tokens";
    refused_at("'properties.socket.timeout.ms' = secret('x')", "secret(", words);
    refused_at("'scan.bounded.mode' = secret('x')", "secret(", "cannot be a secret");
    let none = "CREATE TABLE x (a INT) WITH ('connector' = 'datagen', 'seed' = secret('x'))";
    refused(none, 64, "option 'seed' cannot be a secret (connector 'datagen' has no option that can)");
    refused("CREATE TABLE x (a INT) WITH ('connector' = secret('kafka'))", 44, "'connector' cannot be a secret");
    let format = format!("CREATE TABLE x (a INT) WITH {TOPIC}, 'format' = secret('json'))");
    let column = u64::try_from(format.find("secret(").expect("it is there") + 1).expect("a column");
    refused(&format, column, "option 'format' cannot be a secret");
}

#[test]
fn names_of_secrets_are_checked() {
    let option = |name: &str| format!("'properties.sasl.password' = secret({name})");
    for name in ["'../x'", "'a/b'", "'.x'", "''", "'a b'", "'ä'"] {
        refused_at(&option(name), name, "this is not the name of a secret (1 to 200 letters, digits");
    }
    refused_at(&option(&format!("'{}'", "x".repeat(201))), "'xxx", "this is not the name of a secret");
    for name in ["x", "1"] {
        refused_at(&option(name), &format!("{name})"), "a secret is called by a quoted name (secret('name'))");
    }
    refused_at(&option("'x', 'y'"), ", 'y'", "a secret has nothing but a name");
}

/// By a quote too many or too few, a part of a secret may stand where something else is expected.
#[test]
fn errors_quote_no_secret() {
    for option in [
        "'properties.sasl.password' = 'a'hunter2'b'",
        "'properties.sasl.password' 'hunter2'",
        "'properties.sasl.password' = 123456",
        "'properties.sasl.password' = 'a' hunter2",
        "'properties.sasl.password' = :hunter2",
    ] {
        let error = super::nexmark(&declared(option)).expect_err(option).to_string();
        assert!(!error.contains("hunter2") && !error.contains("123456"), "{option}: {error}");
        assert!(error.contains("'properties.sasl.password'"), "{option}: {error}");
    }
}

#[test]
fn an_address_with_a_password_is_hidden() {
    let table =
        "CREATE TABLE x (a INT) WITH ('connector' = 'http', 'format' = 'json', 'url' = 'http://me:hunter2@h/x')";
    let text = explained(plan_text(&format!("{table}; INSERT INTO x VALUES (1)")));
    assert!(text.contains("Sink x (http, 'url' = '***', at least once): a"), "{text}");
    assert!(!without_secrets(table).contains("hunter2"));
}

#[test]
fn a_script_is_shown_without_secrets() {
    let script = "-- é\nCREATE TABLE x (a INT) WITH (\n  'connector' = 'kafka', 'properties.sasl.password' = 'hunter2', -- kept\n  \
                  'properties.sasl.jaas.config' = 'a\nb; \"hunter2\"', 'properties.bootstrap.servers' = 'h:1',\n  \
                  'properties.ssl.key.password' = secret('key'), 'token'='hunter2');\nSELECT 'password' = 'no' FROM x;\n\n";
    let shown = "-- é\nCREATE TABLE x (a INT) WITH (\n  'connector' = 'kafka', 'properties.sasl.password' = '***', -- kept\n  \
                 'properties.sasl.jaas.config' = '***', 'properties.bootstrap.servers' = 'h:1',\n  \
                 'properties.ssl.key.password' = secret('key'), 'token'='***');\nSELECT 'password' = 'no' FROM x;\n\n";
    assert_eq!(without_secrets(script), shown);
    for same in [
        "",
        "SELECT 1",
        "CREATE VIEW v AS SELECT 1;\n",
        "CREATE TABLE password (password INT) WITH ('connector' = 'print')",
    ] {
        assert_eq!(without_secrets(same), same);
    }
    assert_eq!(without_secrets("CREATE TABLE x WITH ('password' = 'hunter2"), "***", "nobody can tell where it ends");
    let twice = "CREATE TABLE x (a INT) WITH ('password' = 'hunter2', 'password' = 'hunter2', password = hunter2, 'secret' = secret)";
    assert!(!without_secrets(twice).contains("hunter2"), "{}", without_secrets(twice));
}
