//! Decodes an expression from bytes.

use std::{collections::HashMap, sync::Arc, vec};

use datafusion_common::{Column, metadata::FieldMetadata};
use datafusion_expr::{
    AggregateUDF, BinaryExpr, Expr, ScalarUDF,
    expr::{AggregateFunction, Alias, Between, Case, Cast, InList, Like, NullTreatment, ScalarFunction, Sort, TryCast},
};

use crate::{
    CodecError, FORMAT,
    datum::Datum,
    node::{Aggregate, Encoded, Header, Node, Nulls, Pattern, SortOrder, Unary},
    spine::{Depth, Spine},
    types,
};

/// The functions that an expression may call, by name and alias.
#[derive(Debug, Default)]
pub struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
}

impl Functions {
    /// A table of these functions. Of two with the same name, the later one counts.
    #[must_use]
    pub fn new(
        scalar: impl IntoIterator<Item = Arc<ScalarUDF>>,
        aggregate: impl IntoIterator<Item = Arc<AggregateUDF>>,
    ) -> Self {
        Self {
            scalar: by_name(scalar, |function| (function.name(), function.aliases())),
            aggregate: by_name(aggregate, |function| (function.name(), function.aliases())),
        }
    }
}

fn by_name<F>(
    functions: impl IntoIterator<Item = Arc<F>>,
    names: impl Fn(&F) -> (&str, &[String]),
) -> HashMap<String, Arc<F>> {
    let mut named = HashMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        for name in aliases.iter().map(String::as_str).chain([name]) {
            named.insert(name.to_owned(), function.clone());
        }
    }
    named
}

/// Decodes the bytes that `encode` gave.
///
/// # Errors
/// When the bytes are anything else, or the expression calls a function that is not among these.
pub fn decode(bytes: &[u8], functions: &Functions) -> Result<Expr, CodecError> {
    let Header { format } = serde_json::from_slice(bytes).map_err(CodecError::Read)?;
    if format != FORMAT {
        return Err(CodecError::Format { found: format });
    }
    let encoded: Encoded = serde_json::from_slice(bytes).map_err(CodecError::Read)?;
    let mut stack: Vec<(Expr, Depth, Spine)> = Vec::new();
    for node in encoded.nodes {
        let missing = CodecError::Shape("a part is missing");
        let first = stack.len().checked_sub(node.children()).ok_or(missing)?;
        let spine = Spine::of_node(&node);
        let mut depth = Depth::ONE;
        let mut children = Vec::with_capacity(node.children());
        for (place, (child, below, of_child)) in stack.drain(first..).enumerate() {
            depth = depth.max(below.below(spine, place, of_child));
            children.push(child);
        }
        depth.check()?;
        stack.push((expression(node, &mut Children(children.into_iter()), functions)?, depth, spine));
    }
    match (stack.pop(), stack.is_empty()) {
        (Some((expr, ..)), true) => Ok(expr),
        (Some(_), false) => Err(CodecError::Shape("there is more than one")),
        (None, _) => Err(CodecError::Shape("there is none")),
    }
}

/// The children of a node, first to last.
struct Children(vec::IntoIter<Expr>);

impl Children {
    fn one(&mut self) -> Result<Box<Expr>, CodecError> {
        self.0.next().map(Box::new).ok_or(CodecError::Shape("a part is missing"))
    }

    fn one_if(&mut self, wanted: bool) -> Result<Option<Box<Expr>>, CodecError> {
        if wanted { self.one().map(Some) } else { Ok(None) }
    }

    fn many(&mut self, count: usize) -> Vec<Expr> {
        self.0.by_ref().take(count).collect()
    }
}

fn expression(node: Node, children: &mut Children, functions: &Functions) -> Result<Expr, CodecError> {
    Ok(match node {
        Node::Column(name) => Expr::Column(Column::new_unqualified(name)),
        Node::Literal { data_type, value, metadata } => {
            let value = Datum::to_scalar(value.as_ref(), &data_type)?;
            Expr::Literal(value, metadata.map(FieldMetadata::from))
        }
        Node::Binary(op) => Expr::BinaryExpr(BinaryExpr { left: children.one()?, op, right: children.one()? }),
        Node::Unary(operation) => unary(operation, children.one()?),
        Node::Like(pattern) => Expr::Like(like(&pattern, children)?),
        Node::SimilarTo(pattern) => Expr::SimilarTo(like(&pattern, children)?),
        Node::Between { negated } => {
            let (expr, low, high) = (children.one()?, children.one()?, children.one()?);
            Expr::Between(Between { expr, negated, low, high })
        }
        Node::Case { operand, branches, otherwise } => {
            let expr = children.one_if(operand)?;
            let branch = |_| Ok((children.one()?, children.one()?));
            let when_then_expr = (0..branches).map(branch).collect::<Result<_, CodecError>>()?;
            Expr::Case(Case { expr, when_then_expr, else_expr: children.one_if(otherwise)? })
        }
        Node::Cast(field) => {
            types::check(field.data_type())?;
            Expr::Cast(Cast { expr: children.one()?, field })
        }
        Node::TryCast(field) => {
            types::check(field.data_type())?;
            Expr::TryCast(TryCast { expr: children.one()?, field })
        }
        Node::Scalar { function, arguments } => {
            let func = functions.scalar.get(&function).cloned().ok_or(CodecError::UnknownFunction(function))?;
            Expr::ScalarFunction(ScalarFunction { func, args: children.many(arguments) })
        }
        Node::Aggregate(call) => aggregate(call, children, functions)?,
        Node::InList { items, negated } => {
            let expr = children.one()?;
            Expr::InList(InList { expr, list: children.many(items), negated })
        }
        Node::Alias { name, metadata } => {
            let (expr, metadata) = (children.one()?, metadata.map(FieldMetadata::from));
            Expr::Alias(Alias { expr, relation: None, name, metadata })
        }
    })
}

fn unary(operation: Unary, child: Box<Expr>) -> Expr {
    match operation {
        Unary::Not => Expr::Not(child),
        Unary::Negative => Expr::Negative(child),
        Unary::IsNull => Expr::IsNull(child),
        Unary::IsNotNull => Expr::IsNotNull(child),
        Unary::IsTrue => Expr::IsTrue(child),
        Unary::IsNotTrue => Expr::IsNotTrue(child),
        Unary::IsFalse => Expr::IsFalse(child),
        Unary::IsNotFalse => Expr::IsNotFalse(child),
        Unary::IsUnknown => Expr::IsUnknown(child),
        Unary::IsNotUnknown => Expr::IsNotUnknown(child),
    }
}

fn like(pattern: &Pattern, children: &mut Children) -> Result<Like, CodecError> {
    let (negated, case_insensitive) = (pattern.negated, pattern.case_insensitive);
    let (expr, text) = (children.one()?, children.one()?);
    Ok(Like { negated, expr, pattern: text, escape_char: pattern.escape, case_insensitive })
}

fn aggregate(call: Aggregate, children: &mut Children, functions: &Functions) -> Result<Expr, CodecError> {
    let Aggregate { function, arguments, distinct, filter, order, nulls } = call;
    let func = functions.aggregate.get(&function).cloned().ok_or(CodecError::UnknownFunction(function))?;
    let (args, filter) = (children.many(arguments), children.one_if(filter)?);
    let sort = |order: SortOrder| {
        children.one().map(|expr| Sort { expr: *expr, asc: order.ascending, nulls_first: order.nulls_first })
    };
    let order_by = order.into_iter().map(sort).collect::<Result<_, _>>()?;
    let treatment = nulls.map(|nulls| match nulls {
        Nulls::Ignore => NullTreatment::IgnoreNulls,
        Nulls::Respect => NullTreatment::RespectNulls,
    });
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(func, args, distinct, filter, order_by, treatment)))
}
