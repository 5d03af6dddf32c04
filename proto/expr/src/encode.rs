//! Encodes an expression as bytes.

use std::collections::BTreeMap;

use datafusion_common::metadata::FieldMetadata;
use datafusion_expr::{
    Expr,
    expr::{AggregateFunction, Alias, Case, Like, NullTreatment, Sort},
};

use crate::{
    CodecError, FORMAT,
    datum::Datum,
    node::{Aggregate, Encoded, Metadata, Node, Nulls, Pattern, SortOrder, Unary},
    spine::{Depth, Spine},
    types,
};

/// Encodes an expression.
///
/// # Errors
/// When it has a part that no operator evaluates, is deeper than [`DEPTH_MAX`](crate::DEPTH_MAX) or
/// [`LINKS_MAX`](crate::LINKS_MAX), or has types or values without an encoding.
pub fn encode(expr: &Expr) -> Result<Vec<u8>, CodecError> {
    // Each node comes before its children, and these last to first: this is the post-order, reversed.
    let mut nodes = Vec::new();
    let mut pending = vec![(expr, Depth::ONE)];
    let mut children = Vec::new();
    while let Some((expr, depth)) = pending.pop() {
        depth.check()?;
        let node = node_of(expr, &mut children)?;
        debug_assert_eq!(node.children(), children.len(), "{node:?}");
        let spine = Spine::of_node(&node);
        nodes.push(node);
        let places = children.drain(..).enumerate();
        pending.extend(places.map(|(place, child)| (child, depth.below(spine, place, Spine::of(child)))));
    }
    nodes.reverse();
    serde_json::to_vec(&Encoded { format: FORMAT, nodes }).map_err(CodecError::Write)
}

/// The node of an expression. Adds the expression's children to `children`.
fn node_of<'a>(expr: &'a Expr, children: &mut Vec<&'a Expr>) -> Result<Node, CodecError> {
    Ok(match expr {
        Expr::Column(column) if column.relation.is_none() => Node::Column(column.name.clone()),
        Expr::Column(column) => return Err(CodecError::Qualified(column.to_string())),
        Expr::Literal(value, metadata) => {
            let (data_type, value) = Datum::of(value)?;
            Node::Literal { data_type, value, metadata: metadata_of(metadata.as_ref()) }
        }
        Expr::BinaryExpr(binary) => {
            children.extend([&*binary.left, &*binary.right]);
            Node::Binary(binary.op)
        }
        Expr::Like(like) => Node::Like(pattern(like, children)),
        Expr::SimilarTo(like) => Node::SimilarTo(pattern(like, children)),
        Expr::Between(between) => {
            children.extend([&*between.expr, &*between.low, &*between.high]);
            Node::Between { negated: between.negated }
        }
        Expr::Case(case) => case_node(case, children),
        Expr::Cast(cast) => {
            children.push(&cast.expr);
            types::check(cast.field.data_type())?;
            Node::Cast(cast.field.clone())
        }
        Expr::TryCast(cast) => {
            children.push(&cast.expr);
            types::check(cast.field.data_type())?;
            Node::TryCast(cast.field.clone())
        }
        Expr::ScalarFunction(call) => {
            children.extend(&call.args);
            Node::Scalar { function: call.name().to_owned(), arguments: call.args.len() }
        }
        Expr::AggregateFunction(call) => aggregate(call, children),
        Expr::InList(list) => {
            children.push(&list.expr);
            children.extend(&list.list);
            Node::InList { items: list.list.len(), negated: list.negated }
        }
        Expr::Alias(alias) => {
            children.push(&alias.expr);
            alias_node(alias)?
        }
        _ => {
            let (operation, child) = unary(expr)?;
            children.push(child);
            Node::Unary(operation)
        }
    })
}

fn unary(expr: &Expr) -> Result<(Unary, &Expr), CodecError> {
    Ok(match expr {
        Expr::Not(child) => (Unary::Not, child),
        Expr::Negative(child) => (Unary::Negative, child),
        Expr::IsNull(child) => (Unary::IsNull, child),
        Expr::IsNotNull(child) => (Unary::IsNotNull, child),
        Expr::IsTrue(child) => (Unary::IsTrue, child),
        Expr::IsNotTrue(child) => (Unary::IsNotTrue, child),
        Expr::IsFalse(child) => (Unary::IsFalse, child),
        Expr::IsNotFalse(child) => (Unary::IsNotFalse, child),
        Expr::IsUnknown(child) => (Unary::IsUnknown, child),
        Expr::IsNotUnknown(child) => (Unary::IsNotUnknown, child),
        _ => {
            let (expression, kind) = (expr.to_string(), expr.variant_name().to_owned());
            return Err(CodecError::Unsupported { expression, kind });
        }
    })
}

fn pattern<'a>(like: &'a Like, children: &mut Vec<&'a Expr>) -> Pattern {
    children.extend([&*like.expr, &*like.pattern]);
    Pattern { negated: like.negated, escape: like.escape_char, case_insensitive: like.case_insensitive }
}

fn case_node<'a>(case: &'a Case, children: &mut Vec<&'a Expr>) -> Node {
    children.extend(case.expr.as_deref());
    children.extend(case.when_then_expr.iter().flat_map(|(when, then)| [&**when, &**then]));
    children.extend(case.else_expr.as_deref());
    Node::Case {
        operand: case.expr.is_some(),
        branches: case.when_then_expr.len(),
        otherwise: case.else_expr.is_some(),
    }
}

fn aggregate<'a>(call: &'a AggregateFunction, children: &mut Vec<&'a Expr>) -> Node {
    let params = &call.params;
    children.extend(&params.args);
    children.extend(params.filter.as_deref());
    children.extend(params.order_by.iter().map(|sort| &sort.expr));
    let order = |sort: &Sort| SortOrder { ascending: sort.asc, nulls_first: sort.nulls_first };
    Node::Aggregate(Aggregate {
        function: call.func.name().to_owned(),
        arguments: params.args.len(),
        distinct: params.distinct,
        filter: params.filter.is_some(),
        order: params.order_by.iter().map(order).collect(),
        nulls: params.null_treatment.map(|treatment| match treatment {
            NullTreatment::IgnoreNulls => Nulls::Ignore,
            NullTreatment::RespectNulls => Nulls::Respect,
        }),
    })
}

fn alias_node(alias: &Alias) -> Result<Node, CodecError> {
    match &alias.relation {
        Some(relation) => Err(CodecError::Qualified(format!("{relation}.{}", alias.name))),
        None => Ok(Node::Alias { name: alias.name.clone(), metadata: metadata_of(alias.metadata.as_ref()) }),
    }
}

fn metadata_of(metadata: Option<&FieldMetadata>) -> Metadata {
    metadata.map(|metadata| BTreeMap::clone(metadata.inner()))
}
