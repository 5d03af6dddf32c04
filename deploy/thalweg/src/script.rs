//! The script that a command was given: read, named, and made a request.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result, bail, ensure};
use thalweg_client::SubmitOptions;

use crate::args::ScriptArgs;

/// The name of a file that is the standard input.
const STANDARD_INPUT: &str = "-";

/// Reads a script and what was said about how to run it.
///
/// # Errors
/// When the file cannot be read or there is nothing in it.
pub fn read(args: &ScriptArgs, name: Option<&str>) -> Result<SubmitOptions> {
    let sql = text_of(args.execute.as_deref(), args.file.as_deref())?;
    let file_name = args.file.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let file_name = file_name.filter(|name| *name != STANDARD_INPUT);
    let name = name.or(file_name).unwrap_or_default().to_owned();
    let interval = args.checkpoint_interval.clone().map(|interval| ("checkpoint.interval".to_owned(), interval));
    let settings: BTreeMap<String, String> = interval.into_iter().chain(args.settings.iter().cloned()).collect();
    Ok(SubmitOptions { sql, name, settings, parallelism: args.parallelism })
}

/// The text of a script, given as such, or else read from a file or the standard input.
///
/// # Errors
/// When the file cannot be read or there is nothing in it.
pub fn text_of(text: Option<&str>, file: Option<&Path>) -> Result<String> {
    let sql = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) if path == Path::new(STANDARD_INPUT) => {
            io::read_to_string(io::stdin()).context("could not read the script from the standard input")?
        }
        (None, Some(path)) => {
            fs::read_to_string(path).with_context(|| format!("could not read the script {}", path.display()))?
        }
        (None, None) => bail!("no script was given"),
    };
    ensure!(!sql.trim().is_empty(), "the script is empty");
    Ok(sql)
}
