//! `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` as table functions.
//!
//! ```text
//! TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset]))
//! TABLE(HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset]))
//! TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), step, size [, offset]))
//! TABLE(SESSION(TABLE t [PARTITION BY k, …], DESCRIPTOR(ts), gap))
//! ```
//!
//! The outer `TABLE(…)` is optional, and arguments may have Flink's names. Each call becomes a node that appends
//! `window_start`, `window_end` and `window_time` to its input's columns. `lower` checks that `ts` carries event time.

use std::{cmp::Ordering, collections::HashSet, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{
    DFSchema, DFSchemaRef, Diagnostic, Result as PlanResult, Span as PlanSpan, TableReference, plan_datafusion_err,
    plan_err,
};
use datafusion_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
    planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
};
use sqlparser::{
    ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned, TableAlias, TableFactor},
    tokenizer::Span,
};
use thalweg_types::graph::WindowSpec;

use crate::intervals::interval_micros;

/// The columns that every window table function appends, in this order.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// The most windows that a row may be in. Each window has state per key, and a join gets each row once per window.
const WINDOWS_PER_ROW_MAX: i64 = 10_000;

/// The type of the window columns.
pub(crate) fn window_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// A window table function over its input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTvf {
    pub(crate) input: LogicalPlan,
    /// The event-time column, a column of the input.
    pub(crate) time: Expr,
    pub(crate) spec: WindowSpec,
    /// The keys of a session.
    pub(crate) partition: Vec<Expr>,
    schema: DFSchemaRef,
}

impl WindowTvf {
    fn try_new(input: LogicalPlan, time: Expr, spec: WindowSpec, partition: Vec<Expr>) -> PlanResult<Self> {
        let schema = Arc::new(appended(input.schema())?);
        Ok(Self { input, time, spec, partition, schema })
    }
}

impl PartialOrd for WindowTvf {
    fn partial_cmp(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for WindowTvf {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(self.time.clone()).chain(self.partition.iter().cloned()).collect()
    }

    /// A session's extent depends on all rows of its key, so only conditions on the key may go below it.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let session = matches!(self.spec, WindowSpec::Session { .. });
        let keys: Vec<&str> = self
            .partition
            .iter()
            .filter_map(|key| if let Expr::Column(column) = key { Some(column.name.as_str()) } else { None })
            .collect();
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        names
            .filter(|name| match session {
                true => !keys.contains(&name.as_str()),
                false => WINDOW_COLUMNS.contains(&name.as_str()),
            })
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window: {:?} on {}", self.spec, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let (mut exprs, mut inputs) = (exprs.into_iter(), inputs.into_iter());
        match (exprs.next(), inputs.next()) {
            (Some(time), Some(input)) => Self::try_new(input, time, self.spec, exprs.collect()),
            _ => plan_err!("a window table function needs a time column and an input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut needed: Vec<usize> =
            output_columns.iter().copied().filter(|index| *index < schema.fields().len()).collect();
        for column in self.expressions().iter().flat_map(Expr::column_refs) {
            needed.push(schema.index_of_column(column).ok()?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// The input's columns, then the window's columns. These take the input's qualifier if all its columns have the same
/// one.
fn appended(input: &DFSchema) -> PlanResult<DFSchema> {
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
        input.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
    let qualifier = fields.first().and_then(|(first, _)| first.clone());
    let qualifier = qualifier.filter(|first| fields.iter().all(|(other, _)| other.as_ref() == Some(first)));
    for name in WINDOW_COLUMNS {
        if fields.iter().any(|(_, field)| field.name() == name) {
            return plan_err!("the table function's input has a column '{name}' already; give it another name there");
        }
        fields.push((qualifier.clone(), Arc::new(Field::new(name, window_type(), false))));
    }
    DFSchema::new_with_metadata(fields, std::collections::HashMap::new())
}

/// Plans the four functions in `FROM`.
#[derive(Debug)]
pub(crate) struct WindowTvfPlanner;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Function {
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TUMBLE" => Self::Tumble,
            "HOP" => Self::Hop,
            "CUMULATE" => Self::Cumulate,
            "SESSION" => Self::Session,
            _ => return None,
        })
    }

    /// The names of the arguments in order, and how many of them are required.
    fn parameters(self) -> (&'static [&'static str], usize) {
        match self {
            Self::Tumble => (&["DATA", "TIMECOL", "SIZE", "OFFSET"], 3),
            Self::Hop => (&["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"], 4),
            Self::Cumulate => (&["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"], 4),
            Self::Session => (&["DATA", "TIMECOL", "GAP"], 3),
        }
    }
}

impl RelationPlanner for WindowTvfPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        let Some(call) = Call::of(&relation) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let alias = call.alias.clone();
        let node = call.plan(context)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// A call of one of the functions, as parsed.
struct Call {
    function: Function,
    name: Ident,
    arguments: Vec<FunctionArg>,
    alias: Option<TableAlias>,
}

impl Call {
    fn of(relation: &TableFactor) -> Option<Self> {
        let (name, arguments, alias) = match relation {
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args.clone(), alias),
            TableFactor::TableFunction { expr: ast::Expr::Function(function), alias } => match &function.args {
                FunctionArguments::List(list) => (&function.name, list.args.clone(), alias),
                _ => return None,
            },
            _ => return None,
        };
        let [part] = name.0.as_slice() else { return None };
        let name = part.as_ident()?.clone();
        Some(Self { function: Function::of(&name.value)?, name, arguments, alias: alias.clone() })
    }

    fn plan(&self, context: &mut dyn RelationPlannerContext) -> PlanResult<WindowTvf> {
        let arguments = self.by_position()?;
        let [Some(data), Some(time)] = [&arguments[0], &arguments[1]] else {
            return self.refuse(self.name.span, self.usage());
        };
        let (table, keys) = table_and_keys(data).ok_or_else(|| {
            placed(data.span(), format!("the first argument of {} is TABLE name", self.name.value.to_uppercase()))
        })?;
        let input = context.plan(table)?;
        let time = self.time_column(time, context, &input)?;
        let mut partition = Vec::with_capacity(keys.len());
        for key in keys {
            if self.function != Function::Session {
                return self.refuse(key.span, "PARTITION BY is for SESSION only".to_owned());
            }
            partition.push(context.sql_to_expr(ast::Expr::Identifier(key), input.schema())?);
        }
        let mut lengths = Vec::new();
        for argument in arguments.iter().skip(2).flatten() {
            lengths.push(self.length(argument, context)?);
        }
        WindowTvf::try_new(input, time, self.spec(&lengths)?, partition)
    }

    /// The arguments in the order of the parameters. They may be given by name or by position.
    fn by_position(&self) -> PlanResult<Vec<Option<ast::Expr>>> {
        let (parameters, needed) = self.function.parameters();
        let mut placed_arguments: Vec<Option<ast::Expr>> = vec![None; parameters.len()];
        for (index, argument) in self.arguments.iter().enumerate() {
            let (slot, expr) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(index), expr),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    (parameters.iter().position(|known| known.eq_ignore_ascii_case(&name.value)), expr)
                }
                _ => return self.refuse(self.name.span, self.usage()),
            };
            match slot.and_then(|slot| placed_arguments.get_mut(slot)) {
                Some(empty @ None) => *empty = Some(expr.clone()),
                _ => return self.refuse(expr.span(), self.usage()),
            }
        }
        if placed_arguments.iter().take(needed).any(Option::is_none) {
            return self.refuse(self.name.span, self.usage());
        }
        Ok(placed_arguments)
    }

    fn time_column(
        &self,
        argument: &ast::Expr,
        context: &mut dyn RelationPlannerContext,
        input: &LogicalPlan,
    ) -> PlanResult<Expr> {
        let column = match argument {
            ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
                match &function.args {
                    FunctionArguments::List(list) => match list.args.as_slice() {
                        [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] => Some(column.clone()),
                        _ => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(column) = column else {
            return self.refuse(argument.span(), "the second argument is DESCRIPTOR(event-time column)".to_owned());
        };
        let span = column.span();
        match context.sql_to_expr(column, input.schema())? {
            planned @ Expr::Column(_) => Ok(planned),
            _ => self.refuse(span, "DESCRIPTOR names a column, not an expression".to_owned()),
        }
    }

    fn length(&self, argument: &ast::Expr, context: &mut dyn RelationPlannerContext) -> PlanResult<i64> {
        let planned = context.sql_to_expr(argument.clone(), &DFSchema::empty())?;
        let negated = |expr: &Expr| match expr {
            Expr::Literal(value, _) => interval_micros(value),
            _ => None,
        };
        let micros = match &planned {
            Expr::Negative(inner) => negated(inner).and_then(i64::checked_neg),
            other => negated(other),
        };
        match micros {
            Some(micros) => Ok(micros),
            None => self.refuse(
                argument.span(),
                "expected an interval of days or shorter units, such as INTERVAL '10' SECOND".to_owned(),
            ),
        }
    }

    fn spec(&self, lengths: &[i64]) -> PlanResult<WindowSpec> {
        let at = |index: usize| lengths.get(index).copied().unwrap_or(0);
        let positive = |length: i64| length > 0;
        let broken =
            |reason: &str| self.refuse(self.name.span, format!("{}: {reason}", self.name.value.to_uppercase()));
        match self.function {
            Function::Tumble if !positive(at(0)) => broken("the size must be positive"),
            Function::Tumble => Ok(WindowSpec::Tumble { size: at(0), offset: at(1) }),
            Function::Hop if !positive(at(0)) || !positive(at(1)) => broken("slide and size must be positive"),
            Function::Hop if at(1) % at(0) != 0 => broken("the size (last) must be a multiple of the slide (first)"),
            Function::Hop if at(1) / at(0) > WINDOWS_PER_ROW_MAX => broken(&too_many(at(1) / at(0), "slide")),
            Function::Hop => Ok(WindowSpec::Hop { slide: at(0), size: at(1), offset: at(2) }),
            Function::Cumulate if !positive(at(0)) || !positive(at(1)) => broken("step and size must be positive"),
            Function::Cumulate if at(1) % at(0) != 0 => {
                broken("the size (last) must be a multiple of the step (first)")
            }
            Function::Cumulate if at(1) / at(0) > WINDOWS_PER_ROW_MAX => broken(&too_many(at(1) / at(0), "step")),
            Function::Cumulate => Ok(WindowSpec::Cumulate { step: at(0), size: at(1), offset: at(2) }),
            Function::Session if !positive(at(0)) => broken("the gap must be positive"),
            Function::Session => Ok(WindowSpec::Session { gap: at(0) }),
        }
    }

    fn usage(&self) -> String {
        let (parameters, needed) = self.function.parameters();
        let rest: Vec<String> = parameters
            .iter()
            .enumerate()
            .skip(2)
            .map(
                |(index, name)| if index < needed { name.to_lowercase() } else { format!("[{}]", name.to_lowercase()) },
            )
            .collect();
        format!("{}(TABLE name, DESCRIPTOR(column), {}) expected", self.name.value.to_uppercase(), rest.join(", "))
    }

    fn refuse<T>(&self, span: Span, message: String) -> PlanResult<T> {
        let span = if span == Span::empty() { self.name.span } else { span };
        Err(placed(span, message))
    }
}

fn too_many(windows: i64, slide: &str) -> String {
    format!(
        "a row would be in {windows} windows, and at most {WINDOWS_PER_ROW_MAX} are supported; \
         take a longer {slide} (first) or a shorter size (last)"
    )
}

fn placed(span: Span, message: String) -> datafusion_common::DataFusionError {
    let diagnostic = Diagnostic::new_error(message.clone(), PlanSpan::try_from_sqlparser_span(span));
    plan_datafusion_err!("{message}").with_diagnostic(diagnostic)
}

/// The table and keys of `TABLE name [PARTITION BY …]`, of a bare name, or of a subquery.
fn table_and_keys(data: &ast::Expr) -> Option<(TableFactor, Vec<Ident>)> {
    let (name, keys): (Vec<Ident>, Vec<Ident>) = match data {
        ast::Expr::Prefixed { value, .. } => match value.as_ref() {
            ast::Expr::Tuple(parts) => match parts.as_slice() {
                [ast::Expr::CompoundIdentifier(name), keys @ ..] => {
                    let keys = keys.iter().filter_map(|key| match key {
                        ast::Expr::Identifier(key) => Some(key.clone()),
                        _ => None,
                    });
                    (name.clone(), keys.collect())
                }
                _ => return None,
            },
            _ => return None,
        },
        ast::Expr::Identifier(name) => (vec![name.clone()], Vec::new()),
        ast::Expr::CompoundIdentifier(name) => (name.clone(), Vec::new()),
        ast::Expr::Subquery(query) => {
            let derived = TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None };
            return Some((derived, Vec::new()));
        }
        _ => return None,
    };
    let table = TableFactor::Table {
        name: ObjectName::from(name),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    };
    Some((table, keys))
}
