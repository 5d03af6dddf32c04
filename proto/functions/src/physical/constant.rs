//! Evaluates expressions that need no row.

use datafusion_common::{DFSchema, Result, ScalarValue, tree_node::TreeNode};
use datafusion_expr::{Expr, Volatility};

use super::{compile, operation::no_columns};

/// Functions whose values may be far larger than their arguments. They are not evaluated before a row needs them.
const GROWING: &[&str] =
    &["array_repeat", "array_resize", "generate_series", "lpad", "range", "repeat", "rpad", "space"];

/// The value of an expression that is the same for every row. `None` if it varies, or cannot be evaluated: then it
/// fails only if a row reaches it.
#[must_use]
pub fn constant(expr: &Expr) -> Option<ScalarValue> {
    let varies = expr.exists(|part| Ok(varies(part))).unwrap_or(true);
    if varies { None } else { value(expr).ok() }
}

/// Whether a function's values may be far larger than its arguments.
#[must_use]
pub fn grows(function: &str) -> bool {
    GROWING.contains(&function)
}

/// The value of an expression without columns, however large it becomes.
///
/// # Errors
/// When it has columns, or cannot be evaluated.
pub fn value(expr: &Expr) -> Result<ScalarValue> {
    let compiled = compile(expr, &DFSchema::empty())?;
    let one = compiled.evaluate(&no_columns(1)?)?.into_array(1)?;
    ScalarValue::try_from_array(&one, 0)
}

/// Whether a node, apart from its children, may have another value for another row or at another time.
fn varies(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => {
            call.func.signature().volatility != Volatility::Immutable || grows(call.func.name())
        }
        Expr::Literal(..)
        | Expr::Alias(_)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::Negative(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => false,
        _ => true,
    }
}
