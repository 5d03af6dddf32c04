//! A second reference: DuckDB, which shares no code with the product or with the first reference. It runs in a Python
//! that has it (`pip install duckdb`).

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};
use arrow::{array::RecordBatch, compute::cast, datatypes::Schema};

use crate::oracle::read_parquet;

const ANSWER: &str = include_str!("../duckdb/answer.py");
/// The tables of the cases, and macros for functions that DuckDB names differently.
const TABLES: &str = include_str!("../duckdb/tables.sql");

/// Expressions that DuckDB writes differently and macros cannot replace.
const SAID_OTHERWISE: &[(&str, &str)] = &[("CAST(ts AS BIGINT)", "epoch_ms(ts)")];

/// A Python that has DuckDB.
#[derive(Debug)]
pub struct DuckDb {
    python: PathBuf,
}

/// The rows of a query, or the error.
pub type Answer = Result<Vec<RecordBatch>>;

impl DuckDb {
    /// DuckDB in this Python; `None` if it is not installed.
    #[must_use]
    pub fn of(python: PathBuf) -> Option<Self> {
        // A folder of this name, such as the one beside the tests, can be imported too.
        let mut import = Command::new(&python);
        import
            .args(["-c", "import duckdb; duckdb.connect"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success()).then_some(Self { python })
    }

    /// Answers queries over the tables that `input::generate` wrote to `data`. Questions and answers have names;
    /// `out` is an empty directory for the answers.
    ///
    /// # Errors
    /// If Python cannot be run, or the tables cannot be read.
    pub fn answers(
        &self,
        data: &Path,
        questions: &BTreeMap<String, String>,
        out: &Path,
    ) -> Result<BTreeMap<String, Answer>> {
        let tables = TABLES.replace("${data}", &data.display().to_string());
        let said = |query: &String| {
            SAID_OTHERWISE.iter().fold(query.clone(), |query, (here, there)| query.replace(here, there))
        };
        let questions = questions.iter().map(|(name, query)| (name.clone(), said(query))).collect();
        self.ask(&tables, &questions, out)
    }

    /// Answers queries after running the statements in `tables`.
    ///
    /// # Errors
    /// If Python cannot be run, or a statement fails.
    pub fn ask(
        &self,
        tables: &str,
        questions: &BTreeMap<String, String>,
        out: &Path,
    ) -> Result<BTreeMap<String, Answer>> {
        let asked = serde_json::json!({ "tables": tables, "questions": questions, "out": out });
        let mut python = Command::new(&self.python);
        python.args(["-c", ANSWER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = python.spawn().context("could not run Python")?;
        let mut input = process.stdin.take().context("Python has a standard input")?;
        input.write_all(asked.to_string().as_bytes())?;
        drop(input);
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "DuckDB: {}", String::from_utf8_lossy(&output.stderr));
        Ok(questions.keys().map(|name| (name.clone(), answer(out, name))).collect())
    }
}

fn answer(out: &Path, name: &str) -> Answer {
    match fs::read_to_string(out.join(format!("{name}.error"))) {
        Ok(reason) => Err(anyhow!("{reason}")),
        Err(_) => read_parquet(&[out.join(format!("{name}.parquet"))]),
    }
}

/// Casts batches to the types of a schema, column by column.
///
/// # Errors
/// If the number of columns differs, or a value does not fit its type.
pub fn with_types_of(batches: &[RecordBatch], schema: &Schema) -> Answer {
    let typed = |batch: &RecordBatch| {
        let (given, wanted) = (batch.num_columns(), schema.fields().len());
        ensure!(given == wanted, "{given} columns, expected {wanted}");
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
        let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        Ok(RecordBatch::try_new(Schema::new(fields.collect::<Vec<_>>()).into(), columns)?)
    };
    batches.iter().map(typed).collect()
}
