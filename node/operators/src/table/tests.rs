//! Tables against a map, and the ways in which they are read.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use proptest::prelude::*;
use thalweg_flow::key_groups_of;
use thalweg_types::{KeyGroupTable, connector::TableConnector};

use super::*;
use crate::testing::{CONTEXT, KEY_GROUPS, batch, integers, schema, text, texts};

/// Category, place, value.
type Row = (String, i64, i64);

const TTL_MICROS: i64 = 10_000_000;

fn columns() -> SchemaRef {
    schema(&[("category", DataType::Utf8View), ("place", DataType::Int64), ("value", DataType::Int64)])
}

fn rows(rows: &[Row]) -> RecordBatch {
    let columns_of = vec![
        texts(rows.iter().map(|row| Some(row.0.clone()))),
        integers(rows.iter().map(|row| Some(row.1))),
        integers(rows.iter().map(|row| Some(row.2))),
    ];
    batch(&columns(), columns_of)
}

fn sink(ttl: bool) -> SinkOperator {
    let options = if ttl { BTreeMap::from([(TTL.to_owned(), "10 s".to_owned())]) } else { BTreeMap::new() };
    let connector = TableConnector { name: "queryable".to_owned(), options, secrets: BTreeMap::new() };
    SinkOperator { table: "t".to_owned(), connector, partition_by: vec![0, 1] }
}

fn table(ttl: bool) -> TableOperator {
    TableOperator::new(&sink(ttl), "t", &columns(), columns(), CONTEXT).expect("a legal sink")
}

fn found(view: &TableView, category: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let beginning: Vec<_> = category.map(|category| texts([Some(category.to_owned())])).into_iter().collect();
    let found = view.find(&beginning, limit, usize::MAX).expect("it is there").expect("it can be read");
    ((0..found.rows.num_rows()).map(|row| text(&found.rows, row)).collect(), found.more)
}

fn owned(groups: impl IntoIterator<Item = u16>) -> Vec<KeyGroup> {
    groups.into_iter().map(KeyGroup).collect()
}

/// Instances of a table, with rows routed by key group.
struct Instances {
    ttl: bool,
    owners: KeyGroupTable,
    tables: Vec<TableOperator>,
}

impl Instances {
    fn process(&mut self, given: &RecordBatch) {
        let keys = [given.column(0).clone(), given.column(1).clone()];
        let mut dealt: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (group, row) in key_groups_of(&keys, given.num_rows(), KEY_GROUPS).into_iter().zip(0..) {
            dealt.entry(self.owners.owner(group)).or_default().push(row);
        }
        for (owner, rows) in dealt {
            let part = take_record_batch(given, &UInt32Array::from(rows)).expect("rows of the batch");
            self.tables[owner as usize].process(0, part).expect("rows as planned");
        }
    }

    fn checkpoint(&mut self, parallelism: u32) {
        let states: Vec<_> = self.tables.iter_mut().map(|table| table.freeze().expect("it can be frozen")).collect();
        self.owners = KeyGroupTable::even(KEY_GROUPS, parallelism);
        let restored = |slice: u32| {
            let mut restored = table(self.ttl);
            let owned: Vec<KeyGroup> = self.owners.owned_by(slice).collect();
            restored.restore(&states, &owned).expect("its own state");
            restored
        };
        self.tables = (0..parallelism).map(restored).collect();
    }

    fn all(&self, category: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let beginning: Vec<_> = category.map(|category| texts([Some(category.to_owned())])).into_iter().collect();
        let find = |table: &TableOperator| table.view().find(&beginning, limit, usize::MAX).unwrap().unwrap();
        let parts: Vec<FoundRows> = self.tables.iter().map(find).collect();
        let found = merge_found(&[0, 1], &parts, limit).unwrap().unwrap();
        ((0..found.rows.num_rows()).map(|row| text(&found.rows, row)).collect(), found.more)
    }
}

#[derive(Debug, Clone)]
enum Event {
    Rows(Vec<Row>),
    /// The watermark advances by so many seconds.
    Watermark(i64),
    Checkpoint(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let row = (prop::sample::select(vec!["", "a", "ab", "b", "ü"]), -3_i64..4, any::<i16>());
    let row = row.prop_map(|(category, place, value)| (category.to_owned(), place, i64::from(value)));
    prop_oneof![
        6 => prop::collection::vec(row, 0..12).prop_map(Event::Rows),
        3 => (1_i64..9).prop_map(Event::Watermark),
        1 => (1_u32..4).prop_map(Event::Checkpoint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Through checkpoints at any parallelism. Of each key the model has its value, and the watermark that followed it.
    #[test]
    fn a_table_has_the_newest_row_of_each_key(events in prop::collection::vec(event(), 0..25), ttl in any::<bool>(), limit in 1_usize..9) {
        let mut instances = Instances { ttl, owners: KeyGroupTable::even(KEY_GROUPS, 1), tables: vec![table(ttl)] };
        let mut model: BTreeMap<(String, i64), (i64, Option<i64>)> = BTreeMap::new();
        let mut watermark = 0;
        for event in events {
            match event {
                Event::Rows(given) => {
                    instances.process(&rows(&given));
                    model.extend(given.into_iter().map(|(category, place, value)| ((category, place), (value, None))));
                }
                Event::Watermark(seconds) => {
                    watermark += seconds * 1_000_000;
                    for table in &mut instances.tables {
                        table.on_watermark(Watermark(watermark)).expect("a watermark");
                    }
                    model.values_mut().for_each(|(_, since)| *since = since.or(Some(watermark)));
                    model.retain(|_, (_, since)| !ttl || since.is_none_or(|since| watermark - since < TTL_MICROS));
                }
                Event::Checkpoint(parallelism) => instances.checkpoint(parallelism),
            }
            let expected = |of: Option<&str>| -> Vec<String> {
                let known = model.iter().filter(|((category, _), _)| of.is_none_or(|of| of == category));
                known.map(|((category, place), (value, _))| format!("{category}|{place}|{value}")).collect()
            };
            for of in [None, Some("a"), Some(""), Some("z")] {
                let expected = expected(of);
                prop_assert_eq!(instances.all(of, 1000), (expected.clone(), false));
                let first: Vec<String> = expected.iter().take(limit).cloned().collect();
                prop_assert_eq!(instances.all(of, limit), (first, expected.len() > limit));
            }
        }
    }
}

#[test]
fn a_key_counts_from_the_watermark_that_follows_its_last_row() {
    let mut table = table(true);
    let view = table.view();
    let row = |place: i64| rows(&[("a".to_owned(), place, 0)]);
    table.process(0, row(1)).unwrap();
    table.on_watermark(Watermark(100_000_000)).unwrap();
    table.process(0, row(2)).unwrap();
    table.on_watermark(Watermark(109_999_999)).unwrap();
    assert_eq!(found(&view, None, 9).0, ["a|1|0", "a|2|0"], "the first came at 100 s, not before any watermark");
    table.on_watermark(Watermark(110_000_000)).unwrap();
    assert_eq!(found(&view, None, 9).0, ["a|2|0"]);
    table.on_watermark(Watermark::MAX).unwrap();
    assert_eq!(found(&view, None, 9).0, ["a|2|0"], "the end of input ends no key");
    let before = table.state_bytes();
    table.on_watermark(Watermark(119_999_999)).unwrap();
    assert!(found(&view, None, 9).0.is_empty() && table.state_bytes() == 0 && before > 0);
}

#[test]
fn what_is_replaced_takes_no_memory_and_what_stays_is_uploaded_once() {
    let mut table = table(false);
    let all = |value: i64| (0..100).map(|place| ("a".to_owned(), place, value)).collect::<Vec<Row>>();
    table.process(0, rows(&all(0))).unwrap();
    let first = table.state_bytes();
    for value in 1..1000 {
        table.process(0, rows(&all(value)[..50])).unwrap();
    }
    assert!(table.state_bytes() < 4 * first, "{} after {first}", table.state_bytes());
    let frozen = table.freeze().unwrap();
    let again = table.freeze().unwrap();
    let ids =
        |state: &FrozenState| state.table("rows").iter().map(thalweg_keyed_state::StateBatch::id).collect::<Vec<_>>();
    assert!(!ids(&frozen).is_empty() && ids(&frozen) == ids(&again));
    for place in 1000..1100 {
        table.process(0, rows(&[("b".to_owned(), place, 0)])).unwrap();
    }
    let later = table.freeze().unwrap();
    assert!(ids(&later).len() < 40, "small batches become few: {}", ids(&later).len());
    let mut restored = self::table(false);
    restored.restore(&[later], &owned(0..KEY_GROUPS)).unwrap();
    assert_eq!(found(&restored.view(), None, 1000), found(&table.view(), None, 1000));
    assert_eq!(found(&table.view(), Some("a"), 1000).0.len(), 100);
    assert_eq!(found(&table.view(), Some("a"), 1000).0[49..51], ["a|49|999", "a|50|0"]);
}

#[test]
fn a_row_that_no_answer_could_hold_is_set_aside() {
    let mut table = table(false);
    let large = "x".repeat(ROW_BYTES_MAX + 1);
    table.process(0, rows(&[("a".to_owned(), 1, 1), (large, 2, 2), ("b".to_owned(), 3, 3)])).unwrap();
    assert_eq!(found(&table.view(), None, 9).0, ["a|1|1", "b|3|3"]);
    let failed = table.take_failed();
    assert_eq!((failed.len(), failed[0].rows.num_rows()), (1, 1));
    assert!(failed[0].faults[0].reason.contains("at most 1048576"), "{}", failed[0].faults[0].reason);
    assert!(table.take_failed().is_empty());
}

#[test]
fn an_answer_has_no_more_bytes_than_asked_but_a_row_at_least() {
    let mut table = table(false);
    let wide = "y".repeat(1000);
    let given: Vec<Row> = (0..10).map(|place| (wide.clone(), place, 0)).collect();
    table.process(0, rows(&given)).unwrap();
    let find = |bytes_max| table.view().find(&[], 100, bytes_max).unwrap().unwrap();
    for (bytes_max, expected, more) in [(0, 1, true), (3500, 3, true), (1 << 20, 10, false)] {
        let found = find(bytes_max);
        assert_eq!((found.rows.num_rows(), found.more), (expected, more), "{bytes_max}");
    }
}

#[test]
fn no_more_is_looked_up_than_an_answer_has_and_it_is_copied_while_rows_come() {
    let mut table = table(false);
    let wide = "y".repeat(1000);
    let given: Vec<Row> = (0..10).map(|place| (wide.clone(), place, 0)).collect();
    table.process(0, rows(&given)).unwrap();
    let picked = table.contents().pick(&[], 100, 3500);
    assert_eq!((picked.places.len(), picked.more), (3, true));
    let newer: Vec<Row> = (0..10).map(|place| (wide.clone(), place, 1)).collect();
    table.process(0, rows(&newer)).unwrap();
    assert_eq!(text(&picked.rows().unwrap(), 2), format!("{wide}|2|0"), "as it was when it was asked");
    assert!(found(&table.view(), None, 1).0[0].ends_with("|0|1"));
    let exact = table.contents().pick(&[], 10, usize::MAX);
    assert_eq!((exact.places.len(), exact.more), (10, false));
}

#[test]
fn nothing_comes_behind_the_end_of_a_part_that_was_cut() {
    let part = |places: &[i64], more| FoundRows {
        rows: rows(&places.iter().map(|place| ("a".to_owned(), *place, 0)).collect::<Vec<_>>()),
        more,
    };
    let merge = |parts: &[FoundRows], limit| {
        let found = merge_found(&[0, 1], parts, limit).unwrap().unwrap();
        ((0..found.rows.num_rows()).map(|row| text(&found.rows, row)).collect::<Vec<_>>(), found.more)
    };
    let whole = [part(&[1, 4], false), part(&[2, 3, 9], false), part(&[], false)];
    assert_eq!(merge(&whole, 9), (["a|1|0", "a|2|0", "a|3|0", "a|4|0", "a|9|0"].map(str::to_owned).to_vec(), false));
    assert!(!merge(&whole, 5).1);
    assert_eq!(merge(&whole, 2), (vec!["a|1|0".to_owned(), "a|2|0".to_owned()], true));
    let is_cut = [part(&[1, 4], false), part(&[2, 3], true)];
    assert_eq!(merge(&is_cut, 9), (["a|1|0", "a|2|0", "a|3|0"].map(str::to_owned).to_vec(), true));
    assert_eq!(merge_found(&[0], &[], 9).unwrap(), None);
    let other = FoundRows { rows: batch(&schema(&[("n", DataType::Int64)]), vec![integers([Some(1)])]), more: false };
    assert!(merge_found(&[0], &[part(&[1], false), other], 9).is_err());
}

#[test]
fn a_table_that_is_gone_gives_nothing_and_state_of_another_is_refused() {
    let mut table = table(false);
    table.process(0, rows(&[("a".to_owned(), 1, 1)])).unwrap();
    let view = table.view();
    assert!(view.is_there() && view.shape().is_some());
    drop(table);
    assert!(!view.is_there() && view.shape().is_none() && view.find(&[], 1, 1).is_none());
    let mut other = self::table(false);
    let mut wrong = FrozenState::default();
    let batch_of_other = batch(&schema(&[("n", DataType::Int64)]), vec![integers([Some(1)])]);
    wrong.extend("rows", [thalweg_keyed_state::StateBatch::new([KeyGroup(0)].into(), batch_of_other)]);
    assert!(matches!(other.restore(&[wrong], &owned(0..KEY_GROUPS)), Err(OperatorError::Restore { .. })));
}
