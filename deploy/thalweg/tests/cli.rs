//! The built binary as users run it: output, errors and exit codes.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{fs, path::Path};

use clap::CommandFactory;
use process::{
    Background, Outcome, Place, lines_below, thalweg, thalweg_with_input, thalweg_without_reader, wait_until,
};
use serde_json::Value;

const NUMBERS: &str = "{\"n\":1,\"word\":\"one\"}\n{\"n\":2,\"word\":null}\n{\"n\":3,\"word\":\"thr,ee\"}\n";

fn script(directory: &Path) -> String {
    fs::write(directory.join("numbers.json"), NUMBERS).expect("the input can be written");
    format!(
        "CREATE TABLE numbers (n BIGINT, word STRING) WITH ('connector' = 'filesystem', 'path' = '{}/numbers.json', 'format' = 'json');\n",
        directory.display()
    )
}

#[track_caller]
fn check_error(outcome: &Outcome, code: i32, expected: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert!(outcome.stderr.contains(expected), "{outcome:?}");
    if code == 1 {
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "one error line: {outcome:?}");
    }
}

#[test]
fn help_names_the_commands() {
    let outcome = thalweg(&["--help"]);
    assert_eq!(outcome.code, Some(0));
    for command in ["demo", "run", "dev", "coordinator", "node", "submit", "jobs", "job", "nodes", "preview", "sql"] {
        assert!(outcome.stdout.contains(&format!("\n  {command} ")), "{command}: {}", outcome.stdout);
    }
    assert!(thalweg(&["completions", "bash"]).stdout.contains("thalweg"));
}

#[test]
fn wrong_command_lines_are_told_apart_from_failures() {
    check_error(&thalweg(&["run", "--nonsense"]), 2, "--nonsense");
    check_error(&thalweg(&["run"]), 2, "FILE");
    check_error(&thalweg(&["run", "-e", "SELECT 1", "--set", "novalue"]), 2, "KEY=VALUE");
    check_error(&thalweg(&["job", "show", "seven"]), 2, "job-7");
}

#[test]
fn a_script_that_is_not_there_is_named() {
    check_error(&thalweg(&["run", "/nowhere/at-all.sql"]), 1, "/nowhere/at-all.sql");
    check_error(&thalweg(&["run", "-e", "  "]), 1, "empty");
}

#[test]
fn bad_sql_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    check_error(&thalweg(&["run", "-e", "SELEC 1"]), 1, "SELEC");
    let sql = format!("{}SELECT nn FROM numbers;", script(directory.path()));
    check_error(&thalweg(&["run", "-e", &sql]), 1, "nn");
    let sql = format!("{}SELECT n FROM numbers;", script(directory.path()));
    check_error(&thalweg(&["run", "-e", &sql, "--set", "no.such.key=1"]), 1, "no.such.key");
}

#[test]
fn a_misspelt_connector_or_option_is_named_with_what_was_meant() {
    let run = |options: &str| {
        thalweg(&["run", "-e", &format!("CREATE TABLE t (n BIGINT) WITH ({options}); SELECT n FROM t;")])
    };
    check_error(&run("'connector' = 'filesytem'"), 1, "did you mean 'filesystem'?");
    let options = "'connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'dead-letter.pth' = 'y'";
    check_error(&run(options), 1, "did you mean 'dead-letter.path'?");
    check_error(&run("'connector' = 'datagen', 'number-of-row' = '1'"), 1, "line 1, column");
}

#[test]
fn times_are_printed_as_files_have_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("t.json"), "{\"t\":\"2026-01-01 00:00:00.123\"}\n").unwrap();
    let table = |name: &str, path: &str| {
        format!(
            "CREATE TABLE {name} (t TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '{}/{path}', 'format' = 'json');\n",
            directory.path().display()
        )
    };
    let sql =
        format!("{}{}INSERT INTO copy SELECT t FROM i; SELECT t FROM i;", table("i", "t.json"), table("copy", "out"));
    let json = thalweg(&["run", "-e", &sql, "-o", "json"]);
    assert_eq!(json.stdout, "{\"t\":\"2026-01-01 00:00:00.123\"}\n", "{json:?}");
    assert_eq!(lines_below(&directory.path().join("out")), [json.stdout.trim()]);
    let sql = format!("{}SELECT t FROM i;", table("i", "t.json"));
    assert_eq!(thalweg(&["run", "-e", &sql, "-o", "csv"]).stdout, "t\n2026-01-01 00:00:00.123\n");
    assert!(thalweg(&["run", "-e", &sql]).stdout.ends_with("\n2026-01-01 00:00:00.123\n"));
}

#[test]
fn missing_input_is_named() {
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/nowhere/t.json', 'format' = 'json'); SELECT n FROM t;";
    check_error(&thalweg(&["run", "-e", sql]), 1, "/nowhere/t.json");
}

#[test]
fn malformed_input_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!("{}SELECT n FROM numbers;", script(directory.path()));
    fs::write(directory.path().join("numbers.json"), "{\"n\":1}\n{\"n\":oops}\n").unwrap();
    check_error(&thalweg(&["run", "-e", &sql]), 1, "numbers.json:2");
}

#[test]
fn rows_come_in_the_asked_format() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!("{}SELECT n, word FROM numbers WHERE n > 1;", script(directory.path()));
    let run = |format: &str| thalweg(&["run", "-e", &sql, "--output", format]);
    let table = run("table");
    assert_eq!(table.code, Some(0), "{table:?}");
    assert_eq!(table.stdout, "n  word\n─  ──────\n2  NULL\n3  thr,ee\n");
    assert_eq!(run("json").stdout, "{\"n\":2,\"word\":null}\n{\"n\":3,\"word\":\"thr,ee\"}\n");
    assert_eq!(run("csv").stdout, "n,word\n2,\n3,\"thr,ee\"\n");
}

#[test]
fn a_script_may_come_by_standard_input_and_write_files() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!(
        "{}CREATE TABLE twice (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}/out', 'format' = 'json');\n\
         INSERT INTO twice SELECT n * 2 AS n FROM numbers;",
        script(directory.path()),
        directory.path().display()
    );
    let outcome = thalweg_with_input(&["run", "-", "--nodes", "2", "--parallelism", "3"], &sql);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{outcome:?}");
    let lines = lines_below(&directory.path().join("out"));
    assert_eq!(lines, ["{\"n\":2}", "{\"n\":4}", "{\"n\":6}"]);
}

#[test]
fn input_may_come_by_standard_input() {
    let sql =
        "CREATE TABLE lines (n BIGINT) WITH ('connector' = 'stdin', 'format' = 'json'); SELECT n + 1 AS m FROM lines;";
    let outcome = thalweg_with_input(&["run", "-e", sql, "-o", "json"], "{\"n\":1}\n{\"n\":41}\n");
    assert_eq!(outcome.stdout, "{\"m\":2}\n{\"m\":42}\n", "{outcome:?}");
}

#[test]
fn a_plan_is_shown_without_running() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!("{}SELECT n FROM numbers;", script(directory.path()));
    fs::remove_file(directory.path().join("numbers.json")).unwrap();
    let outcome = thalweg(&["explain", "-e", &sql]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("numbers"), "{outcome:?}");
}

#[test]
fn the_shell_takes_a_statement_set_as_one_job() {
    let directory = tempfile::tempdir().unwrap();
    let table = |name: &str| {
        let path = directory.path().join(name).display().to_string();
        format!(
            "CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'); "
        )
    };
    let set = "BEGIN STATEMENT SET; INSERT INTO a SELECT n FROM numbers; INSERT INTO b SELECT n FROM numbers; END;";
    let input = format!("{}{}{}{set}", script(directory.path()), table("a"), table("b"));
    let outcome = thalweg_with_input(&["sql"], &input);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(["a", "b"].map(|name| lines_below(&directory.path().join(name)).len()), [3, 3]);
}

/// Two statements that take the same of a view share what computes it, and get what each alone would get.
#[test]
fn what_statements_share_changes_no_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let lines: String = (0..300)
        .map(|n| format!("{{\"k\":{},\"ts\":\"2026-01-01 00:{:02}:{:02}\"}}\n", n % 7, n / 60, n % 60))
        .collect();
    fs::write(at("in.json"), lines).expect("the input can be written");
    let table = |name: &str| {
        let files = format!("'connector' = 'filesystem', 'path' = '{}', 'format' = 'json'", at(name));
        format!("CREATE TABLE {name} (k BIGINT, n BIGINT) WITH ({files});\n")
    };
    let view = format!(
        "CREATE TABLE e (k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n\
         CREATE VIEW v AS SELECT k, count(*) AS n FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         GROUP BY k, window_start, window_end;\n",
        at("in.json")
    );
    let all = |name: &str| format!("INSERT INTO {name} SELECT k, n FROM v;\n");
    let most = |name: &str| format!("INSERT INTO {name} SELECT n, k FROM v WHERE n > 1;\n");
    let tables: String = ["a", "b", "c", "d"].map(table).concat();
    for inserts in [all("a") + &most("b"), all("c"), most("d")] {
        let outcome = thalweg(&["run", "--parallelism", "2", "-e", &format!("{view}{tables}{inserts}")]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
    let sorted = |name: &str| {
        let mut lines = lines_below(Path::new(&at(name)));
        lines.sort_unstable();
        lines
    };
    assert_eq!((sorted("a"), sorted("b")), (sorted("c"), sorted("d")));
    assert!(sorted("a").len() > sorted("b").len() && !sorted("b").is_empty());
}

#[test]
fn values_of_a_map_are_taken_by_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("m.json"), "{\"m\":{\"k\":1,\"l\":2}}\n{\"m\":{\"l\":3}}\n").unwrap();
    let sql = format!(
        "CREATE TABLE t (m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         SELECT m['k'] AS k, SUBSTRING('text', m['l']) AS rest FROM t;",
        directory.path().join("m.json").display()
    );
    let outcome = thalweg(&["run", "-e", &sql, "-o", "csv"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "k,rest\n1,ext\n,xt\n"), "{outcome:?}");
}

#[test]
fn the_shell_remembers_tables_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    let input = format!(
        "{}SHOW TABLES; SELECT n FROM numbers\nWHERE n = 3; QUIT; SELECT n FROM numbers;",
        script(directory.path())
    );
    let outcome = thalweg_with_input(&["sql", "-o", "csv"], &input);
    assert_eq!(outcome.stdout, "answer\nnumbers\nn\n3\n", "{outcome:?}");
    let input = format!("{}DESCRIBE numbers; DROP TABLE numbers; SELECT n FROM numbers;", script(directory.path()));
    let outcome = thalweg_with_input(&["sql"], &input);
    assert!(outcome.stdout.contains("word") && outcome.stdout.contains("BIGINT"), "{outcome:?}");
    check_error(&outcome, 1, "unknown table 'numbers'");
    check_error(
        &thalweg_with_input(&["sql"], "CREATE TABLE t (n BIGINTT) WITH ('connector' = 'datagen');"),
        1,
        "BIGINTT",
    );
}

#[test]
fn the_shell_resets_a_setting_and_shows_what_was_created() {
    let directory = tempfile::tempdir().unwrap();
    let again = "CREATE TABLE IF NOT EXISTS numbers (x INT) WITH ('connector' = 'datagen');";
    let input = format!(
        "{}SET 'parallelism.default' = '1'; RESET 'parallelism.default'; {again} SHOW TABLES; SHOW CREATE TABLE numbers;",
        script(directory.path())
    );
    let outcome = thalweg_with_input(&["sql"], &input);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.starts_with("numbers\n") && outcome.stdout.contains("word"), "{outcome:?}");
}

#[test]
fn what_nobody_can_send_is_not_waited_for() {
    let table = |connector: &str| {
        format!("CREATE TABLE t (a INT) WITH ('connector' = '{connector}', 'format' = 'json'); SELECT a FROM t;")
    };
    check_error(&thalweg(&["run", "-e", &table("http")]), 1, "run takes no records over HTTP: use thalweg dev");
    let expected = "reads the standard input, from which the script comes";
    check_error(&thalweg_with_input(&["run", "-"], &table("stdin")), 1, expected);
    let outcome = thalweg_with_input(&["run", "-e", &table("stdin"), "-o", "csv"], "{\"a\":1}\n");
    assert_eq!(outcome.stdout, "a\n1\n", "{outcome:?}");
}

#[test]
fn a_script_may_ask_before_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!("{}SHOW TABLES; DESCRIBE numbers; SELECT n FROM numbers WHERE n = 2;", script(directory.path()));
    let outcome = thalweg(&["run", "-e", &sql]);
    assert!(outcome.stdout.starts_with("numbers\n") && outcome.stdout.ends_with("\nn\n─\n2\n"), "{outcome:?}");
    let sql = format!("{}SHOW TABLES;", script(directory.path()));
    assert_eq!(thalweg(&["run", "-e", &sql, "-o", "json"]).stdout, "{\"answer\":\"numbers\"}\n");
}

#[test]
fn an_unreachable_cluster_is_named() {
    let outcome = thalweg(&["jobs", "--coordinator", "127.0.0.1:1", "--timeout", "300 ms"]);
    check_error(&outcome, 1, "127.0.0.1:1");
}

#[test]
fn a_wrong_configuration_is_named_by_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("thalweg.toml");
    fs::write(&file, "[node]\nslot = 3\n").unwrap();
    let file = file.to_str().unwrap();
    check_error(&thalweg(&["node", "--config", file]), 1, "unknown key node.slot (did you mean node.slots?)");
    check_error(&thalweg(&["node", "--config", "/nowhere.toml"]), 1, "/nowhere.toml");
    check_error(&thalweg(&["coordinator", "--data-dir", "x", "--lease", "soon"]), 1, "coordinator.lease");
    check_error(&thalweg(&["node", "--memory", "1 KiB"]), 1, "node.memory");
    check_error(
        &thalweg(&["jobs", "--coordinator", "here"]),
        1,
        "client.coordinator (--coordinator, THALWEG_COORDINATOR)",
    );
    check_error(&thalweg(&["demo", "--speed", "0"]), 2, "or max");
}

#[test]
fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.path().to_str().unwrap();
    check_error(&thalweg(&["coordinator", "--data-dir", data, "--listen", &address]), 1, &address);
    check_error(&thalweg(&["node", "--coordinator", "127.0.0.1:1", "--listen", &address]), 1, &address);
    check_error(&thalweg(&["dev", "--data-dir", data, "--listen", &address, "--http", "127.0.0.1:0"]), 1, &address);
}

#[test]
fn a_cluster_in_one_process_serves_clients_and_ends_on_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let dev = Background::start(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
        "--slots",
        "2",
    ]);
    let address = dev.wait_for("  coordinator  ");
    let http = dev.wait_for("  http  ");
    assert!(std::net::TcpStream::connect(&http).is_ok(), "{http}");
    let sql = format!("{}SELECT n FROM numbers WHERE n > 1;", script(directory.path()));
    let submitted =
        thalweg(&["submit", "--coordinator", &address, "-e", &sql, "--wait", "-o", "json", "--name", "mine"]);
    assert_eq!(submitted.stdout, "{\"n\":2}\n{\"n\":3}\n", "{submitted:?}");
    let jobs = thalweg(&["jobs", "--coordinator", &address, "-o", "json"]);
    assert!(jobs.stdout.contains("\"name\":\"mine\"") && jobs.stdout.contains("finished"), "{jobs:?}");
    assert!(thalweg(&["job", "show", "job-1", "--coordinator", &address]).stdout.contains("mine"));
    assert!(thalweg(&["nodes", "--coordinator", &address]).stdout.contains("alive"));
    check_error(&thalweg(&["job", "show", "job-99", "--coordinator", &address]), 1, "job-99");
    check_refusals(&address, directory.path());
    check_previews(&address, directory.path());
    check_every_client_speaks_json(&address, directory.path());
    let ended = dev.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A job is accepted before its tables are looked at. Whoever submits it learns what was found all the same.
fn check_refusals(address: &str, directory: &Path) {
    let missing = directory.join("missing.csv").display().to_string();
    let sql = format!(
        "CREATE TABLE i (n BIGINT) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '{missing}');
         CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO o SELECT n FROM i;"
    );
    let submitted = thalweg(&["submit", "--coordinator", address, "-e", &sql, "-o", "json"]);
    check_error(&submitted, 1, &missing);
    assert!(submitted.stdout.contains("\"job\":"), "it can be looked at by its number: {submitted:?}");
}

fn check_previews(address: &str, directory: &Path) {
    let url = format!("http://{address}");
    let preview = |arguments: &[&str]| {
        let mut all = vec!["preview", "--coordinator", &url, "-o", "csv"];
        all.extend(arguments);
        thalweg(&all)
    };
    let status_of_last = || {
        let jobs = thalweg(&["jobs", "--coordinator", &url, "-o", "json"]);
        let jobs: Vec<Value> = jobs.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let last = jobs.into_iter().max_by_key(|job| job["job"].as_u64()).expect("there are jobs");
        last["status"].as_str().expect("a status is a text").to_owned()
    };
    let numbers = format!("{}SELECT n FROM numbers;", script(directory));
    assert_eq!(preview(&["-e", &numbers]).stdout, "n\n1\n2\n3\n");
    assert_eq!(status_of_last(), "finished");
    let file = directory.join("endless.sql");
    let endless = "CREATE TABLE e (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', \
                   'fields.n.kind' = 'sequence', 'fields.n.start' = '7'); SELECT n FROM e;";
    fs::write(&file, endless).expect("it can be written");
    let sampled = preview(&[file.to_str().expect("a path of text"), "--rows", "2"]);
    assert_eq!((sampled.code, sampled.stdout.as_str()), (Some(0), "n\n7\n8\n"), "{sampled:?}");
    wait_until("the preview's end", || (status_of_last() == "cancelled").then_some(()));
    let in_time = preview(&["-e", endless, "--rows", "1000000", "--seconds", "4"]);
    assert!(in_time.stdout.starts_with("n\n7\n") && in_time.stderr.contains("rows within 4 s"), "{in_time:?}");
    check_error(&preview(&["-e", "INSERT INTO a SELECT n FROM b"]), 1, "leave out INSERT INTO");
    check_error(&preview(&["-e", "SELECT n FROM nothing"]), 1, "nothing");
    check_error(&preview(&["/nowhere.sql"]), 1, "/nowhere.sql");
    check_error(
        &preview(&["-e", "EXECUTE INSERT INTO o SELECT n FROM numbers; SELECT n FROM numbers"]),
        1,
        "writes nothing",
    );
}

/// Commands that serve, or whose output is for a shell.
const WITHOUT_ROWS: &[&str] = &["demo", "dev", "coordinator", "node", "completions", "checkpoint verify"];

/// All commands without subcommands, as the command line defines them.
fn commands_of(command: &clap::Command, above: &str, found: &mut Vec<String>) {
    for below in command.get_subcommands() {
        let name = format!("{above} {}", below.get_name()).trim().to_owned();
        if !below.has_subcommands() || name == "cluster" {
            found.push(name.clone());
        }
        commands_of(below, &name, found);
    }
}

fn objects(arguments: &[&str], outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!lines.is_empty() && lines.iter().all(Value::is_object), "{arguments:?}: {outcome:?}");
    lines
}

/// Every client command prints at least one line of JSON.
fn check_every_client_speaks_json(address: &str, directory: &Path) {
    let json = |arguments: &[&str]| {
        let all = [arguments, &["--coordinator", address, "--output", "json"]].concat();
        objects(&all, &thalweg(&all))
    };
    let numbers = format!("{}SELECT n FROM numbers;", script(directory));
    let nowhere = "CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');";
    let writing = format!("{}{nowhere} INSERT INTO nowhere SELECT n FROM numbers;", script(directory));
    let endless = format!(
        "CREATE TABLE e (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50'); {nowhere} \
         INSERT INTO nowhere SELECT n FROM e;"
    );
    let submit = |sql: &str| json(&["submit", "-e", sql, "-p", "1"])[0]["job"].to_string();
    let status = |command: &str, sql: &str| json(&["job", command, &submit(sql)])[0]["status"].clone();
    let mut commands = Vec::new();
    commands_of(&thalweg::args::Cli::command(), "", &mut commands);
    for command in commands.iter().filter(|command| !WITHOUT_ROWS.contains(&command.as_str())) {
        match command.as_str() {
            "run" => assert_eq!(objects(&["run"], &thalweg(&["run", "-e", &numbers, "-o", "json"])).len(), 3),
            "submit" => assert_eq!(json(&["submit", "-e", &numbers, "--wait"]).len(), 3),
            "explain" => assert!(json(&["explain", "-e", &numbers])[0]["plan"].is_string()),
            "preview" => assert_eq!(json(&["preview", "-e", &numbers]).len(), 3),
            "jobs" | "nodes" | "cluster" => drop(json(&[command])),
            // A group of one member cannot change; `members.rs` replaces a member of three.
            "cluster add" | "cluster remove" => {}
            // Only a failed job can be restarted, which `ingest.rs` does.
            "job restart" => {}
            "job forget" => {
                let job = submit(&writing);
                json(&["job", "wait", &job]);
                check_error(
                    &thalweg(&["job", "restart", &job, "--coordinator", address]),
                    1,
                    "only a job that has failed",
                );
                let forgotten = thalweg(&["job", "forget", &job, "--coordinator", address, "-o", "json"]);
                assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
            }
            "job show" => assert!(json(&["job", "show", &submit(&writing)])[0]["plan"].is_string()),
            "job wait" => assert_eq!(status("wait", &writing), "finished"),
            "job cancel" => assert_eq!(status("cancel", &endless), "cancelled"),
            "job checkpoints" => {
                let job = submit(&format!("SET 'checkpoint.interval' = '50 ms'; {endless}"));
                let arguments = ["job", "checkpoints", &job, "--coordinator", address, "-o", "json"];
                let has_some = || thalweg(&arguments).stdout.contains("complete");
                wait_until("a checkpoint", || has_some().then_some(()));
                assert!(json(&["job", "checkpoints", &job])[0]["checkpoint"].is_number());
                json(&["job", "cancel", &job]);
            }
            "job stop" => assert!(status("stop", &endless).is_string()),
            "job rows" => assert_eq!(json(&["job", "rows", &submit(&numbers)]).len(), 3),
            "sql" => {
                let input = format!("{numbers} SHOW TABLES; EXPLAIN SELECT n FROM numbers;");
                let arguments = ["sql", "--coordinator", address, "-o", "json"];
                assert_eq!(objects(&arguments, &thalweg_with_input(&arguments, &input)).len(), 5);
            }
            other => panic!("nobody checks the JSON of {other}"),
        }
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.sql");
    let many = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen'); SELECT n FROM t;";
    let printing = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen'); \
                    CREATE TABLE p (n BIGINT) WITH ('connector' = 'print'); INSERT INTO p SELECT n FROM t;";
    fs::write(&file, many).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["run", file][..],
        &["run", file, "-o", "csv"],
        &["run", file, "-o", "json"],
        &["run", "-e", printing],
        &["demo", "--print-sql"],
        &["completions", "bash"],
        &["--help"],
        &["explain", file],
    ] {
        let outcome = thalweg_without_reader(arguments);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}: {outcome:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_to_fails_the_job_at_once() {
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1'); \
               CREATE TABLE f (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/proc/nowhere', 'format' = 'json'); \
               INSERT INTO f SELECT n FROM t;";
    check_error(&thalweg(&["run", "-e", sql]), 1, "could not create the directory /proc/nowhere");
}

#[test]
fn a_reader_that_has_had_enough_of_a_job_that_writes_files_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let sql = format!(
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen'); CREATE TABLE f (n BIGINT) WITH ('connector' = 'filesystem', \
         'path' = '{}', 'format' = 'json'); INSERT INTO f SELECT n FROM t; SELECT n FROM t;",
        directory.path().join("out").display()
    );
    fs::create_dir(directory.path().join("out")).unwrap();
    let outcome = thalweg_without_reader(&["run", "-e", &sql]);
    check_error(&outcome, 1, "publishes no more than its checkpoints hold");
}

#[test]
fn nobody_who_reads_errors_is_no_reason_to_panic() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .args(["run", "/nowhere.sql"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn wrong_values_of_the_environment_are_named_by_their_variable() {
    let variables =
        |name: &str, value: &str| Place { variables: [(name.to_owned(), value.to_owned())].into(), ..Place::default() };
    let wrong = variables("THALWEG_SLOTS", "many");
    check_error(&wrong.thalweg(&["node"]), 1, "environment variable THALWEG_SLOTS: invalid value 'many'");
    check_error(&wrong.thalweg(&["node", "--slots", "few"]), 2, "'few' for '--slots <N>'");
    check_error(&variables("THALWEG_OUTPUT", "xml").thalweg(&["jobs"]), 1, "THALWEG_OUTPUT");
    check_error(&variables("THALWEG_LISTEN", "here").thalweg(&["node"]), 1, "node.listen (--listen, THALWEG_LISTEN)");
}
