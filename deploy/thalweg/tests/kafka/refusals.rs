//! What is wrong with a table shows before its job runs: an error that names host and port, topic, reason and option.

use std::net::TcpListener;

use super::super::{Dev, WHOLE, broker::shared, process::Background, table, topics};

/// The error output of a script that must fail in its first attempt.
#[track_caller]
fn refused(sql: &str) -> String {
    let ended = Background::start(&["run", "-e", sql]).wait();
    let told = ended.stderr;
    assert_eq!(ended.code, Some(1), "{sql}: {told}");
    assert!(!told.contains("is tried again"), "it is not tried again: {told}");
    let errors = told.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "one error: {told}");
    told
}

#[track_caller]
fn check_told(sql: &str, expected: &[&str]) {
    let told = refused(sql);
    for expected in expected {
        assert!(told.contains(expected), "'{expected}' is not told for {sql}: {told}");
    }
}

fn reading(servers: &str, topic: &str, more: &str) -> String {
    let from = table(servers, topic, &format!("'format' = 'json'{more}, {WHOLE}"));
    format!("CREATE TABLE i (n BIGINT) WITH ({from}); SELECT n FROM i;")
}

fn writing(servers: &str, topic: &str, more: &str) -> String {
    let to = table(servers, topic, &format!("'format' = 'json'{more}"));
    format!("CREATE TABLE o (n BIGINT) WITH ({to}); INSERT INTO o VALUES (1);")
}

#[test]
fn a_broker_that_does_not_answer_is_named() {
    // Nobody listens at this port: it was free a moment ago, and is bound no more.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    // Somebody listens, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = (silent.local_addr().expect("an address").to_string(), silent);
    for servers in [nobody.as_str(), silent.0.as_str()] {
        for guarantee in ["exactly-once", "at-least-once"] {
            let guarantee = format!(", 'sink.delivery-guarantee' = '{guarantee}'");
            check_told(
                &writing(servers, "somewhere", &guarantee),
                &[servers, "'somewhere'", "'properties.bootstrap.servers'"],
            );
        }
        check_told(&reading(servers, "somewhere", ""), &[servers, "'somewhere'", "'properties.bootstrap.servers'"]);
    }
    let unknown = "no-such-host.invalid:9092";
    check_told(&reading(unknown, "somewhere", ""), &[unknown, "'somewhere'", "'properties.bootstrap.servers'"]);
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "there", 1);
    check_told(&reading(servers, "there;not-there", ""), &[servers, "'topic'", "'not-there'"]);
    check_told(&writing(servers, "not-there", ""), &[servers, "'topic'", "'not-there'"]);
    check_told(&reading(servers, "not a topic", ""), &["'topic'", "'not a topic'"]);
    let dev = Dev::start(&[]);
    for sql in [reading(servers, "not-there", ""), writing(servers, "not-there", "")] {
        let submitted = dev.run(&["submit", "-e", &sql]);
        assert_eq!(submitted.code, Some(1), "{submitted:?}");
        for told in [servers, "'topic'", "'not-there'"] {
            assert!(submitted.stderr.contains(told), "{told}: {submitted:?}");
        }
    }
}

#[test]
fn a_property_of_the_client_that_cannot_be_is_named() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "properties", 1);
    for (property, value, told) in [
        ("sasl.mechansim", "PLAIN", "sasl.mechansim"),
        ("fetch.max.bytes", "many", "fetch.max.bytes"),
        ("enable.auto.commit", "true", "enable.auto.commit"),
        ("ssl.truststore.location", "/x", "ssl.ca.location"),
    ] {
        let more = format!(", 'properties.{property}' = '{value}'");
        check_told(&reading(servers, "properties", &more), &["properties.", told]);
    }
    check_told(&writing(servers, "properties", ", 'properties.acks' = '1'"), &["acks"]);
}

/// Whoever asks without TLS where it is needed, or with it where it is not, is told so.
#[test]
fn tls_that_the_broker_does_not_speak_is_told() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "tls", 1);
    let more = ", 'properties.security.protocol' = 'ssl'";
    check_told(&reading(servers, "tls", more), &[servers, "'tls'", "SSL"]);
    let more = ", 'properties.security.protocol' = 'ssl', 'properties.ssl.ca.location' = '/nowhere/ca.pem'";
    check_told(&reading(servers, "tls", more), &["ssl.ca.location"]);
}

#[test]
fn options_that_do_not_go_together_are_told_with_what_to_set() {
    let servers = "127.0.0.1:9092";
    let reading = |options: &str| format!("CREATE TABLE i (n BIGINT) WITH ({options}); SELECT n FROM i;");
    let kafka = |more: &str| {
        format!("'connector' = 'kafka', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json'{more}")
    };
    for (more, expected) in [
        ("", &["'topic'", "'topic-pattern'"][..]),
        (", 'topic' = 't', 'topic-pattern' = 't.*'", &["'topic'", "'topic-pattern'"]),
        (", 'topic' = 't'", &["'scan.startup.mode'", "'properties.group.id'"]),
        (", 'topic' = 't', 'scan.startup.mode' = 'timestamp'", &["'scan.startup.timestamp-millis'"]),
        (", 'topic' = 't', 'scan.startup.mode' = 'earliest'", &["earliest-offset"]),
        (", 'topic' = 't', 'key.format' = 'json'", &["'key.fields'"]),
    ] {
        check_told(&reading(&kafka(more)), expected);
    }
}
