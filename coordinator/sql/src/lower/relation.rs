//! A relation while it is lowered: the operators that emit its rows, the work that is still pending, and the meaning of
//! each column.
//!
//! A relation has one branch per input of a `UNION ALL`. A branch's expressions are over the unique, unqualified column
//! names of its base. Expressions over the relation's own columns are *bound* (`Relation::bind`): they name columns by
//! position.

use std::collections::BTreeSet;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::{
    Column, DFSchema, Diagnostic, Result as PlanResult, plan_datafusion_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{Expr, ExprSchemable};
use thalweg_expr::CodecError;
use thalweg_types::{
    ExprBytes, OperatorId,
    graph::{Sort, SortColumn, WindowSpec},
    text::with_causes,
};

use super::WindowTag;
use crate::{explain::expression_text, filters::is_unsteady};

#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) branches: Vec<Branch>,
    /// The plan's columns, then hidden columns that only the lowering knows (the other end of a window).
    pub(super) columns: Vec<RelationColumn>,
    /// The number of `columns` that are the plan's.
    pub(super) width: usize,
}

#[derive(Debug, Clone)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    pub(super) role: Role,
}

/// The meaning of a column for the operators of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// Whether watermarks are about this column.
    pub(super) event_time: bool,
    /// The part of a window that the column holds, if any.
    pub(super) window: Option<(WindowTag, WindowPart)>,
    /// Whether it is the row number of a pending ranking.
    pub(super) rank: bool,
}

impl Role {
    /// The column's meaning in rows that are emitted when their window `closed` closes. The window is called `tag` from
    /// then on.
    ///
    /// Of the time columns only those of that window are not behind the watermark then. Other windows may have closed
    /// long ago, so an operator on them would take every row for late. Their columns become plain columns.
    pub(super) fn when_closed(self, closed: WindowTag, tag: WindowTag) -> Self {
        let window = self.window.filter(|(known, _)| *known == closed).map(|(_, part)| (tag, part));
        Self { event_time: self.event_time && window.is_some(), window, rank: false }
    }
}

/// A part of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowPart {
    Start,
    End,
    Time,
}

/// One input of a relation.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) base: Base,
    /// The condition for a row to pass.
    pub(super) filter: Option<Expr>,
    /// One per column of the relation, over the base.
    pub(super) exprs: Vec<Expr>,
}

/// The rows that a branch starts from.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Several, where all inputs of a union feed one window table function or ranking.
    pub(super) operators: Vec<OperatorId>,
    /// The operators' columns, then those that the stage adds.
    pub(super) schema: SchemaRef,
    pub(super) stage: Stage,
}

/// Work that is pending on the base, before the filter.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    None,
    /// Adds the last three columns of the base.
    Window(PendingWindow),
    /// Adds the last column of the base, the row number.
    Ranking(PendingRanking),
    Sort(Sort),
}

/// A pending window table function.
#[derive(Debug, Clone)]
pub(super) struct PendingWindow {
    pub(super) tag: WindowTag,
    /// The index of the event-time column.
    pub(super) column: usize,
    pub(super) spec: WindowSpec,
    /// The keys of a session.
    pub(super) partition: Vec<usize>,
}

/// A pending `ROW_NUMBER() OVER (…)`, whose limit is found further up.
#[derive(Debug, Clone)]
pub(super) struct PendingRanking {
    pub(super) window: (usize, usize),
    pub(super) partition: Vec<usize>,
    pub(super) order: Vec<SortColumn>,
    pub(super) limit: Option<u64>,
}

impl Base {
    pub(super) fn column(&self, index: usize) -> Expr {
        column(self.schema.field(index).name())
    }

    /// Whether it matters for which rows, or how often, an expression over the base is evaluated.
    pub(super) fn is_unsteady(&self, expr: &Expr) -> bool {
        self.df_schema().map_or(true, |schema| is_unsteady(expr, &schema))
    }

    pub(super) fn df_schema(&self) -> PlanResult<DFSchema> {
        DFSchema::try_from(self.schema.as_ref().clone())
    }
}

impl Branch {
    /// A bound expression, resolved to one over this branch's base.
    pub(super) fn resolve(&self, bound: Expr) -> PlanResult<Expr> {
        let resolved = bound.transform_up(|expr| match &expr {
            Expr::Column(column) => match position_of(column).and_then(|index| self.exprs.get(index)) {
                Some(replacement) => Ok(Transformed::yes(standing_at(replacement.clone(), column))),
                None => datafusion_common::internal_err!("column {column} is not one of the relation's"),
            },
            _ => Ok(Transformed::no(expr)),
        });
        resolved.map(|resolved| resolved.data)
    }

    /// The field of an expression over the base.
    pub(super) fn field_of(&self, expr: &Expr, name: &str) -> PlanResult<Field> {
        let field = expr.to_field(&self.base.df_schema()?)?.1;
        Ok(Field::new(name, field.data_type().clone(), field.is_nullable()))
    }
}

impl Relation {
    /// The relation of one operator's output, with its columns as they are.
    pub(super) fn of(base: Base, columns: Vec<RelationColumn>, width: usize) -> Self {
        let exprs = (0..columns.len()).map(|index| base.column(index)).collect();
        Self { branches: vec![Branch { base, filter: None, exprs }], columns, width }
    }

    /// Binds an expression of the plan to this relation's columns.
    pub(super) fn bind(&self, expr: &Expr, schema: &DFSchema) -> PlanResult<Expr> {
        let bound = expr.clone().transform_up(|expr| match &expr {
            Expr::Column(column) => Ok(Transformed::yes(standing_at(at(schema.index_of_column(column)?), column))),
            Expr::Alias(alias) => Ok(Transformed::yes(alias.expr.as_ref().clone())),
            _ => Ok(Transformed::no(expr)),
        });
        bound.map(|bound| bound.data)
    }

    /// Whether it matters for which rows a bound expression is evaluated.
    pub(super) fn is_unsteady(&self, bound: &Expr) -> bool {
        self.branches
            .iter()
            .any(|branch| branch.resolve(bound.clone()).map_or(true, |resolved| branch.base.is_unsteady(&resolved)))
    }

    /// The role of a bound expression. Only plain columns have one.
    pub(super) fn role_of(&self, bound: &Expr) -> Role {
        match bound {
            Expr::Column(column) => position_of(column)
                .and_then(|index| self.columns.get(index))
                .map_or(Role::default(), |known| known.role),
            _ => Role::default(),
        }
    }

    /// The position of the column that holds a part of a window.
    pub(super) fn window_part(&self, tag: WindowTag, part: WindowPart) -> Option<usize> {
        self.columns.iter().position(|column| column.role.window == Some((tag, part)))
    }

    /// The tags of the windows that the columns hold.
    pub(super) fn window_tags(&self) -> Vec<WindowTag> {
        let mut tags: Vec<WindowTag> = Vec::new();
        for (tag, _) in self.columns.iter().filter_map(|column| column.role.window) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }
}

/// A bound column.
pub(super) fn at(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("#{index}")))
}

/// Gives a column that replaces another the other's place in the script, unless it has one.
pub(super) fn standing_at(mut expr: Expr, place: &Column) -> Expr {
    if let Expr::Column(column) = &mut expr
        && column.spans.first().is_none()
    {
        column.spans = place.spans.clone();
    }
    expr
}

/// The position of a bound column.
pub(super) fn position_of(column: &Column) -> Option<usize> {
    column.name.strip_prefix('#')?.parse().ok()
}

pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The index in a schema of a plain column.
pub(super) fn index_in(schema: &Schema, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

/// Whether an expression names one of these columns.
pub(super) fn names_any(expr: &Expr, names: &[&str]) -> bool {
    expr.column_refs().iter().any(|column| names.contains(&column.name.as_str()))
}

/// Takes a name that is free, near the wanted one.
pub(super) fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let wanted = if wanted.is_empty() { "column" } else { wanted };
    let mut name = wanted.to_owned();
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("{wanted}_{number}");
    }
    name
}

/// The bytes of an expression over unqualified columns. Leaves its place open.
pub(super) fn encode(expr: &Expr) -> PlanResult<ExprBytes> {
    let bytes = thalweg_expr::encode(expr).map_err(|error| {
        let message = match &error {
            CodecError::TooDeep | CodecError::TooLong => format!("{error}: compute parts of it in a view or subquery"),
            CodecError::Unsupported { .. }
            | CodecError::Qualified(_)
            | CodecError::Type { .. }
            | CodecError::Value { .. }
            | CodecError::Write(_)
            | CodecError::Read(_)
            | CodecError::Format { .. }
            | CodecError::Shape(_)
            | CodecError::UnknownFunction(_) => with_causes(&error),
        };
        let spans = expr.column_refs().into_iter().filter_map(|column| column.spans.first());
        let span = spans.min_by_key(|span| (span.start.line, span.start.column));
        plan_datafusion_err!("{message}").with_diagnostic(Diagnostic::new_error(message.clone(), span))
    })?;
    Ok(ExprBytes { bytes, text: expression_text(expr), place: None })
}
