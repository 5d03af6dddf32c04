//! Settles the types of a lone expression, as analysis does in plans.

use datafusion_common::{DFSchema, Result as PlanResult, tree_node::TreeNode};
use datafusion_expr::Expr;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use crate::{families, floats, numbers, simplify::simplified, times};

/// Applies to a lone expression what analysis does to plans: settles its types, then simplifies it.
pub(crate) fn settled(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let expr = numbers::rewrite(expr, schema)?.data;
    families::check(&expr, schema)?;
    let expr = times::rewrite(floats::rewrite(expr, schema)?.data, schema)?.data;
    let expr = expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data;
    Ok(simplified(expr, schema)?.data)
}
