//! The first reference: DataFusion over the same files, read with Arrow's readers.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use arrow::{
    array::RecordBatch,
    csv,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    json,
};
use bytes::{Buf as _, Bytes};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    case::FileFormat,
    rows::{self, Row},
};

const BATCH_ROWS: usize = 8192;

/// A batch engine with the generated tables.
pub struct Oracle {
    session: SessionContext,
}

impl Oracle {
    /// Loads the tables that `input::generate` wrote.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn load(data: &Path) -> Result<Self> {
        let oracle = Self { session: SessionContext::new() };
        oracle.register("clicks", read_json(&[data.join("clicks.json")], clicks_schema())?)?;
        oracle.register("bids", read_json(&[data.join("bids.json")], bids_schema())?)?;
        oracle.register("sensors", read_csv(&[data.join("sensors.csv")], sensors_schema(), true)?)?;
        oracle.register("trades", read_parquet(&[data.join("trades.parquet")])?)?;
        Ok(oracle)
    }

    /// Adds the table `late`: the late records of a job, with their windows.
    ///
    /// # Errors
    /// If the schemas of the batches differ.
    pub fn with_late(self, late: Vec<RecordBatch>) -> Result<Self> {
        self.register("late", late)?;
        Ok(self)
    }

    /// The rows of a query, and their schema.
    ///
    /// # Errors
    /// Errors of the batch engine.
    pub async fn answer(&self, sql: &str) -> Result<(Vec<Row>, SchemaRef)> {
        let frame = self.session.sql(sql).await.with_context(|| format!("the batch twin cannot be planned: {sql}"))?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await.with_context(|| format!("the batch twin failed: {sql}"))?;
        Ok((rows::of_batches(&batches)?, schema))
    }

    fn register(&self, name: &str, batches: Vec<RecordBatch>) -> Result<()> {
        let schema = batches.first().context("a generated table is empty")?.schema();
        self.session.register_table(name, Arc::new(MemTable::try_new(schema, vec![batches])?))?;
        Ok(())
    }
}

/// Reads the visible files that a sink wrote to a directory, as rows of a schema.
///
/// # Errors
/// If a file does not have this format.
pub fn read_output(directory: &Path, format: FileFormat, schema: &SchemaRef) -> Result<Vec<Row>> {
    let files = files_below(directory)?;
    let schema = Arc::new(plain(schema));
    let batches = match format {
        FileFormat::Json => read_json(&files, schema)?,
        FileFormat::Csv => read_csv(&files, schema, false)?,
        FileFormat::Parquet => read_parquet(&files)?,
    };
    rows::of_batches(&batches)
}

/// All files below a directory, sorted by name, without those whose name starts with a dot or an underscore.
///
/// # Errors
/// If the directory cannot be listed.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.starts_with(['.', '_']) {
            true => {}
            false if path.is_dir() => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

/// Reads files with one JSON object a line.
///
/// # Errors
/// If a file does not have this format.
pub fn read_json(files: &[PathBuf], schema: SchemaRef) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for file in files {
        let reader = BufReader::new(open(file)?);
        let reader = json::ReaderBuilder::new(schema.clone()).with_batch_size(BATCH_ROWS).build(reader)?;
        for batch in reader {
            batches.push(batch.with_context(|| format!("in {}", file.display()))?);
        }
    }
    Ok(batches)
}

/// Reads one file that a sink wrote, as rows of a schema.
///
/// # Errors
/// If it does not have this format.
pub fn read_bytes(bytes: Bytes, format: FileFormat, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let schema = Arc::new(plain(schema));
    let batches: Result<Vec<RecordBatch>, _> = match format {
        FileFormat::Json => {
            json::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).build(bytes.reader())?.collect()
        }
        FileFormat::Csv => csv::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).build(bytes.reader())?.collect(),
        FileFormat::Parquet => ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?.collect(),
    };
    Ok(batches?)
}

fn read_csv(files: &[PathBuf], schema: SchemaRef, header: bool) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for file in files {
        let builder = csv::ReaderBuilder::new(schema.clone()).with_header(header).with_batch_size(BATCH_ROWS);
        for batch in builder.build(open(file)?)? {
            batches.push(batch.with_context(|| format!("in {}", file.display()))?);
        }
    }
    Ok(batches)
}

/// Reads Parquet files.
///
/// # Errors
/// If one is not a Parquet file.
pub fn read_parquet(files: &[PathBuf]) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for file in files {
        for batch in ParquetRecordBatchReaderBuilder::try_new(open(file)?)?.build()? {
            batches.push(batch.with_context(|| format!("in {}", file.display()))?);
        }
    }
    Ok(batches)
}

fn open(file: &Path) -> Result<File> {
    File::open(file).with_context(|| format!("could not open {}", file.display()))
}

/// A schema that the text readers accept: no views, and every column nullable.
fn plain(schema: &Schema) -> Schema {
    let kind = |kind: &DataType| match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other.clone(),
    };
    Schema::new(schema.fields().iter().map(|f| Field::new(f.name(), kind(f.data_type()), true)).collect::<Vec<_>>())
}

fn millis() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn clicks_schema() -> SchemaRef {
    let device = vec![Field::new("os", DataType::Utf8, true), Field::new("version", DataType::Int32, true)];
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", millis(), false),
        Field::new("user_id", DataType::Int64, false),
        Field::new("page", DataType::Utf8, false),
        Field::new("country", DataType::Utf8, true),
        Field::new("duration_ms", DataType::Int32, true),
        Field::new("price", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("device", DataType::Struct(device.into()), true),
    ]))
}

fn bids_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", millis(), false),
        Field::new("auction", DataType::Int64, false),
        Field::new("bidder", DataType::Int64, true),
        Field::new("price", DataType::Int64, false),
        Field::new("channel", DataType::Utf8, false),
    ]))
}

fn sensors_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("sensor", DataType::Utf8, false),
        Field::new("room", DataType::Int32, false),
        Field::new("temperature", DataType::Float64, true),
        Field::new("note", DataType::Utf8, true),
    ]))
}
