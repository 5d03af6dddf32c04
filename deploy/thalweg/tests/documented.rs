//! README.md and the pages below `docs` are true: every command in their `sh` blocks is run, with only addresses and directories
//! replaced; tables of what there is are compared with the code that says it; what is named of the command line exists.
//!
//! Commands of other programs (docker, kubectl, `cargo test`) are not run, only held against the repository: the files that
//! they name must exist. The demo is run, over its whole year, by `demo.rs`; what needs a broker of Kafka, by `kafka.rs`. Links and names of files are checked by `tidy/links.rs`.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod pages;
mod process;

use std::{collections::BTreeSet, fs, path::Path};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use thalweg::args::Cli;
use thalweg_types::{
    connector::{CONNECTORS, FORMATS, KEYED_OPTIONS, MetadataSpec, OptionSpec, OptionType},
    settings::SETTINGS,
};

use process::{Background, Place, free_addresses, lines_below, root, thalweg, wait_until};
use serde_json::Value;

const ADDRESSES: [&str; 3] = ["127.0.0.1:7071", "127.0.0.1:7072", "127.0.0.1:7073"];

/// How many rows the SELECTs among the examples of SQL have, in their order.
const ROWS_OF_EXAMPLES: [usize; 3] = [25_899, 44_255, 3_660];
/// How many of a thousand rows may be missing: some flights come too late for their windows, which DuckDB does not know.
const LATE_PER_THOUSAND: usize = 1;

/// A directory in which commands find what the repository has at its top, and a script of one's own.
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

/// Runs the binary's commands of a block; those that serve are given back.
fn run(block: &str, directory: &Path) -> Vec<Background> {
    let mut place = Place { directory: Some(directory.to_owned()), ..Place::default() };
    let mut serving = Vec::new();
    for command in pages::commands(block) {
        if let [export, assignment] = command.as_slice()
            && export == "export"
        {
            let (name, value) = assignment.split_once('=').expect("an assignment");
            place.variables.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let Some(arguments) = pages::arguments(&command) else {
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

/// The simulation's own tests run seeds; its program must know the options.
fn check_simulation(command: &[String]) {
    let program = fs::read_to_string(root().join("deploy/sim/src/main.rs")).expect("the program is there");
    let own = command.iter().skip_while(|word| *word != "--").skip(1);
    for option in own.filter_map(|word| word.strip_prefix("--")) {
        assert!(program.contains(&format!("    {option}: ")), "{command:?}: there is no --{option}");
    }
}

/// A command of another program names only what exists.
fn check_other(command: &[String]) {
    if command[0].starts_with("deploy/") {
        return assert!(root().join(&command[0]).is_file(), "there is no {command:?}");
    }
    let known = ["cargo test", "docker build", "kubectl apply", "helm install"];
    let name = command[..2].join(" ");
    if command.iter().any(|word| word == "thalweg-sim") {
        return check_simulation(command);
    }
    assert!(known.contains(&name.as_str()), "nobody checks {command:?}");
    for word in command.iter().filter(|word| word.contains('/') && !word.contains('=')) {
        assert!(root().join(word).exists(), "{command:?} names {word}, which does not exist");
    }
}

#[test]
fn every_command_does_what_it_should() {
    let directory = directory();
    let addresses: [String; 3] = free_addresses();
    let mut serving = Vec::new();
    let is_run_elsewhere = |block: &String| [pages::KAFKA, pages::KINESIS].iter().any(|place| block.contains(place));
    for block in pages::blocks("sh").into_iter().filter(|block| !is_run_elsewhere(block)) {
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
    let commands: Vec<Vec<String>> = pages::blocks("sh").iter().flat_map(|block| pages::commands(block)).collect();
    let mut runs = commands.iter().filter_map(|command| pages::arguments(command));
    let run = runs.find(|arguments| arguments[0] == "run").expect("README runs a script");
    let arguments: Vec<&str> = run.iter().map(String::as_str).chain(["-o", "json"]).collect();
    let outcome = place.thalweg(&arguments);
    let rows: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // 365 days are five windows of 90 days, which are counted from 1970, at three airports.
    assert!((12..=15).contains(&rows.len()), "{outcome:?}");
    let flights: u64 = rows.iter().map(|row| row["flights"].as_u64().expect("a count")).sum();
    assert!(flights > 300_000, "{outcome:?}");
}

#[test]
fn every_command_is_in_the_table_and_every_one_there_exists() {
    let text = pages::text("docs/commands.md");
    let table = text.split("## Commands").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let mut named: Vec<Vec<String>> = Vec::new();
    for cell in table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()) {
        for code in cell.split('`').skip(1).step_by(2) {
            let words = code.strip_prefix("thalweg ").unwrap_or_else(|| panic!("{code} is no command"));
            named.extend(alternatives(words));
        }
    }
    for words in &named {
        // Up to what stands for something else.
        let words = words.iter().map(String::as_str).take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
        let arguments: Vec<&str> = words.chain(["--help"]).collect();
        let outcome = thalweg(&arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    }
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let mut all = vec![vec![name]];
        if ["job", "checkpoint"].contains(&name) {
            all = command.get_subcommands().map(|below| vec![name, below.get_name()]).collect();
        }
        for words in all {
            let is_named = named.iter().any(|named| named.iter().take(words.len()).eq(&words));
            assert!(is_named, "docs/commands.md does not name {words:?}");
        }
    }
}

/// The words of a command, with each of the alternatives that stand for one of them.
fn alternatives(text: &str) -> Vec<Vec<String>> {
    text.split(' ').fold(vec![vec![]], |all: Vec<Vec<String>>, word| {
        let choices = word.split('|').map(|choice| choice.trim_end_matches('\\').to_owned());
        choices
            .flat_map(|choice| all.iter().map(move |words| [words.as_slice(), std::slice::from_ref(&choice)].concat()))
            .collect()
    })
}

/// Flags of cargo, and of the simulation and the benchmarks, that pages name.
const OTHER_FLAGS: [&str; 7] = ["help", "json", "kafka", "no-default-features", "path", "release", "thalweg"];
/// Variables that tests read.
const OTHER_VARIABLES: [&str; 13] = [
    "THALWEG_CRASHES",
    "THALWEG_DUCKDB",
    "THALWEG_GRPC_PYTHON",
    "THALWEG_KAFKA",
    "THALWEG_KAFKA_CRASHES",
    "THALWEG_KINESALITE",
    "THALWEG_KINESIS",
    "THALWEG_KINESIS_CRASHES",
    "THALWEG_KUBERNETES",
    "THALWEG_MINISTACK",
    "THALWEG_MOTO_SERVER",
    "THALWEG_PYFORMATS",
    "THALWEG_SHOP",
];

#[test]
fn what_pages_name_of_the_command_line_exists() {
    let mut flags = BTreeSet::new();
    gather_flags(&Cli::command(), &mut flags);
    let mut named = [0; 3];
    for page in pages::names() {
        for code in pages::code(&page) {
            if code.starts_with("thalweg ") {
                named[0] += 1;
                alternatives(&code).iter().for_each(|words| check_words(&page, words));
            }
            if let Some(flag) = code.strip_prefix("--") {
                named[1] += 1;
                let flag: String = flag.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                assert!(flags.contains(&flag) || OTHER_FLAGS.contains(&flag.as_str()), "{page}: there is no --{flag}");
            }
        }
        for variable in variables_in(&pages::text(&page)) {
            named[2] += 1;
            let flag = variable.trim_start_matches("THALWEG_").to_lowercase().replace('_', "-");
            let is_secret = variable.starts_with("THALWEG_SECRET_");
            let is_known = flags.contains(&flag) || is_secret || OTHER_VARIABLES.contains(&variable.as_str());
            assert!(is_known, "{page}: nobody reads {variable}");
        }
    }
    assert!(named.iter().all(|count| *count >= 10), "too little was found: {named:?}");
}

fn gather_flags(command: &clap::Command, flags: &mut BTreeSet<String>) {
    flags.extend(command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)));
    command.get_subcommands().for_each(|below| gather_flags(below, flags));
}

/// Commands and flags have to be known; values may be stood for by a word, or left out.
fn check_words(page: &str, words: &[String]) {
    if let Err(error) = Cli::try_parse_from(words) {
        let is_unknown = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
        assert!(!is_unknown, "{page}: {words:?}: {error}");
    }
}

/// The names that begin with `THALWEG_`.
fn variables_in(text: &str) -> Vec<String> {
    let names = text.match_indices("THALWEG_").map(|(at, _)| &text[at..]);
    let names = names.map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect::<String>());
    names.filter(|name| name != "THALWEG_").collect()
}

#[test]
fn blocks_are_of_languages_that_are_checked() {
    for page in pages::names() {
        for (language, block) in pages::parts(&page).0 {
            // This page is compiled with the documentation of the client.
            let is_compiled = page == "docs/client.md" && language == "rust,no_run";
            let is_checked = is_compiled || ["sh", "sql", "toml", "text"].contains(&language.as_str());
            assert!(is_checked, "{page}: nobody checks '{language}'");
            let is_command = |line: &str| line.starts_with("thalweg ") || line.starts_with("cargo ");
            assert!(language != "text" || !block.lines().any(is_command), "{page}: nobody runs\n{block}");
        }
    }
}

#[test]
fn every_configuration_file_is_accepted() {
    let directory = directory();
    let blocks = pages::blocks("toml");
    assert!(!blocks.is_empty(), "the pages show a configuration file");
    for block in blocks {
        let file = directory.path().join("thalweg.toml");
        fs::write(&file, &block).expect("a file");
        let outcome = thalweg(&["--config", file.to_str().expect("a path of text"), "completions", "bash"]);
        assert_eq!(outcome.code, Some(0), "{block}: {}", outcome.stderr);
    }
}

/// All together are a script, in which each SELECT stands for itself.
#[test]
fn every_example_of_sql_is_a_plan() {
    let directory = directory();
    let place = Place { directory: Some(directory.path().to_owned()), ..Place::default() };
    let script = pages::blocks("sql").concat();
    let outcome = place.thalweg(&["explain", "-e", &script]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.matches("Collect").count() >= 3, "{outcome:?}");
}

/// The rows of each SELECT over the whole year, with the engine's defaults: how many there are was counted by DuckDB.
#[test]
fn every_example_of_sql_runs_as_it_is() {
    let directory = directory();
    let script = pages::blocks("sql").concat();
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

/// The page has this table as it is: what the engine takes is data, and the table is made of it.
fn check_table<const COLUMNS: usize>(page: &str, head: &str, rows: &[[String; COLUMNS]]) {
    let rows = rows.iter().map(|row| format!("| {} |\n", row.join(" | ")));
    let line = "|---".repeat(head.matches('|').count() - 1);
    let table = format!("{head}\n{line}|\n{}", rows.collect::<String>());
    assert!(pages::text(page).contains(&table), "{page} should have\n\n{table}");
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
    let secret = match (option.secret, option.key.ends_with('*')) {
        (false, _) => "",
        (true, false) => " Can be `secret('name')`.",
        (true, true) => " Passwords, keys, certificates, tokens and names of users can be `secret('name')`.",
    };
    [format!("`{}`", option.key), value, format!("{}{words}{secret}", option.doc)]
}

#[test]
fn every_property_of_a_client_is_documented() {
    let page = pages::text("docs/kafka.md");
    let (_, section) = page.split_once("## Properties").expect("a section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let named = CONNECTORS.iter().flat_map(|spec| spec.options).filter_map(OptionSpec::named);
    let known: Vec<&str> = named.flat_map(|named| named.known).map(|spec| spec.key).collect();
    assert!(known.len() > 50, "{known:?}");
    for key in known {
        let name = key.strip_prefix("properties.").expect("it is a property");
        assert!(section.contains(&format!("`{name}`")), "docs/kafka.md does not name {name}");
    }
}

#[test]
fn every_option_and_setting_is_documented_with_its_default() {
    let connectors = CONNECTORS.iter().map(|spec| (format!("**`{}`**", spec.name), spec.doc, spec.options));
    let keys = ("**keys of records**".to_owned(), "For connectors whose records have them: `kafka`.", KEYED_OPTIONS);
    let formats = FORMATS.iter().map(|spec| (format!("**`'format' = '{}'`**", spec.name), spec.doc, spec.options));
    let keyed: Vec<&str> = CONNECTORS.iter().filter(|spec| spec.keys).map(|spec| spec.name).collect();
    assert_eq!(keyed, ["kafka"], "the page names them");
    let rows: Vec<[String; 3]> = connectors
        .chain([keys])
        .chain(formats)
        .flat_map(|(name, doc, options)| {
            std::iter::once([name, String::new(), doc.to_owned()]).chain(options.iter().map(option_row))
        })
        .collect();
    check_table("docs/connectors.md", "| connector, format or option | default | |", &rows);
    let kafka = CONNECTORS.iter().find(|spec| spec.name == "kafka").expect("it is a connector");
    let yes = |is: bool| if is { "yes".to_owned() } else { String::new() };
    let rows: Vec<[String; 4]> = kafka
        .metadata
        .iter()
        .map(|spec| {
            [format!("`{}`", spec.key), format!("`{}`", spec.data_type), yes(spec.written), spec.doc.to_owned()]
        })
        .collect();
    check_table("docs/connectors.md", "| metadata | type | written | |", &rows);
    let row = |key: &str, default: &str, doc: &str| {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        [format!("`{key}`"), default, doc.to_owned()]
    };
    let rows: Vec<[String; 3]> = SETTINGS.iter().map(|spec| row(spec.key, spec.default, spec.doc)).collect();
    check_table("docs/settings.md", "| setting | default | |", &rows);
}

#[test]
fn every_metadata_column_is_documented_with_its_type() {
    for spec in CONNECTORS.iter().filter(|spec| !spec.metadata.is_empty()) {
        assert!(
            spec.metadata.iter().all(|metadata| metadata.read),
            "{}: the page tells only what is written",
            spec.name
        );
        let row = |MetadataSpec { key, data_type, written, doc, .. }: &MetadataSpec| {
            let written = if *written { "yes" } else { "" };
            [format!("`{key}`"), format!("`{data_type}` | {written}"), (*doc).to_owned()]
        };
        let rows: Vec<[String; 3]> = spec.metadata.iter().map(row).collect();
        check_table("docs/connectors.md", "| metadata | type | written | |", &rows);
    }
}
