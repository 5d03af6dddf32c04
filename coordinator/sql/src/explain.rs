//! The streaming plan as text, from each sink down to its sources.
//!
//! ```text
//! Sink out (print, at least once): auction, count [job] op-4
//! └─ hash(auction) ─ Aggregate … [job] op-3
//!    └─ forward ─ Source bid (nexmark): auction, price [job] op-0
//! ```
//!
//! An operator with several readers is written out once.

mod expression;

use std::{collections::BTreeSet, fmt::Write};

use arrow::datatypes::{Schema, SchemaRef};
use thalweg_types::{
    JobGraph, OperatorId, OperatorKind,
    connector::{Delivers, Delivery, TTL, TableConnector},
    graph::{
        AggregatePhase, Calc, ColumnPredicate, Comparison, Distribution, Edge, Operator, Parallelism, PredicateValue,
        RowRange, SinkOperator, Sort, SortColumn, SourceOperator, WatermarkGenerator, WindowAggregate, WindowJoin,
        WindowSpec, WindowTopN, Windowing,
    },
};

pub(crate) use expression::expression_text;

/// The streaming plan of a graph: its operators, how rows reach them, and their parallelism.
#[must_use]
pub fn explain(graph: &JobGraph) -> String {
    let mut writer = Writer { graph, seen: BTreeSet::new(), text: String::new() };
    for operator in graph.operators.iter().filter(|operator| operator.kind.is_end()) {
        writer.operator(operator, "", "", "");
    }
    writer.text
}

struct Writer<'a> {
    graph: &'a JobGraph,
    seen: BTreeSet<OperatorId>,
    text: String,
}

impl Writer<'_> {
    fn operator(&mut self, operator: &Operator, indent: &str, branch: &str, below: &str) {
        let parallelism = match operator.parallelism {
            Parallelism::Job => "job",
            Parallelism::One => "one",
        };
        let again = !self.seen.insert(operator.id);
        let text = if again { "(as above)".to_owned() } else { self.describe(operator) };
        let line = format!("{indent}{branch}{text} [{parallelism}] {}", operator.id);
        self.text.push_str(line.trim_end());
        self.text.push('\n');
        if again {
            return;
        }
        let edges: Vec<Edge> = self.graph.inputs(operator.id).cloned().collect();
        let indent = format!("{indent}{below}");
        for (index, edge) in edges.iter().enumerate() {
            let last = index + 1 == edges.len();
            let (corner, below) = if last { ("└─", "   ") } else { ("├─", "│  ") };
            let from = self.graph.operator(edge.from);
            let branch = format!("{corner} {} ─ ", distribution(&edge.distribution, &from.output));
            self.operator(from, &indent, &branch, below);
        }
    }

    fn describe(&self, operator: &Operator) -> String {
        let input = |port| self.graph.input_schema(operator.id, port).unwrap_or_else(|| operator.output.clone());
        match &operator.kind {
            OperatorKind::Source(source) => source_text(source, &operator.output),
            OperatorKind::Calc(calc) => calc_text(calc, &operator.output),
            OperatorKind::WindowAssign(assign) => {
                format!("WindowAssign {} on {}", spec_text(assign.spec), name(&input(0), assign.column))
            }
            OperatorKind::WindowAggregate(aggregate) => aggregate_text(aggregate, &input(0)),
            OperatorKind::WindowJoin(join) => join_text(join, &input(0), &input(1)),
            OperatorKind::WindowTopN(top_n) => top_n_text(top_n, &input(0)),
            OperatorKind::Sort(sort) => sort_text(sort, &input(0)),
            OperatorKind::Limit(range) => range_text("Limit", *range),
            OperatorKind::Sink(sink) => {
                let by = partitions_text(sink, &operator.output);
                format!("{}{by}: {}", sink_text(sink, &connector_text(&sink.connector)), names(&operator.output))
            }
            OperatorKind::Collect(collect) => {
                format!("Collect query {}: {}", collect.query + 1, names(&operator.output))
            }
            OperatorKind::Enumerate(enumerate) => format!("Enumerate {}", enumerate.table),
        }
    }
}

fn partitions_text(sink: &SinkOperator, output: &SchemaRef) -> String {
    if let Some(key) = sink.table_key() {
        let kept = sink.connector.option(TTL).map(|ttl| format!(", kept for {ttl}"));
        return format!(" newest by {}{}", columns(output, key), kept.unwrap_or_default());
    }
    match sink.partition_by.as_slice() {
        [] => String::new(),
        indexes => format!(" partitioned by {}", columns(output, indexes)),
    }
}

/// An operator's name for people: its kind and what matters most, in one line.
pub(crate) fn name_of(kind: &OperatorKind, output: &SchemaRef) -> String {
    match kind {
        OperatorKind::Source(source) if source.connector.is_written() => format!("Values {}", source.table),
        OperatorKind::Source(source) => format!("Source {} ({})", source.table, source.connector.name),
        OperatorKind::Calc(calc) => calc_text(calc, output),
        OperatorKind::WindowAssign(assign) => format!("WindowAssign {}", spec_text(assign.spec)),
        OperatorKind::WindowAggregate(aggregate) => {
            let window = match &aggregate.windowing {
                Windowing::EventTime { spec, .. } => spec_text(*spec),
                Windowing::Attached { .. } => "window of its input".to_owned(),
            };
            let calls: Vec<&str> = aggregate.aggregates.iter().map(|call| call.text.as_str()).collect();
            format!("{} {window}: {}", phase_text(aggregate.phase), calls.join(", "))
        }
        OperatorKind::WindowJoin(join) => format!("WindowJoin on {} keys", join.left_keys.len()),
        OperatorKind::WindowTopN(top_n) => format!("WindowTopN {}", top_n.limit),
        OperatorKind::Sort(sort) => sort_text(sort, output),
        OperatorKind::Limit(range) => range_text("Limit", *range),
        OperatorKind::Sink(sink) => sink_text(sink, &sink.connector.name),
        OperatorKind::Collect(collect) => format!("Collect query {}", collect.query + 1),
        OperatorKind::Enumerate(enumerate) => format!("Enumerate {}", enumerate.table),
    }
}

/// Names the sink, and says how often it writes a row, unless it is once and nobody could choose.
fn sink_text(sink: &SinkOperator, connector: &str) -> String {
    let is_chosen = sink.connector.sink().is_some_and(|spec| match spec.delivery {
        Delivers::By(_) => true,
        Delivers::Always(_) => false,
    });
    let guarantee = match sink.connector.delivery() {
        Some(Delivery::AtLeastOnce) => ", at least once",
        Some(Delivery::NoGuarantee) => ", no guarantee",
        Some(Delivery::ExactlyOnce) if is_chosen => ", exactly once",
        Some(Delivery::ExactlyOnce) | None => "",
    };
    format!("Sink {} ({connector}{guarantee})", sink.table)
}

/// The name, and which options are secrets. Other options stand in the script.
fn connector_text(connector: &TableConnector) -> String {
    let secrets = connector.shown_secrets().map(|(key, value)| format!(", '{key}' = {value}"));
    format!("{}{}", connector.name, secrets.collect::<String>())
}

fn source_text(source: &SourceOperator, output: &Schema) -> String {
    if source.connector.is_written() {
        return format!("Values {}: {}", source.table, typed_names(&source.physical));
    }
    let connector = connector_text(&source.connector);
    let mut text = format!("Source {} ({connector}): {}", source.table, typed_names(&source.physical));
    if let Some(projection) = &source.projection {
        let computed = output.fields().iter().zip(projection).filter(|(field, expr)| *field.name() != expr.text);
        for (field, expr) in computed {
            let _ = write!(text, ", {} AS {}", expr.text, field.name());
        }
    }
    if !source.predicates.is_empty() {
        let predicates: Vec<String> = source.predicates.iter().map(predicate_text).collect();
        let _ = write!(text, " where {}", predicates.join(" AND "));
    }
    if let Some(watermark) = &source.watermark {
        let column = name(output, watermark.column);
        let _ = match &watermark.generator {
            WatermarkGenerator::BoundedDelay { delay_micros } => {
                write!(text, " watermark {column} - {}", duration(*delay_micros))
            }
            WatermarkGenerator::Expression(expr) => write!(text, " watermark {column} as {}", expr.text),
        };
        if let Some(idle) = watermark.idle_timeout_micros {
            let _ = write!(text, " idle after {}", duration(idle));
        }
    }
    text
}

fn calc_text(calc: &Calc, output: &Schema) -> String {
    let mut text = "Calc".to_owned();
    if let Some(projection) = &calc.projection {
        let columns = projection.iter().zip(output.fields()).map(|(expr, field)| match expr.text == *field.name() {
            true => expr.text.clone(),
            false => format!("{} AS {}", expr.text, field.name()),
        });
        let _ = write!(text, " {}", columns.collect::<Vec<_>>().join(", "));
    }
    if let Some(filter) = &calc.filter {
        let _ = write!(text, " where {}", filter.text);
    }
    text
}

fn aggregate_text(aggregate: &WindowAggregate, input: &Schema) -> String {
    let window = match &aggregate.windowing {
        Windowing::EventTime { column, spec } => format!("{} on {}", spec_text(*spec), name(input, *column)),
        Windowing::Attached { start, end } => format!("[{}, {})", name(input, *start), name(input, *end)),
    };
    let calls: Vec<&str> = aggregate.aggregates.iter().map(|call| call.text.as_str()).collect();
    let keys = columns(input, &aggregate.keys);
    let by = if keys.is_empty() { String::new() } else { format!(" by {keys}") };
    let what = if calls.is_empty() { String::new() } else { format!(": {}", calls.join(", ")) };
    format!("{} {window}{by}{what}", phase_text(aggregate.phase))
}

fn join_text(join: &WindowJoin, left: &Schema, right: &Schema) -> String {
    let pair = |(left_index, right_index): (&usize, &usize)| {
        format!("{} = {}", name(left, *left_index), name(right, *right_index))
    };
    let window = format!(
        "[{}, {}) = [{}, {})",
        name(left, join.left_window.0),
        name(left, join.left_window.1),
        name(right, join.right_window.0),
        name(right, join.right_window.1)
    );
    let conditions: Vec<String> =
        std::iter::once(window).chain(join.left_keys.iter().zip(&join.right_keys).map(pair)).collect();
    let filter = join.filter.as_ref().map_or_else(String::new, |filter| format!(" where {}", filter.text));
    format!("WindowJoin {}{filter}", conditions.join(" AND "))
}

fn top_n_text(top_n: &WindowTopN, input: &Schema) -> String {
    let order = order_text(&top_n.order, input);
    let keys = columns(input, &top_n.partition);
    let by = if keys.is_empty() { String::new() } else { format!(" by {keys}") };
    let number = if top_n.emit_row_number { " with row number" } else { "" };
    let window = format!("[{}, {})", name(input, top_n.window.0), name(input, top_n.window.1));
    format!("WindowTopN {} {window}{by} order {order}{number}", top_n.limit)
}

fn order_text(order: &[SortColumn], input: &Schema) -> String {
    let one = |sort: &SortColumn| {
        let direction = if sort.descending { "desc" } else { "asc" };
        let nulls = if sort.nulls_first { "nulls first" } else { "nulls last" };
        format!("{} {direction} {nulls}", name(input, sort.column))
    };
    order.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn sort_text(sort: &Sort, input: &Schema) -> String {
    let order = order_text(&sort.order, input);
    match sort.range {
        RowRange { offset: 0, limit: None } => format!("Sort {order}"),
        range => format!("Sort {order} {}", range_text("limit", range)),
    }
}

/// `Limit 3 offset 2`
fn range_text(word: &str, range: RowRange) -> String {
    let limit = range.limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string());
    let offset = if range.offset == 0 { String::new() } else { format!(" offset {}", range.offset) };
    format!("{word} {limit}{offset}")
}

fn phase_text(phase: AggregatePhase) -> &'static str {
    match phase {
        AggregatePhase::Single => "WindowAggregate",
        AggregatePhase::Local => "WindowAggregate(local)",
        AggregatePhase::Global => "WindowAggregate(global)",
    }
}

pub(crate) fn spec_text(spec: WindowSpec) -> String {
    let shifted = |offset: i64| if offset == 0 { String::new() } else { format!(", offset {}", duration(offset)) };
    match spec {
        WindowSpec::Tumble { size, offset } => format!("tumble({}{})", duration(size), shifted(offset)),
        WindowSpec::Hop { size, slide, offset } => {
            format!("hop(slide {}, size {}{})", duration(slide), duration(size), shifted(offset))
        }
        WindowSpec::Cumulate { size, step, offset } => {
            format!("cumulate(step {}, size {}{})", duration(step), duration(size), shifted(offset))
        }
        WindowSpec::Session { gap } => format!("session(gap {})", duration(gap)),
    }
}

fn distribution(distribution: &Distribution, from: &Schema) -> String {
    match distribution {
        Distribution::Forward => "forward".to_owned(),
        Distribution::Hash { keys } => format!("hash({})", columns(from, keys)),
        Distribution::Rebalance => "rebalance".to_owned(),
        Distribution::Gather => "gather".to_owned(),
        Distribution::Assigned => "assigned".to_owned(),
    }
}

fn predicate_text(predicate: &ColumnPredicate) -> String {
    let operator = match predicate.comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::IsNull => "IS NULL",
        Comparison::IsNotNull => "IS NOT NULL",
    };
    let value = match &predicate.value {
        None => String::new(),
        Some(PredicateValue::Integer(number)) => format!(" {number}"),
        Some(PredicateValue::Float(number)) => format!(" {number}"),
        Some(PredicateValue::Text(text)) => format!(" '{text}'"),
        Some(PredicateValue::Boolean(flag)) => format!(" {flag}"),
        Some(PredicateValue::TimestampMicros(micros)) => format!(" {micros} us"),
    };
    format!("{} {operator}{value}", predicate.path.join("."))
}

fn typed_names(schema: &Schema) -> String {
    let column = |field: &arrow::datatypes::FieldRef| match field.data_type() {
        arrow::datatypes::DataType::Struct(children) => {
            let children: Vec<&str> = children.iter().map(|child| child.name().as_str()).collect();
            format!("{}<{}>", field.name(), children.join(", "))
        }
        _ => field.name().clone(),
    };
    schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

fn name(schema: &Schema, index: usize) -> &str {
    schema.fields().get(index).map_or("?", |field| field.name())
}

fn columns(schema: &Schema, indexes: &[usize]) -> String {
    indexes.iter().map(|index| name(schema, *index)).collect::<Vec<_>>().join(", ")
}

/// A duration in the largest unit that gives a whole number.
fn duration(micros: i64) -> String {
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1000, "ms")];
    match units.iter().find(|(unit, _)| micros != 0 && micros % unit == 0) {
        Some((unit, text)) => format!("{} {text}", micros / unit),
        None if micros == 0 => "0 s".to_owned(),
        None => format!("{micros} us"),
    }
}
