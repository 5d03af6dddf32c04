//! For tests: rows as text, plans, and a cluster of instances of one operator that can be frozen and restored.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_expr::Expr;
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::StateBatch;
use thalweg_types::{ExprBytes, KeyGroup, KeyGroupTable, OperatorId, OperatorKind, Watermark, graph::Parallelism};

use crate::{LateRows, Operator, OperatorContext, build};

pub(crate) const KEY_GROUPS: u16 = 16;

/// Small, so that everything is emitted in several chunks.
pub(crate) const CONTEXT: OperatorContext = OperatorContext { key_groups: KEY_GROUPS, batch_rows: 2 };

pub(crate) fn encode(expression: &Expr) -> ExprBytes {
    ExprBytes {
        bytes: thalweg_expr::encode(expression).expect("test expressions can be encoded"),
        text: expression.to_string(),
        place: None,
    }
}

pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(datafusion_common::Column::from_name(name))
}

pub(crate) const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

pub(crate) fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns).expect("columns as the schema says")
}

pub(crate) fn integers(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub(crate) fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampMillisecondArray>())
}

pub(crate) fn texts(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringViewArray>())
}

pub(crate) fn plan(kind: OperatorKind, output: SchemaRef) -> thalweg_types::Operator {
    thalweg_types::Operator {
        id: OperatorId(1),
        name: "under test".to_owned(),
        kind,
        parallelism: Parallelism::Job,
        output,
    }
}

/// The function with this name.
pub(crate) fn scalar(name: &str) -> std::sync::Arc<datafusion_expr::ScalarUDF> {
    thalweg_functions::scalar().into_iter().rev().find(|function| function.name() == name).expect("it is listed")
}

/// Each row as text, sorted: a multiset.
pub(crate) fn rows_of<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<String> {
    let mut rows: Vec<String> =
        batches.into_iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row))).collect();
    rows.sort();
    rows
}

pub(crate) fn late_rows_of(late: &[LateRows]) -> Vec<String> {
    let of_one = |late: &LateRows| {
        let window = format!("[{},{})", late.window_start, late.window_end);
        (0..late.rows.num_rows()).map(|row| format!("{window} {}", text(&late.rows, row))).collect::<Vec<_>>()
    };
    let mut rows: Vec<String> = late.iter().flat_map(of_one).collect();
    rows.sort();
    rows
}

pub(crate) fn text(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("-");
    let cell = |column: &ArrayRef| {
        ArrayFormatter::try_new(column.as_ref(), &options).expect("a printable type").value(row).to_string()
    };
    batch.columns().iter().map(cell).collect::<Vec<_>>().join("|")
}

/// A timestamp in milliseconds, as rows show it.
pub(crate) fn shown(millis: i64) -> String {
    let column = times([Some(millis)]);
    ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default()).expect("a printable type").value(0).to_string()
}

pub(crate) fn shown_or_null<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Instances of one operator, with rows routed by key group.
pub(crate) struct Cluster {
    plan: thalweg_types::Operator,
    inputs: Vec<SchemaRef>,
    /// Key columns by port.
    keys: Vec<Vec<usize>>,
    owners: KeyGroupTable,
    instances: Vec<Box<dyn Operator>>,
    pub(crate) output: Vec<RecordBatch>,
    pub(crate) late: Vec<LateRows>,
}

impl Cluster {
    pub(crate) fn new(plan: thalweg_types::Operator, inputs: Vec<SchemaRef>, keys: Vec<Vec<usize>>) -> Self {
        let first = build(&plan, &inputs, &CONTEXT).expect("a legal plan");
        let owners = KeyGroupTable::even(KEY_GROUPS, 1);
        Self { plan, inputs, keys, owners, instances: vec![first], output: Vec::new(), late: Vec::new() }
    }

    pub(crate) fn process(&mut self, port: usize, batch: &RecordBatch) {
        let keys: Vec<ArrayRef> = self.keys[port].iter().map(|key| batch.column(*key).clone()).collect();
        let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (group, row) in key_groups_of(&keys, batch.num_rows(), KEY_GROUPS).into_iter().zip(0..) {
            rows.entry(self.owners.owner(group)).or_default().push(row);
        }
        for (owner, rows) in rows {
            let part = take_record_batch(batch, &UInt32Array::from(rows)).expect("rows of the batch");
            let port = u8::try_from(port).expect("two ports at most");
            self.instances[owner as usize].process(port, part).expect("rows as planned");
        }
        self.drain();
    }

    /// Advances the watermark, in microseconds. With `checkpoint` = (chunks, parallelism), takes that many chunks from
    /// each instance, then checkpoints and continues with that parallelism.
    pub(crate) fn on_watermark(&mut self, watermark: i64, checkpoint: Option<(usize, u32)>) {
        for instance in &mut self.instances {
            instance.on_watermark(Watermark(watermark)).expect("a watermark");
        }
        if let Some((chunks, parallelism)) = checkpoint {
            for instance in &mut self.instances {
                for _ in 0..chunks {
                    self.output.extend(instance.next_output().expect("output"));
                }
            }
            self.checkpoint(parallelism);
        }
        self.drain();
    }

    /// Freezes, and continues with `parallelism` instances. Freezes twice to check that freezing changes nothing.
    pub(crate) fn checkpoint(&mut self, parallelism: u32) {
        for instance in &mut self.instances {
            instance.flush().expect("a flush");
            self.late.extend(instance.take_late());
        }
        let first: Vec<_> = self.instances.iter_mut().map(|instance| instance.freeze().expect("a freeze")).collect();
        let states: Vec<_> = self.instances.iter_mut().map(|instance| instance.freeze().expect("a freeze")).collect();
        for (first, second) in first.iter().zip(&states) {
            assert_eq!(first.values, second.values);
            for (name, batches) in &second.tables {
                assert_eq!(
                    rows_of(first.table(name).iter().map(|b| &b.rows)),
                    rows_of(batches.iter().map(|b| &b.rows))
                );
            }
        }
        self.owners = KeyGroupTable::even(KEY_GROUPS, parallelism);
        let restored = |slice: u32| {
            let mut instance = build(&self.plan, &self.inputs, &CONTEXT).expect("a legal plan");
            let owned: Vec<KeyGroup> = self.owners.owned_by(slice).collect();
            instance.restore(&states, &owned).expect("its own state");
            instance
        };
        self.instances = (0..parallelism).map(restored).collect();
    }

    /// The frozen batches of a table of the only instance.
    pub(crate) fn frozen(&mut self, table: &str) -> Vec<StateBatch> {
        self.instances[0].freeze().expect("a freeze").table(table).to_vec()
    }

    pub(crate) fn flush(&mut self) {
        self.instances.iter_mut().for_each(|instance| instance.flush().expect("a flush"));
        self.drain();
    }

    fn drain(&mut self) {
        for instance in &mut self.instances {
            while let Some(chunk) = instance.next_output().expect("output") {
                assert!((1..=CONTEXT.batch_rows).contains(&chunk.num_rows()), "{} rows", chunk.num_rows());
                assert_eq!(chunk.schema(), self.plan.output);
                self.output.push(chunk);
            }
            self.late.extend(instance.take_late());
        }
    }

    pub(crate) fn state_bytes(&self) -> usize {
        self.instances.iter().map(|instance| instance.state_bytes()).sum()
    }
}
