//! Files read in blocks of any size, sinks read back by sources, part files through crashes, and object stores.

use std::{fs, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use tempfile::TempDir;

use crate::{
    ConnectorContext, ConnectorError, ObjectStores, SinkWriter, Source, open_source,
    testing::{
        EPOCHS, cluster, context, identity, open_sink_committer, open_sink_writer, read_all, read_all_resuming, schema,
        seal, settings, sink, source, to_lines,
    },
};

mod avro;
mod compressed;
mod confined;
mod delivery;
mod epochs;
mod formats;
mod lines;
mod merging;
mod narrowing;
mod parts;
mod paths;
mod uploads;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn path(folder: &TempDir) -> String {
    folder.path().to_string_lossy().into_owned()
}

fn numbers() -> SchemaRef {
    schema(&[("a", DataType::Int64, true)])
}

/// A table of files with these options.
fn table(
    context: &ConnectorContext,
    path: &str,
    format: &str,
    options: &[(&str, &str)],
    columns: SchemaRef,
) -> Result<Box<dyn Source>, ConnectorError> {
    let options: Vec<_> = [("path", path), ("format", format)].into_iter().chain(options.iter().copied()).collect();
    open_source(&source("filesystem", &options, columns), &settings(4), context)
}

async fn error_of(source: &dyn Source) -> String {
    read_all(source).await.expect_err("the data is bad").to_string()
}
