//! Health over HTTP: `/healthz` while the process serves, `/readyz` while it can do its work.

use std::{io, sync::Arc};

use axum::{Router, http::StatusCode, routing::get, serve::Listener as AxumListener};
use futures::{StreamExt, future::BoxFuture};
use thalweg_proto::network::{Connection, Incoming, Network};
use thalweg_types::seam::{Seams, TaskHandle};

/// Whether a process can do its work: `Err` says why it cannot.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Answers for the health of this process until the handle is aborted; returns the address that was bound too.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    network: &Arc<dyn Network>,
    seams: &Seams,
    address: &str,
    readiness: Readiness,
) -> io::Result<(String, Box<dyn TaskHandle>)> {
    let listener = network.listen(address).await?;
    let bound = listener.address.clone();
    let accepting = Accepting { incoming: listener.incoming, address: listener.address };
    let router = health(readiness);
    let serve = async move {
        if let Err(error) = axum::serve(accepting, router).await {
            tracing::error!(%error, "health is no longer answered");
        }
    };
    Ok((bound, seams.io.spawn("http", Box::pin(serve))))
}

fn health(readiness: Readiness) -> Router {
    let ready = move || {
        let ready = readiness();
        async move {
            match ready.await {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            }
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

/// A listener of ours as axum wants it.
struct Accepting {
    incoming: Incoming,
    address: String,
}

impl AxumListener for Accepting {
    type Io = Connection;
    type Addr = String;

    async fn accept(&mut self) -> (Connection, String) {
        loop {
            match self.incoming.next().await {
                Some(Ok(connection)) => return (connection, String::new()),
                // One connection that could not be accepted says nothing about the next.
                Some(Err(error)) => tracing::debug!(%error, "a connection was not accepted"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }
}
