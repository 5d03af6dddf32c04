//! The case files: what a case consists of, and how to read one.
//!
//! ```text
//! -- One sentence about what the case shows.
//! -- late                      (optional: exact only at parallelism 1; the batch side may read the table `late`)
//! -- stream
//! the script, after `cases/tables.sql`
//! -- batch                     (the rows of the script's next bare SELECT)
//! one query
//! -- batch NAME FORMAT         (the rows of the files under ${out}/NAME)
//! one query
//! -- batch ordered …           (the same, and the rows come in the query's order)
//! one query
//! -- duckdb                    (optional: the last query as DuckDB must be asked)
//! one query
//! -- duckdb REASON             (optional: it cannot be asked, and why)
//! ```

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file's name without its extension.
    pub name: String,
    /// The streaming script, without the tables common to all cases.
    pub stream: String,
    /// The batch queries, in the order of the file.
    pub twins: Vec<Twin>,
    /// Whether the case has late records. It then runs at parallelism 1 only, and its twins may read the table
    /// `late`.
    pub late: bool,
}

/// A batch query, and the streaming output that it must equal.
#[derive(Debug, Clone)]
pub struct Twin {
    /// The output of the stream.
    pub output: Output,
    /// Whether the rows come in the order of the query.
    pub ordered: bool,
    /// The batch query.
    pub sql: String,
    /// The query for DuckDB.
    pub second: Second,
}

/// The query for the second reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Second {
    /// The same query.
    Same,
    /// Another query.
    Query(String),
    /// None, for this reason.
    Not(String),
}

impl Twin {
    /// The query for DuckDB, if it can be asked.
    #[must_use]
    pub fn second_query(&self) -> Option<&str> {
        match &self.second {
            Second::Same => Some(&self.sql),
            Second::Query(query) => Some(query),
            Second::Not(_) => None,
        }
    }
}

/// The output of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The n-th bare SELECT, from 0.
    Select(u32),
    /// Files of this format in this directory under `${out}`.
    Files {
        /// The directory's name.
        directory: String,
        format: FileFormat,
    },
}

/// The format of output files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    Json,
    /// CSV without a header.
    Csv,
    Parquet,
}

/// Reads all cases of a directory, sorted by name.
///
/// # Errors
/// If the directory or a file cannot be read, or a file is not a case.
pub fn read_all(directory: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|ending| ending == "sql") && name != "tables" {
            let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
            cases.push(parse(&name, &text).with_context(|| format!("in {}", path.display()))?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// Parses one case.
///
/// # Errors
/// If a section is missing, or its head is unknown.
pub fn parse(name: &str, text: &str) -> Result<Case> {
    let mut case = Case { name: name.to_owned(), stream: String::new(), twins: Vec::new(), late: false };
    let mut selects = 0;
    let mut section: Option<&mut String> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.strip_prefix("-- ").map(|rest| rest.split(' ').collect()).unwrap_or_default();
        match words.as_slice() {
            ["stream"] => section = Some(&mut case.stream),
            ["late"] => case.late = true,
            ["batch", head @ ..] => {
                let (ordered, head) = match head {
                    ["ordered", head @ ..] => (true, head),
                    head => (false, head),
                };
                let output = parse_output(head, &mut selects)?;
                case.twins.push(Twin { output, ordered, sql: String::new(), second: Second::Same });
                section = case.twins.last_mut().map(|twin| &mut twin.sql);
            }
            ["duckdb", reason @ ..] => {
                let twin = case.twins.last_mut().context("'-- duckdb' follows '-- batch'")?;
                let second =
                    if reason.is_empty() { Second::Query(String::new()) } else { Second::Not(reason.join(" ")) };
                twin.second = second;
                section = if let Second::Query(query) = &mut twin.second { Some(query) } else { None };
            }
            _ => {
                if let Some(body) = section.as_deref_mut() {
                    body.push_str(line);
                    body.push('\n');
                }
            }
        }
    }
    if case.stream.trim().is_empty() || case.twins.is_empty() {
        bail!("a case needs the sections '-- stream' and '-- batch'");
    }
    Ok(case)
}

fn parse_output(head: &[&str], selects: &mut u32) -> Result<Output> {
    let (directory, format) = match head {
        [] => {
            *selects += 1;
            return Ok(Output::Select(*selects - 1));
        }
        [directory, "json"] => (directory, FileFormat::Json),
        [directory, "csv"] => (directory, FileFormat::Csv),
        [directory, "parquet"] => (directory, FileFormat::Parquet),
        other => bail!("cannot understand '-- batch {}'", other.join(" ")),
    };
    Ok(Output::Files { directory: (*directory).to_owned(), format })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_told_apart() {
        let text = "-- What it shows.\n-- late\n-- stream\nSELECT 1;\n-- a comment\nSELECT 2;\n-- batch\nSELECT 3\n-- batch ordered o csv\nSELECT 4\n-- batch\nSELECT 5\n";
        let case = parse("c", text).unwrap();
        assert!(case.late);
        assert_eq!(case.stream, "SELECT 1;\n-- a comment\nSELECT 2;\n");
        let outputs: Vec<_> = case.twins.iter().map(|twin| (twin.output.clone(), twin.sql.trim())).collect();
        let files = Output::Files { directory: "o".to_owned(), format: FileFormat::Csv };
        assert_eq!(outputs, [(Output::Select(0), "SELECT 3"), (files, "SELECT 4"), (Output::Select(1), "SELECT 5")]);
        assert_eq!(case.twins.iter().map(|twin| twin.ordered).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn duckdb_may_be_asked_otherwise_or_not() {
        let text = "-- stream\nSELECT 1;\n-- batch\nSELECT 3\n-- duckdb\nSELECT 4\n-- batch\nSELECT 5\n-- duckdb no such\n-- batch\nSELECT 6";
        let case = parse("c", text).unwrap();
        let asked: Vec<_> = case.twins.iter().map(|twin| twin.second_query().map(str::trim)).collect();
        assert_eq!(asked, [Some("SELECT 4"), None, Some("SELECT 6")]);
        assert_eq!(case.twins[1].second, Second::Not("no such".to_owned()));
        assert!(parse("c", "-- stream\nSELECT 1;\n-- duckdb\nSELECT 1").is_err());
    }

    #[test]
    fn a_case_without_a_twin_is_refused() {
        assert!(parse("c", "-- stream\nSELECT 1;\n").is_err());
        assert!(parse("c", "-- stream\nSELECT 1;\n-- batch a xml\nSELECT 1").is_err());
    }
}
