//! How large the types and plans of a script may be: few words can ask for more than there is room for, since what they ask for
//! may double with each word.

use std::cell::Cell;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};

/// Levels of `ROW`, `ARRAY` and `MAP`, of which a `MAP` counts as two. A `ROW` takes three of the 128 levels of JSON that
/// can be read again, and the job graph and the messages around it some more.
pub(crate) const TYPE_LEVELS_MAX: usize = 30;
/// Fields and items of one type, those within one another included.
const TYPE_PARTS_MAX: usize = 10_000;
/// Relations of a query, those of each view as often as it is named.
const RELATIONS_MAX: usize = 20_000;
/// Relations of all queries and views of a script.
const SCRIPT_RELATIONS_MAX: usize = 200_000;
/// Nodes of a computed column, those of the columns that it names included.
const COMPUTED_NODES_MAX: usize = 50_000;

pub(crate) fn too_many_levels() -> String {
    format!("a type has at most {TYPE_LEVELS_MAX} levels of ROW, ARRAY and MAP in one another, a MAP counts as two")
}

/// Refuses a type that is too deep to be written and read again, or too large.
pub(crate) fn check_type(data_type: &DataType) -> Result<(), String> {
    take_parts(data_type, TYPE_LEVELS_MAX, &mut TYPE_PARTS_MAX.clone())
}

/// Parts that are shared count as often as they are named: whoever walks over the type meets them so often.
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

/// Refuses a plan that is too large to be walked over again and again. `planned` counts the relations of the whole script.
pub(crate) fn check_plan(plan: &LogicalPlan, planned: &Cell<usize>) -> Result<(), String> {
    let mut relations = 0;
    let mut refused = None;
    // Relations that are shared are met as often as they are named, so that the walk must end early.
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

/// Refuses a computed column that has become too large by those that it names.
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
