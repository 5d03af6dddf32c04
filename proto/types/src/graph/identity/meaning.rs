//! The parts of an operator's identity, and what rows come from its inputs.

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::{Schema, SchemaRef};
use serde_json::json;

use super::{
    OperatorIdentity, PASSED_MAX,
    parts::Parts,
    shape::{Columns as _, Named, Placed, Places, add_column, add_shape, as_column},
    type_text,
};
use crate::{
    connector::{TableConnector, VALUES_ROWS},
    graph::{
        AggregatePhase, Calc, JobGraph, Operator, OperatorKind, SortColumn, SourceOperator, WindowAggregate,
        WindowAssign, WindowJoin, WindowSpec, WindowTopN, Windowing,
    },
    id::OperatorId,
};

/// `window_start`, `window_end`, `window_time`.
const WINDOW_COLUMNS: usize = 3;

/// Describes operators in the order of the graph. Each needs the identities of those before it.
pub(super) struct Meanings<'a> {
    graph: &'a JobGraph,
    identities: Vec<OperatorIdentity>,
    /// By operator: how many are passed through one behind the other, itself included; 0: it is not passed through.
    passed: Vec<u32>,
    /// What was asked before: a sender that several operators read is described once for all of them.
    outputs: BTreeMap<(OperatorId, Vec<usize>), u64>,
}

impl<'a> Meanings<'a> {
    pub(super) fn new(graph: &'a JobGraph) -> Self {
        let mut passed: Vec<u32> = Vec::with_capacity(graph.operators.len());
        for operator in &graph.operators {
            passed.push(match &operator.kind {
                OperatorKind::Calc(_) | OperatorKind::WindowAssign(_) => {
                    let before = graph.inputs(operator.id).map(|edge| passed[edge.from.0 as usize]).max();
                    (before.unwrap_or(0) + 1) % (PASSED_MAX + 1)
                }
                OperatorKind::Enumerate(_)
                | OperatorKind::Source(_)
                | OperatorKind::WindowAggregate(_)
                | OperatorKind::WindowJoin(_)
                | OperatorKind::WindowTopN(_)
                | OperatorKind::Sort(_)
                | OperatorKind::Limit(_)
                | OperatorKind::Sink(_)
                | OperatorKind::Collect(_) => 0,
            });
        }
        Self { graph, identities: Vec::with_capacity(graph.operators.len()), passed, outputs: BTreeMap::new() }
    }

    /// Takes the identity of the next operator.
    pub(super) fn know(&mut self, identity: OperatorIdentity) {
        self.identities.push(identity);
    }

    pub(super) fn into_identities(self) -> Vec<OperatorIdentity> {
        self.identities
    }

    /// The parts of an operator's identity, but for the number of equal ones.
    pub(super) fn of(&mut self, operator: &Operator) -> Parts {
        let id = operator.id;
        let mut parts = Parts::default();
        parts.word("thalweg-state-1");
        parts.word(operator.kind.state_form().kind);
        match &operator.kind {
            OperatorKind::Enumerate(enumerate) => parts.word(&enumerate.table),
            OperatorKind::Source(source) => add_table(&mut parts, &source.table, &source.connector),
            OperatorKind::Sink(sink) => {
                add_table(&mut parts, &sink.table, &sink.connector);
                if let Some(key) = sink.table_key() {
                    parts.indexes(key);
                    let schema = self.input(id, 0);
                    add_types(&mut parts, &schema, Places::all(&schema).columns());
                }
            }
            OperatorKind::Calc(calc) => self.add_calc(&mut parts, id, calc),
            OperatorKind::WindowAssign(assign) => {
                add_window(&mut parts, assign.spec);
                parts.count(assign.column);
                self.add_whole(&mut parts, id, 0);
            }
            OperatorKind::WindowAggregate(aggregate) => self.add_aggregate(&mut parts, id, aggregate),
            OperatorKind::WindowJoin(join) => {
                let WindowJoin { left_window, right_window, left_keys, right_keys, filter: _ } = join;
                parts.indexes(&[left_window.0, left_window.1, right_window.0, right_window.1]);
                parts.indexes(left_keys);
                parts.indexes(right_keys);
                self.add_whole(&mut parts, id, 0);
                self.add_whole(&mut parts, id, 1);
            }
            OperatorKind::WindowTopN(top_n) => {
                let WindowTopN { window, partition, order, limit, emit_row_number } = top_n;
                parts.indexes(&[window.0, window.1]);
                parts.indexes(partition);
                add_order(&mut parts, order);
                parts.number(*limit);
                parts.flag(*emit_row_number);
                self.add_whole(&mut parts, id, 0);
            }
            OperatorKind::Sort(sort) => {
                add_order(&mut parts, &sort.order);
                parts.number(sort.range.offset);
                parts.option(sort.range.limit, Parts::number);
                self.add_whole(&mut parts, id, 0);
            }
            OperatorKind::Limit(range) => {
                parts.number(range.offset);
                parts.option(range.limit, Parts::number);
                parts.number(self.port(id, 0, &[]));
            }
            OperatorKind::Collect(_) => self.add_whole(&mut parts, id, 0),
        }
        parts
    }

    fn add_calc(&mut self, parts: &mut Parts, id: OperatorId, calc: &Calc) {
        let schema = self.input(id, 0);
        let mut places = Places::all(&schema);
        let mut columns = Placed { schema: &schema, places: &mut places };
        parts.option(calc.filter.as_ref(), |parts, filter| add_shape(parts, filter, &mut columns));
        parts.option(calc.projection.as_ref(), |parts, projection| {
            parts.list(projection, |parts, column| add_shape(parts, column, &mut columns));
        });
        self.add_whole(parts, id, 0);
    }

    fn add_aggregate(&mut self, parts: &mut Parts, id: OperatorId, aggregate: &WindowAggregate) {
        let WindowAggregate { phase, windowing, keys, aggregates, row_schema, window_columns } = aggregate;
        let mut places = Places::default();
        // The global phase aggregates columns that do not come any more.
        let mut before = (*phase == AggregatePhase::Global).then(Places::default);
        parts.word(match phase {
            AggregatePhase::Single => "single",
            AggregatePhase::Local => "local",
            AggregatePhase::Global => "global",
        });
        match windowing {
            Windowing::EventTime { column, spec } => {
                parts.word("event time");
                add_window(parts, *spec);
                parts.count(places.of(*column));
            }
            Windowing::Attached { start, end } => {
                parts.word("attached");
                parts.count(places.of(*start));
                parts.count(places.of(*end));
            }
        }
        parts.list(keys, |parts, key| parts.count(places.of(*key)));
        parts.list(aggregates, |parts, call| {
            let places = before.as_mut().unwrap_or(&mut places);
            add_shape(parts, call, &mut Placed { schema: row_schema, places });
        });
        for is_emitted in [window_columns.start, window_columns.end, window_columns.time] {
            parts.flag(is_emitted);
        }
        add_types(parts, &self.input(id, 0), places.columns());
        if let Some(before) = before {
            add_types(parts, row_schema, before.columns());
        }
        parts.number(self.port(id, 0, places.columns()));
    }

    /// The types of all columns of a port, and its hash.
    fn add_whole(&mut self, parts: &mut Parts, id: OperatorId, port: u8) {
        let schema = self.input(id, port);
        let all = Places::all(&schema);
        add_types(parts, &schema, all.columns());
        parts.number(self.port(id, port, all.columns()));
    }

    fn input(&self, id: OperatorId, port: u8) -> SchemaRef {
        self.graph.input_schema(id, port).unwrap_or_else(|| Schema::empty().into())
    }

    /// What comes in some columns of a port.
    fn port(&mut self, id: OperatorId, port: u8, columns: &[usize]) -> u64 {
        let graph = self.graph;
        let senders = graph.inputs(id).filter(|edge| edge.port == port);
        let mut hashes: Vec<u64> = senders.map(|edge| self.output(edge.from, columns)).collect();
        if let [only] = hashes.as_slice() {
            return *only;
        }
        hashes.sort_unstable();
        let mut parts = Parts::default();
        parts.word("union");
        parts.list(hashes, Parts::number);
        parts.hash()
    }

    /// What an operator gives in some of its columns.
    fn output(&mut self, id: OperatorId, columns: &[usize]) -> u64 {
        if let Some(known) = self.outputs.get(&(id, columns.to_vec())) {
            return *known;
        }
        let operator = self.graph.operator(id);
        let is_passed = self.passed[id.0 as usize] > 0;
        let hash = match &operator.kind {
            OperatorKind::Source(source) => self.of_source(operator, source, columns),
            OperatorKind::Calc(calc) if is_passed => self.through_calc(id, calc, columns),
            OperatorKind::WindowAssign(assign) if is_passed => self.through_assign(operator, assign, columns),
            OperatorKind::Enumerate(_)
            | OperatorKind::Calc(_)
            | OperatorKind::WindowAssign(_)
            | OperatorKind::WindowAggregate(_)
            | OperatorKind::WindowJoin(_)
            | OperatorKind::WindowTopN(_)
            | OperatorKind::Sort(_)
            | OperatorKind::Limit(_)
            | OperatorKind::Sink(_)
            | OperatorKind::Collect(_) => {
                let mut parts = Parts::default();
                parts.word("output");
                parts.number(self.identities[id.0 as usize].0);
                parts.indexes(columns);
                parts.hash()
            }
        };
        self.outputs.insert((id, columns.to_vec()), hash);
        hash
    }

    fn of_source(&self, operator: &Operator, source: &SourceOperator, columns: &[usize]) -> u64 {
        let mut parts = Parts::default();
        parts.word("source");
        parts.number(self.identities[operator.id.0 as usize].0);
        parts.list(columns, |parts, column| match &source.projection {
            None => {
                let name = operator.output.fields().get(*column).map_or("", |field| field.name());
                add_column(parts, Named(&source.physical).value(name));
            }
            Some(projection) => match projection.get(*column) {
                Some(expression) => add_shape(parts, expression, &mut Named(&source.physical)),
                None => add_column(parts, json!("")),
            },
        });
        parts.hash()
    }

    fn through_calc(&mut self, id: OperatorId, calc: &Calc, columns: &[usize]) -> u64 {
        let Some(projection) = &calc.projection else { return self.port(id, 0, columns) };
        let schema = self.input(id, 0);
        let wanted = || columns.iter().map(|column| projection.get(*column));
        let passed = wanted().map(|expression| schema.index_of(&as_column(expression?)?).ok());
        let passed: Option<Vec<usize>> = passed.collect();
        let is_each_once = |passed: &Vec<usize>| passed.iter().collect::<BTreeSet<_>>().len() == passed.len();
        if let Some(passed) = passed.filter(is_each_once) {
            return self.port(id, 0, &passed);
        }
        let (mut parts, mut places) = (Parts::default(), Places::default());
        parts.word("calc");
        parts.list(wanted(), |parts, expression| match expression {
            Some(expression) => {
                add_shape(parts, expression, &mut Placed { schema: &schema, places: &mut places });
            }
            None => add_column(parts, json!("")),
        });
        parts.number(self.port(id, 0, places.columns()));
        parts.hash()
    }

    fn through_assign(&mut self, operator: &Operator, assign: &WindowAssign, columns: &[usize]) -> u64 {
        let width = operator.output.fields().len().saturating_sub(WINDOW_COLUMNS);
        if columns.iter().all(|column| *column < width) {
            return self.port(operator.id, 0, columns);
        }
        let (mut parts, mut places) = (Parts::default(), Places::default());
        places.of(assign.column);
        parts.word("window_assign");
        add_window(&mut parts, assign.spec);
        parts.list(columns, |parts, column| match column.checked_sub(width) {
            None => {
                parts.word("column");
                parts.count(places.of(*column));
            }
            Some(part) => {
                parts.word("window");
                parts.count(part);
            }
        });
        parts.number(self.port(operator.id, 0, places.columns()));
        parts.hash()
    }
}

fn add_table(parts: &mut Parts, table: &str, connector: &TableConnector) {
    parts.word(table);
    parts.word(&connector.name);
    if connector.is_written() {
        parts.word(connector.option(VALUES_ROWS).unwrap_or_default());
    }
}

fn add_types(parts: &mut Parts, schema: &Schema, columns: &[usize]) {
    let text = |column: &usize| schema.fields().get(*column).map(|field| type_text(field.data_type()));
    let types: Vec<String> = columns.iter().map(|column| text(column).unwrap_or_default()).collect();
    parts.words(&types);
}

fn add_order(parts: &mut Parts, order: &[SortColumn]) {
    parts.list(order, |parts, SortColumn { column, descending, nulls_first }| {
        parts.count(*column);
        parts.flag(*descending);
        parts.flag(*nulls_first);
    });
}

fn add_window(parts: &mut Parts, window: WindowSpec) {
    let (word, numbers) = match window {
        WindowSpec::Tumble { size, offset } => ("tumble", vec![size, offset]),
        WindowSpec::Hop { size, slide, offset } => ("hop", vec![size, slide, offset]),
        WindowSpec::Cumulate { size, step, offset } => ("cumulate", vec![size, step, offset]),
        WindowSpec::Session { gap } => ("session", vec![gap]),
    };
    parts.word(word);
    numbers.into_iter().for_each(|number| parts.signed(number));
}
