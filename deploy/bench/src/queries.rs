//! The windowed and stateless queries of the Nexmark benchmark, as scripts over one of three inputs.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Input {
    /// Made on the way.
    Generator,
    /// One JSON object a line.
    Json,
    Parquet,
}

impl Input {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }
}

/// The names and texts of the queries, in the order of a report.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("rows", include_str!("../queries/rows.sql")),
    ("q0", include_str!("../queries/q0.sql")),
    ("q1", include_str!("../queries/q1.sql")),
    ("q2", include_str!("../queries/q2.sql")),
    ("q5", include_str!("../queries/q5.sql")),
    ("q7", include_str!("../queries/q7.sql")),
    ("q8", include_str!("../queries/q8.sql")),
    ("tumble", include_str!("../queries/tumble.sql")),
    ("pairs", include_str!("../queries/pairs.sql")),
];

/// The input of a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Events<'a> {
    pub(crate) input: Input,
    pub(crate) count: u64,
    /// Events per second of event time.
    pub(crate) rate: u64,
    /// The directory of the input's files.
    pub(crate) directory: &'a Path,
}

/// The script of a query. `sink` holds the options of its sink.
pub(crate) fn script(query: &str, events: Events<'_>, sink: &str) -> Result<String> {
    let (_, text) = QUERIES.iter().find(|(name, _)| *name == query).with_context(|| format!("no query '{query}'"))?;
    let tables = match events.input {
        Input::Generator => include_str!("../queries/generator.sql"),
        Input::Json | Input::Parquet => include_str!("../queries/files.sql"),
    };
    let script = [tables, include_str!("../queries/views.sql"), text].join("\n");
    Ok(script
        .replace("${events}", &events.count.to_string())
        .replace("${rate}", &events.rate.to_string())
        .replace("${path}", &events.directory.display().to_string())
        .replace("${format}", events.input.word())
        .replace("${sink}", sink))
}
