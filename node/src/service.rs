//! The collect service: rows of bare `SELECT`s that this node keeps. Coordinators fetch them for clients.
//!
//! The request's offset acknowledges all rows before it. So a repeated request gets the same rows.

use std::time::Duration;

use arrow::{array::RecordBatch, error::ArrowError, ipc::writer::StreamWriter};
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    v1::{
        self,
        collect_server::{Collect, CollectServer},
    },
};
use thalweg_runtime::CollectStore;
use thalweg_types::{Attempt, CheckpointId, JobId};
use tonic::{Request, Response, Status};

/// The longest that a request waits for rows.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The bytes of rows after which a message gets no further batch: half of what a message may have, because the last
/// batch may exceed it.
const ROWS_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 / 2;

/// Serves the rows collected on this node.
#[derive(Debug)]
pub(crate) struct CollectService {
    store: CollectStore,
}

impl CollectService {
    /// The gRPC service to mount into a server.
    pub(crate) fn server(store: CollectStore) -> CollectServer<Self> {
        CollectServer::new(Self { store })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Collect for CollectService {
    async fn fetch(&self, request: Request<v1::CollectRequest>) -> Result<Response<v1::CollectResponse>, Status> {
        let request = request.into_inner();
        let (job, attempt) = (JobId(request.job), Attempt(request.attempt));
        let max_bytes = request.max_bytes.clamp(1, ROWS_BYTES_MAX);
        let wait = Duration::from_millis(request.wait_ms.into()).min(WAIT_MAX);
        if request.all {
            self.store.release(job, attempt, CheckpointId::FINAL);
        }
        let collected = self.store.fetch(job, attempt, request.query, request.offset, max_bytes, wait).await;
        let collected = collected.ok_or_else(|| {
            Status::not_found(format!("query {} of {job}, {attempt} is not collected here", request.query))
        })?;
        let batches = encode(&collected.batches)
            .map_err(|error| Status::internal(format!("could not encode rows of {job}: {error}")))?;
        Ok(Response::new(v1::CollectResponse {
            offset: collected.offset,
            rows: collected.rows,
            batches: batches.into(),
            end: collected.end,
        }))
    }
}

/// Encodes an Arrow IPC stream. Without batches, no bytes.
fn encode(batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &first.schema())?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::Int64Array, ipc::reader::StreamReader};

    use super::*;

    #[test]
    fn batches_survive_the_encoding_and_none_are_no_bytes() {
        assert!(encode(&[]).expect("there is nothing to fail").is_empty());
        let column = Arc::new(Int64Array::from_iter_values(0..5));
        let batch = RecordBatch::try_from_iter([("n", column as _)]).expect("one column");
        let bytes = encode(&[batch.clone(), batch.slice(1, 2)]).expect("it is sound");
        let read = StreamReader::try_new(bytes.as_slice(), None).expect("it is sound");
        assert_eq!(read.collect::<Result<Vec<_>, _>>().expect("it is sound"), [batch.clone(), batch.slice(1, 2)]);
    }

    #[tokio::test]
    async fn what_is_not_collected_here_is_not_found() {
        let service = CollectService { store: CollectStore::default() };
        let status = service.fetch(Request::new(v1::CollectRequest::default())).await.expect_err("it is empty");
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
}
