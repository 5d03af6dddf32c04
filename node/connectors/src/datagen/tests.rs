//! Generated rows: deterministic, within their bounds, and as many as requested.

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use serde_json::Value;

use crate::{
    ConnectorError, open_source,
    testing::{Given, context, read_all, schema, settings, source},
};

fn columns() -> SchemaRef {
    schema(&[
        ("id", DataType::Int64, false),
        ("n", DataType::Int32, true),
        ("x", DataType::Float64, false),
        ("d", DataType::Decimal128(6, 2), false),
        ("s", DataType::Utf8View, false),
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        (
            "o",
            DataType::Struct(
                vec![Field::new("b", DataType::Boolean, true), Field::new("k", DataType::Int8, false)].into(),
            ),
            false,
        ),
    ])
}

async fn rows(options: &[(&str, &str)], columns: SchemaRef, batch_rows: usize) -> Result<Given, ConnectorError> {
    let source = open_source(&source("datagen", options, columns), &settings(batch_rows), &context())?;
    read_all(&*source).await
}

#[tokio::test]
async fn rows_are_as_declared_whatever_the_splits() {
    let options = [
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.end", "20009"),
        ("fields.n.min", "-3"),
        ("fields.n.max", "3"),
        ("fields.n.null-rate", "0.25"),
        ("fields.d.min", "1.50"),
        ("fields.d.max", "2.50"),
        ("fields.s.length", "5"),
        ("fields.o.k.min", "1"),
    ];
    let whole = rows(&options, columns(), 8192).await.expect("generated");
    assert_eq!(whole.rows(), 20_000);
    let other = [options.as_slice(), &[("splits", "3")]].concat();
    assert_eq!(rows(&other, columns(), 100).await.expect("generated").sorted_lines(), whole.sorted_lines());
    let mut nulls = 0;
    for line in whole.lines() {
        let row: Value = serde_json::from_str(&line).expect("JSON is written");
        let id = row["id"].as_i64().expect("a number");
        assert!((10..=20_009).contains(&id));
        match row["n"].as_i64() {
            Some(n) => assert!((-3..=3).contains(&n)),
            None => nulls += 1,
        }
        assert!((0.0..1.0).contains(&row["x"].as_f64().expect("a number")));
        assert!((1.5..=2.5).contains(&row["d"].as_f64().expect("a number")));
        assert_eq!(row["s"].as_str().map(str::len), Some(5));
        assert!(row["o"]["k"].as_i64().is_some_and(|k| (1..=127).contains(&k)));
        let (seconds, millis) = ((id - 10) / 1000, (id - 10) % 1000);
        assert_eq!(row["t"], format!("2026-01-01 00:00:{seconds:02}.{millis:03}"));
    }
    assert!((4500..5500).contains(&nulls), "a quarter: {nulls}");
}

#[tokio::test]
async fn impossible_options_are_refused() {
    for (key, value, reason) in [
        ("fields.id.kind", "funny", "option 'fields.id.kind' = 'funny': expected random or sequence"),
        ("fields.id.min", "x", "option 'fields.id.min' = 'x' cannot be read"),
        ("fields.id.null-rate", "0.5", "column id: a null-rate of 0.5 is impossible"),
        ("fields.n.max", "3000000000", "column n: min and max must be within -2147483648 and 2147483647"),
        ("fields.x.kind", "sequence", "column x: there are no sequences of DOUBLE"),
    ] {
        let error = rows(&[(key, value)], columns(), 10).await.expect_err("refused");
        assert_eq!(error.to_string(), format!("table t: {reason}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_paces_by_the_clock() {
    let context = context();
    let options = [("number-of-rows", "300"), ("rows-per-second", "100")];
    let source =
        open_source(&source("datagen", &options, schema(&[("t", DataType::Date32, false)])), &settings(10), &context)
            .expect("a table");
    let before = context.seams.clock.monotonic();
    let splits = source.discover().await.expect("listed");
    let mut readers = Vec::new();
    for split in &splits {
        readers.push(source.open(split).await.expect("opened"));
    }
    let mut count = 0;
    for reader in &mut readers {
        while let crate::Read::Records { batch, .. } = reader.next().await.expect("generated") {
            count += batch.num_rows();
        }
    }
    assert_eq!(count, 300);
    let elapsed = context.seams.clock.monotonic() - before;
    assert!((2.9..3.1).contains(&elapsed.as_secs_f64()), "{elapsed:?}");
}
