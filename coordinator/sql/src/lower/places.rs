//! Where in the script a plan's construct stands.
//!
//! Plans have no places of their own, but their columns do. From a column of the construct, its keyword is the last one
//! before it; where no column tells, it is the first one of the statement.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;
use sqlparser::tokenizer::{Location, TokenWithSpan};

use crate::{
    errors::location_of,
    text::{word_after, word_before},
};

pub(super) struct Places<'a> {
    pub(super) script: &'a [TokenWithSpan],
    pub(super) statement: &'a [TokenWithSpan],
}

impl Places<'_> {
    pub(super) fn of(&self, exprs: &[Expr], keyword: Option<&str>) -> Option<Location> {
        let start = self.statement.first().map(|token| token.span.start)?;
        match (first_place(exprs), keyword) {
            (Some(place), Some(keyword)) => word_before(self.script, place, keyword).or(Some(place)),
            (Some(place), None) => Some(place),
            (None, Some(keyword)) => word_after(self.statement, start, keyword).or(Some(start)),
            (None, None) => Some(start),
        }
    }
}

fn first_place(exprs: &[Expr]) -> Option<Location> {
    let mut first: Option<Location> = None;
    for expr in exprs {
        let visited = expr.apply(|node| {
            if let Expr::Column(column) = node {
                let place = column.spans.first().map(location_of);
                first = match (first, place) {
                    (Some(known), Some(place)) => Some(known.min(place)),
                    (known, place) => known.or(place),
                };
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "looking at nodes never fails");
    }
    first
}
