//! Reads a command's script, names its job, and makes the request to submit it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use thalweg_client::SubmitOptions;
use thalweg_types::{
    JobGraph,
    client::SCRIPT_BYTES_MAX,
    connector::{Input, SourceSpec, find},
};

use crate::{
    args::ScriptArgs,
    statements::{self, Statement},
};

/// The file name that stands for the standard input.
const STANDARD_INPUT: &str = "-";

/// Reads a script and the options to run it.
///
/// # Errors
/// If the file cannot be read or is empty.
pub fn read(args: &ScriptArgs, name: Option<&str>) -> Result<SubmitOptions> {
    let sql = text_of(args.execute.as_deref(), args.file.as_deref())?;
    let file_name = args.file.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let file_name = file_name.filter(|name| *name != STANDARD_INPUT);
    let interval = args.checkpoint_interval.clone().map(|interval| ("checkpoint.interval".to_owned(), interval));
    let settings: BTreeMap<String, String> = interval.into_iter().chain(args.settings.iter().cloned()).collect();
    let name = name_of(name, &sql, &settings, file_name.unwrap_or_default());
    Ok(SubmitOptions { sql, name, settings, parallelism: args.parallelism })
}

/// The name of a job: the one asked for, else its `job.name`, which the cluster reads, else `otherwise`.
#[must_use]
pub fn name_of(asked: Option<&str>, sql: &str, settings: &BTreeMap<String, String>, otherwise: &str) -> String {
    const KEY: &str = "job.name";
    let sets = |statement: &Statement| statement.word() == "SET" && statement.setting().as_deref() == Some(KEY);
    let is_set = || settings.contains_key(KEY) || statements::split(sql).iter().any(sets);
    match asked {
        Some(name) => name.to_owned(),
        None if is_set() => String::new(),
        None => otherwise.to_owned(),
    }
}

/// The sources that this process offers to a job.
#[derive(Debug, Clone, Copy)]
pub struct Offers {
    /// Whether records can be POSTed.
    pub http: bool,
    /// Whether jobs may read the standard input.
    pub standard_input: bool,
}

/// Refuses a job that would wait forever for records that nobody can send.
///
/// # Errors
/// Names the table, and says what to do.
pub fn check_sources(script: &SubmitOptions, command: &str, offers: Offers) -> Result<()> {
    let missing = |source: &SourceSpec| match source.input {
        Input::Posts { .. } if !offers.http => {
            Some(format!("{command} takes no records over HTTP: use thalweg dev, or a node with --http"))
        }
        Input::StandardInput if !offers.standard_input => Some(
            "it reads the standard input, from which the script comes: give the script as a file, or by -e".to_owned(),
        ),
        Input::Posts { .. }
        | Input::StandardInput
        | Input::Files { .. }
        | Input::Generated
        | Input::Elsewhere
        | Input::Written => None,
    };
    let tables = thalweg_sql::catalog(&script.sql);
    let mut specs = tables.iter().filter_map(|table| find(table.connector.as_deref()?)?.source.as_ref());
    if !specs.any(|source| missing(source).is_some()) {
        return Ok(());
    }
    // A script that cannot be planned is for the cluster to refuse.
    let planned = thalweg_sql::plan(&script.sql, &script.settings).ok().and_then(|planned| planned.graph);
    for (_, source) in planned.iter().flat_map(JobGraph::sources) {
        if let Some(why) = source.connector.source().and_then(missing) {
            bail!("table {}: {why}", source.table);
        }
    }
    Ok(())
}

/// Whether the script comes from the standard input.
#[must_use]
pub fn is_standard_input(args: &ScriptArgs) -> bool {
    args.execute.is_none() && args.file.as_deref() == Some(Path::new(STANDARD_INPUT))
}

/// Reads at most one byte more than the longest accepted script: a file may have any size.
fn beginning_of(file: impl io::Read) -> io::Result<String> {
    let longest = u64::try_from(SCRIPT_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() > SCRIPT_BYTES_MAX;
    match String::from_utf8(bytes) {
        // It is too long anyway, so a character that was cut does not matter.
        Err(error) if is_cut => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        text => text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")),
    }
}

/// The text of a script: as given, or from a file or the standard input.
///
/// # Errors
/// If the file cannot be read or is empty.
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
    // Some editors put a byte order mark before text in UTF-8.
    let sql = sql.strip_prefix('\u{feff}').map_or_else(|| sql.clone(), str::to_owned);
    ensure!(!sql.trim().is_empty(), "the script is empty");
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_by_option_then_by_its_setting_then_by_its_file() {
        let none = BTreeMap::new();
        let some = BTreeMap::from([("job.name".to_owned(), "x".to_owned())]);
        let sets = "SET 'job.name' = 'x'; SELECT 1;";
        assert_eq!(name_of(Some("n"), sets, &some, "file"), "n");
        assert_eq!(name_of(None, sets, &none, "file"), "", "the cluster reads it");
        assert_eq!(name_of(None, "SELECT 1;", &some, "file"), "");
        assert_eq!(name_of(None, "SELECT 'job.name'; -- SET 'job.name' = 'x'", &none, "file"), "file");
    }

    #[test]
    fn sources_that_nobody_can_feed_are_refused() {
        let check = |tables: &[(&str, &str)], from: &str| {
            let tables = tables.iter().map(|(name, connector)| {
                format!("CREATE TABLE {name} (a INT) WITH ('connector' = '{connector}', 'format' = 'json');\n")
            });
            let sql = tables.collect::<String>() + &format!("SELECT a FROM {from};");
            let submit = SubmitOptions { sql, ..SubmitOptions::default() };
            let offers = Offers { http: false, standard_input: false };
            check_sources(&submit, "run", offers).map_err(|error| error.to_string())
        };
        let both = [("h", "http"), ("s", "stdin")];
        let refused = "table h: run takes no records over HTTP: use thalweg dev, or a node with --http";
        assert_eq!(check(&both, "h"), Err(refused.to_owned()));
        let refused =
            "table s: it reads the standard input, from which the script comes: give the script as a file, or by -e";
        assert_eq!(check(&both, "s"), Err(refused.to_owned()));
        let unused = [("h", "http"), ("g", "datagen")];
        assert_eq!(check(&unused[..1], "nothing"), Ok(()), "it is for the cluster to refuse");
        assert_eq!(check(&unused, "(VALUES (1)) AS v (a)"), Ok(()));
    }
}
