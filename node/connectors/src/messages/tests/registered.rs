//! Messages that name their schemas, and a registry that answers late, wrongly or not at all.

use std::time::Duration;

use serde_json::json;
use thalweg_types::{job::FailureKind, text::with_causes};

use super::{server::Server, *};
use crate::notices::Lost;

const AVRO: Given<'_> = &[("format", "avro-confluent"), ("avro-confluent.url", "http://registry:8081/")];
const PROTOBUF: Given<'_> = &[("format", "protobuf-confluent"), ("protobuf-confluent.url", "http://registry:8081")];
const RECORD: &str = r#"{"type":"record","name":"r","fields":[{"name":"a","type":"long"}]}"#;

fn columns() -> SchemaRef {
    schema(&[("a", DataType::Int64, true)])
}

fn opened(options: Given<'_>) -> (Arc<Server>, Box<dyn MessageDecoder>) {
    let server = Arc::new(Server::default());
    let context = ConnectorContext { http: server.clone(), ..context() };
    (server, try_decoder(&context, Part::Value, options, &columns()).expect("a decoder"))
}

fn message(id: u32, record: &[u8]) -> Bytes {
    [&[0][..], &id.to_be_bytes(), record].concat().into()
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let (server, mut decoder) = opened(AVRO);
    let first = server.add(json!({ "schema": RECORD }));
    let second =
        r#"{"type":"record","name":"r","fields":[{"name":"z","type":"string"},{"name":"a","type":["null","int"]}]}"#;
    let second = server.add(json!({ "schema": second, "schemaType": "AVRO" }));
    assert_eq!(server.take_asked(), Vec::<String>::new(), "opening asks nothing");
    let messages = [
        message(first, b"\x0e"),
        message(second, b"\x02z\x02\x10"),
        message(first, b"\x12"),
        message(second, b"\x00\x00"),
    ];
    for _ in 0..3 {
        let (lines, faults) = read(&mut *decoder, &messages).await;
        assert_eq!(
            (lines, faults),
            (
                [7, 8, 9].map(|a| format!(r#"{{"a":{a}}}"#)).into_iter().chain([r#"{"a":null}"#.to_owned()]).collect(),
                vec![]
            )
        );
    }
    assert_eq!(server.take_asked(), ["schemas/ids/1", "schemas/ids/2"]);
    // Confluent's framing: a zero, the id, the datum.
    assert_eq!(messages[0], Bytes::from_static(b"\x00\x00\x00\x00\x01\x0e"));
    let (lines, faults) =
        read(&mut *decoder, &bytes(&[b"", b"\x00\x00\x00", b"{\"a\":1}", b"\x00\x00\x00\x00\x01\x0e\x00"])).await;
    assert_eq!(lines, Vec::<String>::new());
    let reasons: Vec<&str> = faults.iter().map(|(_, reason)| reason.as_str()).collect();
    let expected = [
        "it has 0 bytes, and the name of its schema takes 5",
        "it has 3 bytes, and the name of its schema takes 5",
        "it begins with the byte 123, and messages that name their schema begin with 0",
        "a byte follows the record",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_column_that_newer_schemas_have_no_more_is_told_of() {
    let (server, mut decoder) = opened(AVRO);
    let with = |name: &str| {
        let field = json!({ "name": name, "type": ["null", "long"] });
        let schema = json!({ "type": "record", "name": "r", "fields": [field] });
        server.add(json!({ "schema": schema.to_string() }))
    };
    let schemas = ["z", "a", "z", "a", "z"].map(with);
    let null = |schema: u32| message(schema, b"\x00");
    // One that did not have it yet, the first that has it, and an older one that comes late.
    for schema in [schemas[1], schemas[0]] {
        read(&mut *decoder, &[null(schema)]).await;
        assert_eq!(decoder.lost(), []);
    }
    let lost = |schema, had| Lost { column: "a".to_owned(), had, schema };
    read(&mut *decoder, &[null(schemas[2])]).await;
    assert_eq!(decoder.lost(), [lost(schemas[2], schemas[1])]);
    assert_eq!(decoder.lost(), [], "once");
    read(&mut *decoder, &[null(schemas[3])]).await;
    assert_eq!(decoder.lost(), [], "it is back");
    read(&mut *decoder, &[null(schemas[4])]).await;
    assert_eq!(decoder.lost(), [lost(schemas[4], schemas[3])]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_waited_for_then_a_fault_then_remembered() {
    let (server, mut decoder) = opened(AVRO);
    let known = server.add(json!({ "schema": RECORD }));
    let messages = [message(known, b"\x0e"), message(9, b"\x0e"), message(9, b"\x0e")];
    let clock = context().seams.clock;
    let (lines, faults) = read(&mut *decoder, &messages).await;
    assert_eq!(lines, [r#"{"a":7}"#]);
    let reason = "the schema registry does not know schema 9".to_owned();
    assert_eq!(faults, [(1, reason.clone()), (2, reason.clone())]);
    let asked = server.take_asked();
    assert!((10..15).contains(&clock.monotonic().as_secs()), "{:?}", clock.monotonic());
    assert!((5..20).contains(&asked.len()), "{asked:?}");
    // For a while the registry is left alone.
    for _ in 0..3 {
        assert_eq!(read(&mut *decoder, &messages).await.1.len(), 2);
    }
    assert_eq!(server.take_asked(), Vec::<String>::new());
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(read(&mut *decoder, &messages[1..]).await.1.len(), 2);
    assert!(!server.take_asked().is_empty());
    // One that is registered while it is waited for.
    let (server, mut decoder) = opened(AVRO);
    server.script([(404, r#"{"error_code":40403,"message":"Schema not found"}"#); 3]);
    server.add(json!({ "schema": RECORD }));
    assert_eq!(read(&mut *decoder, &[message(1, b"\x0e")]).await, (vec![r#"{"a":7}"#.to_owned()], vec![]));
    assert_eq!(server.take_asked().len(), 4);
}

/// Bytes that only look like ids do not hold the table up.
#[tokio::test(start_paused = true)]
async fn many_unknown_ids_are_asked_for_once() {
    let (server, mut decoder) = opened(AVRO);
    let messages: Vec<Bytes> = (100..200).map(|id| message(id, b"\x0e")).collect();
    let clock = context().seams.clock;
    assert_eq!(read(&mut *decoder, &messages).await.1.len(), 100);
    assert_eq!((server.take_asked().len(), clock.monotonic()), (100, Duration::ZERO));
    // What is kept has a bound.
    for thousand in 1..5 {
        let messages: Vec<Bytes> = (0..900).map(|id| message(thousand * 1000 + id, b"\x0e")).collect();
        assert_eq!(read(&mut *decoder, &messages).await.1.len(), 900);
    }
    assert_eq!(server.take_asked().len(), 3600);
    let messages: Vec<Bytes> = (0..900).map(|id| message(4000 + id, b"\x0e")).collect();
    assert_eq!(read(&mut *decoder, &messages).await.1.len(), 900);
    assert_eq!(server.take_asked().len(), 0, "the last ones are kept");
    let messages: Vec<Bytes> = (0..900).map(|id| message(1000 + id, b"\x0e")).collect();
    assert_eq!(read(&mut *decoder, &messages).await.1.len(), 900);
    assert_eq!(server.take_asked().len(), 900, "the first ones are not");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_ends_the_attempt() {
    let outages: [&[(u16, &'static str)]; 3] = [&[(0, "connection refused")], &[(503, "down")], &[(429, "")]];
    for outage in outages {
        let (server, mut decoder) = opened(AVRO);
        server.add(json!({ "schema": RECORD }));
        server.script(outage.iter().copied().cycle().take(8));
        let error = decoder.decode(&[message(1, b"\x0e")]).await.expect_err("nobody answers");
        assert_eq!(error.failure_kind(), FailureKind::Store);
        let text = with_causes(&error);
        assert!(
            text.starts_with("could not ask the schema registry at http://registry:8081/ for schema 1: "),
            "{text}"
        );
        // Nothing was lost by it.
        assert_eq!(read(&mut *decoder, &[message(1, b"\x0e")]).await, (vec![r#"{"a":7}"#.to_owned()], vec![]));
    }
    // A short one is waited out.
    let (server, mut decoder) = opened(AVRO);
    server.add(json!({ "schema": RECORD }));
    server.script([(0, "reset"), (502, "<html>"), (0, "reset")]);
    assert_eq!(read(&mut *decoder, &[message(1, b"\x0e")]).await.1, []);
}

/// Whoever reads drops calls that wait, and asks again; the waits go on where they were.
#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_do_not_begin_their_waits_anew() {
    let second = Duration::from_secs(1);
    let (server, mut decoder) = opened(AVRO);
    let messages = [message(9, b"\x0e")];
    let mut dropped = 0;
    let faults = loop {
        match tokio::time::timeout(second, decoder.decode(&messages)).await {
            Ok(decoded) => break decoded.expect("decoded").faults,
            Err(_) => dropped += 1,
        }
        assert!(dropped < 20, "it never ends");
    };
    assert!((9..12).contains(&dropped) && faults.len() == 1, "{dropped}");
    server.script([(0, "refused"); 1000]);
    let mut dropped = 0;
    let error = loop {
        match tokio::time::timeout(second, decoder.decode(&[message(8, b"\x0e")])).await {
            Ok(decoded) => break decoded.expect_err("nobody answers"),
            Err(_) => dropped += 1,
        }
        assert!(dropped < 30, "it never ends");
    };
    assert!((14..18).contains(&dropped) && error.failure_kind() == FailureKind::Store, "{dropped}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_ends_the_job() {
    for (answer, expected) in [
        ((401, r#"{"error_code":401,"message":"Unauthorized"}"#), "set 'avro-confluent.basic-auth.user-info'"),
        ((403, "no"), "set 'avro-confluent.basic-auth.user-info'"),
        // Another server's pages are no reason to set all messages aside.
        ((404, "<html>not found</html>"), "status 404: the answer is not one of a schema registry's"),
        ((404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#), "status 404: HTTP 404 Not Found"),
        (
            (302, "see /elsewhere"),
            "status 302: it redirects to another server, or too many times, which is not followed",
        ),
        ((200, "<html>internal</html>"), "status 200: the answer is not one of a schema registry's"),
        ((404, "internal"), "status 404: the answer is not one of a schema registry's"),
    ] {
        let (server, mut decoder) = opened(AVRO);
        server.script([answer]);
        let error = decoder.decode(&[message(1, b"\x0e")]).await.expect_err("it is refused");
        assert_eq!(error.failure_kind(), FailureKind::Data);
        let told = with_causes(&error);
        assert!(told.contains(expected) && !told.contains("internal") && !told.contains("/elsewhere"), "{told}");
    }
}

#[tokio::test]
async fn schemas_that_are_of_no_use_are_faults() {
    let (server, mut decoder) = opened(AVRO);
    let schemas = [
        (json!({ "schema": "{}", "schemaType": "JSON" }), "it is not a schema of Avro"),
        (
            json!({ "schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF" }),
            "it is a schema of Protobuf, not of Avro",
        ),
        (json!({ "schema": "{" }), "the schema is not JSON"),
        (json!({ "schema": r#"{"type":"record"}"# }), "the schema is malformed"),
        (json!({ "schema": RECORD.replace("long", "string") }), "column a: string does not go into BIGINT"),
    ];
    for (schema, expected) in schemas {
        let id = server.add(schema);
        let (_, faults) = read(&mut *decoder, &[message(id, b"\x0e")]).await;
        assert!(faults[0].1.starts_with(&format!("schema {id}")) && faults[0].1.contains(expected), "{faults:?}");
    }
    server.take_asked();
    let (_, faults) = read(&mut *decoder, &[message(1, b"\x0e")]).await;
    assert_eq!((faults.len(), server.take_asked().len()), (1, 0), "what is wrong with a schema stays so");
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_is_not_known_yet_is_waited_for_as_an_id_is() {
    let references = json!([{ "name": "x", "subject": "x", "version": 1 }]);
    let (server, mut decoder) = opened(AVRO);
    let id = server.add(json!({ "schema": RECORD, "references": references }));
    let messages = [message(id, b"\x0e")];
    let coming = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        server.refer("x", 1, json!({ "schema": r#"{"type":"enum","name":"E","symbols":["A"]}"# }));
    };
    let (read_now, ()) = tokio::join!(read(&mut *decoder, &messages), coming);
    assert_eq!(read_now, (vec![r#"{"a":7}"#.to_owned()], vec![]));
    let (server, mut decoder) = opened(AVRO);
    let id = server.add(json!({ "schema": RECORD, "references": references }));
    let (_, faults) = read(&mut *decoder, &[message(id, b"\x0e")]).await;
    let expected = format!("schema {id} refers to version 1 of subject x, which is not known");
    assert_eq!(faults.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn schemas_refer_to_others() {
    let (server, mut decoder) = opened(AVRO);
    let refer = |name: &str, subject: &str| json!({ "name": name, "subject": subject, "version": 3 });
    let outer = r#"{"type":"record","name":"o","fields":[{"name":"x","type":"shop.Mid"},{"name":"y","type":"shop.Leaf"},{"name":"a","type":"long"}]}"#;
    let mid = r#"{"type":"record","name":"Mid","namespace":"shop","fields":[{"name":"leaf","type":"Leaf"}]}"#;
    let leaf = r#"{"type":"enum","name":"Leaf","namespace":"shop","symbols":["A","B"]}"#;
    server.refer("mid", 3, json!({ "schema": mid, "references": [refer("shop.Leaf", "leaf/1")] }));
    server.refer("leaf%2F1", 3, json!({ "schema": leaf }));
    let references = [refer("shop.Mid", "mid"), refer("shop.Leaf", "leaf/1")];
    let id = server.add(json!({ "schema": outer, "references": references }));
    assert_eq!(read(&mut *decoder, &[message(id, b"\x02\x00\x0e")]).await, (vec![r#"{"a":7}"#.to_owned()], vec![]));
    assert_eq!(server.take_asked().len(), 3, "each schema once");
    // A circle is no schema of Avro, and no endless question.
    server.refer("circle", 3, json!({ "schema": mid, "references": [refer("x", "circle")] }));
    let id = server.add(json!({ "schema": outer, "references": [refer("x", "circle")] }));
    assert_eq!(read(&mut *decoder, &[message(id, b"\x02")]).await.1.len(), 1);
    let (server, mut decoder) = opened(PROTOBUF);
    server.refer(
        "common",
        3,
        json!({ "schema": "syntax = \"proto3\"; message C { int64 n = 1; }", "schemaType": "PROTOBUF" }),
    );
    let outer = "syntax = \"proto3\"; import \"common/c.proto\"; import \"google/protobuf/wrappers.proto\"; message O { C c = 1; google.protobuf.Int64Value a = 2; }";
    let id = server
        .add(json!({ "schema": outer, "schemaType": "PROTOBUF", "references": [refer("common/c.proto", "common")] }));
    let record = b"\x00\x0a\x02\x08\x01\x12\x02\x08\x07";
    assert_eq!(read(&mut *decoder, &[message(id, record)]).await, (vec![r#"{"a":7}"#.to_owned()], vec![]));
}

#[tokio::test]
async fn protobuf_names_the_message_of_its_schema() {
    let (server, mut decoder) = opened(PROTOBUF);
    let proto = "syntax = \"proto3\"; message A { int64 a = 1; }
        message B { message C { int64 a = 2; } message D { optional string a = 1; } } message E { int64 b = 1; }";
    let id = server.add(json!({ "schema": proto, "schemaType": "PROTOBUF" }));
    let (lines, faults) = read(
        &mut *decoder,
        &[
            message(id, b"\x00\x08\x07"),
            message(id, b"\x02\x00\x08\x08"),
            message(id, b"\x04\x02\x00\x10\x09"),
            message(id, b"\x02\x04"),
            message(id, b"\x04\x02\x02\x0a\x01x"),
            message(id, b"\x02\x06"),
            message(id, b"\x01"),
            message(id, b""),
            message(id, b"\xc8\x01"),
            message(id, b"\x00\x08"),
        ],
    )
    .await;
    let expected = [r#"{"a":7}"#, r#"{"a":8}"#, r#"{"a":9}"#, r#"{"a":null}"#];
    assert_eq!(lines, expected);
    assert_eq!(faults.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
    assert!(faults[0].1.contains("column a: string does not go into BIGINT"), "{faults:?}");
    assert!(faults[1].1.contains("its schema has no message [3]"), "{faults:?}");
    assert_eq!(decoder.absent(), []);
}

#[tokio::test]
async fn a_schema_is_registered_before_the_first_message() {
    let server = Arc::new(Server::default());
    let context = ConnectorContext { http: server.clone(), ..context() };
    let lines = [r#"{"a":7}"#.to_owned()];
    let columns = schema(&[("a", DataType::Int64, false)]);
    let rows = rows(&columns, &lines);
    let mut encoder = try_encoder(&context, Part::Value, AVRO, &columns).expect("an encoder");
    assert_eq!(server.take_asked(), Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(encoder.encode(&rows).await.expect("encoded"), [message(1, b"\x0e")]);
    }
    assert_eq!(server.take_asked(), ["subjects/orders-value/versions"]);
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let registered = parsed(&server.registered()[0]);
    let fields = json!([{ "name": "a", "type": "long" }]);
    let record = json!({ "type": "record", "name": "row", "namespace": "thalweg", "fields": fields });
    assert_eq!(parsed(registered["schema"].as_str().expect("a text")), record);
    assert_eq!(registered.get("schemaType"), None, "Avro is not named");
    // Keys have a subject of their own, and tables can name one.
    let key = [
        ("key.format", "avro-confluent"),
        ("key.avro-confluent.url", "http://r:1"),
        ("key.avro-confluent.schema", "\"long\""),
    ];
    let mut encoder = try_encoder(&context, Part::Key, &key, &columns).expect("an encoder");
    assert_eq!(encoder.encode(&rows).await.expect("encoded"), [message(2, b"\x0e")]);
    let named = [AVRO, &[("avro-confluent.subject", "a b/c"), ("avro-confluent.schema", RECORD)]].concat();
    let mut encoder = try_encoder(&context, Part::Value, &named, &columns).expect("an encoder");
    assert_eq!(encoder.encode(&rows).await.expect("encoded"), [message(3, b"\x0e")]);
    assert_eq!(server.take_asked(), ["subjects/orders-key/versions", "subjects/a%20b%2Fc/versions"]);
    // Protobuf tells which message it is.
    let proto = "syntax = \"proto3\"; message X {} message Y { message Z { int64 a = 1; } }";
    let inner = [PROTOBUF, &[("protobuf-confluent.schema", proto), ("protobuf-confluent.message", "Y.Z")]].concat();
    let mut encoder = try_encoder(&context, Part::Value, &inner, &columns).expect("an encoder");
    assert_eq!(encoder.encode(&rows).await.expect("encoded"), [message(4, b"\x04\x02\x00\x08\x07")]);
    let mut encoder = try_encoder(&context, Part::Value, PROTOBUF, &columns).expect("an encoder");
    assert_eq!(encoder.encode(&rows).await.expect("encoded"), [message(5, b"\x00\x08\x07")]);
    let registered = parsed(&server.registered()[4]);
    assert_eq!(registered["schemaType"], "PROTOBUF");
    assert_eq!(registered["schema"], "syntax = \"proto3\";\npackage thalweg;\nmessage Row {\n  int64 a = 1;\n}\n");
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_is_refused_ends_the_job_and_an_outage_the_attempt() {
    let server = Arc::new(Server::default());
    let context = ConnectorContext { http: server.clone(), ..context() };
    let rows = rows(&columns(), &[r#"{"a":7}"#.to_owned()]);
    let mut encoder = try_encoder(&context, Part::Value, AVRO, &columns()).expect("an encoder");
    server.script([(409, r#"{"error_code":409,"message":"Schema being registered is incompatible"}"#)]);
    let error = encoder.encode(&rows).await.expect_err("it is refused");
    assert_eq!(error.failure_kind(), FailureKind::Data);
    let expected = "could not ask the schema registry at http://registry:8081/ for the id of the schema of subject orders-value: \
        status 409: Schema being registered is incompatible";
    assert_eq!(error.to_string(), expected);
    server.script([(500, "x"); 8]);
    let error = encoder.encode(&rows).await.expect_err("nobody answers");
    assert_eq!(error.failure_kind(), FailureKind::Store);
    assert_eq!(encoder.encode(&rows).await.expect("encoded").len(), 1, "later it may succeed");
}

#[tokio::test(start_paused = true)]
async fn credentials_and_addresses_are_as_the_options_say() {
    let open = |url: &str, user: &[(&str, &str)]| {
        let server = Arc::new(Server::default());
        server.add(json!({ "schema": RECORD }));
        let context = ConnectorContext { http: server.clone(), ..context() };
        let options = [&[("format", "avro-confluent"), ("avro-confluent.url", url)], user].concat();
        (server, try_decoder(&context, Part::Value, &options, &columns()).expect("a decoder"))
    };
    let user: &[(&str, &str)] = &[("avro-confluent.basic-auth.user-info", "me:hush")];
    for (url, user) in [("https://r:1/", user), ("https://me:hush@r:1", &[])] {
        let (server, mut decoder) = open(url, user);
        read(&mut *decoder, &[message(1, b"\x0e")]).await;
        assert_eq!(server.credentials().as_deref(), Some("Basic bWU6aHVzaA=="));
        server.script([(0, "refused"); 8]);
        let error = decoder.decode(&[message(2, b"\x0e")]).await.expect_err("nobody answers");
        let text = with_causes(&error);
        assert!(!text.contains("hush") && text.contains("https://r:1/"), "{text}");
    }
    let (server, mut decoder) = open("http://a:1/apis/ccompat/v7, http://b:2", &[]);
    server.script([(0, "refused")]);
    assert_eq!(read(&mut *decoder, &[message(1, b"\x0e")]).await.1, [], "the second one answers");
    assert_eq!(server.take_asked(), ["apis/ccompat/v7/schemas/ids/1", "schemas/ids/1"]);
    assert_eq!(server.credentials(), None);
}
