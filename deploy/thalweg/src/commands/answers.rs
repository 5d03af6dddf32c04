//! Statements of a script that only ask: `SHOW TABLES`, `DESCRIBE`, `EXPLAIN`. Their answers are printed before the
//! script's rows.

use anyhow::Result;
use serde::Serialize;
use thalweg_client::{Client, SubmitOptions};

use crate::{
    args::OutputFormat,
    output::{self, print_list},
    statements::{self, Kind},
};

/// The name of an answer in structured output.
pub(super) const ANSWER: &str = "answer";
/// The name of a dataflow in structured output.
pub(super) const PLAN: &str = "plan";

#[derive(Serialize)]
struct Answer {
    answer: String,
}

/// Prints the answers of a script. Returns whether it also has something to run.
pub(super) async fn print(client: &Client, script: &SubmitOptions, format: OutputFormat) -> Result<bool> {
    let all = statements::split(&script.sql);
    let has = |kind| all.iter().any(|statement| statement.kind() == kind);
    // A script without any statement is for the cluster to refuse.
    if !has(Kind::Asks) {
        return Ok(true);
    }
    // The whole script is explained first, so that errors are reported with their place in it.
    let whole = client.explain(script.clone()).await?;
    if !has(Kind::Runs) {
        print_text(whole, ANSWER, format)?;
        return Ok(false);
    }
    let quiet = all.iter().filter(|statement| statement.kind() != Kind::Runs);
    let sql = quiet.map(|statement| format!("{};\n", statement.text)).collect();
    print_text(client.explain(SubmitOptions { sql, ..script.clone() }).await?, ANSWER, format)?;
    Ok(true)
}

/// Prints a text as it is, or as one value in structured formats.
pub(super) fn print_text(text: String, head: &str, format: OutputFormat) -> Result<()> {
    match format {
        OutputFormat::Table => Ok(output::print(&format!("{}\n", text.trim_end()))?),
        OutputFormat::Json => Ok(output::print(&format!("{}\n", serde_json::json!({ head: text })))?),
        OutputFormat::Csv => print_list(format, &[head], &[Answer { answer: text }], |line| vec![line.answer.clone()]),
    }
}
