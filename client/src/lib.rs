//! The typed client of a cluster: submit SQL, follow jobs, fetch the rows of queries as Arrow batches, look at nodes and change
//! members.
//!
//! Any coordinator answers; a client knows several and tries the next one where one cannot be reached, and a coordinator
//! passes on to the leader what only that one knows. Every call is safe to repeat, and is repeated until its deadline.
//! A submission carries a random request id, so the cluster executes it once however often it arrives.
//!
//! Submit a script, and print the rows of its bare `SELECT`s:
//!
//! ```no_run
//! # use thalweg_client::{Client, ClientConfig, ClientError, SubmitOptions};
//! # async fn example() -> Result<(), ClientError> {
//! let config = ClientConfig { coordinators: vec!["localhost:7070".to_owned()], ..ClientConfig::default() };
//! let client = Client::over_tcp(config).await?;
//! let submitted = client.submit(SubmitOptions { sql: "SELECT 1".to_owned(), ..SubmitOptions::default() }).await?;
//! for query in &submitted.queries {
//!     let mut rows = client.fetch_rows(submitted.job, query.query);
//!     while let Some(batch) = rows.next().await? {
//!         println!("{} rows", batch.num_rows());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Follow a job until it has ended, whichever coordinators come and go meanwhile:
//!
//! ```no_run
//! # use thalweg_client::{Client, ClientError, JobId, JobStatus};
//! # async fn example(client: Client, job: JobId) -> Result<(), ClientError> {
//! let mut changes = client.watch(job);
//! while let Some(job) = changes.next().await? {
//!     println!("{}: {}, attempt {}", job.name, job.status, job.attempt.0);
//!     if let (JobStatus::Failed, Some(failure)) = (job.status, &job.failure) {
//!         println!("{}", failure.message);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! End jobs, each in its way, and start one again that has failed:
//!
//! ```no_run
//! # use std::collections::BTreeMap;
//! # use thalweg_client::{Client, ClientError, JobStatus};
//! # async fn example(client: Client) -> Result<(), ClientError> {
//! for job in client.jobs().await? {
//!     match (job.status, job.name.as_str()) {
//!         (JobStatus::Failed, _) => client.restart(job.job, BTreeMap::new()).await?,
//!         (JobStatus::Running, "trial") => client.cancel(job.job).await?,
//!         (JobStatus::Running, "nightly") => client.stop(job.job).await?,
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Show the first rows of a `SELECT` over an unbounded table, and leave nothing running:
//!
//! ```no_run
//! # use thalweg_client::{Client, ClientError, PreviewLimits, SubmitOptions};
//! # async fn example(client: Client, sql: String) -> Result<(), ClientError> {
//! let limits = PreviewLimits { rows: 5, ..PreviewLimits::default() };
//! for sample in client.preview(SubmitOptions { sql, ..SubmitOptions::default() }, limits).await? {
//!     println!("{}: {} rows", sample.query.schema, sample.rows());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`RowStream`] and [`JobWatch`] become streams of the `futures` crate by `into_stream`.

/// The page for users, whose examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/client.md")]
struct Page;

mod error;
mod failover;
mod model;
mod preview;
mod rows;
mod rpc;
mod system;

pub use arrow::array::RecordBatch;
pub use error::{ClientError, Tried};
pub use model::{ClientConfig, Query, SubmitOptions, SubmittedJob};
pub use preview::{PreviewLimits, Sample};
pub use rows::RowStream;
pub use rpc::{Client, JobWatch};
pub use thalweg_types::{
    Attempt, CheckpointId, JobId, JobStatus, MemberId, NodeId,
    client::{ClusterOverview, MemberOverview, NodeOverview},
    job::{CheckpointOverview, Failure, FailureKind, JobOverview},
};
