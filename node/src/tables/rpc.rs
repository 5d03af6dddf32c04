//! The clients: asks coordinators where a table is, and other nodes for their rows of it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    network::{self, Network},
    v1::{self, cluster_client::ClusterClient, tables_client::TablesClient},
};
use thalweg_runtime::{TableAnswer, TableRequest};
use thalweg_types::{Attempt, JobId, NodeId};
use thiserror::Error;
use tonic::{Code, transport::Channel};

/// Connections that are kept. Beyond it all are dropped, and made anew as they are needed.
const CONNECTIONS_MAX: usize = 256;

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TablePlace {
    /// Of these nodes, each with its gRPC address, by slice.
    At { job: JobId, attempt: Attempt, slices: Vec<(NodeId, String)> },
    /// Nowhere now; the reason.
    NotNow(String),
    /// No job has it. These are the tables that there are.
    Nowhere(Vec<String>),
}

/// Why a node gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AskError {
    /// It has no part of the table, or none of this attempt.
    #[error("it has no part of the table")]
    NotHere,
    /// It cannot be asked so.
    #[error("{0}")]
    Malformed(String),
    /// It cannot be reached, or its answer cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// Connections to other nodes.
pub(super) struct Peers {
    network: Arc<dyn Network>,
    channels: Mutex<HashMap<String, Channel>>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, channels: Mutex::default() }
    }

    /// Asks the node at an address for its rows.
    pub(super) async fn read(&self, address: &str, request: TableRequest) -> Result<TableAnswer, AskError> {
        let failed = |reason: &dyn fmt::Display| AskError::Failed(reason.to_string());
        let channel = self.channel(address).map_err(|error| failed(&error))?;
        let mut client = TablesClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let key = request.key.into_iter().map(|(column, value)| v1::KeyText { column, value }).collect();
        let limit = u32::try_from(request.limit).unwrap_or(u32::MAX);
        let (job, attempt) = (request.job.0, request.attempt.0);
        let wire = v1::ReadTableRequest { table: request.table, job, attempt, key, limit };
        let answer = client.read(wire).await.map_err(|status| match status.code() {
            Code::NotFound => AskError::NotHere,
            Code::InvalidArgument => AskError::Malformed(status.message().to_owned()),
            _ => AskError::Failed(status.message().to_owned()),
        })?;
        let v1::ReadTableResponse { slices, key, rows, more } = answer.into_inner();
        let rows = decode(&rows).map_err(|error| failed(&format_args!("its rows cannot be read: {error}")))?;
        let key: Result<Vec<usize>, _> = key.into_iter().map(usize::try_from).collect();
        let key = key.map_err(|error| failed(&error))?;
        Ok(TableAnswer { slices, key, rows, more })
    }

    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        if channels.len() >= CONNECTIONS_MAX {
            channels.clear();
        }
        let channel = network::channel(&self.network, address)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// Asks a coordinator for the parts of a table.
pub(super) async fn find_table(
    network: &Arc<dyn Network>,
    coordinator: &str,
    table: String,
) -> Result<TablePlace, Box<dyn std::error::Error + Send + Sync>> {
    let mut client = ClusterClient::new(network::channel(network, coordinator)?);
    let found = client.find_table(v1::FindTableRequest { table }).await?.into_inner();
    let v1::FindTableResponse { job, attempt, slices, reason, tables } = found;
    Ok(match (job, reason.is_empty()) {
        (0, true) => TablePlace::Nowhere(tables),
        (0, false) => TablePlace::NotNow(reason),
        (job, _) => {
            let slices = slices.into_iter().map(|slice| (NodeId(slice.node), slice.address)).collect();
            TablePlace::At { job: JobId(job), attempt: Attempt(attempt), slices }
        }
    })
}

/// Encodes rows as an Arrow IPC stream.
pub(super) fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    arrow::compute::concat_batches(&schema, &batches)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn rows_survive_the_way_and_damaged_ones_are_refused() {
        let column = Arc::new(Int64Array::from_iter_values(0..5));
        let rows = RecordBatch::try_from_iter([("n", column as _)]).unwrap();
        for rows in [rows.clone(), rows.slice(0, 0)] {
            let bytes = encode(&rows).unwrap();
            assert_eq!(decode(&bytes).unwrap(), rows);
            for end in 0..bytes.len() / 2 {
                // Some beginnings are streams too, of no rows.
                assert!(decode(&bytes[..end]).map_or(0, |rows| rows.num_rows()) == 0, "{end}");
            }
        }
    }
}
