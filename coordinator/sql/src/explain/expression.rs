//! Expressions as a reader would write them: paths with dots, texts in quotes, casts spelled out, parentheses where needed.

use datafusion_common::{
    Column, ScalarValue,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{BinaryExpr, Expr, expr::InList};

use super::duration;
use crate::{
    catalog::is_timestamp,
    ddl::{interval_micros, sql_type},
    prune::path_of,
};

/// The text of an expression over unqualified columns.
pub(crate) fn expression_text(expr: &Expr) -> String {
    // What is written our own way stands in for itself as a column of that name; DataFusion writes the rest around it.
    let readable = expr.clone().transform_down(|node| {
        Ok(match own_text(&node) {
            Some(text) => {
                let stand_in = Expr::Column(Column::new_unqualified(text));
                Transformed::new(stand_in, true, TreeNodeRecursion::Jump)
            }
            None => Transformed::no(node),
        })
    });
    readable.map_or_else(|_| expr.human_display().to_string(), |readable| readable.data.human_display().to_string())
}

fn own_text(node: &Expr) -> Option<String> {
    if let Some((column, path)) = path_of(node) {
        let parts = std::iter::once(column.name.as_str()).chain(path.iter().map(String::as_str));
        return Some(parts.collect::<Vec<_>>().join("."));
    }
    match node {
        Expr::Literal(value, _) => Some(literal_text(value)),
        Expr::Cast(cast) => Some(cast_text("CAST", &cast.expr, cast.field.data_type())),
        Expr::TryCast(cast) => Some(cast_text("TRY_CAST", &cast.expr, cast.field.data_type())),
        Expr::BinaryExpr(binary) => Some(binary_text(binary)),
        Expr::InList(InList { expr, list, negated }) => {
            let values: Vec<String> = list.iter().map(expression_text).collect();
            let not = if *negated { "NOT " } else { "" };
            Some(format!("{} {not}IN ({})", expression_text(expr), values.join(", ")))
        }
        Expr::Not(inner) => Some(format!("NOT ({})", expression_text(inner))),
        _ => None,
    }
}

fn cast_text(function: &str, inner: &Expr, to: &arrow::datatypes::DataType) -> String {
    format!("{function}({} AS {})", expression_text(inner), sql_type(to))
}

fn binary_text(binary: &BinaryExpr) -> String {
    let BinaryExpr { left, op, right } = binary;
    let side = |expr: &Expr, may_equal: bool| match expr {
        Expr::BinaryExpr(inner) if inner.op.precedence() < op.precedence() => format!("({})", binary_text(inner)),
        Expr::BinaryExpr(inner) if inner.op.precedence() == op.precedence() && !may_equal => {
            format!("({})", binary_text(inner))
        }
        other => expression_text(other),
    };
    let associative = matches!(op, datafusion_expr::Operator::And | datafusion_expr::Operator::Or);
    format!("{} {op} {}", side(left, true), side(right, associative))
}

fn literal_text(value: &ScalarValue) -> String {
    match value.try_as_str() {
        Some(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        _ if value.is_null() => "NULL".to_owned(),
        _ if is_timestamp(&value.data_type()) => timestamp_text(value),
        _ => interval_micros(value)
            .map_or_else(|| value.to_string(), |micros| format!("INTERVAL '{}'", duration(micros))),
    }
}

fn timestamp_text(value: &ScalarValue) -> String {
    match value.cast_to(&arrow::datatypes::DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => format!("TIMESTAMP '{}'", text.replace('T', " ")),
        _ => value.to_string(),
    }
}
