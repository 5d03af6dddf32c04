//! The HTTP side: `GET /tables/TABLE?column=value&…&limit=N`.
//!
//! | answer | when |
//! |---|---|
//! | 200, a JSON array | the rows, in the order of the key; the header `thalweg-more` is `true` if rows were left out, else `false` |
//! | 400 | a column is not of the key, or a value is not of its type |
//! | 404 | no job has the table; the answer names those that there are |
//! | 405 | the method is not GET or HEAD |
//! | 414 | path and query are too long |
//! | 500 | the rows could not be put together |
//! | 503 with `Retry-After` | the job is starting, restarting or has failed, or a node that has part of the table cannot be asked |
//! | 504 with `Retry-After` | such a node did not answer in time |

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, RawQuery, Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use thalweg_connectors::rows_as_json;
use thalweg_proto::compute::on_compute;
use thalweg_runtime::TableAnswer;
use thalweg_types::connector::ASKED_BELOW;
use tower::ServiceExt as _;

use super::{
    ask::{Asker, Refusal},
    request::{Asked, URL_BYTES_MAX},
};

const RETRY_AFTER_SECONDS: &str = "1";
/// The most bytes of an answer, unless it is of one row.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const MORE: &str = "thalweg-more";
/// So many tables are named to those who ask for another.
const NAMED_MAX: usize = 50;

/// A router that answers for tables below `/tables/`. All else goes to `taking`, and so do records that are POSTed to such a
/// path: a table that takes records may have any.
pub(crate) fn beside(taking: Router, asker: Asker) -> Router {
    let asked = Router::new().route("/tables/{table}", get(answer)).with_state(Arc::new(asker));
    Router::new().fallback_service(tower::service_fn(move |request: Request| {
        let is_asked = request.uri().path().starts_with(ASKED_BELOW) && request.method() != Method::POST;
        let router = if is_asked { asked.clone() } else { taking.clone() };
        router.oneshot(request)
    }))
}

async fn answer(State(asker): State<Arc<Asker>>, Path(table): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    if table.len() + query.len() > URL_BYTES_MAX {
        let reason = format!("path and query may have {URL_BYTES_MAX} bytes together\n");
        return (StatusCode::URI_TOO_LONG, reason).into_response();
    }
    let asked = match Asked::parse(&table, &query) {
        Ok(asked) => asked,
        Err(reason) => return refuse(&table, Refusal::Malformed(reason)),
    };
    match asker.rows(asked).await {
        Err(refusal) => refuse(&table, refusal),
        Ok(found) => match on_compute(asker.seams(), "encode rows of a table", move || encode(&found)).await {
            None => refuse(&table, Refusal::Failed("the rows could not be encoded".to_owned())),
            Some((body, more)) => {
                let more = if more { "true" } else { "false" };
                ([(header::CONTENT_TYPE.as_str(), "application/json"), (MORE, more)], body).into_response()
            }
        },
    }
}

/// The rows as a JSON array with a line for each, and whether there are more.
fn encode(found: &TableAnswer) -> (String, bool) {
    let mut body = "[".to_owned();
    for (row, text) in rows_as_json(&found.rows).iter().enumerate() {
        if row > 0 {
            if body.len() + text.len() > ANSWER_BYTES_MAX {
                return (body + "]\n", true);
            }
            body.push_str(",\n");
        }
        body.push_str(text);
    }
    (body + "]\n", found.more)
}

fn refuse(table: &str, refusal: Refusal) -> Response {
    let later = |status: StatusCode, reason: String| {
        (status, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], format!("{reason}\n")).into_response()
    };
    match refusal {
        Refusal::Unknown(tables) => {
            let shown: String = table.chars().take(200).flat_map(char::escape_debug).collect();
            let names: Vec<&str> = tables.iter().map(String::as_str).take(NAMED_MAX).collect();
            let others = match names.as_slice() {
                [] => "no job has a table that can be asked".to_owned(),
                names => format!("those that can be asked are {}", names.join(", ")),
            };
            (StatusCode::NOT_FOUND, format!("there is no table {shown}: {others}\n")).into_response()
        }
        Refusal::Malformed(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
        Refusal::Failed(reason) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")).into_response(),
        Refusal::Unavailable(reason) => later(StatusCode::SERVICE_UNAVAILABLE, reason),
        Refusal::Slow(reason) => later(StatusCode::GATEWAY_TIMEOUT, reason),
    }
}
