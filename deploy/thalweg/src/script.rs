//! The script that a command was given: read, named, and made a request.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use thalweg_client::SubmitOptions;
use thalweg_types::client::SCRIPT_BYTES_MAX;

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

/// No more than is refused for its length: a file may have any.
fn beginning_of(file: impl io::Read) -> io::Result<String> {
    let longest = u64::try_from(SCRIPT_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() > SCRIPT_BYTES_MAX;
    match String::from_utf8(bytes) {
        // It is refused for its length, wherever it was cut.
        Err(error) if is_cut => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        text => text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")),
    }
}

/// The text of a script, given as such, or else read from a file or the standard input.
///
/// # Errors
/// When the file cannot be read or there is nothing in it.
pub fn text_of(text: Option<&str>, file: Option<&Path>) -> Result<String> {
    let sql = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) if path == Path::new(STANDARD_INPUT) => {
            beginning_of(io::stdin().lock()).context("could not read the script from the standard input")?
        }
        (None, Some(path)) => {
            let read = fs::File::open(path).and_then(beginning_of);
            read.with_context(|| format!("could not read the script {}", path.display()))?
        }
        (None, None) => bail!("no script was given"),
    };
    // Editors of some systems put a mark before text in UTF-8.
    let sql = sql.strip_prefix('\u{feff}').map_or_else(|| sql.clone(), str::to_owned);
    ensure!(!sql.trim().is_empty(), "the script is empty");
    Ok(sql)
}
