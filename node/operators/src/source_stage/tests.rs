//! Computed columns, dead rows and what batches promise.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion_expr::{cast, lit};
use thalweg_types::{
    connector::TableConnector,
    graph::{SourceOperator, WatermarkGenerator, WatermarkStrategy},
};

use super::SourceStage;
use crate::testing::{MILLIS, batch, column, encode, integers, rows_of, schema};

fn source(generator: Option<WatermarkGenerator>) -> SourceOperator {
    SourceOperator {
        table: "bids".to_owned(),
        connector: TableConnector { name: "test".to_owned(), options: BTreeMap::new() },
        physical: schema(&[("a", DataType::Int64), ("at", DataType::Int64)]),
        predicates: Vec::new(),
        projection: Some(vec![encode(&cast(column("at"), MILLIS)), encode(&(column("a") + lit(1i64)))]),
        watermark: generator.map(|generator| WatermarkStrategy { column: 0, generator, idle_timeout_micros: None }),
    }
}

fn stage(generator: Option<WatermarkGenerator>) -> SourceStage {
    SourceStage::new(&source(generator), schema(&[("ts", MILLIS), ("b", DataType::Int64)])).expect("a legal source")
}

fn physical() -> arrow::array::RecordBatch {
    let columns = vec![integers([Some(1), Some(2), Some(3)]), integers([Some(5000), None, Some(2000)])];
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
    let rows = stage.process(physical()).expect("rows as planned").rows;
    assert_eq!(stage.observe(&rows).expect("no expression"), Some(4_000_000));
    assert_eq!(stage.observe(&rows.slice(0, 0)).expect("no expression"), None);
}

#[test]
fn an_expression_promises_its_latest_value() {
    let generator = WatermarkGenerator::Expression(encode(&column("ts")));
    let stage = stage(Some(generator));
    let rows = stage.process(physical()).expect("rows as planned").rows;
    assert_eq!(stage.observe(&rows).expect("a column"), Some(5_000_000));
    let wrong = source(Some(WatermarkGenerator::Expression(encode(&column("b")))));
    SourceStage::new(&wrong, schema(&[("ts", MILLIS), ("b", DataType::Int64)])).expect_err("not a timestamp");
}

#[test]
fn tables_without_watermark_keep_every_row() {
    let stage = stage(None);
    let staged = stage.process(physical()).expect("rows as planned");
    assert_eq!(staged.rows.num_rows(), 3);
    assert!(staged.dead.is_none());
    assert_eq!(stage.observe(&staged.rows).expect("nothing to evaluate"), None);
    let bare = SourceOperator { projection: None, ..source(None) };
    let stage = SourceStage::new(&bare, bare.physical.clone()).expect("a legal source");
    assert_eq!(stage.process(physical()).expect("rows as planned").rows, physical());
}
