//! What was POSTed and acknowledged is in the output once, though the process was killed in between.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use process::{Background, free_addresses, lines_below, thalweg, wait_until};

/// The status and the body of a POST; `None` where nobody listens.
fn post(address: &str, key: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    write!(
        stream,
        "POST /ingest/t HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.trim().to_owned()))
}

/// POSTs until it is acknowledged, as a client does.
fn post_until_taken(address: &str, key: &str, body: &str) -> String {
    wait_until("an acknowledged POST", || match post(address, key, body)? {
        (200, answer) => Some(answer),
        (404 | 429 | 503, _) => None,
        other => panic!("{other:?}"),
    })
}

#[test]
fn acknowledged_records_outlive_the_process_and_retries_add_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().expect("it is text").to_owned();
    let (data, output) = (place("data"), place("output"));
    let [address, http]: [String; 2] = free_addresses();
    let start = || {
        let dev = Background::start(&["dev", "--listen", &address, "--http", &http, "--data-dir", &data]);
        dev.wait_for("  http  ");
        dev
    };
    let sql = format!(
        "SET 'checkpoint.interval' = '200 ms'; CREATE TABLE t (a BIGINT) WITH ('connector' = 'http', 'format' = 'json'); \
         CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{output}'); \
         INSERT INTO o SELECT a FROM t;"
    );
    let dev = start();
    let submitted = thalweg(&["submit", "--coordinator", &address, "-e", &sql]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let told = "{\"accepted\":2,\"durable\":true}";
    assert_eq!(post_until_taken(&http, "first", "{\"a\":1}\n{\"a\":2}\n"), told);
    wait_until("its output", || (lines_below_if_any(&output).len() == 2).then_some(()));
    assert_eq!(post_until_taken(&http, "second", "{\"a\":3}\n{\"a\":4}\n"), told);
    dev.kill();

    let dev = start();
    assert_eq!(post_until_taken(&http, "second", "{\"a\":3}\n{\"a\":4}\n"), told);
    assert_eq!(post_until_taken(&http, "first", "{\"a\":1}\n{\"a\":2}\n"), told);
    assert_eq!(post_until_taken(&http, "third", "{\"a\":5}\n{\"a\":6}\n"), told);
    assert_eq!(post(&http, "third", "{\"a\":7}\n").map(|(status, _)| status), Some(422));
    let stopped = thalweg(&["job", "stop", "job-1", "--coordinator", &address]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    wait_until("the job's end", || {
        thalweg(&["jobs", "--coordinator", &address, "-o", "json"]).stdout.contains("\"stopped\"").then_some(())
    });
    let expected: Vec<String> = (1..=6).map(|n| format!("{{\"a\":{n}}}")).collect();
    assert_eq!(lines_below_if_any(&output), expected);
    assert_eq!(dev.terminate().code, Some(0));
}

fn lines_below_if_any(directory: &str) -> Vec<String> {
    let directory = std::path::Path::new(directory);
    if directory.is_dir() { lines_below(directory) } else { Vec::new() }
}
