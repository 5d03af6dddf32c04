//! Checks a job graph without the planner's code: every expression decodes, names only columns of its input, and has
//! the type that the output states.

use arrow::datatypes::{DataType, Schema};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, ExprSchemable};
use thalweg_expr::Functions;
use thalweg_types::{
    ExprBytes, JobGraph, OperatorKind,
    graph::{
        AggregatePhase, Calc, Operator, SourceOperator, WatermarkGenerator, WindowAggregate, WindowJoin, Windowing,
    },
};

pub(super) fn check(graph: &JobGraph) {
    graph.check().expect("the graph keeps its own rules");
    let again = JobGraph::from_bytes(&graph.to_bytes()).expect("the graph survives its persisted form");
    assert_eq!(again, *graph);
    for operator in &graph.operators {
        for port in 0..operator.kind.describe().ports {
            let senders: Vec<_> = graph.inputs(operator.id).filter(|edge| edge.port == port).collect();
            for edge in &senders {
                let first = &graph.operator(senders[0].from).output;
                assert_eq!(graph.operator(edge.from).output, *first, "the inputs of {} differ", operator.id);
            }
        }
        let inputs: Vec<_> =
            (0..operator.kind.describe().ports).filter_map(|port| graph.input_schema(operator.id, port)).collect();
        check_operator(operator, &inputs.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    }
}

fn check_operator(operator: &Operator, inputs: &[&Schema]) {
    match &operator.kind {
        OperatorKind::Source(source) => check_source(source, &operator.output),
        OperatorKind::Calc(calc) => check_calc(calc, inputs[0], &operator.output),
        OperatorKind::WindowAssign(assign) => {
            assert!(is_time(inputs[0], assign.column));
            assert_eq!(operator.output.fields().len(), inputs[0].fields().len() + 3);
        }
        OperatorKind::WindowAggregate(aggregate) => check_aggregate(aggregate, inputs[0], &operator.output),
        OperatorKind::WindowJoin(join) => check_join(join, inputs, &operator.output),
        OperatorKind::WindowTopN(top_n) => {
            assert!(is_time(inputs[0], top_n.window.0) && is_time(inputs[0], top_n.window.1));
            let numbered = usize::from(top_n.emit_row_number);
            assert_eq!(operator.output.fields().len(), inputs[0].fields().len() + numbered);
        }
        OperatorKind::Sort(sort) => {
            assert!(sort.order.iter().all(|sort| sort.column < inputs[0].fields().len()));
            assert_eq!(*operator.output, *inputs[0]);
        }
        OperatorKind::Enumerate(_) => assert_eq!(operator.output, thalweg_types::graph::assignment_schema()),
        OperatorKind::Collect(_) | OperatorKind::Limit(_) => assert_eq!(*operator.output, *inputs[0]),
        OperatorKind::Sink(_) => check_sink(inputs[0], &operator.output),
    }
}

/// A sink alone knows which columns are its connector's metadata, and what its table allows to be NULL.
fn check_sink(input: &Schema, output: &Schema) {
    let of = |schema: &Schema| {
        let fields = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone()));
        fields.collect::<Vec<_>>()
    };
    assert_eq!(of(input), of(output));
    for (given, taken) in input.fields().iter().zip(output.fields()) {
        assert!(taken.is_nullable() || !given.is_nullable(), "{} takes no NULL", taken.name());
    }
}

fn check_source(source: &SourceOperator, output: &Schema) {
    assert!(!source.physical.fields().is_empty(), "a reader must produce something");
    match &source.projection {
        Some(projection) => check_columns(projection, &source.physical, output),
        None => assert_eq!(*source.physical, *output),
    }
    for predicate in &source.predicates {
        let mut field =
            source.physical.field_with_name(&predicate.path[0]).expect("a predicate is on a physical column");
        for name in &predicate.path[1..] {
            let DataType::Struct(children) = field.data_type() else { panic!("{name} is not within a struct") };
            field = children.find(name).expect("a predicate is on a field that is read").1;
        }
    }
    if let Some(watermark) = &source.watermark {
        assert!(is_time(output, watermark.column));
        if let WatermarkGenerator::Expression(expr) = &watermark.generator {
            assert!(matches!(type_of(expr, output), DataType::Timestamp(_, _)));
        }
    }
}

fn check_calc(calc: &Calc, input: &Schema, output: &Schema) {
    if let Some(filter) = &calc.filter {
        assert_eq!(type_of(filter, input), DataType::Boolean);
    }
    match &calc.projection {
        Some(projection) => check_columns(projection, input, output),
        None => assert_eq!(*input, *output),
    }
}

fn check_aggregate(aggregate: &WindowAggregate, input: &Schema, output: &Schema) {
    for (index, key) in aggregate.keys.iter().enumerate() {
        assert_eq!(input.field(*key).data_type(), output.field(index).data_type());
    }
    for call in &aggregate.aggregates {
        assert!(matches!(decode(call), Expr::AggregateFunction(_)));
        let _ = type_of(call, &aggregate.row_schema);
    }
    match &aggregate.windowing {
        Windowing::EventTime { column, .. } => assert!(is_time(input, *column)),
        Windowing::Attached { start, end } => assert!(is_time(input, *start) && is_time(input, *end)),
    }
    if aggregate.phase != AggregatePhase::Global {
        assert_eq!(*aggregate.row_schema, *input);
    }
    if aggregate.phase != AggregatePhase::Local {
        for (call, field) in aggregate.aggregates.iter().zip(&output.fields()[aggregate.keys.len()..]) {
            assert_eq!(type_of(call, &aggregate.row_schema), *field.data_type(), "{}", call.text);
        }
        let windows = aggregate.window_columns;
        let times = [windows.start, windows.end, windows.time].iter().filter(|wanted| **wanted).count();
        assert_eq!(output.fields().len(), aggregate.keys.len() + aggregate.aggregates.len() + times);
    }
}

fn check_join(join: &WindowJoin, inputs: &[&Schema], output: &Schema) {
    assert_eq!(output.fields().len(), inputs[0].fields().len() + inputs[1].fields().len());
    for (left, right) in join.left_keys.iter().zip(&join.right_keys) {
        assert_eq!(inputs[0].field(*left).data_type(), inputs[1].field(*right).data_type());
    }
    for (schema, window) in [(inputs[0], join.left_window), (inputs[1], join.right_window)] {
        assert!(is_time(schema, window.0) && is_time(schema, window.1));
    }
    if let Some(filter) = &join.filter {
        assert_eq!(type_of(filter, output), DataType::Boolean);
    }
}

fn check_columns(exprs: &[ExprBytes], input: &Schema, output: &Schema) {
    assert_eq!(exprs.len(), output.fields().len());
    for (expr, field) in exprs.iter().zip(output.fields()) {
        assert_eq!(type_of(expr, input), *field.data_type(), "{}", expr.text);
    }
}

fn is_time(schema: &Schema, column: usize) -> bool {
    matches!(schema.field(column).data_type(), DataType::Timestamp(_, _))
}

fn type_of(expr: &ExprBytes, schema: &Schema) -> DataType {
    let schema = DFSchema::try_from(schema.clone()).expect("the schema has unique names");
    decode(expr).get_type(&schema).unwrap_or_else(|error| panic!("{}: {error}", expr.text))
}

fn decode(expr: &ExprBytes) -> Expr {
    let (scalar, aggregate) = thalweg_functions::unnamed();
    let functions = Functions::new(
        thalweg_functions::scalar().into_iter().chain(scalar),
        thalweg_functions::aggregate().into_iter().chain(aggregate),
    );
    thalweg_expr::decode(&expr.bytes, &functions).unwrap_or_else(|error| panic!("{}: {error}", expr.text))
}
