//! Events do not depend on the splits, have the defined proportions, and only requested fields are generated.

use std::collections::BTreeMap;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, SchemaRef, TimeUnit},
};
use serde_json::Value;

use super::*;
use crate::{
    open_source,
    testing::{Given, context, read_all, read_all_resuming, schema, settings, source},
};

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn row(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect())
}

fn all_columns() -> SchemaRef {
    let (long, text) = (DataType::Int64, DataType::Utf8View);
    let fields = |names: &[&'static str]| {
        let data_type = |name: &str| match name {
            "dateTime" | "expires" => time(),
            "id" | "initialBid" | "reserve" | "seller" | "category" | "auction" | "bidder" | "price" => long.clone(),
            _ => text.clone(),
        };
        row(&names.iter().map(|name| (*name, data_type(name))).collect::<Vec<_>>())
    };
    schema(&[
        ("event_type", DataType::Int32, false),
        ("person", fields(&["id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra"]), true),
        (
            "auction",
            fields(&[
                "id",
                "itemName",
                "description",
                "initialBid",
                "reserve",
                "dateTime",
                "expires",
                "seller",
                "category",
                "extra",
            ]),
            true,
        ),
        ("bid", fields(&["auction", "bidder", "price", "channel", "url", "dateTime", "extra"]), true),
        ("dateTime", time(), false),
    ])
}

async fn events(options: &[(&str, &str)], columns: SchemaRef, batch_rows: usize) -> Given {
    let source = open_source(&source("nexmark", options, columns), &settings(batch_rows), &context()).expect("a table");
    read_all(&*source).await.expect("generated")
}

fn parsed(given: &Given) -> Vec<Value> {
    given.lines().iter().map(|line| serde_json::from_str(line).expect("JSON is written")).collect()
}

#[tokio::test]
async fn events_do_not_depend_on_splits_or_batches() {
    let whole = events(&[("events.num", "20000"), ("events.splits", "1")], all_columns(), 100_000).await;
    assert_eq!(whole.rows(), 20_000);
    for (splits, batch_rows) in [("3", 1000), ("8", 8192), ("2", 77)] {
        let options = [("events.num", "20000"), ("events.splits", splits)];
        let parts = events(&options, all_columns(), batch_rows).await;
        assert_eq!(parts.sorted_lines(), whole.sorted_lines(), "{splits} splits, batches of {batch_rows}");
    }
    let source = open_source(&source("nexmark", &[("events.num", "20000")], all_columns()), &settings(500), &context())
        .expect("a table");
    let resumed = read_all_resuming(&*source).await.expect("generated");
    assert_eq!(resumed.sorted_lines(), whole.sorted_lines());
    let other = events(&[("events.num", "20000"), ("seed", "43")], all_columns(), 8192).await;
    assert_ne!(other.sorted_lines(), whole.sorted_lines());
}

/// A batch of auctions is the largest: 500 bytes of text each, plus the fields of persons and bids, which are NULL.
#[tokio::test]
async fn batches_are_cut_by_bytes() {
    let filtered = |batch_rows: usize| {
        let mut spec = source("nexmark", &[("events.num", "600000"), ("events.splits", "1")], all_columns());
        spec.predicates = vec![ColumnPredicate {
            path: vec!["event_type".to_owned()],
            comparison: Comparison::Equal,
            value: Some(PredicateValue::Integer(1)),
        }];
        open_source(&spec, &settings(batch_rows), &context()).expect("a table")
    };
    let given = read_all(&*filtered(1_000_000)).await.expect("generated");
    assert_eq!(given.rows(), 36_000);
    assert!(given.batches.iter().all(|batch| fitting_rows(batch) == batch.num_rows()));
    let largest = given.batches.iter().map(RecordBatch::num_rows).max();
    assert!(largest.is_some_and(|rows| (3000..8192).contains(&rows)), "{largest:?}");
    let small = read_all(&*filtered(1000)).await.expect("generated");
    assert_eq!(given.batch(), small.batch(), "none is lost or comes twice");
}

#[tokio::test]
async fn event_time_advances_evenly_over_splits() {
    let columns = schema(&[("dateTime", time(), false)]);
    let source = open_source(&source("nexmark", &[], columns), &settings(8192), &context()).expect("a table");
    let mut first = Vec::new();
    for split in source.discover().await.expect("listed") {
        let mut reader = source.open(&split).await.expect("opened");
        let _ = reader.next().await.expect("generated");
        let Read::Records { batch, .. } = reader.next().await.expect("generated") else { panic!("it never ends") };
        first.push(crate::testing::to_lines(&batch)[0].clone());
    }
    // At 100,000 events a second, eight blocks of 8192 events are 655 ms.
    assert_eq!(first[0], r#"{"dateTime":"2026-01-01 00:00:00.655"}"#);
    assert_eq!(first[7], r#"{"dateTime":"2026-01-01 00:00:01.228"}"#);
}

#[tokio::test]
async fn proportions_and_references_are_those_of_the_definition() {
    let events = parsed(&events(&[("events.num", "50000"), ("events.splits", "1")], all_columns(), 8192).await);
    let mut counts = BTreeMap::new();
    let (mut hot_auctions, mut hot_channels, mut sizes) = (0, 0, BTreeMap::new());
    for (number, event) in events.iter().enumerate() {
        let kind = event["event_type"].as_i64().expect("a number");
        let name = ["person", "auction", "bid"][usize::try_from(kind).expect("0 to 2")];
        *counts.entry(name).or_insert(0) += 1;
        for other in ["person", "auction", "bid"] {
            assert_eq!(event[other].is_null(), other != name);
        }
        let own = &event[name];
        assert_eq!(own["dateTime"], event["dateTime"]);
        let texts: usize = own.as_object().expect("a row").values().filter_map(Value::as_str).map(str::len).sum();
        *sizes.entry(name).or_insert(0) += texts;
        let long = |field: &str| own[field].as_i64().unwrap_or_else(|| panic!("{field} of {own}"));
        let cycle = i64::try_from(number / 50).expect("small");
        match name {
            "person" => assert_eq!(long("id"), 1000 + cycle),
            "auction" => {
                assert_eq!(long("id"), 1000 + cycle * 3 + i64::try_from(number % 50).expect("small") - 1);
                assert!((1000..1000 + cycle + 1 + 10).contains(&long("seller")), "{own}");
                assert!((10..15).contains(&long("category")));
                assert!(long("reserve") > long("initialBid"));
                assert!(own["expires"].as_str() > own["dateTime"].as_str());
            }
            _ => {
                assert!((1000..1000 + cycle * 3 + 3 + 10).contains(&long("auction")), "{own}");
                assert!((1000..1000 + (cycle + 1).max(2) + 10).contains(&long("bidder")), "{own}");
                assert!((100..=100_000_000).contains(&long("price")));
                hot_auctions += i64::from((long("auction") - 1000) % 100 == 0);
                let channel = own["channel"].as_str().expect("text");
                hot_channels += i64::from(!channel.starts_with("channel-"));
                assert!(own["url"].as_str().expect("text").starts_with("https://www.nexmark.com/"));
            }
        }
    }
    assert_eq!(counts, BTreeMap::from([("person", 1000), ("auction", 3000), ("bid", 46_000)]));
    assert!((22_500..24_500).contains(&hot_auctions), "half of the bids: {hot_auctions}");
    assert!((22_500..23_500).contains(&hot_channels), "half of the bids: {hot_channels}");
    let average = |name| sizes[name] / counts[name];
    assert!((150..250).contains(&average("person")), "{}", average("person"));
    assert!((400..600).contains(&average("auction")), "{}", average("auction"));
}

#[tokio::test]
async fn pruned_columns_have_the_same_values() {
    let options = [("events.num", "1000"), ("events.splits", "1")];
    let whole = parsed(&events(&options, all_columns(), 8192).await);
    let fields = [("price", DataType::Int64), ("channel", DataType::Utf8View)];
    let pruned = parsed(&events(&options, schema(&[("bid", row(&fields), true)]), 8192).await);
    assert_eq!(whole.len(), pruned.len());
    for (whole, pruned) in whole.iter().zip(&pruned) {
        assert_eq!(whole["bid"]["price"], pruned["bid"]["price"]);
        assert_eq!(whole["bid"]["channel"], pruned["bid"]["channel"]);
    }
    assert_eq!(events(&options, schema(&[]), 8192).await.rows(), 1000);
    let unknown = source("nexmark", &options, schema(&[("bids", DataType::Int64, true)]));
    let error = open_source(&unknown, &settings(10), &context()).err().expect("no such column");
    assert_eq!(error.to_string(), "table t: there is no column bids");
}

#[tokio::test]
async fn a_predicate_on_the_kind_skips_the_other_events() {
    let options = [("events.num", "100000"), ("events.splits", "2")];
    let whole = events(&options, all_columns(), 8192).await;
    for (kind, count) in [(0, 2000), (1, 6000), (2, 92_000), (7, 0)] {
        let mut spec = source("nexmark", &options, all_columns());
        spec.predicates.push(ColumnPredicate {
            path: vec!["event_type".to_owned()],
            comparison: Comparison::Equal,
            value: Some(PredicateValue::Integer(kind)),
        });
        let source = open_source(&spec, &settings(1000), &context()).expect("a table");
        let given = read_all_resuming(&*source).await.expect("generated");
        assert_eq!(given.rows(), count);
        let prefix = format!("{{\"event_type\":{kind},");
        let expected: Vec<String> = whole.sorted_lines().into_iter().filter(|line| line.starts_with(&prefix)).collect();
        assert_eq!(given.sorted_lines(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn real_time_paces_by_the_clock() {
    let context = context();
    let options =
        [("events.num", "5000"), ("events.rate", "1000"), ("events.speed", "real-time"), ("events.splits", "1")];
    let source = open_source(&source("nexmark", &options, all_columns()), &settings(8192), &context).expect("a table");
    let before = context.seams.clock.monotonic();
    assert_eq!(read_all(&*source).await.expect("generated").rows(), 5000);
    let elapsed = context.seams.clock.monotonic() - before;
    assert!((4.9..5.1).contains(&elapsed.as_secs_f64()), "{elapsed:?}");
}

#[tokio::test]
async fn late_events_are_at_most_so_late() {
    let options = [("events.num", "5000"), ("max-out-of-orderness", "2 s"), ("start-time", "2026-01-01 00:01:00")];
    let times = events(&options, schema(&[("dateTime", time(), false)]), 8192).await.sorted_lines();
    assert!(times[0].as_str() < r#"{"dateTime":"2026-01-01 00:00:58.1"#);
    assert!(times[0].as_str() >= r#"{"dateTime":"2026-01-01 00:00:58.000"}"#);
    assert!(times[4999].as_str() <= r#"{"dateTime":"2026-01-01 00:01:00.049"}"#);
}
