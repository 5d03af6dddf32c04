//! Hand-made job graphs. Rows are (time TIMESTAMP(3), key BIGINT, value BIGINT).

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit},
};
use datafusion_expr::{Expr, col};
use thalweg_types::{
    ExprBytes, JobGraph, Operator, OperatorId, OperatorKind,
    connector::TableConnector,
    graph::{
        AggregatePhase, Calc, CollectOperator, Distribution, Edge, FORMAT, Parallelism, SinkOperator, SourceOperator,
        WatermarkGenerator, WatermarkStrategy, WindowAggregate, WindowColumns, WindowSpec, Windowing,
    },
};

pub(super) const KEY_GROUPS: u16 = 16;

pub(super) fn rows_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("time", time, true),
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Int64, false),
    ]))
}

/// Rows of (time in milliseconds, key, value).
pub(crate) fn rows(values: impl IntoIterator<Item = (i64, i64, i64)>) -> RecordBatch {
    rows_or_null(values.into_iter().map(|(time, key, value)| (Some(time), key, value)))
}

pub(super) fn rows_or_null(values: impl IntoIterator<Item = (Option<i64>, i64, i64)>) -> RecordBatch {
    let (mut times, mut keys, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
    for (time, key, value) in values {
        times.push(time);
        keys.push(key);
        amounts.push(value);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(times)),
        Arc::new(Int64Array::from(keys)),
        Arc::new(Int64Array::from(amounts)),
    ];
    RecordBatch::try_new(rows_schema(), columns).unwrap()
}

/// The values of an integer column.
pub(super) fn integers(batches: &[RecordBatch], column: usize) -> Vec<i64> {
    let values = |batch: &RecordBatch| batch.column(column).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(values).collect()
}

pub(super) fn encode(expression: &Expr) -> ExprBytes {
    ExprBytes { bytes: thalweg_expr::encode(expression).unwrap(), text: expression.to_string(), place: None }
}

/// Builds a graph. Operators are numbered in the order in which they are added.
#[derive(Debug, Default)]
pub(super) struct GraphBuilder {
    operators: Vec<Operator>,
    edges: Vec<Edge>,
    pub(super) settings: BTreeMap<String, String>,
}

impl GraphBuilder {
    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        kind: OperatorKind,
        parallelism: Parallelism,
        output: SchemaRef,
    ) -> OperatorId {
        let id = OperatorId(u32::try_from(self.operators.len()).unwrap());
        self.operators.push(Operator { id, name: name.to_owned(), kind, parallelism, output });
        id
    }

    pub(super) fn link(&mut self, from: OperatorId, to: OperatorId, port: u8, distribution: Distribution) {
        self.edges.push(Edge { from, to, port, distribution });
        self.edges.sort_by_key(|edge| (edge.to, edge.port, edge.from));
    }

    /// A table of `rows_schema`, with the time as the watermark.
    pub(super) fn source(&mut self, table: &str, idle_micros: Option<i64>, options: &[(&str, &str)]) -> OperatorId {
        let generator = WatermarkGenerator::BoundedDelay { delay_micros: 0 };
        let watermark = WatermarkStrategy { column: 0, generator, idle_timeout_micros: idle_micros };
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let source = SourceOperator {
            table: table.to_owned(),
            connector: TableConnector { name: "filesystem".to_owned(), options, secrets: BTreeMap::new() },
            physical: rows_schema(),
            predicates: Vec::new(),
            projection: None,
            watermark: Some(watermark),
        };
        self.add(table, OperatorKind::Source(Box::new(source)), Parallelism::Job, rows_schema())
    }

    /// A calc over `rows_schema` that only filters.
    pub(super) fn filter(&mut self, filter: &Expr, parallelism: Parallelism) -> OperatorId {
        let calc = Calc { filter: Some(encode(filter)), projection: None };
        self.add("calc", OperatorKind::Calc(calc), parallelism, rows_schema())
    }

    pub(super) fn sink(&mut self, table: &str, parallelism: Parallelism, schema: SchemaRef) -> OperatorId {
        let connector =
            TableConnector { name: "blackhole".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
        let sink = SinkOperator { table: table.to_owned(), connector, partition_by: Vec::new() };
        self.add(table, OperatorKind::Sink(sink), parallelism, schema)
    }

    pub(super) fn collect(&mut self, query: u32, schema: SchemaRef) -> OperatorId {
        self.add("collect", OperatorKind::Collect(CollectOperator { query }), Parallelism::One, schema)
    }

    /// `SELECT key, count(*), window_end GROUP BY TUMBLE(time, size), key`.
    pub(super) fn count_per_window(&mut self, size_micros: i64) -> (OperatorId, SchemaRef) {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let output = Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, false),
            Field::new("count", DataType::Int64, false),
            Field::new("window_end", time, false),
        ]));
        let count = datafusion_functions_aggregate::count::count_udaf();
        let aggregate = WindowAggregate {
            phase: AggregatePhase::Single,
            windowing: Windowing::EventTime { column: 0, spec: WindowSpec::Tumble { size: size_micros, offset: 0 } },
            keys: vec![1],
            aggregates: vec![encode(&count.call(vec![col("value")]))],
            row_schema: rows_schema(),
            window_columns: WindowColumns { start: false, end: true, time: false },
        };
        let kind = OperatorKind::WindowAggregate(aggregate);
        (self.add("count", kind, Parallelism::Job, output.clone()), output)
    }

    pub(super) fn build(self) -> JobGraph {
        let graph = JobGraph {
            format: FORMAT,
            engine_version: "test".to_owned(),
            key_groups: KEY_GROUPS,
            operators: self.operators,
            edges: self.edges,
            settings: self.settings,
        }
        .with_enumerators();
        graph.check().unwrap();
        graph
    }
}
