//! README.md is true: every command in its `sh` blocks is run, with only addresses and directories replaced.
//!
//! Commands of other programs (docker, kubectl, `cargo test`) are not run, but the files that they name must exist.
//! `demo.rs` runs the demo over its whole year.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;
mod readme;

use std::{fs, path::Path};

use thalweg_types::{
    connector::{CONNECTORS, FORMATS, OptionSpec, OptionType},
    settings::SETTINGS,
};

use process::{Background, Place, free_addresses, lines_below, root, thalweg, wait_until};
use serde_json::Value;

const ADDRESSES: [&str; 3] = ["127.0.0.1:7071", "127.0.0.1:7072", "127.0.0.1:7073"];

/// The number of rows of each SELECT in the SQL examples, in order.
const ROWS_OF_EXAMPLES: [usize; 3] = [25_899, 44_255, 3_660];
/// The share of rows that may be missing, in thousandths: some flights are late for their windows, which DuckDB does
/// not know.
const LATE_PER_THOUSAND: usize = 1;

/// A directory that looks like the top of the repository, with a script of the user.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(root().join("deploy"), directory.path().join("deploy")).expect("a link");
    let sql = "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '100', \
                 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100');\n\
               CREATE TABLE out (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'OUT', 'format' = 'json');\n\
               INSERT INTO out SELECT n FROM n;";
    let sql = sql.replace("OUT", directory.path().join("out").to_str().expect("a path of text"));
    fs::write(directory.path().join("job.sql"), sql).expect("a script");
    directory
}

/// Runs the binary's commands in a block. Returns those that still serve.
fn run(block: &str, directory: &Path) -> Vec<Background> {
    let mut place = Place { directory: Some(directory.to_owned()), ..Place::default() };
    let mut serving = Vec::new();
    for command in readme::commands(block) {
        if let [export, assignment] = command.as_slice()
            && export == "export"
        {
            let (name, value) = assignment.split_once('=').expect("an assignment");
            place.variables.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let Some(arguments) = readme::arguments(&command) else {
            check_other(&command);
            continue;
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[0] {
            "demo" => {}
            "coordinator" | "node" => serving.push(Background::start_at(&place, &arguments)),
            _ => {
                let outcome = place.thalweg(&arguments);
                assert_eq!(outcome.code, Some(0), "{command:?}: {outcome:?}");
            }
        }
    }
    serving
}

/// Checks the options of the simulation's program. Its own tests run seeds.
fn check_simulation(command: &[String]) {
    let program = fs::read_to_string(root().join("deploy/sim/src/main.rs")).expect("the program is there");
    let own = command.iter().skip_while(|word| *word != "--").skip(1);
    for option in own.filter_map(|word| word.strip_prefix("--")) {
        assert!(program.contains(&format!("    {option}: ")), "{command:?}: there is no --{option}");
    }
}

/// Checks that a command of another program names only existing files.
fn check_other(command: &[String]) {
    let known = ["cargo test", "docker build", "kubectl apply"];
    let name = command[..2].join(" ");
    if command.iter().any(|word| word == "thalweg-sim") {
        return check_simulation(command);
    }
    assert!(known.contains(&name.as_str()), "nobody checks {command:?}");
    for word in command.iter().filter(|word| word.contains('/')) {
        assert!(root().join(word).exists(), "{command:?} names {word}, which does not exist");
    }
}

#[test]
fn every_command_does_what_it_should() {
    let directory = directory();
    let addresses: [String; 3] = free_addresses();
    let mut serving = Vec::new();
    for block in readme::blocks("sh") {
        let block = ADDRESSES.iter().zip(&addresses).fold(block, |block, (from, to)| block.replace(from, to));
        serving.extend(run(&block, directory.path()));
    }
    assert_eq!(serving.len(), 5, "three coordinators and two nodes");
    assert_eq!(lines_below(&directory.path().join("out")).len(), 100);
    let all = addresses.join(",");
    wait_until("both nodes", || {
        let nodes = thalweg(&["nodes", "--coordinator", &all, "-o", "json"]).stdout;
        (nodes.matches("\"state\":\"alive\"").count() == 2).then_some(())
    });
    for process in serving.into_iter().rev() {
        let ended = process.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn the_first_job_of_ones_own_gives_each_quarter_and_airport() {
    let directory = directory();
    let place = Place { directory: Some(directory.path().to_owned()), ..Place::default() };
    let commands: Vec<Vec<String>> = readme::blocks("sh").iter().flat_map(|block| readme::commands(block)).collect();
    let mut runs = commands.iter().filter_map(|command| readme::arguments(command));
    let run = runs.find(|arguments| arguments[0] == "run").expect("README runs a script");
    let arguments: Vec<&str> = run.iter().map(String::as_str).chain(["-o", "json"]).collect();
    let outcome = place.thalweg(&arguments);
    let rows: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // The year has five windows of 90 days, aligned to 1970, at three airports.
    assert!((12..=15).contains(&rows.len()), "{outcome:?}");
    let flights: u64 = rows.iter().map(|row| row["flights"].as_u64().expect("a count")).sum();
    assert!(flights > 300_000, "{outcome:?}");
}

#[test]
fn every_command_of_the_table_exists() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let table = text.split("## Commands").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let mut named = 0;
    for cell in table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()) {
        for code in cell.split('`').skip(1).step_by(2) {
            let words: Vec<&str> = code.trim_start_matches("thalweg ").split(' ').collect();
            let (command, below) = (words[0], words.get(1).copied().unwrap_or_default());
            let below: Vec<&str> = if command == "job" { below.split("\\|").collect() } else { vec![] };
            let all =
                if below.is_empty() { vec![vec![command]] } else { below.iter().map(|b| vec![command, b]).collect() };
            for arguments in all {
                let outcome = thalweg(&[arguments.as_slice(), &["--help"]].concat());
                assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
                named += 1;
            }
        }
    }
    assert!(named >= 15, "only {named} commands were found");
}

/// Together the examples are one script, in which each SELECT stands alone.
#[test]
fn every_example_of_sql_is_a_plan() {
    let directory = directory();
    let place = Place { directory: Some(directory.path().to_owned()), ..Place::default() };
    let script = readme::blocks("sql").concat();
    let outcome = place.thalweg(&["explain", "-e", &script]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.matches("Collect").count() >= 3, "{outcome:?}");
}

/// Runs each SELECT over the whole year with default settings. DuckDB has counted the expected rows.
#[test]
fn every_example_of_sql_runs_as_it_is() {
    let directory = directory();
    let script = readme::blocks("sql").concat();
    let statements: Vec<&str> = script.split_inclusive(';').map(str::trim).filter(|text| !text.is_empty()).collect();
    let table = statements.iter().find(|text| text.starts_with("CREATE TABLE flights")).expect("the flights");
    let queries: Vec<&&str> = statements.iter().filter(|text| text.starts_with("SELECT")).collect();
    let runs = queries.iter().map(|query| {
        let place = Place { directory: Some(directory.path().to_owned()), ..Place::default() };
        let job = format!("{table}\n{query}");
        let rows = std::thread::spawn(move || {
            let outcome = place.thalweg(&["run", "-e", &job, "-o", "json"]);
            assert_eq!(outcome.code, Some(0), "{job}: {}", outcome.stderr);
            outcome.stdout.lines().count()
        });
        rows.join().expect("it runs")
    });
    let rows: Vec<usize> = runs.collect();
    assert_eq!(rows.len(), ROWS_OF_EXAMPLES.len());
    for (rows, all) in rows.into_iter().zip(ROWS_OF_EXAMPLES) {
        let late = all * LATE_PER_THOUSAND / 1000;
        assert!((all - late..=all).contains(&rows), "{rows} rows of {all}");
    }
}

/// Checks that README.md contains a table generated from the engine's data.
fn check_table(head: &str, rows: &[[String; 3]]) {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let rows = rows.iter().map(|[name, value, doc]| format!("| {name} | {value} | {doc} |\n"));
    let table = format!("{head}\n|---|---|---|\n{}", rows.collect::<String>());
    assert!(readme.contains(&table), "README.md should have\n\n{table}");
}

fn option_row(option: &OptionSpec) -> [String; 3] {
    let value = match (option.required, option.default) {
        (true, _) => "required".to_owned(),
        (false, "") => String::new(),
        (false, default) => format!("`{default}`"),
    };
    let words = match option.kind {
        OptionType::OneOf(words) => {
            format!(" One of {}.", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    [format!("`{}`", option.key), value, format!("{}{words}", option.doc)]
}

#[test]
fn every_option_and_setting_is_documented_with_its_default() {
    let connectors = CONNECTORS.iter().map(|spec| (format!("**`{}`**", spec.name), spec.doc, spec.options));
    let formats = FORMATS.iter().map(|spec| (format!("**`'format' = '{}'`**", spec.name), spec.doc, spec.options));
    let rows: Vec<[String; 3]> = connectors
        .chain(formats)
        .flat_map(|(name, doc, options)| {
            std::iter::once([name, String::new(), doc.to_owned()]).chain(options.iter().map(option_row))
        })
        .collect();
    check_table("| connector, format or option | default | |", &rows);
    let row = |key: &str, default: &str, doc: &str| {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        [format!("`{key}`"), default, doc.to_owned()]
    };
    let rows: Vec<[String; 3]> = SETTINGS.iter().map(|spec| row(spec.key, spec.default, spec.doc)).collect();
    check_table("| setting | default | |", &rows);
}
