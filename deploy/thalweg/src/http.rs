//! Health over HTTP: `/healthz` while the process is alive, `/readyz` while it can do its work, `/metrics` for what it measures.
//!
//! A process is alive if its main task answers within a second. If not, it should be restarted; a process that is not
//! ready waits for others.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use futures::future::BoxFuture;
use thalweg_metrics::Families;
use thalweg_proto::network::{ConnectionLimits, Network, http};
use thalweg_types::seam::{Seams, TaskHandle};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::process;

/// An alive process answers so soon.
const BEAT_WITHIN: Duration = Duration::from_secs(1);

/// Less than a monitoring system waits: it learns that the process is stuck, and not that its own time is over.
const METRICS_WITHIN: Duration = Duration::from_secs(5);

/// Looks whether all is well: `Err` says what is not.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What an alive process waits for, if anything.
pub type Waits = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Adds what the parts of the process measure.
pub type Metrics = Arc<dyn Fn(Families) -> BoxFuture<'static, Families> + Send + Sync>;

/// The checks of a process.
#[derive(Clone)]
pub struct Probes {
    /// Resolves when its main task answers.
    pub beat: Probe,
    /// Whether it can do its work.
    pub ready: Probe,
    /// What it waits for, if it may have to.
    pub waits: Option<Waits>,
    /// What runs in it, in a word.
    pub component: &'static str,
    /// What a monitoring system reads.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

/// Serves the health of this process until the handle is aborted. Returns the bound address too.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    network: &Arc<dyn Network>,
    seams: &Seams,
    (address, limits): (&str, ConnectionLimits),
    probes: Probes,
) -> io::Result<(String, Box<dyn TaskHandle>)> {
    let listener = network.listen(address).await?;
    let bound = listener.address.clone();
    let (router, spawner) = (health(probes), seams.io.clone());
    let serve = async move {
        http::serve(listener, router, limits, spawner, CancellationToken::new()).await;
        tracing::error!("health is no longer answered: its listener has ended");
    };
    Ok((bound, seams.io.spawn("http", Box::pin(serve))))
}

/// The routes by which a process tells of itself.
pub fn health(probes: Probes) -> Router {
    let Probes { beat, ready, waits, component, metrics } = probes;
    let alive = move || {
        let (beat, waits) = (beat(), waits.as_ref().and_then(|waits| waits()));
        async move {
            let late = |_| Err(format!("no heartbeat within {BEAT_WITHIN:?}"));
            let well = waits.map_or_else(|| "ok".to_owned(), |waits| format!("ok\n{waits}"));
            answer(&well, time::timeout(BEAT_WITHIN, beat).await.unwrap_or_else(late))
        }
    };
    let ready = move || {
        let ready = ready();
        async move { answer("ready", ready.await) }
    };
    let tell = move || {
        let mut families = Families::default();
        process::tell(&mut families, component);
        let told = time::timeout(METRICS_WITHIN, metrics(families));
        async move {
            match told.await {
                Ok(families) => ([(CONTENT_TYPE, thalweg_metrics::CONTENT_TYPE)], families.text()).into_response(),
                Err(_) => answer("", Err(format!("nothing was told within {METRICS_WITHIN:?}"))).into_response(),
            }
        }
    };
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(tell))
}

fn answer(well: &str, probed: Result<(), String>) -> (StatusCode, String) {
    match probed {
        Ok(()) => (StatusCode::OK, format!("{well}\n")),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{seams::Surroundings, tcp::TcpNetwork};

    fn probe(probed: Result<(), &'static str>) -> Probe {
        Arc::new(move || async move { probed.map_err(str::to_owned) }.boxed())
    }

    async fn status(beat: Probe, ready: Probe, path: &str) -> u16 {
        let surroundings = Surroundings::of_system(1).unwrap();
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let metrics: Metrics = Arc::new(|families| std::future::ready(families).boxed());
        let probes = Probes { beat, ready, waits: None, component: "test", metrics };
        let (address, task) =
            serve(&network, &surroundings.seams(), ("127.0.0.1:0", ConnectionLimits::default()), probes).await.unwrap();
        let mut connection = network.connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).await.unwrap();
        task.abort();
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_gives_no_beat_is_not_alive_and_what_lives_may_not_be_ready() {
        let stuck: Probe = Arc::new(|| std::future::pending().boxed());
        assert_eq!(status(stuck, probe(Ok(())), "/healthz").await, 503);
        assert_eq!(status(probe(Err("stopped")), probe(Ok(())), "/healthz").await, 503);
        assert_eq!(status(probe(Ok(())), probe(Err("no leader")), "/healthz").await, 200);
        assert_eq!(status(probe(Ok(())), probe(Err("no leader")), "/readyz").await, 503);
        assert_eq!(status(probe(Ok(())), probe(Ok(())), "/readyz").await, 200);
        assert_eq!(status(probe(Ok(())), probe(Ok(())), "/metrics").await, 200);
    }
}
