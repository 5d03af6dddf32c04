//! The services at a coordinator's address. At first only those answer that tell about its store; once it takes part,
//! all do. Until then other requests get UNAVAILABLE, so that clients try again, or elsewhere. Those for tools, such as
//! health, answer always, and at the address for clients too.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use axum::{Router, body::Body, extract::Request, response::Response, routing::any_service};
use futures::{FutureExt, future::BoxFuture};
use tonic::{Status, service::Routes};
use tower::{Service, ServiceExt};

use crate::cluster::ClusterService;

/// The services before and after the coordinator takes part. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    before: Router,
    always: Router,
    then: Arc<OnceLock<Router>>,
}

impl Front {
    /// A front with the services that answer at first, and those that answer always.
    pub(crate) fn new(before: Routes, always: Routes) -> Self {
        let not_yet = || async { Status::unavailable("this coordinator does not take part yet").into_http::<Body>() };
        let always = always.into_axum_router();
        Self { before: before.into_axum_router().fallback(not_yet), always, then: Arc::default() }
    }

    /// Switches to the services of a coordinator that takes part.
    pub(crate) fn open(&self, routes: Routes) {
        // A front is opened only once, so the cell is empty.
        let _ = self.then.set(routes.into_axum_router());
    }

    /// The front as routes of a gRPC server.
    pub(crate) fn routes(&self) -> Routes {
        self.always.clone().fallback_service(self.clone()).into()
    }

    /// The front for clients alone. What members and nodes call is not there.
    pub(crate) fn client_routes(&self) -> Routes {
        let calls = format!("/{}/{{call}}", ClusterService::NAME);
        let refused =
            || async { Status::unimplemented("only clients are answered at this address").into_http::<Body>() };
        self.always.clone().route(&calls, any_service(self.clone())).fallback(refused).into()
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let router = self.then.get().unwrap_or(&self.before).clone();
        router.oneshot(request).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standard;

    /// The gRPC status that a call gets, with its message, as far as the front decides it.
    async fn status(routes: Routes, service: &str) -> (String, String) {
        let request = Request::builder().uri(format!("/{service}/Call")).body(Body::empty()).unwrap();
        let response = routes.into_axum_router().oneshot(request).await.unwrap();
        let header = |name| response.headers().get(name).map(|told| told.to_str().unwrap().to_owned());
        (header("grpc-status").unwrap_or_default(), header("grpc-message").unwrap_or_default())
    }

    #[tokio::test]
    async fn at_the_address_of_clients_nobody_else_is_answered() {
        let front = Front::new(Routes::default(), standard::services().await.0);
        let (unavailable, unimplemented) = ("14", "12");
        let early = status(front.client_routes(), ClusterService::NAME).await;
        assert_eq!(early.0, unavailable, "it does not take part yet");
        for service in ["thalweg.v1.Founding", "thalweg.v1.NodeSession", "thalweg.v1.Raft"] {
            let refused = status(front.client_routes(), service).await;
            assert!(refused.0 == unimplemented && refused.1.contains("only"), "{service}: {refused:?}");
            assert_eq!(status(front.routes(), service).await.0, unavailable, "{service}");
        }
    }

    #[tokio::test]
    async fn tools_are_answered_at_both_addresses_from_the_start() {
        let front = Front::new(Routes::default(), standard::services().await.0);
        for routes in [front.client_routes(), front.routes()] {
            for service in ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
                let itself = ("12".to_owned(), String::new());
                assert_eq!(status(routes.clone(), service).await, itself, "it is there, and has no such call");
            }
        }
    }
}
