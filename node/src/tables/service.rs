//! The service by which other nodes read the parts of tables that are here.

use arrow::error::ArrowError;
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    compute::on_compute,
    v1::{
        self,
        tables_server::{Tables, TablesServer},
    },
};
use thalweg_runtime::{QueryableTables, TableRefusal, TableRequest};
use thalweg_types::{Attempt, JobId, seam::Seams, text::with_causes};
use tonic::{Request, Response, Status};

use super::{request::ROWS_MAX, rpc::encode};

/// The most bytes of a request: more than a URL has.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Serves the tables that are kept on this node.
#[derive(Debug)]
pub(crate) struct TablesService {
    tables: QueryableTables,
    seams: Seams,
}

impl TablesService {
    /// The gRPC service to mount into a server.
    pub(crate) fn server(tables: QueryableTables, seams: Seams) -> TablesServer<Self> {
        TablesServer::new(Self { tables, seams })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Tables for TablesService {
    async fn read(&self, request: Request<v1::ReadTableRequest>) -> Result<Response<v1::ReadTableResponse>, Status> {
        let v1::ReadTableRequest { table, job, attempt, key, limit } = request.into_inner();
        let key = key.into_iter().map(|text| (text.column, text.value)).collect();
        let limit = usize::try_from(limit).map_or(ROWS_MAX, |limit| limit.clamp(1, ROWS_MAX));
        let request = TableRequest { table, job: JobId(job), attempt: Attempt(attempt), key, limit };
        let tables = self.tables.clone();
        let read = on_compute(&self.seams, "read a table", move || answer(&tables, &request));
        read.await.unwrap_or_else(|| Err(Status::internal("reading the table has failed"))).map(Response::new)
    }
}

fn answer(tables: &QueryableTables, request: &TableRequest) -> Result<v1::ReadTableResponse, Status> {
    let answer = tables.read(request).map_err(|refusal| match &refusal {
        TableRefusal::NotHere { .. } => Status::not_found(refusal.to_string()),
        TableRefusal::Malformed { reason } => Status::invalid_argument(reason),
        TableRefusal::Unreadable { .. } => Status::internal(with_causes(&refusal)),
    })?;
    let failed = |error: ArrowError| Status::internal(format!("the rows cannot be sent: {error}"));
    let rows = encode(&answer.rows).map_err(failed)?.into();
    let key = answer.key.iter().filter_map(|column| u32::try_from(*column).ok()).collect();
    Ok(v1::ReadTableResponse { slices: answer.slices, key, rows, more: answer.more })
}
