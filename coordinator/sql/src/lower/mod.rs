//! Lowers optimised logical plans to the job graph.
//!
//! ```text
//! plan --lower--> Relation (operators so far + pending filter and projection + what each column means) --emit--> operators
//! ```
//!
//! Filters and projections only accumulate in the `Relation`. An operator that needs its input laid out (an exchange, a
//! state, a sink) emits it, as one `Calc` or none. Three other operations stay pending as well:
//!
//! - a window table function, until an aggregate takes the window over; else it becomes a `WindowAssign`
//! - a ranking, until the `rn <= n` above it
//! - a sort, until its `LIMIT`
//!
//! The same operator over the same inputs is made once, and all queries share it.

mod aggregate;
mod aggregate_calls;
mod calc;
mod graph;
mod join;
mod places;
mod relation;
mod repeats;
mod scan;
mod sink;
mod sort;
mod top_n;
mod union;
mod values;
mod window;

use std::collections::BTreeMap;

use datafusion_expr::{Expr, JoinType, LogicalPlan};
use sqlparser::tokenizer::TokenWithSpan;
use thalweg_types::{ExprBytes, JobGraph, OperatorId, graph::WindowSpec, settings::JobSettings};

use self::{graph::GraphBuilder, places::Places, relation::Relation};
use crate::{
    catalog::TableKey,
    errors::{Result, SqlError},
    prune::Uses,
    values::ValuesNode,
    window_tvf::WindowTvf,
};

pub(crate) use sink::{Output, Target};

/// Lowers all outputs of a script into one graph.
pub(crate) fn lower(
    outputs: &[Output],
    settings: &BTreeMap<String, String>,
    parsed: &JobSettings,
    script: &[TokenWithSpan],
) -> Result<JobGraph> {
    let mut uses = Uses::default();
    for output in outputs {
        uses.add(&output.plan, output.ends_by_time());
    }
    let mut lowerer = Lowerer {
        graph: GraphBuilder::default(),
        uses,
        sources: BTreeMap::new(),
        windows: Vec::new(),
        two_phase: parsed.two_phase,
        script,
        statement: &[],
    };
    for output in outputs {
        lowerer.statement = &output.tokens;
        let relation = lowerer.lower(&output.plan)?;
        lowerer.write(&relation, output)?;
    }
    let graph = lowerer.graph.finish(parsed.key_groups, settings.clone()).with_enumerators();
    graph.check().map_err(|error| SqlError::new(format!("the planner made a broken graph: {error}")))?;
    Ok(graph)
}

/// Identifies a window that a relation has as columns. `Lowerer::windows` has its shape, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowTag(usize);

/// Whether those of a window's ends that are known tell which window of this shape it is; without a shape, both do.
fn determines_window(spec: Option<WindowSpec>, start: bool, end: bool) -> bool {
    match spec {
        Some(WindowSpec::Tumble { .. } | WindowSpec::Hop { .. }) => start || end,
        Some(WindowSpec::Cumulate { .. }) => end,
        Some(WindowSpec::Session { .. }) | None => start && end,
    }
}

struct Lowerer<'a> {
    graph: GraphBuilder,
    uses: Uses,
    sources: BTreeMap<TableKey, OperatorId>,
    /// The shapes of windows, by tag.
    windows: Vec<Option<WindowSpec>>,
    two_phase: Option<bool>,
    /// The tokens of the whole script, and of the statement that is being lowered.
    script: &'a [TokenWithSpan],
    statement: &'a [TokenWithSpan],
}

impl Lowerer<'_> {
    fn lower(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Window(window) => self.ranking(window),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                match (node.downcast_ref::<WindowTvf>(), node.downcast_ref::<ValuesNode>()) {
                    (Some(window), _) => self.window_function(window),
                    (_, Some(rows)) => Ok(self.values(rows)),
                    _ => Err(self.refuse(&plan.expressions(), None, "this operation is not supported")),
                }
            }
            other => Err(self.refuse(&other.expressions(), None, &unsupported(other))),
        }
    }

    /// An error about a construct. Its place is the keyword before the first column that the expressions name, or that
    /// column.
    fn refuse(&self, exprs: &[Expr], keyword: Option<&str>, message: &str) -> SqlError {
        let places = Places { script: self.script, statement: self.statement };
        SqlError::new(message).with_place(places.of(exprs, keyword))
    }

    /// The bytes of an expression over unqualified columns, with its place in the script.
    fn encoded(&self, expr: &Expr) -> datafusion_common::Result<ExprBytes> {
        let places = Places { script: self.script, statement: self.statement };
        Ok(ExprBytes { place: places.of_expression(expr), ..relation::encode(expr)? })
    }

    /// Translates an error of DataFusion.
    fn failed(&self, error: &datafusion_common::DataFusionError) -> SqlError {
        SqlError::from_plan(error, self.statement)
    }

    fn tag(&mut self, spec: Option<WindowSpec>) -> WindowTag {
        self.windows.push(spec);
        WindowTag(self.windows.len() - 1)
    }

    fn spec_of(&self, tag: WindowTag) -> Option<WindowSpec> {
        self.windows.get(tag.0).copied().flatten()
    }

    /// Whether a source below one of these operators may become idle, so that the watermark goes on without it.
    fn may_idle(&self, operators: &[OperatorId]) -> bool {
        self.graph.sources_of(operators).any(|source| {
            // Where splits are found, a subtask is idle while it has none.
            let finds = source.connector.finds_splits();
            source.watermark.as_ref().is_some_and(|watermark| finds || watermark.idle_timeout_micros.is_some())
        })
    }
}

fn unsupported(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Join(join) => format!("{} JOIN is not supported", join.join_type.to_string().to_uppercase()),
        LogicalPlan::Distinct(_) => "DISTINCT is not supported".to_owned(),
        LogicalPlan::Unnest(_) => "UNNEST is not supported".to_owned(),
        LogicalPlan::EmptyRelation(_) => "a query needs FROM".to_owned(),
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE is not supported".to_owned(),
        LogicalPlan::Subquery(_) => "a subquery inside an expression is not supported".to_owned(),
        other => {
            let text = other.display().to_string();
            format!("{} is not supported", text.split([':', ' ']).next().unwrap_or("this operation"))
        }
    }
}
