use std::fs;

use super::*;
use crate::args::{CliCommand, OutputFormat};

fn parse(file: &str, arguments: &[&str]) -> Result<Cli, LayerError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("thalweg.toml");
    fs::write(&path, file).unwrap();
    let given = ["thalweg", "--config", path.to_str().unwrap()];
    command_line(given.iter().chain(arguments).map(OsString::from))
}

#[track_caller]
fn check_refused(file: &str, arguments: &[&str], expected: &str) {
    let error = parse(file, arguments).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file =
        "output = \"json\"\ntimeout = \"3 s\"\n[coordinator]\nlisten = \"a:1\"\ndata_dir = \"/d\"\njoin = true\n";
    let cli = parse(file, &["coordinator", "--listen", "b:2"]).unwrap();
    assert_eq!((cli.output, cli.timeout.as_secs()), (OutputFormat::Json, 3));
    let CliCommand::Coordinator(args) = cli.command else { panic!("another command") };
    assert_eq!(args.listen.as_deref(), Some("b:2"));
    assert_eq!(args.data_dir, Some(PathBuf::from("/d")));
    assert!(args.join);
}

#[test]
fn lists_are_arrays_or_texts_with_commas() {
    for value in ["[\"a:1\", \"b:2\"]", "\"a:1,b:2\""] {
        let file = format!("[node]\ncoordinator = {value}\n[client]\ncoordinator = \"c:3\"\n");
        let CliCommand::Node(args) = parse(&file, &["node"]).unwrap().command else { panic!("another command") };
        assert_eq!(args.coordinator, ["a:1", "b:2"]);
        let CliCommand::Jobs(args) = parse(&file, &["jobs"]).unwrap().command else { panic!("another command") };
        assert_eq!(args.coordinator, ["c:3"]);
    }
}

#[test]
fn flags_of_the_file_come_before_a_lone_dash() {
    let cli = parse("[run]\nnodes = 3\n", &["run", "--", "file.sql"]).unwrap();
    let CliCommand::Run(args) = cli.command else { panic!("another command") };
    assert_eq!((args.nodes, args.script.file), (3, Some(PathBuf::from("file.sql"))));
}

#[test]
fn what_is_wrong_in_the_file_is_named() {
    check_refused("[node]\nslot = 3\n", &["node"], "unknown key node.slot (did you mean node.slots?)");
    check_refused("outptu = \"json\"\n", &["jobs"], "unknown key outptu (did you mean output?)");
    check_refused("[nod]\nslots = 3\n", &["jobs"], "nod.slots");
    check_refused("[run]\nexecute = \"SELECT 1\"\n", &["jobs"], "unknown key run.execute");
    check_refused("[node]\nslots = \"many\"\n", &["node"], "node.slots: invalid value 'many' for '--slots <N>'");
    check_refused("output = \"xml\"\n", &["jobs"], "output: invalid value 'xml'");
    check_refused("[client]\ncoordinator = 3\ntimeout = 3\n", &["jobs"], "unknown key client.timeout");
    check_refused("[node]\nslots = [1]\n", &["node"], "node.slots: expected a text or a number, got array");
    check_refused("[run]\nquiet = 1\n", &["run", "f"], "run.quiet: expected true or false");
    check_refused("[node\n", &["node"], "is not TOML");
}

#[test]
fn help_names_variable_and_key_of_every_flag_that_configures() {
    let mut command = described();
    let of_all: Vec<String> = command.get_arguments().filter_map(|all| all.get_long().map(str::to_owned)).collect();
    command.build();
    check_help(&command, &of_all);
}

/// `of_all` lists the global flags, whose keys are in no section.
fn check_help(command: &clap::Command, of_all: &[String]) {
    for argument in command.get_arguments() {
        let generated = ["help", "version"].contains(&argument.get_id().as_str());
        let Some(long) = argument.get_long().filter(|_| !generated && !is_once(argument)) else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let name = long.replace('-', "_");
        assert!(
            help.contains(&format!("[env: THALWEG_{}", name.to_uppercase())),
            "{} {long}: {help}",
            command.get_name()
        );
        let key = if of_all.iter().any(|all| all == long) { format!("key: {name}]") } else { format!(".{name}]") };
        assert!(long == CONFIG || help.contains(&key), "{} {long}: {help}", command.get_name());
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        check_help(below, of_all);
    }
}
