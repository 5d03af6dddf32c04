//! Window table functions. Each is pending until an aggregate takes it over; else it becomes a `WindowAssign`.
//!
//! Tumbling, hopping and cumulating windows depend on one row only, so filters and projections commute with them and
//! stay pending below and above. A session depends on the other rows of its key. So its input is emitted first, and
//! later filters are above it.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::{
    Expr,
    utils::{conjunction, split_conjunction_owned},
};
use thalweg_types::{
    OperatorKind,
    graph::{WindowAssign, WindowSpec},
};

use super::{
    Lowerer,
    calc::{Layout, Wanted},
    graph::{Draft, Feed, Routing},
    relation::{
        Base, Branch, PendingWindow, Relation, RelationColumn, Role, Stage, WindowPart, at, column, index_in,
        names_any, unique,
    },
};
use crate::{
    errors::{Result, SqlError},
    explain::expression_text,
    window_tvf::{WINDOW_COLUMNS, WindowTvf, window_type},
};

impl Lowerer<'_> {
    pub(super) fn window_function(&mut self, window: &WindowTvf) -> Result<Relation> {
        let mut input = self.lower(&window.input)?;
        let schema = window.input.schema();
        let bound = input.bind(&window.time, schema).map_err(|error| self.failed(&error))?;
        if !input.role_of(&bound).event_time {
            return Err(self.not_event_time(&window.time));
        }
        let session = matches!(window.spec, WindowSpec::Session { .. });
        let pending = |branch: &Branch| !matches!(branch.base.stage, Stage::None);
        if session || input.branches.iter().any(pending) {
            input = self.settled(&input)?;
        }
        let tag = self.tag(Some(window.spec));
        let mut keys = Vec::with_capacity(window.partition.len());
        for key in &window.partition {
            keys.push(input.bind(key, schema).map_err(|error| self.failed(&error))?);
        }
        let mut branches = Vec::with_capacity(input.branches.len());
        for branch in &input.branches {
            let visible = Branch { exprs: branch.exprs.iter().take(input.width).cloned().collect(), ..branch.clone() };
            branches.push(self.with_window(&visible, &bound, &keys, window.spec, tag)?);
        }
        let mut columns: Vec<RelationColumn> = input.columns.iter().take(input.width).cloned().collect();
        for (name, part) in WINDOW_COLUMNS.iter().zip([WindowPart::Start, WindowPart::End, WindowPart::Time]) {
            let role = Role { event_time: part == WindowPart::Time, window: Some((tag, part)), rank: false };
            columns.push(RelationColumn { name: (*name).to_owned(), role });
        }
        let width = columns.len();
        Ok(Relation { branches, columns, width })
    }

    /// The branch with a pending window. The window's columns follow the plan's.
    fn with_window(
        &self,
        branch: &Branch,
        time: &Expr,
        keys: &[Expr],
        spec: WindowSpec,
        tag: super::WindowTag,
    ) -> Result<Branch> {
        let plain = |bound: &Expr| {
            let resolved = branch.resolve(bound.clone()).map_err(|error| self.failed(&error))?;
            index_in(&branch.base.schema, &resolved).ok_or_else(|| self.not_event_time(bound))
        };
        let window = PendingWindow {
            tag,
            column: plain(time)?,
            spec,
            partition: keys.iter().map(plain).collect::<Result<_>>()?,
        };
        let schema = with_window_columns(&branch.base.schema);
        let below = branch.base.schema.fields().len();
        let base = Base { operators: branch.base.operators.clone(), schema, stage: Stage::Window(window) };
        let mut exprs = branch.exprs.clone();
        exprs.extend((below..below + WINDOW_COLUMNS.len()).map(|index| base.column(index)));
        Ok(Branch { base, filter: branch.filter.clone(), exprs })
    }

    fn not_event_time(&self, time: &Expr) -> SqlError {
        let name = match time {
            Expr::Column(column) => column.name.as_str(),
            _ => "it",
        };
        self.refuse(std::slice::from_ref(time), None, &format!("'{name}' is not an event-time column"))
            .with_hint("DESCRIPTOR names a column with a WATERMARK, or the window_time of a windowed query")
    }

    /// The branch with nothing pending in its base.
    pub(super) fn staged(&mut self, branch: &Branch) -> Result<Branch> {
        match &branch.base.stage {
            Stage::None => Ok(branch.clone()),
            Stage::Window(window) => self.assigned(branch, &window.clone()),
            Stage::Ranking(ranking) => self.ranked(branch, &ranking.clone()),
            Stage::Sort(sort) => Ok(self.sorted(branch, sort)),
        }
    }

    /// Adds a `WindowAssign`. What does not need the window's columns is computed before it.
    fn assigned(&mut self, branch: &Branch, window: &PendingWindow) -> Result<Branch> {
        if matches!(window.spec, WindowSpec::Session { .. }) {
            return Err(self
                .refuse(&[], Some("SESSION"), "SESSION is only supported directly below GROUP BY")
                .with_hint("group by window_start, window_end and the PARTITION BY columns"));
        }
        let base = &branch.base;
        let below = base.schema.fields().len() - WINDOW_COLUMNS.len();
        let names: Vec<&str> = base.schema.fields()[below..].iter().map(|field| field.name().as_str()).collect();
        let conjuncts = branch.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let (above, first) = parted(base, conjuncts, &names);
        let (laid_out, wanted) = split_at_window(branch, &above, &names, window.column);
        let input = Relation {
            branches: vec![Branch {
                base: Base { stage: Stage::None, schema: without_window_columns(&base.schema), ..base.clone() },
                filter: conjunction(first),
                exprs: wanted.iter().map(|(_, expr)| expr.clone()).collect(),
            }],
            columns: wanted.iter().map(|(name, _)| super::calc::plain(name)).collect(),
            width: wanted.len(),
        };
        let by_position: Wanted =
            wanted.iter().enumerate().map(|(index, (name, _))| (name.clone(), at(index))).collect();
        let emitted = self.emit(&input, &by_position, Layout::Loose)?;
        let schema = with_window_columns(&emitted.schema);
        let start = emitted.schema.fields().len();
        let assign = WindowAssign { column: emitted.positions[wanted.len() - 1], spec: window.spec };
        let draft = Draft {
            kind: OperatorKind::WindowAssign(assign),
            parallelism: self.graph.parallelism_of(&emitted.operators),
            output: schema.clone(),
        };
        let operator = self.graph.add(draft, &[Feed { port: 0, senders: emitted.operators, routing: Routing::Local }]);
        let renamed = |expr: &Expr| renamed(expr, &names, &wanted, &emitted.positions, &schema, start);
        let exprs = laid_out.iter().map(renamed).collect();
        let filter = conjunction(above.iter().map(renamed));
        Ok(Branch { base: Base { operators: vec![operator], schema, stage: Stage::None }, filter, exprs })
    }
}

/// Splits conditions into those above the window, which need its columns, and those below it, each in order. A
/// condition that can fail stays behind one that needs the columns.
pub(super) fn parted(base: &Base, conditions: Vec<Expr>, names: &[&str]) -> (Vec<Expr>, Vec<Expr>) {
    let (mut above, mut first) = (Vec::new(), Vec::new());
    for condition in conditions {
        let waits = names_any(&condition, names) || (!above.is_empty() && base.is_unsteady(&condition));
        if waits { above.push(condition) } else { first.push(condition) }
    }
    (above, first)
}

/// The columns to compute before the window is assigned, the time column last, and the branch's expressions over them.
/// An expression that can fail is not computed before a condition above, which may drop its row.
fn split_at_window(branch: &Branch, above: &[Expr], names: &[&str], time: usize) -> (Vec<Expr>, Wanted) {
    let mut wanted: Wanted = Vec::new();
    let mut laid_out = Vec::with_capacity(branch.exprs.len());
    for expr in &branch.exprs {
        let waits = !above.is_empty() && branch.base.is_unsteady(expr);
        if waits || names_any(expr, names) || expr.column_refs().is_empty() {
            laid_out.push(expr.clone());
            wanted.extend(raw_columns(expr, names));
        } else {
            let name = match expr {
                Expr::Column(column) => column.name.clone(),
                other => expression_text(other),
            };
            let known = wanted.iter().position(|(_, earlier)| earlier == expr);
            let index = known.unwrap_or_else(|| {
                wanted.push((name, expr.clone()));
                wanted.len() - 1
            });
            laid_out.push(at(index));
        }
    }
    wanted.extend(above.iter().flat_map(|expr| raw_columns(expr, names)));
    wanted.push((branch.base.schema.field(time).name().clone(), branch.base.column(time)));
    (laid_out, wanted)
}

/// The columns below the window that an expression names, besides the window's.
fn raw_columns(expr: &Expr, names: &[&str]) -> Wanted {
    let columns = expr.column_refs();
    let mut raw: Vec<&str> =
        columns.iter().map(|column| column.name.as_str()).filter(|name| !names.contains(name)).collect();
    raw.sort_unstable();
    raw.dedup();
    raw.into_iter().map(|name| (name.to_owned(), column(name))).collect()
}

/// Rewrites an expression over the laid-out columns or the old base as one over the output of the `WindowAssign`.
fn renamed(expr: &Expr, names: &[&str], wanted: &Wanted, positions: &[usize], schema: &Schema, start: usize) -> Expr {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    let replaced = expr.clone().transform_up(|expr| {
        let Expr::Column(old) = &expr else { return Ok(Transformed::no(expr)) };
        let index = super::relation::position_of(old)
            .map(|wanted| positions[wanted])
            .or_else(|| names.iter().position(|name| *name == old.name).map(|part| start + part))
            .or_else(|| {
                let known =
                    wanted.iter().position(|(_, expr)| matches!(expr, Expr::Column(raw) if raw.name == old.name));
                known.map(|wanted| positions[wanted])
            });
        Ok(match index {
            Some(index) => Transformed::yes(column(schema.field(index).name())),
            None => Transformed::no(expr),
        })
    });
    replaced.map(|replaced| replaced.data).unwrap_or_else(|_| expr.clone())
}

/// The schema with the three window columns added at its end.
pub(super) fn with_window_columns(schema: &Schema) -> SchemaRef {
    let mut taken: BTreeSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for name in WINDOW_COLUMNS {
        fields.push(Field::new(unique(name, &mut taken), window_type(), false));
    }
    Arc::new(Schema::new(fields))
}

/// The schema without the three window columns at its end.
pub(super) fn without_window_columns(schema: &Schema) -> SchemaRef {
    let width = schema.fields().len() - WINDOW_COLUMNS.len();
    Arc::new(Schema::new(schema.fields()[..width].to_vec()))
}
