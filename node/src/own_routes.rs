//! The HTTP address of a node has two users: tables take records there by POST, and the process tells of itself by GET.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use axum::{Router, extract::Request, http::Method, response::Response};
use tower::ServiceExt as _;

/// The routes by which a process tells of itself, once it has them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnRoutes(Arc<OnceLock<Router>>);

impl OwnRoutes {
    /// Sets the routes. Only the first ones count.
    pub(crate) fn set(&self, own: Router) {
        // The error has the routes that come too late.
        let _ = self.0.set(own);
    }

    /// A router that answers GET and HEAD by these routes where they have the path. All else goes to `tables`.
    pub(crate) fn beside(&self, tables: Router) -> Router {
        let own = self.0.clone();
        Router::new().fallback_service(tower::service_fn(move |request: Request| {
            let is_asked = [Method::GET, Method::HEAD].contains(request.method());
            let own = own.get().filter(|_| is_asked).map(|own| own.clone().fallback_service(tables.clone()));
            answer(own.unwrap_or_else(|| tables.clone()), request)
        }))
    }
}

async fn answer(router: Router, request: Request) -> Result<Response, Infallible> {
    router.oneshot(request).await
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::StatusCode,
        routing::{get, post},
    };

    use super::*;

    async fn status(router: &Router, method: Method, path: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_table_may_have_any_path_beside_those_of_the_process() {
        let own = OwnRoutes::default();
        let router = own.beside(Router::new().route("/{*path}", post(|| async { StatusCode::ACCEPTED })));
        assert_eq!(status(&router, Method::GET, "/healthz").await, StatusCode::METHOD_NOT_ALLOWED);
        own.set(Router::new().route("/healthz", get(|| async { StatusCode::OK })));
        assert_eq!(status(&router, Method::GET, "/healthz").await, StatusCode::OK);
        assert_eq!(status(&router, Method::HEAD, "/healthz").await, StatusCode::OK);
        assert_eq!(status(&router, Method::POST, "/healthz").await, StatusCode::ACCEPTED);
        assert_eq!(status(&router, Method::POST, "/clicks").await, StatusCode::ACCEPTED);
        assert_eq!(status(&router, Method::GET, "/clicks").await, StatusCode::METHOD_NOT_ALLOWED);
    }
}
