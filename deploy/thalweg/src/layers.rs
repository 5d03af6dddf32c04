//! Where a value comes from: a flag, else the environment, else the file that `--config` names, else the default.
//!
//! Every flag that configures something has a variable, `THALWEG_` and its name, and a key in the file. The key is
//! the flag's name in the section of its command. Global flags have keys at the top, and clients find the cluster's
//! address in `[client]`. `--help` names both. Flags for a single run, such as the script's text, have neither.
//!
//! Values of the file are appended to the command line, unless a flag or a variable sets them. So they are parsed and
//! refused like all others.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::BoolishValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use thiserror::Error;
use toml::{Table, Value};

use crate::args::Cli;

/// The flag that names the file.
const CONFIG: &str = "config";
/// The section for clients, with the addresses of coordinators.
const CLIENT: &str = "client";
const COORDINATOR: &str = "coordinator";
/// Flags for a single run, by their fields.
const ONCE: &[&str] = &["execute", "file", "settings", "name", "query", "print_sql", "bootstrap"];
/// The most edits between a wrong key and a known one to call it a typing error.
const MISTAKES_MAX: usize = 3;

/// Why the command line cannot be used.
#[derive(Debug, Error)]
pub enum LayerError {
    /// It is wrong, or asks for help.
    #[error(transparent)]
    Usage(clap::Error),
    /// A variable of the environment is wrong.
    #[error("the environment variable {variable}: {reason}")]
    Variable {
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The file cannot be read.
    #[error("could not read the configuration file {path}")]
    Read {
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML")]
    Syntax {
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key or value in the file cannot be used.
    #[error("the configuration file {path}: {reason}")]
    Content {
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the command line, the environment and the file.
///
/// # Errors
/// If a flag, a variable or a value in the file is wrong, or help was asked for.
pub fn command_line(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, LayerError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = described();
    let given = command.clone().try_get_matches_from(&arguments);
    let matches = given.map_err(|error| blame(error, &arguments))?;
    let Some(path) = matches.get_one::<PathBuf>(CONFIG).cloned() else {
        return Cli::from_arg_matches(&matches).map_err(LayerError::Usage);
    };
    let refuse = |reason| LayerError::Content { path: path.clone(), reason };
    let table = read(&path)?;
    check_keys(&command, &table).map_err(refuse)?;
    let added = added_arguments(&command, &matches, &table).map_err(refuse)?;
    // Arguments after a lone `--` are not flags.
    let at = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let flags: Vec<OsString> = added.iter().map(|(_, flag)| flag.clone()).collect();
    let all = [&arguments[..at], &flags, &arguments[at..]].concat();
    // The command line was right without the file, so an error now comes from the file.
    let parsed = command.try_get_matches_from(all).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let flag = wrong_flag(&error);
        let key = added.iter().find(|(_, added)| flag.as_deref().is_some_and(|flag| gives(added, flag)));
        let line = first_line(&error);
        refuse(key.map_or_else(|| line.clone(), |(key, _)| format!("{key}: {line}")))
    })
}

/// Decides whether an error on a command line without a file comes from a flag or from the flag's variable.
fn blame(error: clap::Error, arguments: &[OsString]) -> LayerError {
    let Some(flag) = wrong_flag(&error) else { return LayerError::Usage(error) };
    let variable = variable_of(&flag);
    let has_short = |argument: &OsString| argument.to_str().is_some_and(|a| a.starts_with('-') && !a.starts_with("--"));
    let is_given = arguments.iter().any(|argument| gives(argument, &flag) || has_short(argument));
    #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
    match std::env::var_os(&variable) {
        Some(_) if !is_given => LayerError::Variable { variable, reason: first_line(&error) },
        _ => LayerError::Usage(error),
    }
}

/// The long name of the flag whose value is wrong.
fn wrong_flag(error: &clap::Error) -> Option<String> {
    let is_value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg).filter(|_| is_value) else { return None };
    text.strip_prefix("--")?.split([' ', '=']).next().map(str::to_owned)
}

/// Whether an argument is this flag.
fn gives(argument: &OsString, long: &str) -> bool {
    let flag = argument.to_str().and_then(|argument| argument.strip_prefix("--"));
    flag.is_some_and(|flag| flag.split('=').next() == Some(long))
}

fn variable_of(long: &str) -> String {
    format!("THALWEG_{}", long.replace('-', "_").to_uppercase())
}

/// Adds a variable to each flag that configures something, and names it in the help.
fn described() -> Command {
    map_arguments(Cli::command(), None, &|section, argument| {
        let Some(long) = argument.get_long().map(str::to_owned).filter(|_| !is_once(&argument)) else {
            return argument;
        };
        let variable = variable_of(&long);
        let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        help.push_str(&match key_of(section, &argument) {
            Some((section, key)) => format!(" [env: {variable}, key: {}]", dotted(section.as_deref(), &key)),
            None => format!(" [env: {variable}]"),
        });
        let argument = match argument.get_action() {
            ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
            _ => argument,
        };
        // clap needs names that live as long as the process. These few dozen are made once.
        argument.help(help).env(&*variable.leak()).hide_env(true)
    })
}

/// Changes every argument of a command and its subcommands. `change` also gets the command's section of the file.
fn map_arguments(command: Command, section: Option<&str>, change: &dyn Fn(Option<&str>, Arg) -> Arg) -> Command {
    let command = command.mut_args(|argument| change(section, argument));
    command.mut_subcommands(|below| {
        let name = section.unwrap_or(below.get_name()).to_owned();
        map_arguments(below, Some(&name), change)
    })
}

/// Section and key of an argument in the file; `None` if it has no key.
fn key_of(section: Option<&str>, argument: &Arg) -> Option<(Option<String>, String)> {
    let key = argument.get_long()?.replace('-', "_");
    if is_once(argument) || key == CONFIG {
        return None;
    }
    let is_of_clients = key == COORDINATOR && section != Some("node");
    Some((if is_of_clients { Some(CLIENT.to_owned()) } else { section.map(str::to_owned) }, key))
}

fn is_once(argument: &Arg) -> bool {
    ONCE.contains(&argument.get_id().as_str())
}

fn dotted(section: Option<&str>, key: &str) -> String {
    section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}"))
}

fn read(path: &Path) -> Result<Table, LayerError> {
    let text = fs::read_to_string(path).map_err(|source| LayerError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| LayerError::Syntax { path: path.to_owned(), source: Box::new(source) })
}

/// Refuses the first key that no flag has.
fn check_keys(command: &Command, table: &Table) -> Result<(), String> {
    let mut known = BTreeSet::new();
    gather_keys(command, None, &mut known);
    for (name, value) in table {
        let keys: Vec<String> = match value {
            Value::Table(section) => section.keys().map(|key| dotted(Some(name), key)).collect(),
            _ => vec![name.clone()],
        };
        if let Some(key) = keys.iter().find(|key| !known.contains(*key)) {
            let hint = nearest(key, &known).map(|close| format!(" (did you mean {close}?)")).unwrap_or_default();
            return Err(format!("unknown key {key}{hint}"));
        }
    }
    Ok(())
}

fn nearest<'a>(wrong: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let distances = known.iter().map(|key| (strsim::damerau_levenshtein(wrong, key), key.as_str()));
    distances.min().filter(|(distance, _)| *distance <= MISTAKES_MAX).map(|(_, key)| key)
}

fn gather_keys(command: &Command, section: Option<&str>, known: &mut BTreeSet<String>) {
    let keys = command.get_arguments().filter_map(|argument| key_of(section, argument));
    known.extend(keys.map(|(section, key)| dotted(section.as_deref(), &key)));
    for below in command.get_subcommands() {
        gather_keys(below, Some(section.unwrap_or(below.get_name())), known);
    }
}

/// The flags of the given command that only the file sets, each with its key.
fn added_arguments(command: &Command, matches: &ArgMatches, table: &Table) -> Result<Vec<(String, OsString)>, String> {
    let (mut command, mut matches, mut section) = (command, matches, None);
    let mut flags: Vec<(Option<&str>, &Arg)> = command.get_arguments().map(|argument| (None, argument)).collect();
    while let Some((name, below)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        (command, matches, section) = (found, below, section.or(Some(name)));
        flags.extend(command.get_arguments().map(|argument| (section, argument)));
    }
    let mut added = Vec::new();
    for (section, argument) in flags {
        let Some((section, key)) = key_of(section, argument) else { continue };
        let is_given = matches!(
            matches.value_source(argument.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        let value = match &section {
            Some(section) => table.get(section).and_then(|section| section.get(&key)),
            None => table.get(&key),
        };
        if let Some(value) = value.filter(|_| !is_given) {
            let (long, key) = (key.replace('_', "-"), dotted(section.as_deref(), &key));
            let values = texts(value, argument).map_err(|reason| format!("{key}: {reason}"))?;
            added.extend(values.into_iter().map(|value| (key.clone(), OsString::from(format!("--{long}{value}")))));
        }
    }
    Ok(added)
}

/// A value as text after its flag: empty or `=…`. No text if the flag is off.
fn texts(value: &Value, argument: &Arg) -> Result<Vec<String>, String> {
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        let is_set = value.as_bool().ok_or("expected true or false")?;
        return Ok(if is_set { vec![String::new()] } else { Vec::new() });
    }
    let text = |value: &Value| match value {
        Value::String(text) => Ok(format!("={text}")),
        Value::Integer(number) => Ok(format!("={number}")),
        Value::Float(number) => Ok(format!("={number}")),
        other => Err(format!("expected a text or a number, got {}", other.type_str())),
    };
    match value {
        Value::Array(values) if argument.get_value_delimiter().is_some() => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

/// The first line of clap's message, without the hints on usage.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests;
