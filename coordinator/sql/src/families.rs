//! Refuses to mix types of different families: numbers, texts, booleans and times.
//!
//! DataFusion turns a number beside a text into a text, so that `9 < '10'` is false. As in Flink, such a pair is
//! refused in comparisons, and where a `CASE`, a `UNION ALL` or a `COALESCE` needs one type. A text beside a time may
//! be compared: it is read as a time.

use arrow::datatypes::DataType;
use datafusion_common::{
    DFSchema, Diagnostic, Location as SpanPlace, Result as PlanResult, Span,
    config::ConfigOptions,
    plan_datafusion_err,
    tree_node::{TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast, Union,
    expr::{InList, ScalarFunction},
    type_coercion::binary::type_union_coercion,
    utils::merge_schema,
};
use datafusion_optimizer::AnalyzerRule;
use sqlparser::tokenizer::{Location, TokenWithSpan};
use thalweg_functions::cast;

use thalweg_functions::names::sql_type;

use crate::words::is_word;

/// The rule for whole plans. It only checks.
#[derive(Debug)]
pub(crate) struct UnlikeFamilies {
    /// The places of the statement's `UNION`s, in order.
    unions: Vec<Location>,
}

impl UnlikeFamilies {
    pub(crate) fn new(tokens: &[TokenWithSpan]) -> Self {
        let unions = tokens.iter().filter(|token| is_word(&token.token, "UNION"));
        Self { unions: unions.map(|token| token.span.start).collect() }
    }

    fn check_union(&self, union: &Union) -> PlanResult<()> {
        for (index, field) in union.schema.fields().iter().enumerate() {
            let types: Vec<&DataType> =
                union.inputs.iter().map(|input| input.schema().field(index).data_type()).collect();
            let Some(other) = types.iter().position(|other| do_not_unite(types[0], other)) else { continue };
            let message = format!(
                "column '{}' of UNION ALL is {} in one query and {} in another: CAST one of them",
                field.name(),
                sql_type(types[0]),
                sql_type(types[other])
            );
            let diagnostic = Diagnostic::new_error(message.clone(), self.place_of(union, other, index));
            return Err(plan_datafusion_err!("{message}").with_diagnostic(diagnostic));
        }
        Ok(())
    }

    /// The place of an input's column. Without a column of a table in it, the place of the `UNION` before the input.
    fn place_of(&self, union: &Union, input: usize, column: usize) -> Option<Span> {
        let written = match union.inputs[input].as_ref() {
            LogicalPlan::Projection(projection) => projection.expr.get(column).and_then(|expr| first_span(&[expr])),
            _ => None,
        };
        // A UNION of three queries is nested: a UNION of a UNION and a query.
        let before: usize = union.inputs[..input].iter().map(|input| queries_of(input)).sum();
        let word = before.checked_sub(1).and_then(|index| self.unions.get(index));
        let location = |place: &Location| SpanPlace { line: place.line, column: place.column };
        written.or_else(|| word.map(|place| Span::new(location(place), location(place))))
    }
}

/// The number of queries that a union joins.
fn queries_of(plan: &LogicalPlan) -> usize {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().map(|input| queries_of(input)).sum(),
        _ => 1,
    }
}

/// Whether two types have no common type, or only one that mixes families.
fn do_not_unite(one: &DataType, other: &DataType) -> bool {
    let unlike = unlike(&[one.clone(), other.clone()], Use::Result).is_some();
    unlike || (one != other && type_union_coercion(one, other).is_none())
}

/// The common type of two, as a `UNION ALL` column would have it; `None` where there is none.
pub(crate) fn united(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    let is_decimal = |data_type: &DataType| matches!(data_type, T::Decimal128(_, _));
    match (one, other) {
        (T::Null, known) | (known, T::Null) => Some(known.clone()),
        (one, other) if one == other => Some(one.clone()),
        (one, other) if do_not_unite(one, other) => None,
        (float, decimal) | (decimal, float) if float.is_floating() && is_decimal(decimal) => Some(T::Float64),
        (T::Date32, time @ T::Timestamp(_, _)) | (time @ T::Timestamp(_, _), T::Date32) => Some(time.clone()),
        (one, other) => type_union_coercion(one, other),
    }
}

impl AnalyzerRule for UnlikeFamilies {
    fn name(&self) -> &'static str {
        "unlike_families"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        plan.apply(|node| {
            let schema = merge_schema(&node.inputs());
            match node {
                LogicalPlan::Union(union) => self.check_union(union)?,
                LogicalPlan::Join(join) => {
                    for (left, right) in &join.on {
                        check_group(Use::Comparison, &[left, right], &schema)?;
                    }
                }
                _ => {}
            }
            node.apply_expressions(|expr| check(expr, &schema).map(|()| TreeNodeRecursion::Continue))
        })?;
        Ok(plan)
    }
}

/// Checks an expression with everything inside it.
pub(crate) fn check(expr: &Expr, schema: &DFSchema) -> PlanResult<()> {
    expr.apply(|node| check_node(node, schema).map(|()| TreeNodeRecursion::Continue)).map(|_| ())
}

/// Why a group of expressions must be of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Comparison,
    Result,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Text,
    Boolean,
    Time,
}

impl Family {
    /// `None` for NULL, and for types that coercion leaves alone or refuses.
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Boolean => Some(Self::Boolean),
            DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(_, _) => Some(Self::Time),
            number if number.is_numeric() => Some(Self::Number),
            _ => None,
        }
    }

    fn mixes(self, other: Self, used: Use) -> bool {
        let read_as_time = matches!((self, other), (Self::Time, Self::Text) | (Self::Text, Self::Time));
        self == other || (used == Use::Comparison && read_as_time)
    }
}

fn check_node(expr: &Expr, schema: &DFSchema) -> PlanResult<()> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            check_group(Use::Comparison, &[left, right], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => check_group(Use::Comparison, &[expr, low, high], schema),
        Expr::InList(InList { expr, list, .. }) => {
            let group: Vec<&Expr> = std::iter::once(expr.as_ref()).chain(list).collect();
            check_group(Use::Comparison, &group, schema)
        }
        Expr::Case(case) => check_case(case, schema),
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            check_cast(expr, field.data_type(), schema)
        }
        Expr::ScalarFunction(call) => check_call(call, schema),
        _ => Ok(()),
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Refuses a cast that does not exist.
fn check_cast(expr: &Expr, to: &DataType, schema: &DFSchema) -> PlanResult<()> {
    let Ok(from) = expr.get_type(schema) else { return Ok(()) };
    let Err(reason) = cast::check(&from, to) else { return Ok(()) };
    let message = format!("{} cannot be cast to {}: {reason}", sql_type(&from), sql_type(to));
    let diagnostic = Diagnostic::new_error(message.clone(), first_span(&[expr]));
    Err(plan_datafusion_err!("{message}").with_diagnostic(diagnostic))
}

fn check_case(case: &Case, schema: &DFSchema) -> PlanResult<()> {
    if let Some(operand) = &case.expr {
        let whens = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
        check_group(Use::Comparison, &std::iter::once(operand.as_ref()).chain(whens).collect::<Vec<_>>(), schema)?;
    }
    let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let results: Vec<&Expr> = thens.chain(case.else_expr.as_deref()).collect();
    let whens: Vec<&Expr> = case.when_then_expr.iter().map(|(when, _)| when.as_ref()).collect();
    check_group_near(Use::Result, &results, &whens, schema)
}

fn check_call(call: &ScalarFunction, schema: &DFSchema) -> PlanResult<()> {
    let args: Vec<&Expr> = call.args.iter().collect();
    match call.func.name() {
        "coalesce" | "greatest" | "least" | "nvl" => check_group(Use::Result, &args, schema),
        // The first argument is only tested for NULL.
        "nvl2" => check_group(Use::Result, args.get(1..).unwrap_or_default(), schema),
        "nullif" => check_group(Use::Comparison, &args, schema),
        _ => Ok(()),
    }
}

fn check_group(used: Use, group: &[&Expr], schema: &DFSchema) -> PlanResult<()> {
    check_group_near(used, group, &[], schema)
}

/// Refuses a group if a type in it does not mix with the first. An expression without a type is left for coercion to
/// refuse. A group of constants has no place, so the error takes the place of the expressions in `near`.
fn check_group_near(used: Use, group: &[&Expr], near: &[&Expr], schema: &DFSchema) -> PlanResult<()> {
    let types: Vec<DataType> = group.iter().filter_map(|expr| expr.get_type(schema).ok()).collect();
    let message = match (unlike(&types, used), used) {
        // Arrow cannot compare them: to it a day is not 24 hours, nor a month 30 days.
        _ if used == Use::Comparison && types.iter().any(|data_type| matches!(data_type, DataType::Interval(_))) => {
            "INTERVALs cannot be compared: compare the times, or TIMESTAMPDIFF(unit, from, to) with a number".to_owned()
        }
        (None, _) => return Ok(()),
        (Some((one, other)), Use::Comparison) => {
            format!("{} cannot be compared with {}: CAST one of them", sql_type(one), sql_type(other))
        }
        (Some((one, other)), Use::Result) => {
            let (one, other) = (sql_type(one), sql_type(other));
            format!("{one} and {other} cannot both be results of one expression: CAST one of them")
        }
    };
    let diagnostic = Diagnostic::new_error(message.clone(), first_span(group).or_else(|| first_span(near)));
    Err(plan_datafusion_err!("{message}").with_diagnostic(diagnostic))
}

fn unlike(types: &[DataType], used: Use) -> Option<(&DataType, &DataType)> {
    let mut known = types.iter().filter_map(|data_type| Family::of(data_type).map(|family| (family, data_type)));
    let (first, one) = known.next()?;
    known.find(|(family, _)| !first.mixes(*family, used)).map(|(_, other)| (one, other))
}

fn first_span(group: &[&Expr]) -> Option<Span> {
    let columns = group.iter().flat_map(|expr| expr.column_refs());
    columns.filter_map(|column| column.spans.first()).min_by_key(|span| (span.start.line, span.start.column))
}
