//! Computes which columns of which tables, and which fields of their structs, the script's queries use.
//!
//! Needs go down the plan, from all columns of the result. `get_field(s, 'a')` needs one field, `s IS NULL` needs only
//! the struct's presence, everything else needs the whole value. A table is read once, so the needs of all its scans
//! are merged, and a condition is pushed to the reader only if every scan has it.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::{DFSchema, ScalarValue, tree_node::TreeNode};
use datafusion_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, TableScan, utils::split_conjunction};
use thalweg_types::graph::{ColumnPredicate, Comparison, PredicateValue};

use crate::{
    catalog::{StreamTable, TableKey},
    paths::path_of,
    window_tvf::WindowTvf,
};

/// How much of a value a query uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Whether it is NULL.
    Presence,
    /// These fields of a struct.
    Fields(BTreeMap<String, Need>),
    /// All of it.
    Whole,
}

/// What the queries use of one table.
#[derive(Debug, Default)]
pub(crate) struct TableUse {
    /// By the column's index in the table.
    pub(crate) columns: BTreeMap<usize, Need>,
    /// Whether a window table function, or a sink that goes by the watermark, is above one of the table's scans.
    pub(crate) event_time: bool,
    /// For each scan, the conditions directly above it.
    conditions: Vec<Vec<ColumnPredicate>>,
}

/// What the queries use of each table.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    pub(crate) tables: BTreeMap<TableKey, TableUse>,
}

/// Needs by column index.
type Needs = BTreeMap<usize, Need>;

impl Need {
    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Whole, _) | (_, Self::Presence) => {}
            (_, Self::Whole) => *self = Self::Whole,
            (Self::Presence, other) => *self = other,
            (Self::Fields(fields), Self::Fields(others)) => {
                for (name, need) in others {
                    match fields.get_mut(&name) {
                        Some(known) => known.merge(need),
                        None => {
                            fields.insert(name, need);
                        }
                    }
                }
            }
        }
    }

    /// The field, reduced to what is needed of it. A struct keeps at least one child.
    pub(crate) fn prune(&self, field: &Field) -> Field {
        let DataType::Struct(children) = field.data_type() else { return field.clone() };
        let kept: Vec<Field> = match self {
            Self::Whole => return field.clone(),
            Self::Presence => children.iter().take(1).map(|child| Self::Presence.prune(child)).collect(),
            Self::Fields(needs) => {
                children.iter().filter_map(|child| Some(needs.get(child.name())?.prune(child))).collect()
            }
        };
        Field::new(field.name(), DataType::Struct(Fields::from(kept)), field.is_nullable())
    }
}

impl TableUse {
    /// The conditions that all scans have in common.
    pub(crate) fn predicates(&self) -> Vec<ColumnPredicate> {
        let Some((first, others)) = self.conditions.split_first() else { return Vec::new() };
        first.iter().filter(|condition| others.iter().all(|other| other.contains(condition))).cloned().collect()
    }
}

impl Uses {
    /// Adds what a query uses if all its columns are wanted, and watermarks perhaps.
    pub(crate) fn add(&mut self, plan: &LogicalPlan, event_time: bool) {
        let all = (0..plan.schema().fields().len()).map(|index| (index, Need::Whole)).collect();
        self.visit(plan, all, event_time);
    }

    fn visit(&mut self, plan: &LogicalPlan, needs: Needs, event_time: bool) {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, needs, event_time, Vec::new()),
            LogicalPlan::SubqueryAlias(alias) => self.visit(&alias.input, needs, event_time),
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let mut below = Needs::new();
                for (index, need) in needs {
                    if let Some(expr) = projection.expr.get(index) {
                        collect(expr, schema, need, &mut below);
                    }
                }
                self.visit(&projection.input, below, event_time);
            }
            LogicalPlan::Filter(filter) => {
                let mut below = needs;
                collect(&filter.predicate, filter.input.schema(), Need::Whole, &mut below);
                match scan_below(&filter.input) {
                    Some(scan) => self.scan(scan, below, event_time, conditions(&filter.predicate, &filter.input)),
                    None => self.visit(&filter.input, below, event_time),
                }
            }
            LogicalPlan::Limit(limit) => self.visit(&limit.input, needs, event_time),
            LogicalPlan::Sort(sort) => {
                let mut below = needs;
                for by in &sort.expr {
                    collect(&by.expr, sort.input.schema(), Need::Whole, &mut below);
                }
                self.visit(&sort.input, below, event_time);
            }
            LogicalPlan::Join(join) => self.visit_join(join, needs, event_time),
            LogicalPlan::Union(union) => {
                for input in &union.inputs {
                    self.visit(input, needs.clone(), event_time);
                }
            }
            LogicalPlan::Window(window) => {
                let width = window.input.schema().fields().len();
                let mut below: Needs = needs.into_iter().filter(|(index, _)| *index < width).collect();
                for expr in &window.window_expr {
                    collect(expr, window.input.schema(), Need::Whole, &mut below);
                }
                self.visit(&window.input, below, event_time);
            }
            LogicalPlan::Extension(extension) => {
                let window = extension.node.as_any();
                let over_time = event_time || window.is::<WindowTvf>();
                for input in extension.node.inputs() {
                    let width = input.schema().fields().len();
                    let mut below: Needs =
                        needs.iter().filter(|(index, _)| **index < width).map(|(i, need)| (*i, need.clone())).collect();
                    for expr in extension.node.expressions() {
                        collect(&expr, input.schema(), Need::Whole, &mut below);
                    }
                    self.visit(input, below, over_time);
                }
            }
            other => self.visit_any(other, event_time),
        }
    }

    fn visit_join(&mut self, join: &Join, needs: Needs, event_time: bool) {
        let width = join.left.schema().fields().len();
        let (mut left, mut right) = (Needs::new(), Needs::new());
        let mut both = needs;
        if let Some(filter) = &join.filter {
            collect(filter, &join.schema, Need::Whole, &mut both);
        }
        for (index, need) in both {
            let (side, index) = if index < width { (&mut left, index) } else { (&mut right, index - width) };
            add(side, index, need);
        }
        for (left_key, right_key) in &join.on {
            collect(left_key, join.left.schema(), Need::Whole, &mut left);
            collect(right_key, join.right.schema(), Need::Whole, &mut right);
        }
        self.visit(&join.left, left, event_time);
        self.visit(&join.right, right, event_time);
    }

    /// For nodes whose outputs are not one by one the columns of their inputs. What such a node uses is in its
    /// expressions.
    fn visit_any(&mut self, plan: &LogicalPlan, event_time: bool) {
        for input in plan.inputs() {
            let mut below = Needs::new();
            for expr in plan.expressions() {
                collect(&expr, input.schema(), Need::Whole, &mut below);
            }
            if !matches!(plan, LogicalPlan::Aggregate(_)) {
                below.extend((0..input.schema().fields().len()).map(|index| (index, Need::Whole)));
            }
            self.visit(input, below, event_time);
        }
    }

    fn scan(&mut self, scan: &TableScan, needs: Needs, event_time: bool, conditions: Vec<ColumnPredicate>) {
        let Some(table) = scan.source.downcast_ref::<StreamTable>() else { return };
        let used = self.tables.entry(TableKey::of(&table.0)).or_default();
        used.event_time |= event_time;
        used.conditions.push(conditions);
        for (index, need) in needs {
            let column = scan.projection.as_ref().map_or(Some(index), |projection| projection.get(index).copied());
            if let Some(column) = column {
                add(&mut used.columns, column, need);
            }
        }
    }
}

fn add(needs: &mut Needs, index: usize, need: Need) {
    match needs.get_mut(&index) {
        Some(known) => known.merge(need),
        None => {
            needs.insert(index, need);
        }
    }
}

/// Adds what an expression uses of its input if `need` of its value is used.
pub(crate) fn collect(expr: &Expr, schema: &DFSchema, need: Need, needs: &mut Needs) {
    if let Some((column, path)) = path_of(expr) {
        // An expression may also name columns of the other side of a join; skip those.
        if let Ok(index) = schema.index_of_column(column) {
            let need = path.into_iter().rev().fold(need, |below, name| Need::Fields(BTreeMap::from([(name, below)])));
            add(needs, index, if is_struct_path(schema.field(index).data_type(), &need) { need } else { Need::Whole });
        }
        return;
    }
    match expr {
        Expr::Alias(alias) => collect(&alias.expr, schema, need, needs),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) if path_of(inner).is_some() => {
            collect(inner, schema, Need::Presence, needs);
        }
        other => {
            let visited = other.apply_children(|child| {
                collect(child, schema, Need::Whole, needs);
                Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
            });
            debug_assert!(visited.is_ok(), "visiting children never fails");
        }
    }
}

fn is_struct_path(data_type: &DataType, need: &Need) -> bool {
    match (need, data_type) {
        (Need::Fields(needs), DataType::Struct(fields)) => needs
            .iter()
            .all(|(name, need)| fields.find(name).is_some_and(|(_, field)| is_struct_path(field.data_type(), need))),
        (Need::Fields(_), _) => false,
        _ => true,
    }
}

fn scan_below(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        _ => None,
    }
}

/// The conjuncts of a condition by which a reader can skip data.
fn conditions(predicate: &Expr, scan: &LogicalPlan) -> Vec<ColumnPredicate> {
    let schema = scan.schema();
    split_conjunction(predicate).into_iter().filter_map(|conjunct| condition(conjunct, schema)).collect()
}

fn condition(expr: &Expr, schema: &DFSchema) -> Option<ColumnPredicate> {
    match expr {
        Expr::IsNull(inner) => {
            Some(ColumnPredicate { path: full_path(inner)?, comparison: Comparison::IsNull, value: None })
        }
        Expr::IsNotNull(inner) => {
            Some(ColumnPredicate { path: full_path(inner)?, comparison: Comparison::IsNotNull, value: None })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (path, comparison, value) = match (full_path(left), full_path(right)) {
                (Some(path), None) => (path, comparison_of(*op)?, value_of(right)?),
                (None, Some(path)) => (path, comparison_of(op.swap()?)?, value_of(left)?),
                _ => return None,
            };
            Some(ColumnPredicate { path, comparison, value: Some(value) })
        }
        Expr::Column(column) if is_boolean(schema, column) => {
            let value = Some(PredicateValue::Boolean(true));
            Some(ColumnPredicate { path: vec![column.name.clone()], comparison: Comparison::Equal, value })
        }
        _ => None,
    }
}

fn full_path(expr: &Expr) -> Option<Vec<String>> {
    let (column, fields) = path_of(expr)?;
    Some(std::iter::once(column.name.clone()).chain(fields).collect())
}

fn comparison_of(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn value_of(expr: &Expr) -> Option<PredicateValue> {
    let Expr::Literal(value, _) = expr else { return None };
    Some(match value {
        ScalarValue::Int8(Some(number)) => PredicateValue::Integer(i64::from(*number)),
        ScalarValue::Int16(Some(number)) => PredicateValue::Integer(i64::from(*number)),
        ScalarValue::Int32(Some(number)) => PredicateValue::Integer(i64::from(*number)),
        ScalarValue::Int64(Some(number)) => PredicateValue::Integer(*number),
        ScalarValue::Float32(Some(number)) if number.is_finite() => PredicateValue::Float(f64::from(*number)),
        ScalarValue::Float64(Some(number)) if number.is_finite() => PredicateValue::Float(*number),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            PredicateValue::Text(text.clone())
        }
        ScalarValue::Boolean(Some(flag)) => PredicateValue::Boolean(*flag),
        ScalarValue::TimestampSecond(Some(time), _) => PredicateValue::TimestampMicros(time.checked_mul(1_000_000)?),
        ScalarValue::TimestampMillisecond(Some(time), _) => PredicateValue::TimestampMicros(time.checked_mul(1000)?),
        ScalarValue::TimestampMicrosecond(Some(time), _) => PredicateValue::TimestampMicros(*time),
        ScalarValue::TimestampNanosecond(Some(time), _) if time % 1000 == 0 => {
            PredicateValue::TimestampMicros(time / 1000)
        }
        _ => return None,
    })
}

fn is_boolean(schema: &DFSchema, column: &datafusion_common::Column) -> bool {
    schema.qualified_field_from_column(column).is_ok_and(|(_, field)| *field.data_type() == DataType::Boolean)
}
