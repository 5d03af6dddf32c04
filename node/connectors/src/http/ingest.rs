//! The server's side of the `http` source: routes that the node mounts on its HTTP address.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{"accepted":N}` | all records of the request wait to be read |
//! | 400 | a record is malformed, with its line and the reason; nothing was taken |
//! | 404 | no table takes records at this path |
//! | 413 | the request is larger than the table's whole buffer |
//! | 429 with `Retry-After` | the buffer is full: the job is slower than its clients |

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};

use super::registry::{IngestRegistry, Refusal};

const RETRY_AFTER_SECONDS: &str = "1";

/// Routes that take records for the tables of a registry, at any path.
pub fn ingest_router(registry: IngestRegistry) -> Router {
    Router::new().route("/{*path}", post(take)).layer(DefaultBodyLimit::disable()).with_state(registry)
}

async fn take(State(registry): State<IngestRegistry>, Path(path): Path<String>, body: Body) -> Response {
    let path = path.trim_matches('/').to_owned();
    let Some(bytes_max) = registry.body_bytes_max(&path) else {
        return refuse(&path, &Refusal::UnknownPath);
    };
    let Ok(body) = to_bytes(body, bytes_max).await else {
        return refuse(&path, &Refusal::TooLarge { bytes_max });
    };
    match registry.accept(&path, &body) {
        Ok(rows) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::OK, headers, format!("{{\"accepted\":{rows}}}\n")).into_response()
        }
        Err(refusal) => refuse(&path, &refusal),
    }
}

fn refuse(path: &str, refusal: &Refusal) -> Response {
    match refusal {
        Refusal::UnknownPath => {
            (StatusCode::NOT_FOUND, format!("no table takes records at /{path} on this node\n")).into_response()
        }
        Refusal::Malformed(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
        Refusal::TooLarge { bytes_max } => {
            let reason = format!("a request may have at most {bytes_max} bytes\n");
            (StatusCode::PAYLOAD_TOO_LARGE, reason).into_response()
        }
        Refusal::Full => {
            let headers = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
            (StatusCode::TOO_MANY_REQUESTS, headers, "the buffer is full\n").into_response()
        }
    }
}
