//! What a node answers about tables of which it, or another node, has nothing. What they have is shown by real processes.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
    routing::post,
};
use thalweg_proto::{
    network::{MemoryNetwork, Network},
    testing::seams,
};
use thalweg_runtime::QueryableTables;
use thalweg_types::{Attempt, JobId, NodeId};
use tower::ServiceExt as _;

use super::{Asker, Places, TablesService, beside, rpc::TablePlace};

const TABLE: &str = "t";

struct Asked {
    router: Router,
    network: Arc<dyn Network>,
}

/// What the node with id 1 answers that knows this of the table.
fn asked(known: Option<TablePlace>) -> Asked {
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let seams = seams();
    let places = Places::new(Vec::new(), network.clone(), seams.clock.clone());
    if let Some(place) = known {
        places.learn(TABLE, place);
    }
    let asker = Asker::new(NodeId(1), QueryableTables::default(), places, network.clone(), seams);
    let taking = Router::new().route("/{*path}", post(|| async { "taken" }));
    Asked { router: beside(taking, asker), network }
}

fn at(nodes: &[u64]) -> Option<TablePlace> {
    let slices = nodes.iter().map(|node| (NodeId(*node), format!("node-{node}:1"))).collect();
    Some(TablePlace::At { job: JobId(7), attempt: Attempt(2), slices })
}

impl Asked {
    /// The status, whether the client shall come again, and the text.
    async fn answer(&self, method: &str, path: &str) -> (u16, bool, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key(header::RETRY_AFTER));
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, retry, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn check(&self, method: &str, path: &str, status: u16, words: &str) {
        let (got, retry, text) = self.answer(method, path).await;
        assert!(got == status && text.contains(words), "{method} {path}: {got} {text}");
        assert_eq!(retry, status >= 503, "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_with_what_was_expected() {
    let asked = asked(None);
    asked.check("GET", "/tables/t", 503, "no coordinator says where the table is").await;
    asked.check("GET", "/tables/t?a", 400, "column=value").await;
    asked.check("GET", "/tables/t?limit=x", 400, "from 1 to 1000").await;
    asked.check("GET", &format!("/tables/t?a={}", "x".repeat(9000)), 414, "8192").await;
    asked.check("PUT", "/tables/t", 405, "").await;
    asked.check("DELETE", "/tables/t", 405, "").await;
    asked.check("POST", "/tables/t", 200, "taken").await;
    asked.check("POST", "/ingest/t", 200, "taken").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_coordinators_say_is_told() {
    let names = ["a".to_owned(), "b".to_owned()].to_vec();
    asked(Some(TablePlace::Nowhere(names))).check("GET", "/tables/t", 404, "those that can be asked are a, b").await;
    asked(Some(TablePlace::Nowhere(Vec::new()))).check("GET", "/tables/t", 404, "no job has a table").await;
    let reason = "job-1 (a job) is restarting";
    asked(Some(TablePlace::NotNow(reason.to_owned()))).check("GET", "/tables/t", 503, reason).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_no_part_or_cannot_be_asked_is_named() {
    asked(at(&[1])).check("GET", "/tables/t", 503, "node-1 has no part of table t now").await;
    let absent = asked(at(&[2]));
    absent.check("GET", "/tables/t", 503, "node-2 at node-2:1 could not be asked").await;
    let silent = asked(at(&[2]));
    let listener = silent.network.listen("node-2:1").await.expect("a free address");
    silent.check("GET", "/tables/t", 504, "node-2 at node-2:1 did not answer for table t in 3 s").await;
    drop(listener);

    let empty = asked(at(&[2]));
    let listener = empty.network.listen("node-2:1").await.expect("a free address");
    let service = TablesService::server(QueryableTables::default(), seams());
    let server = tonic::transport::Server::builder().add_service(service);
    seams().io.spawn("server", Box::pin(async move { server.serve_with_incoming(listener.incoming).await.unwrap() }));
    empty.check("GET", "/tables/t", 503, "node-2 has no part of table t now").await;
}
