//! HTTP/1 over the network seam: serves a router on a listener, with a limit for each resource.
//!
//! | is bounded | by |
//! |---|---|
//! | connections | the listener's limits ([`admit`]) |
//! | the time that a request's head takes, counted from the end of the answer before | `HEAD_WITHIN` |
//! | the size of a head | `HEAD_BYTES_MAX` |
//! | the time that a body takes | who reads it |
//! | the time for which a client takes nothing of an answer | the listener |

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures::StreamExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use thalweg_types::seam::Spawner;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected as _;
use tower::ServiceExt as _;

use super::{Caller, Connection, ConnectionLimits, Held, Listener, admit};

/// How long a request's head may take to arrive, also the next one of a connection that is kept open.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Serves a router on a listener until it is asked to stop, or the listener ends. Requests in progress are still
/// answered. Each request has its [`Caller`] as an extension.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: ConnectionLimits,
    spawner: Arc<dyn Spawner>,
    stop: CancellationToken,
) {
    let mut connections = admit(listener, limits);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = connections.next() => accepted,
        };
        match accepted {
            Some(Ok(connection)) => {
                let serving = serve_connection(connection, router.clone(), stop.clone());
                spawner.spawn("http connection", Box::pin(serving));
            }
            Some(Err(_)) => {}
            None => return,
        }
    }
}

async fn serve_connection(connection: Connection, router: Router, stop: CancellationToken) {
    let caller = connection.connect_info();
    let peer = caller.peer;
    let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), caller.clone(), request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an HTTP connection ended");
    }
}

/// Answers a request, which is in progress until the last piece of its answer is sent.
async fn answer(router: Router, caller: Caller, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let progress = caller.activity.begin();
    request.extensions_mut().insert(caller);
    let response = router.oneshot(request.map(Body::new)).await?;
    Ok(response.map(|body| Body::new(Held::new(body, progress))))
}
