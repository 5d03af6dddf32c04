//! The references against DuckDB, if it is installed. DataFusion alone proves little, since the engine is built from
//! it.
//!
//! `THALWEG_DUCKDB=PYTHON` names a Python that has it (`pip install duckdb`); without it, `python3` is tried.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use thalweg_sim::{
    answers,
    case::{self, Case},
    duckdb::{Answer, DuckDb, with_types_of},
    input,
    oracle::Oracle,
    rows,
};

const SEED: u64 = 1;

fn duckdb() -> Option<DuckDb> {
    #[allow(clippy::disallowed_methods, reason = "where a test finds its tool is no configuration of the product")]
    let python = std::env::var_os("THALWEG_DUCKDB").map_or_else(|| "python3".into(), PathBuf::from);
    let found = DuckDb::of(python);
    if found.is_none() {
        eprintln!("skipped: DuckDB is not installed (THALWEG_DUCKDB)");
    }
    found
}

fn below(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The queries of a case, with their names.
fn questions(case: &Case) -> impl Iterator<Item = (String, &case::Twin)> {
    case.twins.iter().enumerate().map(|(at, twin)| (format!("{}-{at}", case.name), twin))
}

async fn compared(oracle: &Oracle, twin: &case::Twin, answer: &Answer) -> Result<Option<String>> {
    let (expected, schema) = oracle.answer(&twin.sql).await?;
    let given = answer.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let given = rows::of_batches(&with_types_of(given, &schema)?)?;
    Ok(match twin.ordered {
        true => rows::difference_in_order(&given, &expected),
        false => rows::difference(given, expected),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_reference_gives_the_answers_of_the_second() {
    let Some(duckdb) = duckdb() else { return };
    let data = tempfile::tempdir().expect("a directory for input");
    let out = tempfile::tempdir().expect("a directory for answers");
    input::generate(data.path(), SEED).expect("input is generated");
    let oracle = Oracle::load(data.path()).expect("the input can be read");
    let cases = case::read_all(&below("cases")).expect("the cases can be read");
    // Late rows are known only once the engine has run. Cases with late rows are compared with the first reference
    // alone, in `sql.rs`.
    let cases: Vec<&Case> = cases.iter().filter(|case| !case.late).collect();
    let all = || cases.iter().flat_map(|case| questions(case));
    let asked = all().filter_map(|(name, twin)| Some((name, twin.second_query()?.to_owned()))).collect();
    let answers = duckdb.answers(data.path(), &asked, out.path()).expect("DuckDB runs");
    let mut failures = Vec::new();
    for (name, twin) in all() {
        let Some(answer) = answers.get(&name) else { continue };
        let wrong = compared(&oracle, twin, answer).await.unwrap_or_else(|error| Some(format!("{error:#}")));
        failures.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
    }
    assert!(failures.is_empty(), "{} differ:\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(answers.len() >= 80, "only {} were asked", answers.len());
}

#[test]
fn known_answers_are_those_of_duckdb() {
    let Some(duckdb) = duckdb() else { return };
    let known = answers::read_all(&below("answers")).expect("they can be read");
    let name = |answer: &answers::KnownAnswer| answer.name.replace('/', "-");
    let asked: BTreeMap<String, String> =
        known.iter().filter_map(|answer| Some((name(answer), answer.second.clone()?))).collect();
    let out = tempfile::tempdir().expect("a directory for answers");
    let answers = duckdb.ask("", &asked, out.path()).expect("DuckDB runs");
    let mut failures = Vec::new();
    for answer in &known {
        let Some(given) = answers.get(&name(answer)) else { continue };
        let wrong = match given.as_ref().map_err(|error| format!("{error}")).and_then(|rows| as_json(rows)) {
            Ok(rows) => answers::difference(&rows, &answer.rows),
            Err(error) => Some(error),
        };
        failures.extend(wrong.map(|wrong| format!("{}: {wrong}", answer.name)));
    }
    assert!(failures.is_empty(), "{} differ:\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(!answers.is_empty(), "none was asked");
}

/// Rows in the format of the known answers.
fn as_json(batches: &[RecordBatch]) -> Result<Vec<serde_json::Value>, String> {
    let shown = || -> Result<Vec<serde_json::Value>> {
        let mut shown = Vec::new();
        let mut printer = thalweg::output::RowPrinter::new(&mut shown, thalweg::args::OutputFormat::Json, 1);
        for batch in batches {
            printer.print(0, batch)?;
        }
        drop(printer);
        answers::parse_rows(&String::from_utf8(shown).context("rows are text")?)
    };
    shown().map_err(|error| format!("{error:#}"))
}
