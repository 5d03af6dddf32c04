//! Acknowledged records are in the output exactly once, even if the process was killed in between.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use process::{Background, free_addresses, lines_below, thalweg, wait_until};

/// POSTs a body. Returns status and body of the answer, or `None` if nobody listens.
fn post(address: &str, key: &str, body: &str) -> Option<(u16, String)> {
    post_to(address, "/ingest/t", key, body)
}

fn post_to(address: &str, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.trim().to_owned()))
}

/// POSTs again and again until it is acknowledged, as a client would.
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

/// A cluster in one process that takes records, and the directories that it writes to.
struct Place {
    _directory: tempfile::TempDir,
    output: String,
    errors: String,
    address: String,
    http: String,
    dev: Background,
}

impl Place {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let below = |name: &str| directory.path().join(name).to_str().expect("it is text").to_owned();
        let (data, output, errors) = (below("data"), below("output"), below("errors"));
        let [address, http]: [String; 2] = free_addresses();
        let dev = Background::start(&["dev", "--listen", &address, "--http", &http, "--data-dir", &data]);
        dev.wait_for("  http  ");
        Self { _directory: directory, output, errors, address, http, dev }
    }

    /// Submits job 1, which writes what is POSTed to /ingest/t.
    fn submit(&self, sql: &str) {
        self.submit_select(sql, "SELECT 100 / (a - 7) FROM t");
    }

    fn submit_select(&self, sql: &str, select: &str) {
        let sql = format!(
            "{sql}; CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}'); \
             INSERT INTO o\n{select};",
            self.output
        );
        let submitted = thalweg(&["submit", "--coordinator", &self.address, "-e", &sql]);
        assert_eq!(submitted.code, Some(0), "{submitted:?}");
    }

    fn job(&self, args: &[&str]) -> process::Outcome {
        let mut all = vec!["job", args[0], "job-1", "--coordinator", &self.address, "-o", "json"];
        all.extend(&args[1..]);
        thalweg(&all)
    }

    fn wait_for_status(&self, status: &str) -> String {
        wait_until(status, || {
            let shown = self.job(&["show"]).stdout;
            shown.contains(&format!("\"{status}\"")).then_some(shown)
        })
    }
}

#[test]
fn what_a_column_cannot_be_computed_of_is_refused_with_its_line_and_the_job_lives() {
    let place = Place::start();
    place.submit_select(
        "CREATE TABLE t (a BIGINT, `at` STRING, seen AS CAST(`at` AS TIMESTAMP(3)), WATERMARK FOR seen AS seen) \
         WITH ('connector' = 'http', 'format' = 'json')",
        "SELECT 100 / (a - 7) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(seen), INTERVAL '1' MINUTE)) \
         GROUP BY window_start, window_end, a",
    );
    let good = "{\"a\":8,\"at\":\"2026-01-01 00:00:00\"}\n";
    post_until_taken(&place.http, "good", good);
    let (status, reason) = post(&place.http, "poison", &format!("{good}{{\"at\":\"soon\"}}")).expect("an answer");
    assert!(status == 400 && reason.starts_with("line 2: "), "{status} {reason}");
    let (status, reason) = post(&place.http, "poison", "{\"a\":1}").expect("an answer");
    assert!(status == 400 && reason.starts_with("line 1: ") && reason.contains("NULL"), "{status} {reason}");
    post_until_taken(&place.http, "better", &good.replace('8', "9"));
    assert_eq!(place.job(&["stop"]).code, Some(0));
    place.wait_for_status("stopped");
    let mut lines = lines_below_if_any(&place.output);
    lines.sort();
    assert_eq!(lines, ["{\"a\":100}", "{\"a\":50}"]);
}

#[test]
fn a_job_that_an_acknowledged_record_has_failed_goes_on_behind_it_once_it_is_told_where_to_put_it() {
    let place = Place::start();
    place.submit(
        "SET 'checkpoint.interval' = '200 ms'; \
         CREATE TABLE t (a BIGINT) WITH ('connector' = 'http', 'format' = 'json')",
    );
    post_until_taken(&place.http, "first", "{\"a\":8}\n");
    wait_until("its output", || (lines_below_if_any(&place.output).len() == 1).then_some(()));
    let refused = place.job(&["restart"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("only a job that has failed"), "{refused:?}");
    post_until_taken(&place.http, "poison", "{\"a\":9}\n{\"a\":7}\n{\"a\":12}\n");
    let failed = place.wait_for_status("failed");
    for part in ["line 2, column ", "divides by zero", "error.path"] {
        assert!(failed.contains(part), "{failed}");
    }
    wait_until("what would do", || {
        let (status, reason) = post(&place.http, "late", "{\"a\":1}")?;
        (status == 503 && reason.contains("thalweg job restart job-1 --set error.path=DIR")).then_some(())
    });
    let fixed = place.job(&["restart", "--set", "pipeline.max-parallelism=16"]);
    assert!(fixed.code == Some(1) && fixed.stderr.contains("cannot change"), "{fixed:?}");
    let restarted = place.job(&["restart", "--set", &format!("error.path={}", place.errors)]);
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    post_until_taken(&place.http, "last", "{\"a\":7}\n{\"a\":32}\n");
    wait_until("what follows", || (lines_below_if_any(&place.output).len() == 4).then_some(()));
    assert_eq!(place.job(&["stop"]).code, Some(0));
    let stopped = place.wait_for_status("stopped");
    assert!(stopped.contains("\"failed_rows\": 2") || stopped.contains("\"failed_rows\":2"), "{stopped}");
    assert_eq!(lines_below_if_any(&place.output), ["{\"a\":100}", "{\"a\":20}", "{\"a\":4}", "{\"a\":50}"]);
    let errors = lines_below_if_any(&place.errors);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors.iter().all(|line| line.contains("\"line\":2") && line.ends_with("\"row\":{\"a\":7}}")),
        "{errors:?}"
    );
    assert_eq!(place.job(&["forget"]).code, Some(0));
    assert_eq!(place.job(&["show"]).code, Some(1), "it is forgotten");
    assert_eq!(place.dev.terminate().code, Some(0));
}

#[test]
fn a_post_to_a_node_without_the_reader_is_sent_to_the_one_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let addresses: [String; 5] = free_addresses();
    let [coordinator, nodes @ .., first, second] = &addresses;
    let _coordinator = Background::start(&[
        "coordinator",
        "--cluster",
        "test",
        "--member",
        "1",
        "--listen",
        coordinator,
        "--data-dir",
        data.to_str().expect("it is text"),
    ]);
    let _nodes: Vec<Background> = [first, second]
        .into_iter()
        .zip(nodes)
        .zip(["1", "2"])
        .map(|((http, listen), node)| {
            Background::start(&[
                "node",
                "--node",
                node,
                "--slots",
                "1",
                "--coordinator",
                coordinator,
                "--listen",
                listen,
                "--http",
                http,
            ])
        })
        .collect();
    let sql = "CREATE TABLE t (a BIGINT) WITH ('connector' = 'http', 'format' = 'json'); \
               CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO o SELECT a FROM t;";
    let submitted = thalweg(&["submit", "--coordinator", coordinator, "--parallelism", "1", "-e", sql]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let (with, without) = wait_until("a reader", || match post(first, "k", "{\"a\":1}\n")? {
        (200, _) => Some((first, second)),
        (307, _) => Some((second, first)),
        (404 | 503, _) => None,
        other => panic!("{other:?}"),
    });
    let (status, told) = post(without, "k", "{\"a\":1}\n").expect("an answer");
    assert!(status == 307 && told.ends_with(&format!("POST to http://{with}/ingest/t")), "{status} {told}");
    let shown = thalweg(&["job", "show", "job-1", "--coordinator", coordinator]);
    assert!(shown.stdout.contains(&format!("POST to http://{with}/ingest/t")), "{shown:?}");
    let (status, told) = post_to(without, "/ingest/nothing", "k", "{}").expect("an answer");
    assert_eq!((status, told.as_str()), (404, "no table takes records at /ingest/nothing"));
}

fn lines_below_if_any(directory: &str) -> Vec<String> {
    let directory = std::path::Path::new(directory);
    if directory.is_dir() { lines_below(directory) } else { Vec::new() }
}
