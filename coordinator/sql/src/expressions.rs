//! What the rules over expressions share: how they come to all expressions of a plan, and to columns of a union's branches.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Column, DFSchema, Result as PlanResult, TableReference, tree_node::Transformed};
use datafusion_expr::{Cast, Expr, LogicalPlan, Projection, Union, expr_rewriter::NamePreserver, utils::merge_schema};

/// A plan with each of its own expressions rewritten, given the schema of its inputs. They keep their names.
pub(crate) fn rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> PlanResult<Transformed<Expr>>,
) -> PlanResult<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let mapped = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
    })?;
    mapped.map_data(LogicalPlan::recompute_schema)
}

/// A union of which some columns are cast, in the branches where their type is one that is to be.
///
/// `to` gives, by the types that a column has in the branches, the one that it is cast to; `None`: none.
pub(crate) fn with_casts(
    union: Union,
    to: impl Fn(&[DataType]) -> Option<DataType>,
    is_cast: fn(&DataType) -> bool,
) -> PlanResult<Transformed<LogicalPlan>> {
    let column = |at: usize| {
        let types = union.inputs.iter().filter_map(|input| input.schema().fields().get(at));
        to(&types.map(|field| field.data_type().clone()).collect::<Vec<_>>())
    };
    let columns: Vec<Option<DataType>> = (0..union.schema.fields().len()).map(column).collect();
    if columns.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let branch = |input: &Arc<LogicalPlan>| -> PlanResult<Arc<LogicalPlan>> {
        let cast = |(at, (qualifier, field)): (usize, (Option<&TableReference>, &FieldRef))| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            match columns.get(at) {
                Some(Some(to)) if is_cast(field.data_type()) => {
                    let cast = Expr::Cast(Cast::new(Box::new(column), to.clone()));
                    cast.alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            }
        };
        let projected = input.schema().iter().enumerate().map(cast).collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(projected, input.clone())?)))
    };
    let inputs = union.inputs.iter().map(branch).collect::<PlanResult<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}
