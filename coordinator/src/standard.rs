//! The standard services of gRPC at a coordinator's addresses, for tools: reflection, which shows what clients can call,
//! and health, which tells whether this coordinator can answer or pass on a call.
//!
//! ```text
//! NOT_SERVING --takes part, and knows a leader--> SERVING --no leader, or it stops--> NOT_SERVING
//! ```
//!
//! That is what `/readyz` tells over HTTP. Both services are there from the start. Streams of reflection end with their
//! requests, which must arrive as those of other calls do; of those who watch the health there is a bounded number.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use thalweg_consensus::Leadership;
use thalweg_proto::CLIENT_DESCRIPTORS;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::{
    ServingStatus,
    pb::{
        self, HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    },
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::Builder;

use crate::cluster::ClusterService;

/// The most bytes of a request, which has a name.
const REQUEST_BYTES_MAX: usize = 4 << 10;
/// The most who watch the health at once, well below the connections that a listener has room for: who watches keeps one.
const WATCHES_MAX: usize = 64;

/// Tells the health service how this coordinator is.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(HealthReporter);

/// The services, and what tells them how the coordinator is: it does not serve yet.
pub(crate) async fn services() -> (Routes, Reporter) {
    let reporter = HealthReporter::new();
    let told = Reporter(reporter.clone());
    told.tell(false).await;
    let health = Bounded {
        health: HealthService::from_health_reporter(reporter),
        watches: Arc::new(Semaphore::new(WATCHES_MAX)),
    };
    let health = HealthServer::new(health).max_decoding_message_size(REQUEST_BYTES_MAX);
    let described = "the descriptors are built with this crate";
    let reflection = shown().build_v1().expect(described).max_decoding_message_size(REQUEST_BYTES_MAX);
    // Older tools, such as Python's, know this one only.
    let older = shown().build_v1alpha().expect(described).max_decoding_message_size(REQUEST_BYTES_MAX);
    (Routes::new(health).add_service(reflection).add_service(older), told)
}

fn shown() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(CLIENT_DESCRIPTORS)
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
}

impl Reporter {
    /// Tells of a coordinator that takes part, until it stops.
    pub(crate) async fn follow(self, mut leadership: watch::Receiver<Leadership>) {
        let mut told = false;
        loop {
            let is_led = leadership.borrow_and_update().leader.is_some();
            if is_led != told {
                self.tell(is_led).await;
                told = is_led;
            }
            if leadership.changed().await.is_err() {
                return self.tell(false).await;
            }
        }
    }

    async fn tell(&self, serves: bool) {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", ClusterService::NAME] {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// The health service, with a bound on those who watch.
#[derive(Debug)]
struct Bounded {
    health: HealthService,
    watches: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Health for Bounded {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.health.check(request).await
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let place = self.watches.clone().try_acquire_owned();
        let place =
            place.map_err(|_| Status::resource_exhausted(format!("{WATCHES_MAX} watch already: call Check")))?;
        let told = self.health.watch(request).await?.into_inner();
        let held = told.map(move |told| {
            let _place = &place;
            told
        });
        Ok(Response::new(Box::pin(held)))
    }
}

#[cfg(test)]
mod tests;
