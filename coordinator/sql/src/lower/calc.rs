//! Filters and projections accumulate in the relation. Each branch is emitted with at most one `Calc`.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::Result as PlanResult;
use datafusion_expr::{Expr, Filter, Projection};
use thalweg_types::{
    OperatorId, OperatorKind,
    graph::{Calc, Parallelism},
};

use super::{
    Lowerer,
    graph::{Draft, Feed, Routing},
    relation::{Base, Branch, Relation, RelationColumn, Role, Stage, WindowPart, at, index_in, unique},
    repeats::are_worth_settling,
};
use crate::errors::Result;

/// Columns to emit: a name and a bound expression each.
pub(super) type Wanted = Vec<(String, Expr)>;

/// Emitted operators, their common output, and each wanted column's position in it.
#[derive(Debug, Clone)]
pub(super) struct Emitted {
    pub(super) operators: Vec<OperatorId>,
    pub(super) schema: SchemaRef,
    pub(super) positions: Vec<usize>,
}

/// How exactly the output must match the wanted columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// Any order and any names, but no other columns.
    Loose,
    /// These names in this order, and no other columns.
    Exact,
    /// As `Exact`, and nullable only where this schema is. A row with another NULL fails the job.
    Within(SchemaRef),
}

impl Emitted {
    pub(super) fn feed(&self, port: u8, routing: Routing) -> Feed {
        Feed { port, senders: self.operators.clone(), routing }
    }
}

impl Lowerer<'_> {
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Relation> {
        let mut input = self.lower(&projection.input)?;
        let schema = projection.input.schema();
        let bound: PlanResult<Vec<Expr>> = projection.expr.iter().map(|expr| input.bind(expr, schema)).collect();
        let bound = bound.map_err(|error| self.failed(&error))?;
        if are_worth_settling(&input, &bound) {
            input = self.settled(&input)?;
        }
        let names = projection.schema.fields().iter().map(|field| field.name().clone());
        let columns: Vec<RelationColumn> =
            names.zip(&bound).map(|(name, expr)| RelationColumn { name, role: input.role_of(expr) }).collect();
        self.projected(&input, bound, columns)
    }

    /// The relation with these columns. Keeps the start or end of a window as a hidden column if the query keeps only
    /// the other.
    fn projected(&self, input: &Relation, mut bound: Vec<Expr>, mut columns: Vec<RelationColumn>) -> Result<Relation> {
        let width = columns.len();
        for tag in input.window_tags() {
            let kept = columns.iter().any(|column| column.role.window.is_some_and(|(known, _)| known == tag));
            for part in [WindowPart::Start, WindowPart::End].into_iter().filter(|_| kept) {
                let missing = columns.iter().all(|column| column.role.window != Some((tag, part)));
                if let (true, Some(index)) = (missing, input.window_part(tag, part)) {
                    bound.push(at(index));
                    columns.push(input.columns[index].clone());
                }
            }
        }
        let mut branches = Vec::with_capacity(input.branches.len());
        for branch in &input.branches {
            let exprs: PlanResult<Vec<Expr>> = bound.iter().map(|expr| branch.resolve(expr.clone())).collect();
            let exprs = exprs.map_err(|error| self.failed(&error))?;
            branches.push(Branch { base: branch.base.clone(), filter: branch.filter.clone(), exprs });
        }
        Ok(Relation { branches, columns, width })
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Relation> {
        let mut input = self.lower(&filter.input)?;
        let bound = input.bind(&filter.predicate, filter.input.schema()).map_err(|error| self.failed(&error))?;
        if let Some(ranked) = self.limited(&input, &bound)? {
            return Ok(ranked);
        }
        for branch in &mut input.branches {
            let resolved = branch.resolve(bound.clone()).map_err(|error| self.failed(&error))?;
            branch.filter = Some(match branch.filter.take() {
                Some(below) => below.and(resolved),
                None => resolved,
            });
        }
        Ok(input)
    }

    /// The relation over emitted operators, with nothing pending.
    pub(super) fn settled(&mut self, relation: &Relation) -> Result<Relation> {
        let wanted: Wanted =
            relation.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), at(index))).collect();
        let emitted = self.emit(relation, &wanted, Layout::Loose)?;
        let base = Base { operators: emitted.operators, schema: emitted.schema, stage: Stage::None };
        let exprs = emitted.positions.iter().map(|position| base.column(*position)).collect();
        let branches = vec![Branch { base, filter: None, exprs }];
        Ok(Relation { branches, columns: relation.columns.clone(), width: relation.width })
    }

    /// Adds the operators that emit the wanted columns.
    pub(super) fn emit(&mut self, relation: &Relation, wanted: &Wanted, layout: Layout) -> Result<Emitted> {
        let mut branches = Vec::with_capacity(relation.branches.len());
        for branch in &relation.branches {
            let exprs: PlanResult<Vec<Expr>> = wanted.iter().map(|(_, expr)| branch.resolve(expr.clone())).collect();
            let exprs = exprs.map_err(|error| self.failed(&error))?;
            branches.push(self.staged(&Branch { exprs, ..branch.clone() })?);
        }
        if let ([only], Layout::Loose) = (branches.as_slice(), &layout)
            && let Some(positions) = passes_as_is(only)
        {
            let Base { operators, schema, .. } = only.base.clone();
            return Ok(Emitted { operators, schema, positions });
        }
        let (distinct, positions) = if layout == Layout::Loose && branches.len() == 1 {
            without_repeats(wanted, &mut branches)
        } else {
            (wanted.iter().map(|(name, _)| name.clone()).collect(), (0..wanted.len()).collect())
        };
        let schema = common_schema(&distinct, &branches).map_err(|error| self.failed(&error))?;
        let schema = if let Layout::Within(limits) = &layout { within(&schema, limits) } else { schema };
        let mut operators: Vec<OperatorId> = Vec::new();
        for branch in &branches {
            let made = self.calc(branch, &schema)?;
            // Two equal inputs of a union are two inputs, so the second gets an operator of its own.
            let repeated = made.iter().any(|id| operators.contains(id));
            operators.extend(if repeated { vec![self.pass(&made, &schema)] } else { made });
        }
        Ok(Emitted { operators, schema, positions })
    }

    /// The operators that emit exactly this schema.
    fn calc(&mut self, branch: &Branch, schema: &SchemaRef) -> Result<Vec<OperatorId>> {
        let identity = branch.exprs.len() == branch.base.schema.fields().len()
            && branch.exprs.iter().enumerate().all(|(index, expr)| index_in(&branch.base.schema, expr) == Some(index));
        if branch.filter.is_none() && identity && *schema == branch.base.schema {
            return Ok(branch.base.operators.clone());
        }
        let same = identity && *schema == branch.base.schema;
        let encoded = |expr: &Expr| self.encoded(expr).map_err(|error| self.failed(&error));
        let filter = branch.filter.as_ref().map(encoded).transpose()?;
        let projection = (!same).then(|| branch.exprs.iter().map(encoded).collect::<Result<Vec<_>>>()).transpose()?;
        Ok(vec![self.add_calc(Calc { filter, projection }, &branch.base.operators, schema)])
    }

    fn pass(&mut self, operators: &[OperatorId], schema: &SchemaRef) -> OperatorId {
        let parallelism = self.graph.parallelism_of(operators);
        let draft = Draft {
            kind: OperatorKind::Calc(Calc { filter: None, projection: None }),
            parallelism,
            output: schema.clone(),
        };
        self.graph.add_new(draft, &[Feed { port: 0, senders: operators.to_vec(), routing: Routing::Local }])
    }

    fn add_calc(&mut self, calc: Calc, operators: &[OperatorId], schema: &SchemaRef) -> OperatorId {
        let parallelism: Parallelism = self.graph.parallelism_of(operators);
        let draft = Draft { kind: OperatorKind::Calc(calc), parallelism, output: schema.clone() };
        self.graph.add(draft, &[Feed { port: 0, senders: operators.to_vec(), routing: Routing::Local }])
    }
}

/// The positions of the wanted columns in the base; `None` if something must be computed, filtered or dropped.
fn passes_as_is(branch: &Branch) -> Option<Vec<usize>> {
    let schema = &branch.base.schema;
    let positions: Vec<usize> = branch.exprs.iter().map(|expr| index_in(schema, expr)).collect::<Option<_>>()?;
    let used: BTreeSet<usize> = positions.iter().copied().collect();
    (branch.filter.is_none() && used.len() == schema.fields().len()).then_some(positions)
}

/// Drops repeated wanted columns. Returns the names that are left, and each wanted column's position among them.
fn without_repeats(wanted: &Wanted, branches: &mut [Branch]) -> (Vec<String>, Vec<usize>) {
    let (mut names, mut exprs, mut positions): (Vec<String>, Vec<Expr>, Vec<usize>) = Default::default();
    let Some(branch) = branches.first_mut() else { return (names, positions) };
    for ((name, _), expr) in wanted.iter().zip(&branch.exprs) {
        let position = exprs.iter().position(|earlier| earlier == expr).unwrap_or_else(|| {
            names.push(name.clone());
            exprs.push(expr.clone());
            exprs.len() - 1
        });
        positions.push(position);
    }
    branch.exprs = exprs;
    (names, positions)
}

/// The schema that all branches can emit: unique names, and nullable where one branch is.
fn common_schema(names: &[String], branches: &[Branch]) -> PlanResult<SchemaRef> {
    let mut taken = BTreeSet::new();
    let mut fields = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let name = unique(name, &mut taken);
        let mut field: Option<Field> = None;
        for branch in branches {
            let given = branch.field_of(&branch.exprs[index], &name)?;
            field = Some(match field {
                Some(known) if known.data_type() != given.data_type() => {
                    return datafusion_common::plan_err!(
                        "column '{name}' of a UNION ALL is {} and {}",
                        known.data_type(),
                        given.data_type()
                    );
                }
                Some(known) => known.clone().with_nullable(known.is_nullable() || given.is_nullable()),
                None => given,
            });
        }
        fields.extend(field);
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The schema, nullable only where both are.
fn within(schema: &Schema, limits: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(limits.fields());
    let fields =
        fields.map(|(field, limit)| field.as_ref().clone().with_nullable(field.is_nullable() && limit.is_nullable()));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// A column without a role.
pub(super) fn plain(name: impl Into<String>) -> RelationColumn {
    RelationColumn { name: name.into(), role: Role::default() }
}
