//! Small graphs for tests.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::json;

use super::{
    AggregatePhase, Calc, Distribution, Edge, FORMAT, JobGraph, Operator, OperatorKind, Parallelism, SinkOperator,
    SourceOperator, WindowAggregate, WindowColumns, WindowSpec, Windowing,
};
use crate::{connector::TableConnector, expr::ExprBytes, id::OperatorId};

pub(crate) fn expression(nodes: serde_json::Value, text: &str) -> ExprBytes {
    let bytes = serde_json::to_vec(&json!({ "format": 1, "nodes": nodes })).unwrap();
    ExprBytes { bytes, text: text.to_owned(), place: None }
}

pub(crate) fn column(name: &str) -> ExprBytes {
    expression(json!([{ "column": name }]), name)
}

pub(crate) fn call(function: &str, name: &str) -> ExprBytes {
    expression(json!([{ "column": name }, { "aggregate": { "function": function, "arguments": 1 } }]), function)
}

pub(crate) fn twice(name: &str) -> ExprBytes {
    expression(json!([{ "column": name }, { "column": name }, { "binary": "plus" }]), "twice")
}

pub(crate) fn connector(name: &str) -> TableConnector {
    TableConnector { name: name.to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() }
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(crate) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// `ts`, `k`, `v` and `w`.
pub(crate) fn rows() -> SchemaRef {
    schema(&[("ts", time()), ("k", DataType::Int64), ("v", DataType::Int64), ("w", DataType::Utf8View)])
}

pub(crate) fn tumble(seconds: i64) -> WindowSpec {
    WindowSpec::Tumble { size: seconds * 1_000_000, offset: 0 }
}

/// Builds graphs. Operators are numbered as they are added.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) operators: Vec<Operator>,
    edges: Vec<Edge>,
}

impl Build {
    pub(crate) fn add(&mut self, kind: OperatorKind, output: SchemaRef, inputs: &[(u8, OperatorId)]) -> OperatorId {
        let id = OperatorId(u32::try_from(self.operators.len()).unwrap());
        self.operators.push(Operator { id, name: format!("{id}"), kind, parallelism: Parallelism::One, output });
        let distribution = Distribution::Forward;
        let edge = |(port, from): &(u8, OperatorId)| Edge {
            from: *from,
            to: id,
            port: *port,
            distribution: distribution.clone(),
        };
        self.edges.extend(inputs.iter().map(edge));
        id
    }

    pub(crate) fn source(&mut self, table: &str, of: &str) -> OperatorId {
        let source = SourceOperator {
            table: table.to_owned(),
            connector: connector(of),
            physical: rows(),
            predicates: Vec::new(),
            projection: None,
            watermark: None,
        };
        self.add(OperatorKind::Source(Box::new(source)), rows(), &[])
    }

    pub(crate) fn sink(&mut self, table: &str, input: OperatorId) -> OperatorId {
        let sink =
            SinkOperator { table: table.to_owned(), connector: connector("blackhole"), partition_by: Vec::new() };
        let output = self.operators[input.0 as usize].output.clone();
        self.add(OperatorKind::Sink(sink), output, &[(0, input)])
    }

    pub(crate) fn calc(
        &mut self,
        filter: Option<ExprBytes>,
        columns: &[(&str, ExprBytes)],
        inputs: &[OperatorId],
    ) -> OperatorId {
        let type_of = |_| DataType::Int64;
        let inputs: Vec<(u8, OperatorId)> = inputs.iter().map(|input| (0, *input)).collect();
        let before = self.operators[inputs[0].1.0 as usize].output.clone();
        let given = |(name, expression): &(&str, ExprBytes)| {
            let known = super::identity::as_column(expression).and_then(|name| before.field_with_name(&name).ok());
            Field::new(*name, known.map_or_else(|| type_of(()), |field| field.data_type().clone()), true)
        };
        let output = match columns {
            [] => before.clone(),
            columns => Arc::new(Schema::new(columns.iter().map(given).collect::<Vec<_>>())),
        };
        let projection = columns.iter().map(|(_, expression)| expression.clone()).collect::<Vec<_>>();
        let projection = (!projection.is_empty()).then_some(projection);
        self.add(OperatorKind::Calc(Calc { filter, projection }), output, &inputs)
    }

    /// Aggregates per window of the column `ts` and this key.
    pub(crate) fn aggregate(&mut self, key: &str, call: ExprBytes, spec: WindowSpec, input: OperatorId) -> OperatorId {
        let rows = self.operators[input.0 as usize].output.clone();
        let index = |name: &str| rows.index_of(name).unwrap();
        let aggregate = WindowAggregate {
            phase: AggregatePhase::Single,
            windowing: Windowing::EventTime { column: index("ts"), spec },
            keys: vec![index(key)],
            aggregates: vec![call],
            row_schema: rows.clone(),
            window_columns: WindowColumns { start: true, end: true, time: false },
        };
        let key = rows.field(index(key)).data_type().clone();
        let output = schema(&[("k", key), ("n", DataType::Int64), ("window_start", time()), ("window_end", time())]);
        self.add(OperatorKind::WindowAggregate(aggregate), output, &[(0, input)])
    }

    pub(crate) fn graph(self) -> JobGraph {
        let graph = JobGraph {
            format: FORMAT,
            engine_version: "1".to_owned(),
            key_groups: 16,
            operators: self.operators,
            edges: self.edges,
            settings: BTreeMap::new(),
        };
        graph.check().unwrap();
        graph
    }
}
