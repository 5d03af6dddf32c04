//! Rows that stand in the text: `VALUES (1, 'a'), (2, 'b')`, and `SELECT 1` without `FROM`.
//!
//! ```text
//! VALUES (1, 'a')          SELECT * FROM (VALUES (1, 'a')) AS `VALUES` (`EXPR$0`, `EXPR$1`), as Flink names them
//! SELECT 1 AS a, 'b' AS b  SELECT * FROM (VALUES (1, 'b')) AS `VALUES` (a, b)
//! SELECT 1 WHERE …         SELECT 1 FROM (VALUES (TRUE)) AS `VALUES` WHERE …
//! ```
//!
//! So all such rows stand in `FROM` and are evaluated while the script is planned: what fails is an error with its
//! place. The plan then carries the rows as data, to the one subtask that reads them. That is why their number and size
//! are bounded.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    fmt,
    ops::ControlFlow,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::writer::StreamWriter,
};
use datafusion_common::{
    DFSchema, DFSchemaRef, DataFusionError, Diagnostic, Result as PlanResult, ScalarValue, Span as PlanSpan,
    plan_datafusion_err, tree_node::TreeNode,
};
use datafusion_expr::{
    Cast, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
    planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
};
use sqlparser::{
    ast::{
        self, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned, TableAlias, TableAliasColumnDef,
        TableFactor, TableWithJoins, VisitMut, VisitorMut, helpers::attached_token::AttachedToken, visit_expressions,
    },
    dialect::GenericDialect,
    parser::Parser,
    tokenizer::Span,
};
use thalweg_functions::names::sql_type;
use thalweg_functions::physical;
use thalweg_types::text::to_hex;

use crate::{families, settle::settled, wording::readable};

/// The most rows of one `VALUES`.
const ROWS_MAX: usize = 10_000;
/// The most bytes of one `VALUES` as an Arrow stream. The plan holds it, and every node gets the plan.
const BYTES_MAX: usize = 1 << 20;

/// The relation's name where the text gives none.
const NAME: &str = "VALUES";

/// Moves rows that stand in a query's text into `FROM`.
pub(crate) fn into_from(query: &mut Query) {
    let visited: ControlFlow<()> = query.visit(&mut IntoFrom);
    debug_assert!(visited.is_continue(), "nothing ends the visit");
}

struct IntoFrom;

impl VisitorMut for IntoFrom {
    type Break = ();

    /// After the visit, because the new query around the rows must not be visited with them.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        rows_of_body(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn rows_of_body(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            rows_of_body(left);
            rows_of_body(right);
        }
        SetExpr::Values(values) => {
            let columns = values.rows.first().map_or(0, |row| row.content.len());
            let names = (0..columns).map(|column| Ident::with_quote('`', format!("EXPR${column}"))).collect();
            let values = std::mem::replace(values, one_row(Vec::new()));
            *body = SetExpr::Select(Box::new(all_of(in_from(values, names))));
        }
        SetExpr::Select(select) if select.from.is_empty() => give_row(select),
        _ => {}
    }
}

/// Gives a `SELECT` without `FROM` one row. The row holds the columns, if nothing else is done to it; else it is `TRUE`
/// and the columns are computed from it.
fn give_row(select: &mut Select) {
    let column = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((expr.clone(), alias.clone())),
        SelectItem::UnnamedExpr(expr @ ast::Expr::Identifier(name)) => Some((expr.clone(), name.clone())),
        _ => None,
    };
    let has_groups = !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let is_plain = select.selection.is_none() && select.having.is_none() && !has_groups;
    let columns: Option<Vec<(ast::Expr, Ident)>> = select.projection.iter().map(column).collect();
    let is_evaluated = |(expr, _): &(ast::Expr, Ident)| !names_growing(expr);
    match columns.filter(|columns| is_plain && columns.iter().all(is_evaluated)) {
        Some(columns) => {
            let (row, names) = columns.into_iter().unzip();
            select.from = vec![in_from(one_row(row), names)];
            select.projection = vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
        }
        None => {
            let row = vec![ast::Expr::Value(ast::Value::Boolean(true).into())];
            select.from = vec![in_from(one_row(row), Vec::new())];
        }
    }
}

fn one_row(row: Vec<ast::Expr>) -> ast::Values {
    let row = ast::Parens::with_empty_span(row);
    ast::Values { explicit_row: false, value_keyword: false, rows: vec![row] }
}

fn in_from(values: ast::Values, names: Vec<Ident>) -> TableWithJoins {
    let subquery = Query {
        with: None,
        body: Box::new(SetExpr::Values(values)),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    let columns = names.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: Ident::with_quote('`', NAME), columns, at: None };
    let relation =
        TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: Some(alias), sample: None };
    TableWithJoins { relation, joins: Vec::new() }
}

/// `SELECT *` from a relation; it stands nowhere in the text.
fn all_of(relation: TableWithJoins) -> Select {
    const WHY: &str = "it is a query of the simplest kind";
    // Not by our dialect, which counts what it reads of a statement.
    let statement = Parser::parse_sql(&GenericDialect {}, "SELECT *").expect(WHY).pop();
    let Some(ast::Statement::Query(query)) = statement else { unreachable!("{WHY}") };
    let SetExpr::Select(select) = *query.body else { unreachable!("{WHY}") };
    Select {
        select_token: AttachedToken::empty(),
        projection: vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())],
        from: vec![relation],
        ..*select
    }
}

/// Whether an expression calls a function whose value may be too large to evaluate while planning.
fn names_growing(expr: &ast::Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        ast::Expr::Function(call) if physical::grows(&call.name.to_string().to_ascii_lowercase()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Rows that stand in the text, evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ValuesNode {
    schema: DFSchemaRef,
    /// The number of rows.
    pub(crate) count: usize,
    /// The rows as an Arrow stream, in base 16.
    pub(crate) stream: Arc<str>,
}

impl ValuesNode {
    /// The rows' schema.
    pub(crate) fn columns(&self) -> SchemaRef {
        Arc::new(Schema::new(self.schema.fields().clone()))
    }
}

impl PartialOrd for ValuesNode {
    fn partial_cmp(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for ValuesNode {
    fn name(&self) -> &str {
        "Values"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values: {} rows", self.count)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        Ok(self.clone())
    }
}

/// Plans `(VALUES …)` in `FROM`.
#[derive(Debug)]
pub(crate) struct ValuesPlanner;

impl RelationPlanner for ValuesPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        match relation {
            TableFactor::Derived { subquery, alias, .. } if matches!(*subquery.body, SetExpr::Values(_)) => {
                let SetExpr::Values(values) = *subquery.body else { unreachable!("it was looked at") };
                let node = evaluated(values, context)?;
                let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

fn evaluated(values: ast::Values, context: &mut dyn RelationPlannerContext) -> PlanResult<ValuesNode> {
    let all = values.rows.iter().flat_map(|row| &row.content).map(Spanned::span).next().unwrap_or_else(Span::empty);
    if values.rows.len() > ROWS_MAX {
        let message = format!("VALUES has {} rows, and at most {ROWS_MAX} are taken: {ELSEWHERE}", values.rows.len());
        return Err(placed(all, message));
    }
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let count = values.rows.len();
    let mut columns: Vec<Vec<Cell>> = (0..width).map(|_| Vec::with_capacity(count)).collect();
    for (number, row) in values.rows.into_iter().enumerate() {
        if row.content.len() != width {
            let place = row.content.first().map_or(all, Spanned::span);
            let (row, given) = (number + 1, row.content.len());
            let message = format!("row {row} of VALUES has {given} values, and the first row has {width}");
            return Err(placed(place, message));
        }
        for (column, expr) in columns.iter_mut().zip(row.content) {
            column.push(Cell::of(expr, context)?);
        }
    }
    let arrays = columns.into_iter().enumerate().map(|(column, cells)| array(column, cells));
    let arrays = arrays.collect::<PlanResult<Vec<ArrayRef>>>()?;
    rows_of(arrays, count, all)
}

const ELSEWHERE: &str = "put them into a file, and read it as a table";

fn rows_of(arrays: Vec<ArrayRef>, count: usize, place: Span) -> PlanResult<ValuesNode> {
    let fields = arrays.iter().enumerate().map(|(column, array)| {
        let nullable = array.logical_null_count() > 0;
        Field::new(format!("EXPR${column}"), array.data_type().clone(), nullable)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    if stream.len() > BYTES_MAX {
        let bytes = stream.len();
        return Err(placed(
            place,
            format!("VALUES takes {bytes} bytes, and at most {BYTES_MAX} are taken: {ELSEWHERE}"),
        ));
    }
    let schema = DFSchema::from_unqualified_fields(schema.fields().clone(), HashMap::new())?;
    Ok(ValuesNode { schema: Arc::new(schema), count, stream: to_hex(&stream).into() })
}

/// A value with its place and its text.
struct Cell {
    value: ScalarValue,
    place: Span,
    text: String,
}

impl Cell {
    fn of(expr: ast::Expr, context: &mut dyn RelationPlannerContext) -> PlanResult<Self> {
        let (place, text) = (expr.span(), expr.to_string());
        let schema = DFSchema::empty();
        let planned = context.sql_to_expr(expr, &schema)?;
        let aggregates = |part: &Expr| Ok(matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_)));
        if planned.exists(aggregates)? {
            return Err(placed(place, format!("{text}: a function of many rows needs FROM")));
        }
        let placed_error = |error: DataFusionError| match error.diagnostic() {
            Some(_) => error,
            None => placed(place, readable(&error)),
        };
        let settled = settled(planned, &schema).map_err(placed_error)?;
        let value = value(&settled).map_err(|error| failed(place, &text, &error))?;
        Ok(Self { value, place, text })
    }
}

fn value(expr: &Expr) -> PlanResult<ScalarValue> {
    match physical::constant(expr) {
        Some(value) => Ok(value),
        None if expr.exists(|part| Ok(is_growing(part)))? => {
            Err(plan_datafusion_err!("its value may be large, so it cannot stand in VALUES: write SELECT … UNION ALL"))
        }
        None => physical::value(expr),
    }
}

fn is_growing(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if physical::grows(call.func.name()))
}

/// An array of a column's values, cast to the one type that unites theirs as in a `UNION ALL`. `column` is its index,
/// for errors.
fn array(column: usize, cells: Vec<Cell>) -> PlanResult<ArrayRef> {
    let mut united = DataType::Null;
    for cell in &cells {
        let given = cell.value.data_type();
        united = families::united(&united, &given).ok_or_else(|| {
            let (one, other) = (sql_type(&united), sql_type(&given));
            let column = column + 1;
            placed(
                cell.place,
                format!("column {column} of VALUES is {one} in one row and {other} in another: CAST one of them"),
            )
        })?;
    }
    if united == DataType::Null {
        return Ok(new_null_array(&united, cells.len()));
    }
    let mut values = Vec::with_capacity(cells.len());
    for Cell { value, place, text } in cells {
        values.push(match value.data_type() == united {
            true => value,
            false if value.is_null() => ScalarValue::try_from(&united)?,
            false => physical::value(&Expr::Cast(Cast::new(Box::new(Expr::Literal(value, None)), united.clone())))
                .map_err(|error| failed(place, &text, &error))?,
        });
    }
    ScalarValue::iter_to_array(values)
}

/// An error about a value that cannot be computed. Names its text, unless the message does.
fn failed(place: Span, text: &str, error: &DataFusionError) -> DataFusionError {
    let message = readable(error);
    placed(place, if message.contains(text) { message } else { format!("{text}: {message}") })
}

fn placed(span: Span, message: String) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(message.clone(), PlanSpan::try_from_sqlparser_span(span));
    plan_datafusion_err!("{message}").with_diagnostic(diagnostic)
}
