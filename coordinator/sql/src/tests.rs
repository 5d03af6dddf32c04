//! Scripts and their plans, as text.

use std::collections::BTreeMap;

use crate::{explain, plan};

#[test]
fn a_filter_and_projection_is_one_calc_over_a_pruned_source() {
    let script = "CREATE TABLE t (a BIGINT, b STRING, c ROW<x INT, y INT>) WITH ('connector' = 'datagen');
        SELECT a + 1 AS next, c.x FROM t WHERE c.x > 3;";
    let planned = plan(script, &BTreeMap::new()).expect("a plain query plans");
    let text = explain(&planned.graph.expect("a query has a graph"));
    assert!(text.contains("Source t (datagen): a, c<x> where c.x > 3"), "{text}");
    assert_eq!(text.matches("Calc").count(), 1, "{text}");
}
