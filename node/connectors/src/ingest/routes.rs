//! The server side of the `http` source: routes that the node mounts on its HTTP address.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{"accepted":N,"durable":true}` | all records of the request are in the ingest log |
//! | 200 `{"accepted":N,"durable":false}` | all are in memory only: the job takes no checkpoints, and they are lost with the node |
//! | 400 | a record (named by line, with the reason) or the key is malformed; nothing was taken |
//! | 307 with `Location` | the table's reader is on another node |
//! | 404 | no table takes records at this path |
//! | 408 | the body arrived too slowly |
//! | 413 | the request is larger than the table's whole buffer |
//! | 422 | the `Idempotency-Key` was used before with another body; nothing was taken |
//! | 429 with `Retry-After` | the buffer is full, or no more keys can be remembered: the job is slower than its clients |
//! | 503 with `Retry-After` | the records could not be made durable, with the reason; they may have been taken all the same |
//!
//! A request that has an `Idempotency-Key` (1 to 255 visible characters, such as a UUID) and was answered with 200 gets
//! the same answer again for the table's `idempotency.retention`, and takes nothing. If the first request with the key
//! is still in flight, the second waits for its outcome.
//!
//! A body's bytes are reserved piece by piece as they arrive, so that concurrent requests cannot hold more than the
//! buffer, and a request that announces much but sends nothing holds nothing. An announced length that does not fit now
//! is refused before any of the body is read. A body must make progress, faster the more it holds, and must be complete
//! in a time that grows with its length, so it cannot hold its bytes for long. Several incomplete bodies hold half of
//! the buffer at most; the rest is for complete ones.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::StreamExt as _;
use tokio::time::{sleep, sleep_until};

use super::{
    elsewhere::{Elsewhere, ReaderPlace},
    outcome::{Accepted, Refusal},
    registry::IngestRegistry,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const KEY_CHARS_MAX: usize = 255;
const RETRY_AFTER_SECONDS: &str = "1";
const PATH_CHARS_SHOWN: usize = 200;
/// In each window a body must bring at least this many bytes and this part of what it held before, or end; otherwise it
/// is refused and its part of the buffer is freed.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_BYTES: usize = 8 << 10;
const WINDOW_PART: usize = 8;
/// A body must be complete within this time, plus the time its bytes take at a minimum rate.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: u32 = 128 << 10;

/// Routes that take records for the tables of a registry, at any path. A request to another path is redirected to its
/// reader's node, if `elsewhere` knows it.
pub fn ingest_router(registry: IngestRegistry, elsewhere: Option<Elsewhere>) -> Router {
    Router::new().route("/{*path}", post(take)).layer(DefaultBodyLimit::disable()).with_state((registry, elsewhere))
}

async fn take(
    State((registry, elsewhere)): State<(IngestRegistry, Option<Elsewhere>)>,
    Path(path): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = path.trim_matches('/').to_owned();
    match receive(&registry, &path, &headers, body).await {
        Ok(Accepted { rows, is_durable }) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            let answer = format!("{{\"accepted\":{rows},\"durable\":{is_durable}}}\n");
            (StatusCode::OK, headers, answer).into_response()
        }
        Err(Refusal::UnknownPath) => match &elsewhere {
            Some(elsewhere) => send_on(elsewhere, &path, &uri).await,
            None => refuse(&path, &Refusal::UnknownPath),
        },
        Err(refusal) => refuse(&path, &refusal),
    }
}

/// Answers a request that reached the wrong node.
async fn send_on(elsewhere: &Elsewhere, path: &str, uri: &Uri) -> Response {
    match elsewhere.directory.find(path).await {
        ReaderPlace::At(address) if address == elsewhere.own_address => {
            later(StatusCode::SERVICE_UNAVAILABLE, "the table is being opened")
        }
        ReaderPlace::At(address) => {
            let location = format!("http://{address}{}", uri.path());
            let told = format!("the table's reader is on another node: POST to {location}\n");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)], told).into_response()
        }
        ReaderPlace::NotNow(reason) => later(StatusCode::SERVICE_UNAVAILABLE, &reason),
        ReaderPlace::Nowhere => refuse(path, &Refusal::UnknownPath),
    }
}

/// Reads a body within its reservation and submits its records.
async fn receive(registry: &IngestRegistry, path: &str, headers: &HeaderMap, body: Body) -> Result<Accepted, Refusal> {
    let key = idempotency_key(headers)?;
    let mut reservation = registry.reserve(path)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    reservation.check_room(announced.unwrap_or(0))?;
    let mut pieces = body.into_data_stream();
    let (mut text, mut before) = (Vec::new(), 0);
    let mut windows = tokio::time::interval(WINDOW);
    windows.tick().await;
    let empty_by = sleep(WHOLE_WITHIN).deadline();
    loop {
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let whole_by = empty_by + Duration::from_secs(1) * bytes / BYTES_PER_SECOND;
        let piece = tokio::select! {
            biased;
            piece = pieces.next() => piece,
            _ = windows.tick() => {
                if text.len() - before < WINDOW_BYTES.max(before / WINDOW_PART) {
                    return Err(Refusal::TooSlow);
                }
                before = text.len();
                continue;
            }
            () = sleep_until(whole_by) => return Err(Refusal::TooSlow),
        };
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|error| Refusal::Malformed(format!("the body cannot be read: {error}")))?;
        reservation.grow_to(text.len() + piece.len())?;
        text.extend_from_slice(&piece);
    }
    reservation.accept(text, key).await
}

/// The request's idempotency key, if it has one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_CHARS_MAX || given.next().is_some() {
        let reason = format!("a request has one Idempotency-Key, of 1 to {KEY_CHARS_MAX} visible characters");
        return Err(Refusal::Malformed(reason));
    }
    Ok(Some(text.to_owned()))
}

fn refuse(path: &str, refusal: &Refusal) -> Response {
    match refusal {
        Refusal::UnknownPath => {
            let path = shown(path);
            (StatusCode::NOT_FOUND, format!("no table takes records at /{path}\n")).into_response()
        }
        Refusal::Malformed(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
        Refusal::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n").into_response(),
        Refusal::TooLarge { bytes_max } => {
            let reason = format!("a request may have at most {bytes_max} bytes\n");
            (StatusCode::PAYLOAD_TOO_LARGE, reason).into_response()
        }
        Refusal::KeyReused => {
            let reason = "this Idempotency-Key came before, with another body\n";
            (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response()
        }
        Refusal::Full => later(StatusCode::TOO_MANY_REQUESTS, "the buffer is full"),
        Refusal::TooManyKeys => later(StatusCode::TOO_MANY_REQUESTS, "no more idempotency keys can be remembered now"),
        Refusal::Unavailable(reason) => later(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

/// A path shortened and escaped for display: a client may send anything.
fn shown(path: &str) -> String {
    let mut characters = path.chars();
    let shown: String = characters.by_ref().take(PATH_CHARS_SHOWN).flat_map(char::escape_debug).collect();
    if characters.next().is_some() { shown + "..." } else { shown }
}

fn later(status: StatusCode, reason: &str) -> Response {
    (status, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], format!("{reason}\n")).into_response()
}
