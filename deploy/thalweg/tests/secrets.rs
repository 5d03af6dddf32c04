//! Secrets of tables: where a process finds them, and that nobody is shown one.
//!
//! The tables are of a broker that nobody runs: what counts here happens before anybody is asked.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{fs, path::Path};

use process::{Background, Outcome, Place, thalweg, wait_until};

/// A script that reads a topic with these options, into nothing.
fn script(options: &str) -> String {
    format!(
        "CREATE TABLE k (a BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json', \
           'properties.bootstrap.servers' = '127.0.0.1:1', 'scan.startup.mode' = 'earliest-offset', \
           'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'PLAIN', {options});\n\
         CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT a FROM k;"
    )
}

fn run(place: &Place, flags: &[&str], sql: &str) -> Outcome {
    place.thalweg(&[&["run", "--quiet", "-e", sql], flags].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn a_secret_that_is_nowhere_fails_the_job_with_all_that_there_is_to_know() {
    let secrets = tempfile::tempdir().expect("a directory");
    let sql = script("'properties.sasl.username' = 'u', 'properties.sasl.password' = secret('kafka.pass-word')");
    let variable = "THALWEG_SECRET_KAFKA_PASS_WORD";
    let needs = "option 'properties.sasl.password' needs secret 'kafka.pass-word'";
    let outcome = run(&Place::default(), &["--secrets", text(secrets.path())], &sql);
    let file = secrets.path().join("kafka.pass-word");
    let looked = format!("{needs}: it was not found: there is no file {}, and no variable {variable}", file.display());
    assert!(outcome.code == Some(1) && outcome.stderr.contains(&looked), "{looked}\n{outcome:?}");
    let outcome = run(&Place::default(), &[], &sql);
    let looked = format!("{needs}: it was not found: there is no variable {variable}, and no directory of --secrets");
    assert!(outcome.code == Some(1) && outcome.stderr.contains(&looked), "{looked}\n{outcome:?}");
    let empty = Place { variables: [(variable.to_owned(), "\n".to_owned())].into(), ..Place::default() };
    let outcome = run(&empty, &[], &sql);
    let found = format!("{needs}: the variable {variable} is empty");
    assert!(outcome.code == Some(1) && outcome.stderr.contains(&found), "{found}\n{outcome:?}");
}

#[test]
fn the_directory_has_to_exist_and_is_no_place_for_tables() {
    let outcome = thalweg(&["run", "--secrets", "/nowhere/at/all", "-e", "SELECT 1"]);
    let reason = "configuration key run.secrets (--secrets, THALWEG_SECRETS): /nowhere/at/all is no directory";
    assert!(outcome.code == Some(1) && outcome.stderr.contains(reason), "{outcome:?}");
    let secrets = tempfile::tempdir().expect("a directory");
    let file = secrets.path().join("db");
    fs::write(&file, "hunter2").expect("a file");
    for path in [text(secrets.path()), text(&file)] {
        let sql = format!(
            "CREATE TABLE t (a STRING) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '{path}'); SELECT a FROM t"
        );
        let outcome = run(&Place::default(), &["--secrets", text(secrets.path())], &sql);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(!outcome.stdout.contains("hunter2") && outcome.stderr.contains(path), "{outcome:?}");
    }
}

/// Whether any file below a directory has these bytes.
fn is_written(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => is_written(&path, text),
            // What is gone by now was temporary.
            false => fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())),
        }
    })
}

#[test]
fn what_people_and_files_are_shown_has_no_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let (data, secrets) = (directory.path().join("data"), directory.path().join("secrets"));
    fs::create_dir(&secrets).expect("a directory");
    fs::write(secrets.join("password"), "hunter-of-file\n").expect("a file");
    let place = Place {
        variables: [("THALWEG_SECRET_USER".to_owned(), "hunter-of-variable".to_owned())].into(),
        ..Place::default()
    };
    let flags = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "debug"];
    let places = ["--data-dir", text(&data), "--secrets", text(&secrets)];
    let dev = Background::start_at(&place, &[&["dev"][..], &flags, &places].concat());
    let address = dev.wait_for("  coordinator");
    let sql = script(
        "'properties.sasl.password' = secret('password'), 'properties.sasl.username' = secret('user'), \
         'properties.ssl.key.password' = 'hunter-of-script'",
    );
    let at = ["--coordinator", address.as_str()];
    let ask = |words: &[&str]| thalweg(&[words, &at].concat());
    let explained = ask(&["explain", "-e", &sql]);
    for shown in ["'properties.sasl.password' = secret('password')", "'properties.ssl.key.password' = '***'"] {
        assert!(explained.stdout.contains(shown), "{explained:?}");
    }
    let submitted = ask(&["submit", "-e", &sql, "-o", "json"]);
    let job = serde_json::from_str::<serde_json::Value>(&submitted.stdout).expect("a line of JSON")["job"].to_string();
    let show = || ask(&["job", "show", &job, "-o", "json"]);
    let has_begun = |shown: &str| ["running", "restarting", "failed"].iter().any(|status| shown.contains(status));
    let shown = wait_until("an attempt", || Some(show()).filter(|shown| has_begun(&shown.stdout)));
    let outcomes =
        [explained, submitted, shown, ask(&["job", "show", &job]), ask(&["jobs"]), ask(&["job", "checkpoints", &job])];
    for outcome in outcomes.into_iter().chain([dev.terminate()]) {
        assert!(!format!("{outcome:?}").contains("hunter"), "{outcome:?}");
    }
    assert!(is_written(&data, "hunter-of-script"), "the graph has what stands in the script");
    assert!(!is_written(&data, "hunter-of-file") && !is_written(&data, "hunter-of-variable"));
}

#[test]
fn a_shell_shows_tables_without_the_secrets_that_were_typed() {
    let sql = format!(
        "{}\nSHOW CREATE TABLE k;\n",
        script("'properties.sasl.password' = 'hunter2'").split_once("INSERT").expect("an insert").0
    );
    let outcome = process::thalweg_with_input(&["sql"], &sql);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let shown = "'properties.sasl.password' = '***'";
    assert!(outcome.stdout.contains(shown) && !outcome.stdout.contains("hunter2"), "{outcome:?}");
}
