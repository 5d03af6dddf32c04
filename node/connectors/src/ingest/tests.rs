//! Taking records by POST, and POSTing them.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures::{StreamExt as _, channel::mpsc};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::*;
use crate::{
    ConnectorContext, Read, SplitReader, open_source,
    testing::{ScriptedServer, context, identity, open_sink_writer, schema, settings, sink, source, to_lines},
};

mod durable;

const SPACES_200: &str = {
    const BYTES: [u8; 200] = [b' '; 200];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("spaces are text"),
    }
};

/// Lets every task run as far as it can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn columns() -> SchemaRef {
    schema(&[("a", DataType::Int64, false)])
}

async fn open(
    context: &ConnectorContext,
    options: &[(&str, &str)],
) -> Result<Box<dyn SplitReader>, crate::ConnectorError> {
    let source = open_source(&source("http", options, columns()), &settings(2), context)?;
    let splits = source.discover().await?;
    source.open(&splits[0]).await
}

async fn post(context: &ConnectorContext, path: &str, body: &str) -> (StatusCode, String, Option<String>) {
    let request = Request::post(path).body(Body::from(body.to_owned())).expect("a request");
    let answer = ingest_router(context.ingest.clone(), None).oneshot(request).await.expect("an answer");
    let retry = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 10_000).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("text"), retry)
}

/// Knows one reader, one that is not available now, and one at this node.
#[derive(Debug)]
struct Known;

impl ReaderDirectory for Known {
    fn find<'a>(&'a self, path: &'a str) -> futures::future::BoxFuture<'a, ReaderPlace> {
        let place = match path {
            "ingest/there" => ReaderPlace::At("there:80".to_owned()),
            "ingest/here" => ReaderPlace::At("here:80".to_owned()),
            "ingest/failed" => ReaderPlace::NotNow("job-1 has failed".to_owned()),
            _ => ReaderPlace::Nowhere,
        };
        Box::pin(std::future::ready(place))
    }
}

#[tokio::test]
async fn a_request_that_came_to_the_wrong_node_is_sent_to_the_right_one() {
    let context = context();
    let elsewhere = Elsewhere { directory: Arc::new(Known), own_address: "here:80".to_owned() };
    let router = ingest_router(context.ingest.clone(), Some(elsewhere));
    let ask = |path: &'static str| {
        let request = Request::post(path).body(Body::from("{}")).expect("a request");
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await.expect("an answer");
            let location = answer.headers().get("location").map(|value| value.to_str().expect("text").to_owned());
            (answer.status().as_u16(), location, answer.headers().contains_key("retry-after"))
        }
    };
    assert_eq!(ask("/ingest/there").await, (307, Some("http://there:80/ingest/there".to_owned()), false));
    assert_eq!(ask("/ingest/here").await, (503, None, true), "it is being opened");
    assert_eq!(ask("/ingest/failed").await, (503, None, true));
    assert_eq!(ask("/ingest/nowhere").await, (404, None, false));
}

#[tokio::test]
async fn lines_and_arrays_are_taken_and_read_in_order() {
    let context = context();
    let mut reader = open(&context, &[]).await.expect("opened");
    let (status, body, _) = post(&context, "/ingest/t", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"accepted\":3,\"durable\":false}\n"));
    assert_eq!(post(&context, "/ingest/t", " [\n{\"a\":4},{\"a\":\n5}]").await.0, StatusCode::OK);
    assert_eq!(post(&context, "/ingest/t", "").await.1, "{\"accepted\":0,\"durable\":false}\n");
    let mut lines = Vec::new();
    for _ in 0..3 {
        let Read::Records { batch, .. } = reader.next().await.expect("readable") else { panic!("it never ends") };
        lines.push(to_lines(&batch).concat());
    }
    assert_eq!(lines, ["{\"a\":1}{\"a\":2}", "{\"a\":3}", "{\"a\":4}{\"a\":5}"]);
}

#[tokio::test]
async fn large_records_come_in_batches_that_are_cut_by_bytes() {
    let context = context();
    let columns = schema(&[("v", DataType::Utf8View, false)]);
    let source = open_source(&source("http", &[("buffer-size", "64 mb")], columns), &settings(8192), &context);
    let source = source.expect("a table");
    let splits = source.discover().await.expect("one split");
    let mut reader = source.open(&splits[0]).await.expect("opened");
    let record = format!("{{\"v\":\"{}\"}}\n", "x".repeat(200_000));
    assert_eq!(post(&context, "/ingest/t", &record.repeat(50)).await.0, StatusCode::OK);
    let mut rows = Vec::new();
    while rows.iter().sum::<usize>() < 50 {
        let Read::Records { batch, .. } = reader.next().await.expect("readable") else { panic!("it never ends") };
        rows.push(batch.num_rows());
    }
    assert_eq!(rows, [20, 20, 10], "4 MiB hold 20 of them");
}

#[tokio::test]
async fn a_malformed_request_is_refused_as_a_whole() {
    let context = context();
    let mut reader = open(&context, &[]).await.expect("opened");
    let (status, body, _) = post(&context, "/ingest/t", "{\"a\":1}\n\n{\"a\":\"x\"}\n").await;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, "line 3: a: expected BIGINT, found \"x\"\n"));
    let (status, body, _) = post(&context, "/ingest/t", "[{\"a\":1},{}]").await;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, "record 2: a: is NOT NULL and missing\n"));
    let (status, body, _) = post(&context, "/ingest/t", "[{\"a\":1},").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::BAD_REQUEST, "record 2: expected a value, found the end of the line\n")
    );
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(1), reader.next()).await;
    assert!(nothing.is_err(), "nothing was taken");
}

#[tokio::test]
async fn a_full_buffer_pushes_back_until_it_is_read() {
    let context = context();
    let mut reader = open(&context, &[("path", "/in"), ("buffer-size", "20 b")]).await.expect("opened");
    assert_eq!(post(&context, "/in", "{\"a\":1}\n{\"a\":2}\n").await.0, StatusCode::OK);
    let (status, _, retry) = post(&context, "/in", "{\"a\":3}\n").await;
    assert_eq!((status, retry.as_deref()), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(post(&context, "/in", &"{\"a\":3}\n".repeat(3)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let _ = reader.next().await.expect("readable");
    assert_eq!(post(&context, "/in", "{\"a\":3}\n").await.0, StatusCode::OK);
}

/// A request whose body arrives in pieces, and a sender for the pieces.
fn piecewise(
    context: &ConnectorContext,
    announced: Option<usize>,
) -> (mpsc::Sender<&'static str>, JoinHandle<StatusCode>) {
    let (sender, receiver) = mpsc::channel(4); // a test sends fewer pieces
    let pieces = receiver.map(Ok::<_, std::convert::Infallible>);
    let mut request = Request::post("/in");
    if let Some(length) = announced {
        request = request.header("content-length", length);
    }
    let request = request.body(Body::from_stream(pieces)).expect("a request");
    let router = ingest_router(context.ingest.clone(), None);
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    let answer = tokio::spawn(async move { router.oneshot(request).await.expect("an answer").status() });
    (sender, answer)
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_being_read_count_before_they_are_whole() {
    let context = context();
    let mut reader = open(&context, &[("path", "/in"), ("buffer-size", "1000 b")]).await.expect("opened");
    let (mut first, slow) = piecewise(&context, Some(500));
    let (mut second, refused) = piecewise(&context, None);
    for client in [&mut first, &mut second] {
        client.try_send(SPACES_200).expect("it is read");
        settle().await;
    }
    let (announcing, third) = piecewise(&context, Some(601));
    assert_eq!(third.await.expect("no panic"), StatusCode::TOO_MANY_REQUESTS, "before anything was sent");
    drop(announcing);
    second.try_send(SPACES_200).expect("it is read");
    assert_eq!(
        refused.await.expect("no panic"),
        StatusCode::TOO_MANY_REQUESTS,
        "half of the buffer is for bodies that are not whole"
    );
    // The client sends nothing more, so its part of the buffer is freed.
    assert_eq!(slow.await.expect("no panic"), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(post(&context, "/in", &"{\"a\":1}\n".repeat(12)).await.0, StatusCode::OK);
    assert!(reader.next().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_length_without_a_body_holds_nothing() {
    let context = context();
    let mut reader = open(&context, &[("path", "/in"), ("buffer-size", "1000 b")]).await.expect("opened");
    let (announcing, answer) = piecewise(&context, Some(1000));
    settle().await;
    assert_eq!(post(&context, "/in", &"{\"a\":1}\n".repeat(12)).await.0, StatusCode::OK, "nothing is held for it");
    assert!(reader.next().await.is_ok());
    assert_eq!(answer.await.expect("no panic"), StatusCode::REQUEST_TIMEOUT);
    drop(announcing);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_however_long_it_is() {
    let context = context();
    let _reader = open(&context, &[("path", "/in")]).await.expect("opened");
    let (mut client, answer) = piecewise(&context, None);
    let clock = context.seams.clock.clone();
    let start = clock.monotonic();
    while !answer.is_finished() {
        let _ = client.try_send(SPACES_200);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(answer.await.expect("no panic"), StatusCode::REQUEST_TIMEOUT);
    assert!(clock.monotonic() - start < std::time::Duration::from_secs(30));
}

#[tokio::test]
async fn many_requests_exceed_the_buffer_by_one_at_most() {
    let context = context();
    let mut reader = open(&context, &[("path", "/in"), ("buffer-size", "4 KiB")]).await.expect("opened");
    let text = "{\"a\":1}\n".repeat(100);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(post(&context, "/in", &text).await.0);
    }
    let taken = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert!(statuses.iter().skip(taken).all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let mut bytes = 0;
    let mut rows = 0;
    while rows < taken * 100 {
        let Read::Records { batch, .. } = reader.next().await.expect("readable") else { panic!("it never ends") };
        rows += batch.num_rows();
        bytes += batch.num_rows() * 8;
    }
    assert!((1..5).contains(&taken) && bytes <= 4096, "{taken} requests, {bytes} bytes");
    assert_eq!(post(&context, "/in", "{\"a\":1}").await.0, StatusCode::OK, "all was given back");
}

#[tokio::test(start_paused = true)]
async fn a_path_lives_as_long_as_its_reader_and_the_next_one_waits_for_it() {
    let context = context();
    assert_eq!(post(&context, "/ingest/t", "{\"a\":1}").await.0, StatusCode::NOT_FOUND);
    let reader = open(&context, &[]).await.expect("opened");
    let error = open(&context, &[]).await.err().expect("taken");
    assert_eq!(
        thalweg_types::text::with_causes(&error),
        "could not take records for table t: another reader takes those at /ingest/t on this node"
    );
    assert_eq!(post(&context, "/ingest/t", "{\"a\":1}").await.0, StatusCode::OK);
    assert_eq!(post(&context, "/ingest/u", "{\"a\":1}").await.0, StatusCode::NOT_FOUND);
    let (next, ()) = futures::join!(open(&context, &[]), async {
        settle().await;
        drop(reader);
    });
    assert_eq!(post(&context, "/ingest/t", "{\"a\":1}").await.0, StatusCode::OK);
    drop(next.expect("the path is free now"));
    assert_eq!(post(&context, "/ingest/t", "{\"a\":1}").await.0, StatusCode::NOT_FOUND);
}

fn batch(text: &str) -> arrow::array::RecordBatch {
    use crate::lines::LineDecoder as _;
    let mut decoder = crate::json::JsonDecoder::new(columns()).expect("a readable schema");
    decoder.decode(text.as_bytes(), 0, 1000, &mut Vec::new());
    decoder.finish().expect("a batch")
}

/// Writes three rows in requests of two, to a server that gives these statuses, last one first.
async fn write(statuses: &[u16], retries: &str) -> (Result<(), String>, Vec<String>) {
    let server = Arc::new(ScriptedServer::default());
    *server.statuses.lock().expect("no panics") = statuses.to_vec();
    let mut context = context();
    context.http = server.clone();
    let spec = sink("http", &[("url", "http://host/x"), ("batch-rows", "2"), ("retries", retries)]);
    let mut writer = open_sink_writer(&spec, columns(), identity(1, 1, 0), &context).expect("a writer");
    let result = writer.write(&batch("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n")).await;
    let bodies = server.bodies.lock().expect("no panics").clone();
    let told = |error: crate::ConnectorError| {
        format!("{:?}: {}", error.failure_kind(), thalweg_types::text::with_causes(&error))
    };
    (result.map_err(told), bodies)
}

#[tokio::test(start_paused = true)]
async fn requests_are_repeated_until_they_are_accepted() {
    let (first, second) = ("{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}\n");
    let (result, bodies) = write(&[200, 0, 429, 503], "3").await;
    assert_eq!(result, Ok(()));
    assert_eq!(bodies, [first, first, first, first, second]);
    let (result, bodies) = write(&[503, 503, 503, 503], "2").await;
    assert_eq!(
        result,
        Err("Operator: could not POST rows to http://host/x, asked 3 times: status 503: because".to_owned())
    );
    assert_eq!(bodies.len(), 3);
    let (result, bodies) = write(&[422], "2").await;
    assert_eq!(result, Err("Data: could not POST rows to http://host/x: status 422: because".to_owned()));
    assert_eq!(bodies.len(), 1);
}

#[test]
fn sinks_that_could_send_nothing_are_refused() {
    let refused = |options: &[(&str, &str)]| {
        let opened = open_sink_writer(&sink("http", options), columns(), identity(1, 1, 0), &context());
        opened.err().map(|error| (error.failure_kind(), error.to_string()))
    };
    let whole = ("url", "http://host/x");
    for (options, key) in [
        (&[("url", "host/x")][..], "'url'"),
        (&[("url", "http://")], "'url'"),
        (&[("url", "http:///x y")], "'url'"),
        (&[whole, ("timeout", "0 s")], "'timeout'"),
        (&[whole, ("batch-rows", "0")], "'batch-rows'"),
    ] {
        let (kind, reason) = refused(options).expect("it is refused");
        assert_eq!(kind, thalweg_types::job::FailureKind::Data);
        assert!(reason.contains(key), "{reason}");
    }
    assert_eq!(refused(&[whole]), None);
}

#[tokio::test]
async fn a_path_that_nobody_has_is_shown_shortened_and_without_control_characters() {
    let path = format!("/in%1b%5b2J{}", "x".repeat(60_000));
    let (status, body, _) = post(&context(), &path, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.starts_with("no table takes records at /in\\u{1b}[2Jxx") && body.len() < 300, "{body:?}");
}

/// Sends `at_once` bytes, then `bytes` in each `period`, until the answer arrives. Returns the answer and the time it
/// took.
async fn drip(at_once: usize, (bytes, period): (usize, std::time::Duration)) -> (StatusCode, std::time::Duration) {
    let context = context();
    let _reader = open(&context, &[("path", "/in")]).await.expect("opened");
    let (mut client, answer) = piecewise(&context, None);
    let clock = context.seams.clock.clone();
    let start = clock.monotonic();
    let _ = client.try_send(" ".repeat(at_once).leak());
    let piece: &'static str = " ".repeat(bytes).leak();
    while !answer.is_finished() {
        tokio::time::sleep(period).await;
        let _ = client.try_send(piece);
    }
    (answer.await.expect("no panic"), clock.monotonic() - start)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_holds_much_has_to_go_on_as_fast() {
    let (status, after) = drip((8 << 20) - (400 << 10), (9 << 10, std::time::Duration::from_secs(9))).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert!(after < std::time::Duration::from_secs(30), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_goes_on_slowly_for_long_is_given_up() {
    let (status, after) = drip(0, (10 << 10, std::time::Duration::from_secs(5))).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert!(after < std::time::Duration::from_secs(45), "{after:?}");
}
