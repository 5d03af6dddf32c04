//! Counts the requests that are answered over HTTP, and how long each took.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use thalweg_metrics::{Histogram, seconds};
use thalweg_types::seam::Clock;

/// What is measured of a node's requests; clones share it.
#[derive(Clone)]
pub(crate) struct RequestMeter {
    clock: Arc<dyn Clock>,
    /// Requests by status, of which the router gives few.
    answered: Arc<Mutex<BTreeMap<u16, u64>>>,
    took: Histogram,
}

impl fmt::Debug for RequestMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestMeter").field(&self.answered).finish()
    }
}

impl RequestMeter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, answered: Arc::default(), took: seconds() }
    }

    /// The router, with its requests counted here.
    pub(crate) fn around(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), measured))
    }

    pub(crate) fn answered(&self) -> BTreeMap<u16, u64> {
        // Nothing panics while it is locked.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, code: u16) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(crate) fn took(&self) -> &Histogram {
        &self.took
    }
}

/// A request whose client goes away before its answer is not counted.
async fn measured(State(meter): State<RequestMeter>, request: Request, next: Next) -> Response {
    let began = meter.clock.monotonic();
    let response = next.run(request).await;
    meter.took.observe(meter.clock.monotonic().saturating_sub(began).as_secs_f64());
    meter.count(response.status().as_u16());
    response
}
