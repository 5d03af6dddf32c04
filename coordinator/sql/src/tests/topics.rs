//! What is wrong with a topic's options is told when its table is planned, with its place in the script.

use super::{plan_text, refusals::refused};

const TOPIC: &str = "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:9092'";
const READ: &str = "'scan.startup.mode' = 'earliest-offset', 'format' = 'json'";

fn declared(options: &str) -> String {
    format!("CREATE TABLE x (a INT) WITH ({TOPIC}, {READ}, {options})")
}

/// Refuses the option at this text.
#[track_caller]
fn refused_at(sql: &str, at: &str, words: &str) {
    let column = sql.rfind(at).unwrap_or_else(|| panic!("{at} is not in {sql}")) + 1;
    refused(sql, u64::try_from(column).expect("a column"), words);
}

/// Why the table cannot be read or written.
fn told(sql: &str) -> String {
    let error = plan_text(sql).expect_err(sql);
    assert!(error.line.is_some() && error.column.is_some(), "{error}");
    error.to_string()
}

#[test]
fn properties_of_clients_are_known_by_name_and_value() {
    let misspelt = declared("'properties.securty.protocol' = 'SSL'");
    refused_at(&misspelt, "'properties.securty", "did you mean 'properties.security.protocol'?");
    let value = declared("'properties.security.protocol' = 'TLS'");
    refused_at(&value, "'TLS'", "expected one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL");
    let signal = declared("'properties.internal.termination.signal' = '9'");
    refused_at(&signal, "'properties.internal", "cannot be set: it would end the process");
    let alias = declared("'properties.metadata.broker.list' = 'elsewhere:1'");
    refused_at(&alias, "'properties.metadata", "is another name of 'properties.bootstrap.servers'");
    let far = declared("'properties.sasl.zzzzzzzzzzzz' = 'x'");
    refused_at(&far, "'properties.sasl.z", "what can be set is properties.sasl.mechanism, properties.sasl.username");
    let large = declared("'properties.message.max.bytes' = '1000000000'");
    refused_at(&large, "'1000000000'", "expected a whole number from 1000 to 67108864");
}

#[test]
fn brokers_are_hosts_and_ports() {
    for (servers, words) in [("127.0.0.1:290922", "'290922' is no port"), ("http://h:1", "is a URL"), ("h", "no port")]
    {
        let sql = format!(
            "CREATE TABLE x (a INT) WITH ('connector' = 'kafka', 'topic' = 't', {READ}, 'properties.bootstrap.servers' = '{servers}')"
        );
        refused_at(&sql, &format!("'{servers}'"), words);
    }
}

#[test]
fn a_client_that_would_ignore_who_it_is_is_not_planned() {
    let read = |options: &str| told(&format!("{}; SELECT a FROM x", declared(options)));
    let no_protocol = read("'properties.sasl.password' = secret('p')");
    assert!(no_protocol.contains("table 'x' cannot be read: 'properties.sasl.password' needs"), "{no_protocol}");
    let written = told(&format!("{}; INSERT INTO x VALUES (1)", declared("'properties.ssl.ca.location' = '/ca'")));
    assert!(written.contains("table 'x' cannot be written: 'properties.ssl.ca.location' needs"), "{written}");
    let kerberos = read("'properties.security.protocol' = 'SASL_SSL'");
    assert!(kerberos.contains("needs 'properties.sasl.mechanism'") && kerberos.contains("Kerberos"), "{kerberos}");
    let token = read("'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'OAUTHBEARER'");
    assert!(token.contains("needs 'properties.sasl.oauthbearer.token'"), "{token}");
}

#[test]
fn options_without_their_mode_are_refused() {
    for (option, needs) in [
        ("'scan.startup.timestamp-millis' = '1'", "needs 'scan.startup.mode' = 'timestamp'"),
        ("'scan.startup.specific-offsets' = 'partition:0,offset:1'", "needs 'scan.startup.mode' = 'specific-offsets'"),
        ("'scan.bounded.timestamp-millis' = '1'", "needs 'scan.bounded.mode' = 'timestamp'"),
        ("'scan.bounded.specific-offsets' = 'partition:0,offset:1'", "needs 'scan.bounded.mode' = 'specific-offsets'"),
    ] {
        let told = told(&format!("{}; SELECT a FROM x", declared(option)));
        assert!(told.contains(needs), "{told}");
    }
    for option in ["'sink.transactional-id-prefix' = 'x'", "'sink.transaction-timeout' = '5 s'"] {
        let given = declared(&format!("'sink.delivery-guarantee' = 'at-least-once', {option}"));
        let told = told(&format!("{given}; INSERT INTO x VALUES (1)"));
        assert!(told.contains("needs 'sink.delivery-guarantee' = 'exactly-once'"), "{told}");
    }
    refused_at(&declared("'value.fields-include' = 'EXCEPT_KEY'"), "'value.fields-include'", "needs 'key.format'");
}

#[test]
fn what_can_be_told_without_brokers_is_told_before_they_are_asked() {
    let of = |topic: &str, more: &str| {
        format!(
            "CREATE TABLE x (a INT) WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = 'h:1', {topic}, {more})"
        )
    };
    refused_at(&of("'topic-pattern' = '('", READ), "'('", "option 'topic-pattern' = '('");
    for (topic, words) in [("", "names none"), ("a,b", "several have ; between them")] {
        let told = told(&format!("{}; SELECT a FROM x", of(&format!("'topic' = '{topic}'"), READ)));
        assert!(told.contains(words), "{told}");
    }
    for topic in ["", "a,b", "a;b"] {
        let told = told(&format!("{}; INSERT INTO x VALUES (1)", of(&format!("'topic' = '{topic}'"), READ)));
        assert!(told.contains("cannot be a topic"), "{told}");
    }
    let short = told(&format!("{}; INSERT INTO x VALUES (1)", declared("'sink.transaction-timeout' = '1 ms'")));
    assert!(short.contains("'sink.transaction-timeout' must be at least 1 s"), "{short}");
    let avro = told(&format!(
        "{}; SELECT a FROM x",
        of("'topic' = 't'", "'scan.startup.mode' = 'earliest-offset', 'format' = 'avro'")
    ));
    assert!(avro.contains("set 'avro.schema'"), "{avro}");
    let schema = of("'topic' = 't'", "'format' = 'avro', 'avro.schema' = '{\"type\": }'");
    refused_at(&schema, "'{\"type", "expected JSON");
    let registry = of("'topic' = 't'", "'format' = 'avro-confluent', 'avro-confluent.url' = 'registry:8081'");
    refused_at(&registry, "'registry:8081'", "an address has no http://");
}

#[test]
fn a_record_of_one_column_has_one() {
    let two = |options: &str| format!("CREATE TABLE x (a INT, b INT) WITH ({TOPIC}, {options})");
    refused_at(&two("'format' = 'raw'"), "'raw'", "format 'raw' is of one column, and the value has 2");
    let both = "'value.format' = 'json', 'key.fields' = 'a;b', 'key.format' = 'raw'";
    refused_at(&two(both), "'raw'", "format 'raw' is of one column, and the key has 2");
    let apart =
        "'value.format' = 'raw', 'key.fields' = 'a', 'key.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY'";
    plan_text(&two(apart)).expect("each has one column");
}
