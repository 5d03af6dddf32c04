//! What processes tell those who monitor them: as the list in the code says, as `docs/metrics.md` says, and as dashboard and
//! rules take it.
//!
//! `THALWEG_PROMTOOL=FILE` is Prometheus's `promtool`, if it is not on the path; without it, the rules' own tests are skipped.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use process::{Background, free_addresses, root, thalweg, wait_until};
use thalweg_metrics::{
    Kind, Metric,
    table::{GROUPS, all},
};

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The answer to a request: its head, and its body.
fn http(address: &str, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = if request.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\n{length}Connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

fn metrics(address: &str) -> Option<String> {
    let (head, body) = http(address, "GET /metrics")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    Some(body)
}

/// A listed metric, by the name of one of its series.
fn metric_of(series: &str) -> Option<&'static Metric> {
    let of_histogram = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| series.strip_suffix(part));
    let histogram = of_histogram.flat_map(|name| all().filter(move |metric| metric.name == name));
    let plain = all().find(|metric| metric.name == series);
    match plain {
        Some(metric) => (metric.kind != Kind::Histogram).then_some(metric),
        None => histogram.into_iter().find(|metric| metric.kind == Kind::Histogram),
    }
}

/// The names of a sample's labels, without that of buckets.
fn labels(sample: &str) -> Vec<String> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let (mut names, mut rest) = (Vec::new(), rest);
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = value.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        rest = &value[end.expect("a value ends") + 1..];
    }
    names.retain(|name| name != "le");
    names
}

/// Checks a process's text against the list; gives the metrics that it has samples of.
fn check(text: &str) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let words: Vec<&str> = described.splitn(3, ' ').collect();
            let ["TYPE" | "HELP" | "UNIT", family, told] = words[..] else {
                assert_eq!(line, "# EOF");
                continue;
            };
            let listed = |metric: &&Metric| metric.name == family || metric.name == format!("{family}_total");
            let metric = all().find(listed).unwrap_or_else(|| panic!("{family} is not listed"));
            let expected = match words[0] {
                "TYPE" => metric.kind.word(),
                "UNIT" => metric.unit().unwrap_or_default(),
                _ => metric.help,
            };
            assert_eq!(told, expected, "{line}");
            continue;
        }
        let name = line.split(['{', ' ']).next().expect("a line has a first word");
        let metric = metric_of(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(labels(line), metric.labels, "{line}");
        seen.insert(metric.name);
    }
    seen
}

/// What none of the job's tables knows; library tests of nodes tell that they are exported.
const OF_OTHER_TABLES: [&str; 2] = ["thalweg_source_behind_seconds", "thalweg_sink_resent_records_total"];

/// Records with event time that are exchanged between nodes by key, kept in windows, and written in files.
fn job(directory: &Path) -> String {
    let out = directory.join("out");
    let out = out.display();
    format!(
        "CREATE TABLE made (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', \
           'rows-per-second' = '2000', 'fields.n.min' = '1', 'fields.n.max' = '1000');
         CREATE TABLE posted (n BIGINT) WITH ('connector' = 'http', 'format' = 'json');
         CREATE TABLE counts (n BIGINT, many BIGINT) WITH ('connector' = 'filesystem', 'path' = '{out}/counts', 'format' = 'json');
         CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{out}/copies', 'format' = 'json');
         BEGIN STATEMENT SET;
         INSERT INTO counts SELECT n, COUNT(*) FROM TABLE(TUMBLE(TABLE made, DESCRIPTOR(ts), INTERVAL '1' SECOND))
           GROUP BY window_start, window_end, n;
         INSERT INTO copies SELECT n FROM posted;
         END;"
    )
}

#[test]
fn processes_export_what_is_listed_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let [coordinator, health, first, second, ingest, other_ingest] = free_addresses();
    let data = directory.path().join("data");
    let data = data.to_str().expect("a path of text");
    let _coordinator = Background::start(&[
        "coordinator",
        "--listen",
        &coordinator,
        "--health",
        &health,
        "--data-dir",
        data,
        "--checkpoint-interval",
        "300 ms",
    ]);
    let node = |number: &str, health: &str, http: &str| {
        let arguments = ["node", "--node", number, "--coordinator", &coordinator, "--slots", "1"];
        Background::start(&[&arguments[..], &["--health", health, "--http", http]].concat())
    };
    let _nodes = [node("1", &first, &ingest), node("2", &second, &other_ingest)];
    let sql = job(directory.path());
    wait_until("both nodes", || {
        let nodes = thalweg(&["nodes", "--coordinator", &coordinator, "-o", "json"]).stdout;
        (nodes.matches("\"state\":\"alive\"").count() == 2).then_some(())
    });
    let name = "named \"so\"";
    let submitted =
        thalweg(&["submit", "--coordinator", &coordinator, "-e", &sql, "--parallelism", "2", "--name", name]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    http(&ingest, "POST /nowhere").expect("it is answered");

    let listed: BTreeSet<&str> =
        all().map(|metric| metric.name).filter(|name| !OF_OTHER_TABLES.contains(name)).collect();
    // What a running job measures comes about little by little.
    let mut missing = listed.clone();
    wait_until("every metric", || {
        for address in [&health, &first, &second] {
            let seen = check(&metrics(address)?);
            missing.retain(|name| !seen.contains(name) && (cfg!(target_os = "linux") || name.starts_with("thalweg_")));
        }
        missing.is_empty().then_some(())
    });
    wait_until("a marker at a sink", || {
        let told = [metrics(&first)?, metrics(&second)?].concat();
        let counts = told.lines().filter(|line| line.starts_with("thalweg_node_job_latency_seconds_count"));
        counts.into_iter().any(|line| !line.ends_with(" 0")).then_some(())
    });
    let told = metrics(&health).expect("it is answered");
    assert!(told.contains("job_name=\"named \\\"so\\\"\",status=\"running\"} 1.0\n"), "{told}");
    let outcome = thalweg(&["job", "cancel", "job-1", "--coordinator", &coordinator]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    wait_until("the job's end, which is told of", || {
        metrics(&health)?.contains("status=\"cancelled\"} 1.0\n").then_some(())
    });
    wait_until("the node's rest", || {
        metrics(&first)?.contains("thalweg_node_slots_used{node=\"1\"} 0.0\n").then_some(())
    });
}

#[test]
fn dev_tells_of_its_coordinator_and_of_each_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let [listen, http_address, health] = free_addresses();
    let data = directory.path().to_str().expect("a path of text");
    let dev = Background::start(&[
        "dev",
        "--listen",
        &listen,
        "--http",
        &http_address,
        "--health",
        &health,
        "--data-dir",
        data,
        "--nodes",
        "2",
        "--slots",
        "1",
    ]);
    wait_until("health", || (process::http_status(&health, "/readyz")? == 200).then_some(()));
    for address in [&health, &http_address] {
        assert_eq!(process::http_status(address, "/healthz"), Some(200), "at {address}");
    }
    check(&metrics(&http_address).expect("it is answered"));
    let told = metrics(&health).expect("it is answered");
    check(&told);
    for line in [
        "thalweg_raft_is_leader{} 1.0",
        "thalweg_nodes{state=\"alive\"} 2.0",
        "thalweg_node_slots{node=\"1\"} 1.0",
        "thalweg_node_slots{node=\"2\"} 1.0",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in {told}");
    }
    assert_eq!(dev.terminate().code, Some(0));
}

/// The page's part on one group, as the list has it.
fn section(by: &str, note: &str, metrics: &[&Metric]) -> String {
    let note = if note.is_empty() { String::new() } else { format!("{note}\n\n") };
    let rows = metrics.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let Metric { name, kind, help, .. } = metric;
        let (kind, unit, labels) = (kind.word(), metric.unit().unwrap_or_default(), labels.join(", "));
        format!("| `{name}` | {kind} | {unit} | {labels} | {help} |\n")
    });
    format!(
        "### {by}\n\n{note}| metric | type | unit | labels | |\n|---|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

#[test]
fn the_page_has_every_metric_and_no_other() {
    let page = read("docs/metrics.md");
    for group in GROUPS {
        let section = section(group.by, group.note, group.metrics);
        assert!(page.contains(&section), "docs/metrics.md should have\n\n{section}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `thalweg_") || line.starts_with("| `process_"));
    assert_eq!(rows.count(), all().count());
    check_names("docs/metrics.md", &page, true);
}

/// Everything in a text that looks like a series of ours is one. Gives those that are named.
fn check_names(file: &str, text: &str, is_prose: bool) -> BTreeSet<&'static str> {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = text.split(|character| !is_of_name(character));
    let mut named = BTreeSet::new();
    for word in words.filter(|word| word.starts_with("thalweg_") || word.starts_with("process_")) {
        if word == "process_" {
            continue;
        }
        // Prose may name a histogram itself, a query only its series.
        let histogram = all().find(|metric| metric.name == word && is_prose);
        let metric =
            metric_of(word).or(histogram).unwrap_or_else(|| panic!("{file} names {word}, which nobody exports"));
        named.insert(metric.name);
    }
    named
}

/// The labels that a query names, in selectors and behind `by` and `on`.
fn check_labels(file: &str, expression: &str) {
    let known: BTreeSet<&str> =
        all().flat_map(|metric| metric.labels).copied().chain(["job", "instance", "le"]).collect();
    let mut rest = expression;
    while let Some(at) = rest.find(['{', '(']) {
        let (before, inside) = (rest[..at].trim_end(), &rest[at + 1..]);
        let is_selector = rest[at..].starts_with('{');
        let is_list = ["by", "on", "group_left", "without"].iter().any(|word| before.ends_with(word));
        rest = inside;
        if !(is_selector || is_list) {
            continue;
        }
        let end = inside.find(if is_selector { '}' } else { ')' }).expect("it is closed");
        for part in inside[..end].split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let label = part.split(['=', '!']).next().unwrap_or_default().trim();
            assert!(known.contains(label), "{file}: {label} in {expression}");
        }
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = read("deploy/observability/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let (mut ids, mut named) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a target has an expression");
            named.extend(check_names("dashboard.json", expression, false));
            check_labels("dashboard.json", expression);
        }
    }
    assert!(panels.len() > 30 && named.len() > 40, "{} panels, {} metrics", panels.len(), named.len());
    let shown = |place: &serde_json::Value| (place["x"].as_u64(), place["y"].as_u64());
    let places: BTreeSet<_> = panels.iter().map(|panel| shown(&panel["gridPos"])).collect();
    assert_eq!(places.len(), panels.len(), "no panel hides another");
}

#[test]
fn rules_ask_for_what_there_is() {
    let text = read("deploy/observability/rules.yml");
    let mut alerts = BTreeMap::new();
    let mut name = "";
    for line in text.lines().map(str::trim) {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            name = alert;
        }
        if let Some(expression) = line.strip_prefix("expr: ") {
            assert!(!check_names("rules.yml", expression, false).is_empty(), "{expression}");
            check_labels("rules.yml", expression);
            assert_eq!(alerts.insert(name, expression), None, "{name} is there twice");
        }
    }
    check_names("rules.yml", &text, true);
    check_names("rules_test.yml", &read("deploy/observability/rules_test.yml"), true);
    assert!(alerts.len() > 15, "{alerts:?}");
}

#[test]
fn rules_fire_when_they_should() {
    let promtool = std::env::var("THALWEG_PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let promtool = |arguments: &[&str]| {
        Command::new(&promtool).args(arguments).current_dir(root().join("deploy/observability")).output()
    };
    if promtool(&["--version"]).is_err() {
        eprintln!("skipped: promtool is not installed (THALWEG_PROMTOOL)");
        return;
    }
    for arguments in
        [["check", "rules", "rules.yml"], ["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]]
    {
        let output = promtool(&arguments).expect("promtool runs");
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{arguments:?}: {told:?}");
    }
}
