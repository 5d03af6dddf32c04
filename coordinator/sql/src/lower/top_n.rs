//! The first rows of each window: `ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY …)` below
//! `rn <= n`.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    BinaryExpr, Expr, Operator, Window, WindowFunctionDefinition,
    expr::WindowFunction,
    utils::{conjunction, split_conjunction},
};
use thalweg_types::{
    OperatorKind,
    graph::{Parallelism, SortColumn, WindowTopN},
};

use super::{
    Lowerer, WindowTag,
    calc::{Layout, Wanted},
    determines_window,
    graph::{Draft, Feed, Routing},
    relation::{
        Base, Branch, PendingRanking, Relation, RelationColumn, Role, Stage, WindowPart, at, column, names_any,
        position_of, unique,
    },
};
use crate::errors::{Result, SqlError};

const FORM: &str =
    "ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY …) AS rn, with rn <= n in an outer query";

impl Lowerer<'_> {
    pub(super) fn ranking(&mut self, window: &Window) -> Result<Relation> {
        let [expr] = window.window_expr.as_slice() else {
            return Err(self.not_top_n(&window.window_expr, "several OVER clauses in one query are not supported"));
        };
        let function = row_number(expr)
            .ok_or_else(|| self.not_top_n(&window.window_expr, "OVER is supported for ROW_NUMBER() only"))?;
        if function.params.order_by.is_empty() {
            return Err(self.not_top_n(&window.window_expr, "ROW_NUMBER() OVER needs ORDER BY"));
        }
        let input = self.lower(&window.input)?;
        let schema = window.input.schema();
        let bind = |exprs: &[Expr]| {
            let bound: datafusion_common::Result<Vec<Expr>> =
                exprs.iter().map(|expr| input.bind(expr, schema)).collect();
            bound.map_err(|error| self.failed(&error))
        };
        let partition = bind(&function.params.partition_by)?;
        let sorts: Vec<Expr> = function.params.order_by.iter().map(|sort| sort.expr.clone()).collect();
        let order = bind(&sorts)?;
        let (tag, keys) = self.partition(&input, partition, window)?;
        let mut wanted: Wanted =
            input.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), at(index))).collect();
        wanted.extend(keys.iter().chain(&order).map(|expr| (name_of(&input, expr), expr.clone())));
        let emitted = self.emit(&input, &wanted, Layout::Loose)?;
        let part = |part| input.window_part(tag, part).map(|index| emitted.positions[index]);
        let (Some(start), Some(end)) = (part(WindowPart::Start), part(WindowPart::End)) else {
            return Err(self.not_top_n(&window.window_expr, "the input must have both window_start and window_end"));
        };
        let first_key = input.columns.len();
        let first_sort = first_key + keys.len();
        let sorted = function.params.order_by.iter().zip(&emitted.positions[first_sort..]);
        let ranking = PendingRanking {
            window: (start, end),
            partition: emitted.positions[first_key..first_sort].to_vec(),
            order: sorted
                .map(|(sort, column)| SortColumn {
                    column: *column,
                    descending: !sort.asc,
                    nulls_first: sort.nulls_first,
                })
                .collect(),
            limit: None,
        };
        Ok(pending(&input, tag, ranking, emitted.operators, &emitted.schema, &emitted.positions))
    }

    /// The tag of the window, and the other partition columns.
    fn partition(&self, input: &Relation, bound: Vec<Expr>, window: &Window) -> Result<(WindowTag, Vec<Expr>)> {
        let refuse = |message: &str| Err(self.not_top_n(&window.window_expr, message));
        let part_of = |expr: &Expr| input.role_of(expr).window;
        let Some(tag) = bound.iter().filter_map(part_of).map(|(tag, _)| tag).max_by_key(|tag| tag.0) else {
            return refuse("OVER without a window in PARTITION BY is not supported");
        };
        let has = |wanted: &[WindowPart]| {
            bound.iter().filter_map(part_of).any(|(known, part)| known == tag && wanted.contains(&part))
        };
        let (start, end) = (has(&[WindowPart::Start]), has(&[WindowPart::End, WindowPart::Time]));
        if !determines_window(self.spec_of(tag), start, end) {
            return refuse("PARTITION BY needs both window_start and window_end here");
        }
        let keys = bound.into_iter().filter(|expr| part_of(expr).is_none_or(|(known, _)| known != tag)).collect();
        Ok((tag, keys))
    }

    fn not_top_n(&self, exprs: &[Expr], message: &str) -> SqlError {
        self.refuse(&inside_over(exprs), Some("OVER"), message).with_hint(FORM)
    }

    /// The relation with its pending ranking limited by a condition on the row number; `None` if either is missing.
    pub(super) fn limited(&mut self, input: &Relation, condition: &Expr) -> Result<Option<Relation>> {
        let [Branch { base: Base { stage: Stage::Ranking(ranking), .. }, .. }] = input.branches.as_slice() else {
            return Ok(None);
        };
        if ranking.limit.is_some() {
            return Ok(None);
        }
        let is_rank = |expr: &Expr| input.role_of(expr).rank;
        let mut limit: Option<u64> = None;
        let mut rest: Vec<Expr> = Vec::new();
        for conjunct in split_conjunction(condition) {
            match upper_bound(conjunct, &is_rank) {
                Some((bound, exact)) => {
                    limit = Some(limit.map_or(bound, |known| known.min(bound)));
                    rest.extend((!exact).then(|| conjunct.clone()));
                }
                None => rest.push(conjunct.clone()),
            }
        }
        let Some(limit) = limit else { return Ok(None) };
        let mut limited = input.clone();
        let branch = &mut limited.branches[0];
        let filter =
            conjunction(rest).map(|rest| branch.resolve(rest)).transpose().map_err(|error| self.failed(&error))?;
        branch.filter = conjunction(branch.filter.take().into_iter().chain(filter));
        branch.base.stage = Stage::Ranking(PendingRanking { limit: Some(limit), ..ranking.clone() });
        Ok(Some(limited))
    }

    /// Adds the `WindowTopN` operator.
    pub(super) fn ranked(&mut self, branch: &Branch, ranking: &PendingRanking) -> Result<Branch> {
        let Some(limit) = ranking.limit else {
            return Err(self.not_top_n(&[], "ROW_NUMBER() needs a condition on its result"));
        };
        let base = &branch.base;
        let number = base.schema.fields().len() - 1;
        let name = base.schema.field(number).name().clone();
        let numbered = branch.exprs.iter().chain(&branch.filter).any(|expr| names_any(expr, &[&name]));
        let width = if numbered { number + 1 } else { number };
        let schema = Arc::new(Schema::new(base.schema.fields()[..width].to_vec()));
        let kind = WindowTopN {
            window: ranking.window,
            partition: ranking.partition.clone(),
            order: ranking.order.clone(),
            limit,
            emit_row_number: numbered,
        };
        let (parallelism, routing) = match ranking.partition.is_empty() {
            true => (Parallelism::One, Routing::Gather),
            false => (Parallelism::Job, Routing::Hash(ranking.partition.clone())),
        };
        let draft = Draft { kind: OperatorKind::WindowTopN(kind), parallelism, output: schema.clone() };
        let operator = self.graph.add(draft, &[Feed { port: 0, senders: base.operators.clone(), routing }]);
        let base = Base { operators: vec![operator], schema, stage: Stage::None };
        Ok(Branch { base, filter: branch.filter.clone(), exprs: branch.exprs.clone() })
    }
}

/// The relation with a pending ranking. The row number follows the plan's columns, before the hidden ones.
fn pending(
    input: &Relation,
    tag: WindowTag,
    ranking: PendingRanking,
    operators: Vec<thalweg_types::OperatorId>,
    emitted: &Schema,
    positions: &[usize],
) -> Relation {
    let mut taken: BTreeSet<String> = emitted.fields().iter().map(|field| field.name().clone()).collect();
    let mut fields: Vec<Field> = emitted.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(unique("row_number", &mut taken), DataType::Int64, false));
    let schema = Arc::new(Schema::new(fields));
    let role = |role: Role| role.when_closed(tag, tag);
    let mut columns: Vec<RelationColumn> = Vec::with_capacity(input.columns.len() + 1);
    let mut exprs: Vec<Expr> = Vec::with_capacity(input.columns.len() + 1);
    for (index, known) in input.columns.iter().enumerate() {
        if index == input.width {
            push_number(&mut columns, &mut exprs, &schema);
        }
        columns.push(RelationColumn { name: known.name.clone(), role: role(known.role) });
        exprs.push(column(schema.field(positions[index]).name()));
    }
    if input.width == input.columns.len() {
        push_number(&mut columns, &mut exprs, &schema);
    }
    let base = Base { operators, schema, stage: Stage::Ranking(ranking) };
    Relation { branches: vec![Branch { base, filter: None, exprs }], columns, width: input.width + 1 }
}

fn push_number(columns: &mut Vec<RelationColumn>, exprs: &mut Vec<Expr>, schema: &Schema) {
    let name = schema.field(schema.fields().len() - 1).name();
    columns.push(RelationColumn { name: name.clone(), role: Role { rank: true, ..Role::default() } });
    exprs.push(column(name));
}

/// The expressions inside the parentheses of `OVER`.
fn inside_over(exprs: &[Expr]) -> Vec<Expr> {
    let functions = exprs.iter().filter_map(|expr| match expr {
        Expr::WindowFunction(function) => Some(function),
        _ => None,
    });
    let params = functions.map(|function| &function.params);
    params
        .flat_map(|params| params.partition_by.iter().chain(params.order_by.iter().map(|sort| &sort.expr)))
        .cloned()
        .collect()
}

fn row_number(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => match &function.fun {
            WindowFunctionDefinition::WindowUDF(known) if known.name() == "row_number" => Some(function),
            _ => None,
        },
        Expr::Alias(alias) => row_number(&alias.expr),
        _ => None,
    }
}

fn name_of(input: &Relation, bound: &Expr) -> String {
    let known = match bound {
        Expr::Column(column) => position_of(column).and_then(|index| input.columns.get(index)),
        _ => None,
    };
    known.map_or_else(|| "sort_key".to_owned(), |column| column.name.clone())
}

/// The largest row number that passes a conjunct, and whether the conjunct says no more than that.
fn upper_bound(conjunct: &Expr, is_rank: &dyn Fn(&Expr) -> bool) -> Option<(u64, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { return None };
    let (operator, value) = match (is_rank(without_cast(left)), is_rank(without_cast(right))) {
        (true, false) => (*op, whole_number(right)?),
        (false, true) => (op.swap()?, whole_number(left)?),
        _ => return None,
    };
    match operator {
        Operator::LtEq => Some((value, true)),
        Operator::Lt => Some((value.saturating_sub(1), value > 0)),
        Operator::Eq => Some((value, value == 1)),
        _ => None,
    }
}

fn without_cast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => without_cast(&cast.expr),
        other => other,
    }
}

fn whole_number(expr: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = without_cast(expr) else { return None };
    match value {
        ScalarValue::Decimal128(Some(digits), _, 0) => u64::try_from(*digits).ok(),
        other => match other.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(number)) if other.data_type().is_integer() => u64::try_from(number).ok(),
            _ => None,
        },
    }
}
