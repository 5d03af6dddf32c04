//! The typed client of a cluster: submit SQL, watch jobs, fetch the rows of queries, look at nodes and change members.
//!
//! Any coordinator answers; a client knows several and tries the next one where one cannot be reached. Every call is
//! safe to repeat, and is repeated until its deadline. A submission carries a random request id, so the cluster
//! executes it once however often it arrives.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use thalweg_client::{Client, ClientConfig, SubmitOptions};
//! # use thalweg_proto::network::Network;
//! # use thalweg_types::seam::Entropy;
//! # async fn example(network: Arc<dyn Network>, entropy: Arc<dyn Entropy>) -> Result<(), thalweg_client::ClientError> {
//! let config = ClientConfig { coordinators: vec!["localhost:7070".to_owned()], ..ClientConfig::default() };
//! let client = Client::connect(config, network, entropy).await?;
//! let submitted = client.submit(SubmitOptions { sql: "SELECT 1".to_owned(), ..SubmitOptions::default() }).await?;
//! for query in &submitted.queries {
//!     let mut rows = client.fetch_rows(submitted.job, query.query);
//!     while let Some(batch) = rows.next().await? {
//!         println!("{} rows", batch.num_rows());
//!     }
//! }
//! let job = client.wait(submitted.job).await?;
//! println!("{}", job.status);
//! # Ok(())
//! # }
//! ```

mod error;
mod failover;
mod model;
mod rows;
mod rpc;

pub use error::{ClientError, Tried};
pub use model::{ClientConfig, Query, SubmitOptions, SubmittedJob};
pub use rows::RowStream;
pub use rpc::Client;
pub use thalweg_types::client::{ClusterOverview, MemberOverview, NodeOverview};
