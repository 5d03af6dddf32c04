//! Expressions as text for readers: paths with dots, texts in quotes, casts spelled out, parentheses where needed.

use datafusion_common::{
    Column, ScalarValue,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{BinaryExpr, Expr, Operator, expr::InList};
use thalweg_functions::{arithmetic::Arithmetic, names::sql_type};

use super::duration;
use crate::{
    catalog::is_timestamp,
    intervals::interval_micros,
    numbers::{calculation_of, negated},
    paths::path_of,
};

/// The text of an expression over unqualified columns.
pub(crate) fn expression_text(expr: &Expr) -> String {
    // Parts with a text of our own become columns of that name, and DataFusion writes the rest around them.
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
    if let Some((operator, operands)) = infix(node) {
        return Some(infix_text(operator, &operands));
    }
    if let Some(operand) = negated(node) {
        let text = expression_text(operand);
        return Some(if infix(operand).is_some() { format!("-({text})") } else { format!("-{text}") });
    }
    match node {
        Expr::Literal(value, _) => Some(literal_text(value)),
        Expr::Cast(cast) => Some(cast_text("CAST", &cast.expr, cast.field.data_type())),
        Expr::TryCast(cast) => Some(cast_text("TRY_CAST", &cast.expr, cast.field.data_type())),
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

/// The operator and its two or more operands, of an expression that is written infix.
fn infix(expr: &Expr) -> Option<(Operator, Vec<&Expr>)> {
    if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr {
        return Some((*op, vec![left, right]));
    }
    let (operator, operands) = calculation_of(expr)?;
    let operator = match operator {
        Arithmetic::Add => Operator::Plus,
        Arithmetic::Subtract => Operator::Minus,
        Arithmetic::Multiply => Operator::Multiply,
        Arithmetic::Divide => Operator::Divide,
        Arithmetic::Remainder => Operator::Modulo,
    };
    Some((operator, operands.iter().collect()))
}

fn infix_text(operator: Operator, operands: &[&Expr]) -> String {
    let associative = matches!(operator, Operator::And | Operator::Or);
    let side = |(at, operand): (usize, &&Expr)| match infix(operand) {
        Some((inner, _)) if inner.precedence() < operator.precedence() => format!("({})", expression_text(operand)),
        Some((inner, _)) if inner.precedence() == operator.precedence() && at > 0 && !associative => {
            format!("({})", expression_text(operand))
        }
        _ => expression_text(operand),
    };
    let sides: Vec<String> = operands.iter().enumerate().map(side).collect();
    sides.join(&format!(" {operator} "))
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
