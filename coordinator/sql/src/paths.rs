//! Expressions that only name a column, or a field below one.

use datafusion_common::Column;
use datafusion_expr::{Expr, expr::ScalarFunction};

/// The column and the names of the fields below it, if an expression is only a path.
pub(crate) fn path_of(expr: &Expr) -> Option<(&Column, Vec<String>)> {
    match expr {
        Expr::Column(column) => Some((column, Vec::new())),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "get_field" => {
            let (base, names) = args.split_first()?;
            let (column, mut path) = path_of(base)?;
            for name in names {
                let Expr::Literal(value, _) = name else { return None };
                path.push(value.try_as_str()??.to_owned());
            }
            Some((column, path))
        }
        _ => None,
    }
}

/// Whether an expression is so cheap that it may be evaluated twice.
pub(crate) fn is_trivial(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(_, _)) || path_of(expr).is_some()
}
