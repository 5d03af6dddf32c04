//! A site asks a cluster for the newest rows of a table: each node answers for all of it, or for none, whatever dies.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use process::{Background, free_addresses, thalweg, wait_until};
use serde_json::{Value, json};

const CATEGORIES: [(&str, &str); 4] =
    [("books", "books"), ("Bücher & Co", "B%C3%BCcher+%26+Co"), ("a=b%", "a%3Db%25"), ("", "")];
const PLACES: usize = 25;

/// Status, head and body of an answer; `None` if nobody listens.
fn ask(address: &str, method: &str, path: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, head.to_lowercase(), body.to_owned()))
}

fn get(address: &str, query: &str) -> (u16, String, String) {
    ask(address, "GET", &format!("/tables/recommendations{query}")).expect("the node answers")
}

/// The rows of an answer; `None` if it is none.
fn rows(address: &str, query: &str) -> Option<Vec<Value>> {
    let (status, _, body) = ask(address, "GET", &format!("/tables/recommendations{query}"))?;
    (status == 200).then(|| serde_json::from_str(&body).expect("an array"))
}

fn row(category: &str, place: usize, round: usize) -> Value {
    json!({
        "category": category,
        "place": place,
        "product": format!("{category}-{place}-{round}"),
        "price": format!("{place}.50").parse::<f64>().expect("a number"),
        "seen": "2026-01-02 03:04:05.678",
        "note": null,
    })
}

/// Every key after a round, in the order of the keys. The second round has every other place again.
fn expected(round: usize) -> Vec<Value> {
    let mut categories: Vec<&str> = CATEGORIES.iter().map(|(category, _)| *category).collect();
    categories.sort_unstable();
    let round_of = |place: usize| if place.is_multiple_of(2) { round } else { 1 };
    let of = |category: &str| (0..PLACES).map(|place| row(category, place, round_of(place))).collect::<Vec<_>>();
    categories.into_iter().flat_map(of).collect()
}

/// Writes a file of input at once.
fn put(directory: &Path, round: usize) {
    let places = || (0..PLACES).rev().filter(|place| round == 1 || place % 2 == 0);
    let lines: Vec<String> = CATEGORIES
        .iter()
        .flat_map(|(category, _)| places().map(|place| format!("{}\n", row(category, place, round))))
        .collect();
    let hidden = directory.join(format!(".{round}.json"));
    fs::write(&hidden, lines.concat()).expect("it can be written");
    fs::rename(hidden, directory.join(format!("{round}.json"))).expect("it can be renamed");
}

fn script(input: &Path) -> String {
    let columns = "category STRING, place BIGINT, product STRING, price DECIMAL(10, 2), seen TIMESTAMP(3), note STRING";
    format!(
        "SET 'checkpoint.interval' = '200 ms';\n\
         CREATE TABLE input ({columns}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', \
           'source.monitor-interval' = '100 ms');\n\
         CREATE TABLE recommendations ({columns}, PRIMARY KEY (category, place) NOT ENFORCED) WITH ('connector' = 'queryable');\n\
         INSERT INTO recommendations SELECT * FROM input;",
        input.display()
    )
}

fn shown(coordinator: &str) -> Value {
    let outcome = thalweg(&["job", "show", "job-1", "--coordinator", coordinator, "-o", "json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    serde_json::from_str(outcome.stdout.lines().next().expect("a line")).expect("JSON")
}

/// Waits for a checkpoint that began after now.
fn wait_for_checkpoint(coordinator: &str) {
    let newest = || shown(coordinator)["checkpoints"]["last_complete"].as_u64().unwrap_or(0);
    let before = newest();
    wait_until("two more checkpoints", || (newest() >= before + 2).then_some(()));
}

#[track_caller]
fn refused(address: &str, query: &str, status: u16, words: &[&str]) {
    let (got, head, body) = get(address, query);
    assert_eq!(got, status, "{query}: {body}");
    assert!(words.iter().all(|word| body.contains(word)), "{query}: {body}");
    assert_eq!(head.contains("retry-after"), status >= 503, "{head}");
}

fn check_answers(nodes: &[String; 2], round: usize) {
    let all = expected(round);
    for node in nodes {
        assert_eq!(rows(node, ""), Some(all.clone()));
        for (category, text) in CATEGORIES {
            let of: Vec<Value> = all.iter().filter(|row| row["category"] == category).cloned().collect();
            assert_eq!(rows(node, &format!("?category={text}")), Some(of.clone()), "{category}");
            for (place, row) in of.iter().enumerate() {
                let query = format!("?place={place}&category={text}");
                assert_eq!(rows(node, &query), Some(vec![row.clone()]), "{query}");
            }
        }
        assert_eq!(rows(node, "?category=books&place=99"), Some(Vec::new()));
        let (status, head, body) = get(node, "?limit=7");
        assert_eq!((status, head.contains("thalweg-more: true")), (200, true), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<Vec<Value>>(&body).expect("an array"), all[..7]);
        assert!(get(node, "?limit=100").1.contains("thalweg-more: false"));
    }
}

fn check_refusals(node: &str) {
    refused(node, "?category=books&place=first", 400, &["place", "expected BIGINT", "first"]);
    refused(node, "?product=x", 400, &["'product' is no column of the table's key, which is (category, place)"]);
    refused(node, "?place=1", 400, &["place needs category too"]);
    refused(node, "?limit=0", 400, &["a whole number from 1 to 1000"]);
    refused(node, "?category=%zz", 400, &["two hexadecimal digits"]);
    refused(node, &format!("?category={}", "x".repeat(9000)), 414, &["8192"]);
    let other = ask(node, "GET", "/tables/other").expect("an answer");
    assert!(other.0 == 404 && other.2.contains("those that can be asked are recommendations"), "{other:?}");
    assert_eq!(ask(node, "PUT", "/tables/recommendations").expect("an answer").0, 405);
    assert_eq!(ask(node, "HEAD", "/tables/recommendations?limit=1").expect("an answer").2, "");
    assert_eq!(ask(node, "GET", "/healthz").expect("an answer").0, 200, "the process tells of itself as before");
}

#[test]
fn every_node_answers_for_the_whole_table_through_the_death_of_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let [coordinator, first, second]: [String; 3] = free_addresses();
    let nodes = [first, second];
    let (data, input) = (directory.path().join("data"), directory.path().join("input"));
    fs::create_dir(&input).expect("a directory");
    let checkpoints = directory.path().join("checkpoints").display().to_string();
    let arguments =
        ["coordinator", "--listen", &coordinator, "--data-dir", data.to_str().expect("text"), "--lease", "2 s"];
    let _coordinator = Background::start(&[&arguments[..], &["--checkpoints", &checkpoints]].concat());
    let node = |number: usize| {
        let name = (number + 1).to_string();
        let arguments =
            ["node", "--node", &name, "--coordinator", &coordinator, "--slots", "1", "--http", &nodes[number]];
        Background::start(&arguments)
    };
    let (_one, two) = (node(0), node(1));
    wait_until("both nodes", || {
        let listed = thalweg(&["nodes", "--coordinator", &coordinator, "-o", "json"]);
        (listed.stdout.matches("\"alive\"").count() == 2).then_some(())
    });
    let nowhere = wait_until("an answer", || ask(&nodes[0], "GET", "/tables/recommendations"));
    assert!(nowhere.0 == 404 && nowhere.2.contains("no job has a table that can be asked"), "{nowhere:?}");

    let submit = || thalweg(&["submit", "--coordinator", &coordinator, "--parallelism", "2", "-e", &script(&input)]);
    let submitted = submit();
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let again = submit();
    assert_ne!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("/tables/recommendations is answered by job-1"), "{again:?}");

    put(&input, 1);
    wait_until("all rows", || (rows(&nodes[0], "")?.len() == CATEGORIES.len() * PLACES).then_some(()));
    check_answers(&nodes, 1);
    assert_eq!(
        shown(&coordinator)["asked_urls"],
        json!(nodes.each_ref().map(|node| format!("http://{node}/tables/recommendations")))
    );
    check_refusals(&nodes[0]);
    check_refusals(&nodes[1]);
    // Files that are found together are read side by side, so the first must never be read again beside the second.
    wait_for_checkpoint(&coordinator);
    put(&input, 2);
    wait_until("the second round", || (rows(&nodes[1], "")? == expected(2)).then_some(()));
    check_answers(&nodes, 2);

    two.kill();
    let (status, head, body) = wait_until("an answer without the other node", || {
        let answer = ask(&nodes[0], "GET", "/tables/recommendations")?;
        (answer.0 != 200).then_some(answer)
    });
    assert!(status == 503 && head.contains("retry-after: 1"), "{status} {body}");
    let _two = node(1);
    wait_until("the same answers", || {
        // Never some of the rows as if they were all.
        let all = nodes.each_ref().map(|node| rows(node, ""));
        assert!(all.iter().flatten().all(|rows| rows.len() == expected(2).len()), "{all:?}");
        all.iter().all(|rows| rows.as_ref() == Some(&expected(2))).then_some(())
    });
    check_answers(&nodes, 2);
    assert!(shown(&coordinator)["attempt"].as_u64() > Some(1));

    let cancelled = thalweg(&["job", "cancel", "job-1", "--coordinator", &coordinator]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    wait_until("the table's end", || (get(&nodes[0], "").0 == 404).then_some(()));
}
