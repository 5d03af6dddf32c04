//! Bounds on the types and plans of a script. A few words can ask for more than fits in memory, because each word may
//! double it.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
};

use arrow::datatypes::{DataType, Schema};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};
use sqlparser::ast::{ObjectName, Query, SetExpr, Visit as _, Visitor};

use crate::catalog::{Catalog, Entry};

/// Levels of `ROW`, `ARRAY` and `MAP`; a `MAP` counts as two. A `ROW` takes three of the 128 levels that the JSON
/// reader allows, and the job graph and the messages around it take some more.
pub(crate) const TYPE_LEVELS_MAX: usize = 30;
/// Fields and items of one type, nested ones included.
const TYPE_PARTS_MAX: usize = 10_000;
/// Relations of a query. A view's relations count each time the view is named.
const RELATIONS_MAX: usize = 100_000;
/// Tables that a query reads through the views and WITHs that it names, beyond those in its text. This is checked
/// before planning, because a query that doubles with each view would never finish planning.
const TABLES_BEHIND_MAX: usize = 2_000;
/// Relations of all queries and views of a script together.
const SCRIPT_RELATIONS_MAX: usize = 200_000;
/// Nodes of a computed column's expression, with the computed columns that it uses expanded.
const COMPUTED_NODES_MAX: usize = 50_000;

pub(crate) fn too_many_levels() -> String {
    format!("a type has at most {TYPE_LEVELS_MAX} levels of ROW, ARRAY and MAP in one another, a MAP counts as two")
}

/// Refuses a type that is too large, or too deep to be read again from JSON.
pub(crate) fn check_type(data_type: &DataType) -> Result<(), String> {
    take_parts(data_type, TYPE_LEVELS_MAX, &mut TYPE_PARTS_MAX.clone())
}

/// Takes a type's parts from the budget. A part counts each time it is named, because every walk over the type visits
/// it that often.
fn take_parts(data_type: &DataType, levels: usize, parts: &mut usize) -> Result<(), String> {
    let too_many = || format!("a type has at most {TYPE_PARTS_MAX} fields, those of its fields included");
    *parts = parts.checked_sub(1).ok_or_else(too_many)?;
    let below = || levels.checked_sub(1).ok_or_else(too_many_levels);
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => take_parts(item.data_type(), below()?, parts),
        DataType::Struct(fields) => {
            let below = below()?;
            fields.iter().try_for_each(|field| take_parts(field.data_type(), below, parts))
        }
        _ => Ok(()),
    }
}

fn check_schema(schema: &Schema) -> Result<(), String> {
    schema.fields().iter().try_for_each(|field| {
        check_type(field.data_type()).map_err(|reason| format!("column '{}': {reason}", field.name()))
    })
}

/// Refuses a plan that is too large for repeated walks. `planned` is the number of relations in the script so far, and
/// grows.
pub(crate) fn check_plan(plan: &LogicalPlan, planned: &Cell<usize>) -> Result<(), String> {
    let mut relations = 0;
    let mut refused = None;
    // A shared relation is visited each time it is named, so the walk must stop early.
    let walked = plan.apply(|node| {
        relations += 1;
        refused = if relations > RELATIONS_MAX {
            Some(format!(
                "a query has at most {RELATIONS_MAX} relations, those of each view and WITH as often as it is named"
            ))
        } else if planned.get() + relations > SCRIPT_RELATIONS_MAX {
            Some(format!("a script has at most {SCRIPT_RELATIONS_MAX} relations in all: make several scripts of it"))
        } else {
            check_schema(node.schema().as_arrow()).err()
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(walked.is_ok(), "counting never fails");
    planned.set(planned.get() + relations);
    refused.map_or(Ok(()), Err)
}

/// Refuses a query that reads too many tables through views and WITHs. It looks at the query's text, before the query
/// is planned.
pub(crate) fn check_tables(query: &Query, catalog: &Catalog) -> Result<(), String> {
    match query.visit(&mut Tables { catalog, open: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let most = TABLES_BEHIND_MAX;
            Err(format!("the views and WITHs of a query stand for at most {most} tables, each as often as it is named"))
        }
    }
}

/// Counts the tables of a query. `open` holds the queries around the visitor's position, the outermost first.
struct Tables<'a> {
    catalog: &'a Catalog,
    open: Vec<OpenQuery>,
}

#[derive(Default)]
struct OpenQuery {
    /// Names of its WITH that are not yet visited. The visitor visits them before the query's body.
    withs: VecDeque<String>,
    /// The number of tables that each visited name of its WITH reads.
    known: BTreeMap<String, usize>,
    /// The number of tables that the query reads.
    tables: usize,
    /// The number of them that its text does not name.
    behind: usize,
}

impl Tables<'_> {
    fn read(&mut self, name: &str) -> ControlFlow<()> {
        let known = self.open.iter().rev().find_map(|query| query.known.get(name)).copied();
        let tables = known.unwrap_or_else(|| match self.catalog.get(name) {
            Some(Entry::View(view)) => tables_of(&view.plan),
            Some(Entry::Table(_)) | None => 1,
        });
        self.count(tables, tables.saturating_sub(1))
    }

    fn count(&mut self, tables: usize, behind: usize) -> ControlFlow<()> {
        let Some(query) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        query.tables += tables;
        query.behind += behind;
        if query.behind > TABLES_BEHIND_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Tables<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let withs = query.with.iter().flat_map(|with| &with.cte_tables).map(|with| with.alias.name.value.clone());
        self.open.push(OpenQuery { withs: withs.collect(), ..OpenQuery::default() });
        match query.body.as_ref() {
            SetExpr::Table(table) => {
                table.table_name.as_ref().map_or(ControlFlow::Continue(()), |name| self.read(name))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        let (tables, behind) = self.open.pop().map_or((0, 0), |query| (query.tables, query.behind));
        match self.open.last_mut().and_then(|outer| Some((outer.withs.pop_front()?, outer))) {
            Some((name, outer)) => {
                outer.known.insert(name, tables);
                ControlFlow::Continue(())
            }
            None => self.count(tables, behind),
        }
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let name = name.0.last().and_then(|part| part.as_ident());
        name.map_or(ControlFlow::Continue(()), |name| self.read(&name.value))
    }
}

/// The number of tables that a view's plan reads. Stops counting once the limit is exceeded.
fn tables_of(plan: &LogicalPlan) -> usize {
    let mut tables = 0;
    let walked = plan.apply(|node| {
        tables += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(if tables > TABLES_BEHIND_MAX + 1 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(walked.is_ok(), "counting never fails");
    tables
}

/// Refuses a computed column that is too large with the columns that it uses expanded.
pub(crate) fn check_computed(expr: &Expr) -> Result<(), String> {
    let mut nodes = 0;
    let walked = expr.apply(|_| {
        nodes += 1;
        Ok(if nodes > COMPUTED_NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(walked.is_ok(), "counting never fails");
    match nodes > COMPUTED_NODES_MAX {
        true => {
            Err(format!("with the columns that it names, a computed column has more than {COMPUTED_NODES_MAX} terms"))
        }
        false => Ok(()),
    }
}
