//! A relation while it is lowered: the operators that give its rows, what is still to be done to them, and what each
//! column means.
//!
//! A relation has one branch per input of a `UNION ALL`. All expressions of a branch are over the unique, unqualified
//! column names of its base. Expressions about the relation itself (`Relation::bind`) name its columns by position.

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
use crate::{explain::expression_text, filters::is_unsteady, prune::path_of};

/// A relation while it is lowered.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) branches: Vec<Branch>,
    /// The plan's columns, then columns that only the lowering knows of (a window's other end).
    pub(super) columns: Vec<RelationColumn>,
    /// How many of `columns` are the plan's.
    pub(super) width: usize,
}

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    pub(super) role: Role,
}

/// What a column means to the operators of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// Watermarks are promises about it.
    pub(super) event_time: bool,
    /// It is a part of the row's window.
    pub(super) window: Option<(WindowTag, WindowPart)>,
    /// It is the number of a pending ranking.
    pub(super) rank: bool,
}

impl Role {
    /// What the column means in rows that leave when their window `closed` does, called `tag` from then on.
    ///
    /// Of the time columns only that window's own is not behind the watermark then, and other windows may have closed long
    /// ago: who waited for those would take every row for late. Their columns are plain ones from here on.
    pub(super) fn when_closed(self, closed: WindowTag, tag: WindowTag) -> Self {
        let window = self.window.filter(|(known, _)| *known == closed).map(|(_, part)| (tag, part));
        Self { event_time: self.event_time && window.is_some(), window, rank: false }
    }
}

/// Which part of a window.
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
    /// Rows for which it holds pass.
    pub(super) filter: Option<Expr>,
    /// One per column of the relation.
    pub(super) exprs: Vec<Expr>,
}

/// What a branch starts from.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Several where inputs of a union feed a window table function or ranking.
    pub(super) operators: Vec<OperatorId>,
    /// What they emit, and after it the columns of the stage.
    pub(super) schema: SchemaRef,
    pub(super) stage: Stage,
}

/// What is still to be done to the base before the filter.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    None,
    /// The last three columns are the window's.
    Window(PendingWindow),
    /// The last column is the row number.
    Ranking(PendingRanking),
    Sort(Sort),
}

/// A window table function.
#[derive(Debug, Clone)]
pub(super) struct PendingWindow {
    pub(super) tag: WindowTag,
    /// The event-time column's index.
    pub(super) column: usize,
    pub(super) spec: WindowSpec,
    /// A session's keys.
    pub(super) partition: Vec<usize>,
}

/// `ROW_NUMBER() OVER (…)`, until its limit is known.
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
    /// An expression about the relation's columns, over this branch's base.
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

    /// The field that an expression over the base gives.
    pub(super) fn field_of(&self, expr: &Expr, name: &str) -> PlanResult<Field> {
        let field = expr.to_field(&self.base.df_schema()?)?.1;
        Ok(Field::new(name, field.data_type().clone(), field.is_nullable()))
    }
}

impl Relation {
    /// The relation of one operator's output, each column as itself.
    pub(super) fn of(base: Base, columns: Vec<RelationColumn>, width: usize) -> Self {
        let exprs = (0..columns.len()).map(|index| base.column(index)).collect();
        Self { branches: vec![Branch { base, filter: None, exprs }], columns, width }
    }

    /// An expression of the plan, about this relation's columns by position.
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

    /// The role of a bound expression: that of the column, where it is nothing else.
    pub(super) fn role_of(&self, bound: &Expr) -> Role {
        match bound {
            Expr::Column(column) => position_of(column)
                .and_then(|index| self.columns.get(index))
                .map_or(Role::default(), |known| known.role),
            _ => Role::default(),
        }
    }

    /// Where a part of a window is among the columns.
    pub(super) fn window_part(&self, tag: WindowTag, part: WindowPart) -> Option<usize> {
        self.columns.iter().position(|column| column.role.window == Some((tag, part)))
    }

    /// The tags of the windows that are among the columns.
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

/// The relation's column at a position, as a bound expression.
pub(super) fn at(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("#{index}")))
}

/// An expression that takes the place of a column: where it is a column itself that stands nowhere, it stands there.
pub(super) fn standing_at(mut expr: Expr, place: &Column) -> Expr {
    if let Expr::Column(column) = &mut expr
        && column.spans.first().is_none()
    {
        column.spans = place.spans.clone();
    }
    expr
}

/// The position that a bound column names.
pub(super) fn position_of(column: &Column) -> Option<usize> {
    column.name.strip_prefix('#')?.parse().ok()
}

/// An unqualified column.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The index of a plain column in a schema.
pub(super) fn index_in(schema: &Schema, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

/// Whether evaluating it twice costs next to nothing.
pub(crate) fn is_trivial(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(_, _)) || path_of(expr).is_some()
}

/// Whether an expression names one of these columns.
pub(super) fn names_any(expr: &Expr, names: &[&str]) -> bool {
    expr.column_refs().iter().any(|column| names.contains(&column.name.as_str()))
}

/// A name that is not taken yet, near the wanted one; takes it.
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

/// The bytes of an expression over unqualified columns; where it stands is left open.
pub(super) fn encode(expr: &Expr) -> PlanResult<ExprBytes> {
    let bytes = thalweg_expr::encode(expr).map_err(|error| {
        let message = match &error {
            CodecError::TooDeep | CodecError::TooLong => format!("{error}: compute parts of it in a view or subquery"),
            other => with_causes(other),
        };
        let spans = expr.column_refs().into_iter().filter_map(|column| column.spans.first());
        let span = spans.min_by_key(|span| (span.start.line, span.start.column));
        plan_datafusion_err!("{message}").with_diagnostic(Diagnostic::new_error(message.clone(), span))
    })?;
    Ok(ExprBytes { bytes, text: expression_text(expr), place: None })
}
