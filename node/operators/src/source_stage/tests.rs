//! Computed columns, rows without event time, and the watermarks of batches.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion_expr::{cast, lit, when};
use thalweg_types::{
    connector::TableConnector,
    graph::{SourceOperator, WatermarkGenerator, WatermarkStrategy},
};

use super::SourceStage;
use crate::testing::{MILLIS, batch, column, encode, integers, rows_of, schema, texts};

fn source(generator: Option<WatermarkGenerator>) -> SourceOperator {
    SourceOperator {
        table: "bids".to_owned(),
        connector: TableConnector { name: "test".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() },
        physical: schema(&[("a", DataType::Int64), ("at", DataType::Utf8View)]),
        predicates: Vec::new(),
        projection: Some(vec![encode(&cast(column("at"), MILLIS)), encode(&(column("a") + lit(1i64)))]),
        watermark: generator.map(|generator| WatermarkStrategy { column: 0, generator, idle_timeout_micros: None }),
    }
}

fn stage(generator: Option<WatermarkGenerator>) -> SourceStage {
    SourceStage::new(&source(generator), schema(&[("ts", MILLIS), ("b", DataType::Int64)])).expect("a legal source")
}

fn physical() -> arrow::array::RecordBatch {
    let at = [Some("1970-01-01 00:00:05"), None, Some("1970-01-01 00:00:02")].map(|at| at.map(str::to_owned));
    let columns = vec![integers([Some(1), Some(2), Some(3)]), texts(at)];
    batch(&source(None).physical, columns)
}

#[test]
fn rows_without_event_time_are_set_aside_as_they_were_read() {
    let staged = stage(Some(WatermarkGenerator::BoundedDelay { delay_micros: 1_000_000 })).process(physical());
    let staged = staged.expect("rows as planned");
    assert_eq!(rows_of([&staged.rows]), ["1970-01-01T00:00:02|4", "1970-01-01T00:00:05|2"]);
    let dead = staged.dead.expect("one row has no time");
    assert_eq!(rows_of([&dead.rows]), ["2|-"]);
    assert!(dead.reason.contains("ts") && dead.reason.contains("bids"), "{}", dead.reason);
}

#[test]
fn the_latest_time_less_the_delay_is_promised() {
    let stage = stage(Some(WatermarkGenerator::BoundedDelay { delay_micros: 1_000_000 }));
    let promised = |rows| stage.process(rows).expect("rows as planned").watermark;
    assert_eq!(promised(physical()), Some(4_000_000));
    assert_eq!(promised(physical().slice(0, 0)), None);
}

#[test]
fn an_expression_promises_its_latest_value() {
    let generator = WatermarkGenerator::Expression(encode(&column("ts")));
    let stage = stage(Some(generator));
    assert_eq!(stage.process(physical()).expect("rows as planned").watermark, Some(5_000_000));
    let wrong = source(Some(WatermarkGenerator::Expression(encode(&column("b")))));
    SourceStage::new(&wrong, schema(&[("ts", MILLIS), ("b", DataType::Int64)])).expect_err("not a timestamp");
}

#[test]
fn tables_without_watermark_keep_every_row() {
    let stage = stage(None);
    let staged = stage.process(physical()).expect("rows as planned");
    assert_eq!(staged.rows.num_rows(), 3);
    assert!(staged.dead.is_none());
    assert_eq!(staged.watermark, None);
    let bare = SourceOperator { projection: None, ..source(None) };
    let stage = SourceStage::new(&bare, bare.physical.clone()).expect("a legal source");
    assert_eq!(stage.process(physical()).expect("rows as planned").rows, physical());
}

#[test]
fn rows_of_which_a_computed_column_or_the_watermark_fails_are_set_aside() {
    let promise = |expression| Some(WatermarkGenerator::Expression(encode(&expression)));
    let no_time = when(column("b").eq(lit(2i64)), lit("soon")).otherwise(lit("1970-01-01 00:00:00"));
    let no_time = cast(no_time.expect("both are texts"), MILLIS);
    let failing = SourceStage::new(&source(promise(no_time)), schema(&[("ts", MILLIS), ("b", DataType::Int64)]));
    let failing = failing.expect("a legal source");
    let staged = failing.process(physical()).expect("each fault is a row's");
    let failed = staged.failed.expect("the first row has b = 2");
    assert_eq!((rows_of([&failed.rows]), failed.faults.len()), (vec!["1|1970-01-01 00:00:05".to_owned()], 1));
    assert_eq!(staged.rows.num_rows() + staged.dead.map_or(0, |dead| dead.rows.num_rows()), 2);
    let (row, reason) = failing.fault(&physical(), true).expect("it is told before anything is taken");
    assert!(row == 0 && reason.contains("soon"), "{row}: {reason}");
    let (row, reason) = stage(promise(column("ts"))).fault(&physical(), true).expect("the second has no time");
    assert!(row == 1 && reason.contains("is NULL"), "{row}: {reason}");
    assert_eq!(stage(promise(column("ts"))).fault(&physical(), false), None, "it is a dead letter");
}
