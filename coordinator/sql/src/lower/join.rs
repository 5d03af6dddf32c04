//! Inner joins of equal windows.
//!
//! The condition must make the windows of both sides equal, by start and end, or by one of them if both sides have
//! windows of the same known shape. The other equalities are keys. The rest is a filter on the joined row.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, Schema};
use datafusion_common::{DFSchema, NullEquality, Result as PlanResult};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, Operator,
    type_coercion::binary::comparison_coercion,
    utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction_owned},
};
use thalweg_types::{
    OperatorKind,
    graph::{Parallelism, WindowJoin, WindowSpec},
};

use super::{
    Lowerer, WindowTag,
    calc::{Emitted, Layout, Wanted},
    determines_window,
    graph::{Draft, Routing},
    relation::{Base, Relation, RelationColumn, Role, Stage, WindowPart, at, column, position_of, standing_at, unique},
};
use crate::errors::Result;

/// The parts of a join's condition.
struct Condition {
    left_tag: WindowTag,
    right_tag: WindowTag,
    /// Bound expressions of the left and the right side. The two of a pair have one type.
    keys: Vec<(Expr, Expr)>,
    /// Over the columns of the plan's join.
    rest: Vec<Expr>,
}

/// An equality of the same part of two windows. It makes the windows equal, or is a key like others.
struct WindowEquality {
    tags: (WindowTag, WindowTag),
    part: WindowPart,
    /// Bound expressions of the left and the right side.
    sides: (Expr, Expr),
}

/// One side of the join, laid out.
struct Side {
    emitted: Emitted,
    window: (usize, usize),
    keys: Vec<usize>,
}

impl Lowerer<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Relation> {
        let left = self.lower(&join.left)?;
        let right = self.lower(&join.right)?;
        let condition = self.condition(join, &left, &right)?;
        let left_keys: Vec<Expr> = condition.keys.iter().map(|(key, _)| key.clone()).collect();
        let right_keys: Vec<Expr> = condition.keys.iter().map(|(_, key)| key.clone()).collect();
        let left_side = self.side(&left, condition.left_tag, &left_keys, join)?;
        let right_side = self.side(&right, condition.right_tag, &right_keys, join)?;
        let spec = self.common_spec(condition.left_tag, condition.right_tag);
        let tag = self.tag(spec);
        self.joined(join, &condition, (left, left_side), (right, right_side), tag)
    }

    fn condition(&self, join: &Join, left: &Relation, right: &Relation) -> Result<Condition> {
        let mut pairs: Vec<(Expr, Expr)> = Vec::new();
        let mut windows: Vec<WindowEquality> = Vec::new();
        let mut rest: Vec<Expr> = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        for (left_expr, right_expr) in &join.on {
            let bound_left = left.bind(left_expr, join.left.schema()).map_err(|error| self.failed(&error))?;
            let bound_right = right.bind(right_expr, join.right.schema()).map_err(|error| self.failed(&error))?;
            match (left.role_of(&bound_left).window, right.role_of(&bound_right).window) {
                (Some((left_tag, left_part)), Some((right_tag, right_part))) if left_part == right_part => {
                    windows.push(WindowEquality {
                        tags: (left_tag, right_tag),
                        part: left_part,
                        sides: (bound_left, bound_right),
                    });
                }
                _ if join.null_equality == NullEquality::NullEqualsNull => {
                    rest.push(Expr::BinaryExpr(BinaryExpr::new(
                        Box::new(left_expr.clone()),
                        Operator::IsNotDistinctFrom,
                        Box::new(right_expr.clone()),
                    )))
                }
                _ => pairs.push(same_type(bound_left, bound_right, left, right).map_err(|error| self.failed(&error))?),
            }
        }
        let mut others = Vec::with_capacity(rest.len());
        for expr in rest {
            let equality = same_window(&expr, join, left, right).map_err(|error| self.failed(&error))?;
            match equality {
                Some(equality) => windows.push(equality),
                None => others.push(expr),
            }
        }
        let Some((left_tag, right_tag)) = self.equal_windows(&windows) else {
            return Err(self.not_windowed_join(join));
        };
        for WindowEquality { tags, sides, .. } in windows {
            if tags != (left_tag, right_tag) {
                pairs.push(same_type(sides.0, sides.1, left, right).map_err(|error| self.failed(&error))?);
            }
        }
        Ok(Condition { left_tag, right_tag, keys: pairs, rest: others })
    }

    /// A pair of windows that the equalities make equal.
    fn equal_windows(&self, windows: &[WindowEquality]) -> Option<(WindowTag, WindowTag)> {
        let mut pairs: Vec<(WindowTag, WindowTag)> = windows.iter().map(|equality| equality.tags).collect();
        pairs.sort_by_key(|(left, right)| std::cmp::Reverse((left.0, right.0)));
        pairs.into_iter().find(|pair| {
            let has = |wanted: &[WindowPart]| {
                windows.iter().any(|equality| equality.tags == *pair && wanted.contains(&equality.part))
            };
            let start = has(&[WindowPart::Start]);
            let end = has(&[WindowPart::End, WindowPart::Time]);
            determines_window(self.common_spec(pair.0, pair.1), start, end)
        })
    }

    fn common_spec(&self, left: WindowTag, right: WindowTag) -> Option<WindowSpec> {
        self.spec_of(left).filter(|spec| self.spec_of(right) == Some(*spec))
    }

    fn not_windowed_join(&self, join: &Join) -> crate::SqlError {
        let mut named: Vec<Expr> = join.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect();
        named.extend(join.filter.clone());
        let keyword = if named.is_empty() { "FROM" } else { "JOIN" };
        self.refuse(&named, Some(keyword), "a join without equal windows is not supported")
            .with_hint("join on l.window_start = r.window_start AND l.window_end = r.window_end")
    }

    fn side(&mut self, relation: &Relation, tag: WindowTag, keys: &[Expr], join: &Join) -> Result<Side> {
        let mut wanted: Wanted = relation
            .columns
            .iter()
            .take(relation.width)
            .enumerate()
            .map(|(index, column)| (column.name.clone(), at(index)))
            .collect();
        for key in keys {
            let name = match key {
                Expr::Column(column) => position_of(column).map(|index| relation.columns[index].name.clone()),
                _ => None,
            };
            wanted.push((name.unwrap_or_else(|| "key".to_owned()), key.clone()));
        }
        for part in [WindowPart::Start, WindowPart::End] {
            let Some(index) = relation.window_part(tag, part) else {
                return Err(self.not_windowed_join(join));
            };
            wanted.push((relation.columns[index].name.clone(), at(index)));
        }
        let emitted = self.emit(relation, &wanted, Layout::Loose)?;
        let first_key = relation.width;
        let end = emitted.positions.len();
        let window = (emitted.positions[end - 2], emitted.positions[end - 1]);
        let keys = emitted.positions[first_key..end - 2].to_vec();
        Ok(Side { emitted, window, keys })
    }

    fn joined(
        &mut self,
        join: &Join,
        condition: &Condition,
        (left, left_side): (Relation, Side),
        (right, right_side): (Relation, Side),
        tag: WindowTag,
    ) -> Result<Relation> {
        let schema = Arc::new(joined_schema(&left_side.emitted.schema, &right_side.emitted.schema));
        let offset = left_side.emitted.schema.fields().len();
        let mut places: Vec<usize> = left_side.emitted.positions[..left.width].to_vec();
        places.extend(right_side.emitted.positions[..right.width].iter().map(|position| offset + position));
        let role = |role: Role, side: WindowTag| role.when_closed(side, tag);
        let sides = left.columns.iter().take(left.width).map(|column| (column, condition.left_tag));
        let sides = sides.chain(right.columns.iter().take(right.width).map(|column| (column, condition.right_tag)));
        let mut columns: Vec<RelationColumn> = sides
            .map(|(column, side)| RelationColumn { name: column.name.clone(), role: role(column.role, side) })
            .collect();
        let width = columns.len();
        for (part, place) in [(WindowPart::Start, left_side.window.0), (WindowPart::End, left_side.window.1)] {
            if columns.iter().all(|column| column.role.window != Some((tag, part))) {
                let role = Role { window: Some((tag, part)), ..Role::default() };
                columns.push(RelationColumn { name: schema.field(place).name().clone(), role });
                places.push(place);
            }
        }
        let names: Vec<Expr> = places.iter().map(|place| column(schema.field(*place).name())).collect();
        let filter = conjunction(condition.rest.iter().cloned());
        let filter = filter.map(|filter| over_joined(&filter, &join.schema, &names)).transpose();
        let filter = filter.and_then(|filter| filter.map(|filter| self.encoded(&filter)).transpose());
        let kind = WindowJoin {
            left_window: left_side.window,
            right_window: right_side.window,
            left_keys: left_side.keys.clone(),
            right_keys: right_side.keys.clone(),
            filter: filter.map_err(|error| self.failed(&error))?,
        };
        let routing = |keys: &[usize]| if keys.is_empty() { Routing::Gather } else { Routing::Hash(keys.to_vec()) };
        let feeds = [
            left_side.emitted.feed(0, routing(&left_side.keys)),
            right_side.emitted.feed(1, routing(&right_side.keys)),
        ];
        let parallelism = if left_side.keys.is_empty() { Parallelism::One } else { Parallelism::Job };
        let draft = Draft { kind: OperatorKind::WindowJoin(kind), parallelism, output: schema.clone() };
        let operator = self.graph.add(draft, &feeds);
        let base = Base { operators: vec![operator], schema, stage: Stage::None };
        let mut relation = Relation::of(base, columns, width);
        relation.branches[0].exprs = names;
        Ok(relation)
    }
}

/// Reads `IS NOT DISTINCT FROM` between the same parts of two windows as an equality, because these are never NULL.
fn same_window(expr: &Expr, join: &Join, left: &Relation, right: &Relation) -> PlanResult<Option<WindowEquality>> {
    let Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::IsNotDistinctFrom, right: other }) = expr else {
        return Ok(None);
    };
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let Some((one, other)) = find_valid_equijoin_key_pair(one, other, left_schema, right_schema)? else {
        return Ok(None);
    };
    let (one, other) = (left.bind(&one, left_schema)?, right.bind(&other, right_schema)?);
    Ok(match (left.role_of(&one).window, right.role_of(&other).window) {
        (Some((left_tag, part)), Some((right_tag, right_part))) if part == right_part => {
            Some(WindowEquality { tags: (left_tag, right_tag), part, sides: (one, other) })
        }
        _ => None,
    })
}

/// The left fields, then the right fields, with unique names.
fn joined_schema(left: &Schema, right: &Schema) -> Schema {
    let mut taken = BTreeSet::new();
    let fields = left.fields().iter().chain(right.fields());
    let fields: Vec<Field> =
        fields.map(|field| field.as_ref().clone().with_name(unique(field.name(), &mut taken))).collect();
    Schema::new(fields)
}

fn over_joined(expr: &Expr, schema: &DFSchema, names: &[Expr]) -> PlanResult<Expr> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    let replaced = expr.clone().transform_up(|expr| match &expr {
        Expr::Column(column) => {
            Ok(Transformed::yes(standing_at(names[schema.index_of_column(column)?].clone(), column)))
        }
        _ => Ok(Transformed::no(expr)),
    });
    replaced.map(|replaced| replaced.data)
}

/// Casts both sides of a key to their common type. Rows are routed by the key's hash, so the types must be equal.
fn same_type(left: Expr, right: Expr, left_of: &Relation, right_of: &Relation) -> PlanResult<(Expr, Expr)> {
    let type_of = |expr: &Expr, relation: &Relation| -> PlanResult<arrow::datatypes::DataType> {
        let Some(branch) = relation.branches.first() else {
            return datafusion_common::internal_err!("a relation without branches");
        };
        branch.resolve(expr.clone())?.get_type(&branch.base.df_schema()?)
    };
    let (left_type, right_type) = (type_of(&left, left_of)?, type_of(&right, right_of)?);
    if left_type == right_type {
        return Ok((left, right));
    }
    let Some(common) = comparison_coercion(&left_type, &right_type) else {
        return datafusion_common::plan_err!("cannot compare {left_type} with {right_type}");
    };
    let cast = |expr: Expr, from: &arrow::datatypes::DataType| match *from == common {
        true => expr,
        false => Expr::Cast(datafusion_expr::Cast::new(Box::new(expr), common.clone())),
    };
    Ok((cast(left, &left_type), cast(right, &right_type)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    /// A relation of one column.
    fn of(key: &DataType) -> Relation {
        let schema = Arc::new(Schema::new(vec![Field::new("k", key.clone(), true)]));
        let columns = vec![RelationColumn { name: "k".to_owned(), role: Role::default() }];
        Relation::of(Base { operators: Vec::new(), schema, stage: Stage::None }, columns, 1)
    }

    /// Analysis has coerced most keys to one type before. A key of two types must leave with one.
    #[test]
    fn both_sides_of_a_key_are_cast_to_the_type_in_which_they_compare() {
        let cases = [
            (DataType::Int32, DataType::Int64, DataType::Int64),
            (DataType::Int32, DataType::Float64, DataType::Float64),
            (DataType::Decimal128(10, 2), DataType::Decimal128(12, 4), DataType::Decimal128(12, 4)),
            (DataType::Decimal128(12, 2), DataType::Decimal128(10, 4), DataType::Decimal128(14, 4)),
        ];
        for (one, other, common) in cases {
            for (left, right) in [(&one, &other), (&other, &one), (&one, &one)] {
                let (left_of, right_of) = (of(left), of(right));
                let (left_key, right_key) = same_type(at(0), at(0), &left_of, &right_of).unwrap();
                let type_of = |key: Expr, relation: &Relation| {
                    let branch = &relation.branches[0];
                    branch.resolve(key).unwrap().get_type(&branch.base.df_schema().unwrap()).unwrap()
                };
                let expected = if left == right { left } else { &common };
                assert_eq!(type_of(left_key, &left_of), *expected, "{left} = {right}");
                assert_eq!(type_of(right_key, &right_of), *expected, "{left} = {right}");
            }
        }
        assert!(same_type(at(0), at(0), &of(&DataType::Int32), &of(&DataType::Boolean)).is_err());
    }
}
