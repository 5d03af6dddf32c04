//! The script that a command was given: read, named, and made a request.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use thalweg_client::SubmitOptions;

use crate::args::ScriptArgs;

/// Reads a script and what was said about how to run it.
///
/// # Errors
/// When the file cannot be read or there is nothing in it.
pub fn read(args: &ScriptArgs, name: Option<&str>) -> Result<SubmitOptions> {
    let (sql, file_name) = match (&args.execute, &args.file) {
        (Some(sql), _) => (sql.clone(), None),
        (None, Some(path)) if path == Path::new("-") => {
            let mut sql = String::new();
            std::io::stdin().read_to_string(&mut sql).context("could not read the script from the standard input")?;
            (sql, None)
        }
        (None, Some(path)) => (read_file(path)?, path.file_stem().and_then(|stem| stem.to_str())),
        (None, None) => unreachable!("clap requires one of them"),
    };
    ensure!(!sql.trim().is_empty(), "the script is empty");
    let name = name.or(file_name).unwrap_or_default().to_owned();
    let settings: BTreeMap<String, String> = args.settings.iter().cloned().collect();
    Ok(SubmitOptions { sql, name, settings, parallelism: args.parallelism })
}

fn read_file(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read the script {}", path.display()))
}
