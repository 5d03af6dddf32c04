//! Compiles a logical expression to a physical one.

use std::sync::{Arc, LazyLock};

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DFSchema, Result, ScalarValue, config::ConfigOptions, not_impl_err, plan_err};
use datafusion_expr::{
    Between, BinaryExpr, Case as LogicalCase, Expr, Like, Operator,
    expr::{InList, NullTreatment, ScalarFunction, Sort, physical_name},
};
use datafusion_physical_expr::{
    PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr,
    aggregate::{AggregateExprBuilder, LoweredAggregate},
    expressions::{self, Column, Literal},
};

use super::{
    Part,
    branches::{Branch, Case, Coalesce},
    conversion::Conversion,
    logic::{Connective, Logic, unknown},
    operation::{self, Operation},
    steps::{self, Step, Steps},
    with_room,
};
use crate::cast::Detail;

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(Default::default);

type Physical = Arc<dyn PhysicalExpr>;

/// Compiles an expression over rows of `schema`. Its types must have been coerced.
///
/// # Errors
/// When a column is missing, types do not fit, or there is no such operation.
pub fn compile(expr: &Expr, schema: &DFSchema) -> Result<Physical> {
    Compiler { columns: schema, schema: schema.as_arrow() }.compile(expr)
}

/// Converts the values of an expression over rows of `schema` to another type, like a `CAST`.
///
/// # Errors
/// When there is no such cast.
pub fn converted(value: Physical, schema: &Schema, to: &DataType) -> Result<Physical> {
    let from = value.data_type(schema)?;
    if from == *to {
        return Ok(value);
    }
    let step = Step::Conversion(Conversion::try_new(&from, &Field::new("", to.clone(), true), false)?);
    Ok(Steps::over(value, vec![step]))
}

/// Whether a cast to a field leaves values of a type as they are.
fn is_same(field: &Field, data_type: &DataType) -> bool {
    field.data_type() == data_type && Detail::of(field) == Detail::None
}

/// Compiles a call of an aggregate function over rows of `schema`. Its arguments need no value in rows that its filter
/// drops.
///
/// # Errors
/// As [`compile`], and when it is no such call.
pub fn compile_aggregate(expr: &Expr, schema: &DFSchema) -> Result<LoweredAggregate> {
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    let Expr::AggregateFunction(call) = expr else { return plan_err!("'{expr}' is no call of an aggregate function") };
    let compiler = Compiler { columns: schema, schema: schema.as_arrow() };
    let arguments = compiler.all(&call.params.args)?;
    let filter = call.params.filter.as_ref().map(|filter| compiler.condition(filter)).transpose()?;
    let sort = |sort: &Sort| -> Result<PhysicalSortExpr> {
        let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        Ok(PhysicalSortExpr { expr: compiler.compile(&sort.expr)?, options })
    };
    let order_bys = call.params.order_by.iter().map(sort).collect::<Result<Vec<_>>>()?;
    let aggregate = AggregateExprBuilder::new(call.func.clone(), arguments)
        .order_by(order_bys.clone())
        .schema(Arc::new(schema.as_arrow().clone()))
        .alias(physical_name(expr)?)
        .with_ignore_nulls(call.params.null_treatment == Some(NullTreatment::IgnoreNulls))
        .with_distinct(call.params.distinct)
        .build()?;
    Ok(LoweredAggregate { aggregate: Arc::new(aggregate), filter, order_bys })
}

struct Compiler<'a> {
    columns: &'a DFSchema,
    schema: &'a Schema,
}

impl Compiler<'_> {
    fn compile(&self, expr: &Expr) -> Result<Physical> {
        with_room(|| match expr {
            Expr::Alias(alias) => self.compile(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => self.logic(expr, Operator::And),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => self.logic(expr, Operator::Or),
            Expr::BinaryExpr(_) | Expr::Cast(_) | Expr::TryCast(_) => self.steps(expr),
            other => self.node(other),
        })
    }

    fn all(&self, exprs: &[Expr]) -> Result<Vec<Physical>> {
        exprs.iter().map(|expr| self.compile(expr)).collect()
    }

    fn type_of(&self, physical: &Physical) -> Result<DataType> {
        physical.data_type(self.schema)
    }

    /// A chain of one connective, however it is nested.
    fn logic(&self, expr: &Expr, operator: Operator) -> Result<Physical> {
        let mut terms = Vec::new();
        let mut pending = vec![expr];
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::BinaryExpr(binary) if binary.op == operator => pending.extend([&*binary.right, &*binary.left]),
                term => terms.push(self.condition(term)?),
            }
        }
        let connective = if operator == Operator::And { Connective::And } else { Connective::Or };
        Ok(Logic::over(connective, terms))
    }

    fn condition(&self, expr: &Expr) -> Result<Physical> {
        let physical = self.compile(expr)?;
        match self.type_of(&physical)? {
            DataType::Boolean => Ok(physical),
            DataType::Null => Ok(unknown()),
            other => plan_err!("'{expr}' is of type {other}, but must be a condition"),
        }
    }

    /// A chain of operators and casts, each the left operand of the next.
    fn steps(&self, expr: &Expr) -> Result<Physical> {
        let (mut first, mut links) = (expr, Vec::new());
        loop {
            let below = match first {
                Expr::BinaryExpr(binary) if !matches!(binary.op, Operator::And | Operator::Or) => &*binary.left,
                Expr::Cast(cast) => &*cast.expr,
                Expr::TryCast(cast) => &*cast.expr,
                Expr::Alias(alias) => {
                    first = &*alias.expr;
                    continue;
                }
                _ => break,
            };
            links.push(first);
            first = below;
        }
        let first = self.compile(first)?;
        let mut data_type = self.type_of(&first)?;
        let mut steps = Vec::with_capacity(links.len());
        for link in links.into_iter().rev() {
            let step = match link {
                Expr::BinaryExpr(binary) => {
                    let right = self.compile(&binary.right)?;
                    let operation = Operation::try_new(binary.op, &data_type, &self.type_of(&right)?)?;
                    data_type = operation.result().clone();
                    Step::Operation(operation, right)
                }
                Expr::Cast(cast) if is_same(&cast.field, &data_type) => continue,
                Expr::TryCast(cast) if is_same(&cast.field, &data_type) => continue,
                Expr::Cast(cast) => self.conversion(&mut data_type, &cast.field, false)?,
                Expr::TryCast(cast) => self.conversion(&mut data_type, &cast.field, true)?,
                other => return not_impl_err!("'{other}' is no step"),
            };
            steps.push(step);
        }
        Ok(Steps::over(first, steps))
    }

    fn conversion(&self, data_type: &mut DataType, to: &Field, tries: bool) -> Result<Step> {
        let conversion = Conversion::try_new(data_type, to, tries)?;
        *data_type = to.data_type().clone();
        Ok(Step::Conversion(conversion))
    }

    fn node(&self, expr: &Expr) -> Result<Physical> {
        Ok(match expr {
            Expr::Column(column) => Arc::new(Column::new(&column.name, self.columns.index_of_column(column)?)),
            Expr::Literal(value, metadata) => Arc::new(Literal::new_with_metadata(value.clone(), metadata.clone())),
            Expr::Not(inner) => expressions::not(self.condition(inner)?)?,
            Expr::Negative(inner) => operation::negative(self.compile(inner)?, self.schema)?,
            Expr::IsNull(inner) => expressions::is_null(self.compile(inner)?)?,
            Expr::IsNotNull(inner) => expressions::is_not_null(self.compile(inner)?)?,
            Expr::IsTrue(inner) => self.is(inner, Operator::IsNotDistinctFrom, Some(true))?,
            Expr::IsNotTrue(inner) => self.is(inner, Operator::IsDistinctFrom, Some(true))?,
            Expr::IsFalse(inner) => self.is(inner, Operator::IsNotDistinctFrom, Some(false))?,
            Expr::IsNotFalse(inner) => self.is(inner, Operator::IsDistinctFrom, Some(false))?,
            Expr::IsUnknown(inner) => self.is(inner, Operator::IsNotDistinctFrom, None)?,
            Expr::IsNotUnknown(inner) => self.is(inner, Operator::IsDistinctFrom, None)?,
            Expr::Between(between) => self.between(between)?,
            Expr::InList(InList { expr, list, negated }) => {
                operation::member(self.compile(expr)?, self.all(list)?, *negated, self.schema)?
            }
            Expr::Like(like) => self.like(like)?,
            Expr::SimilarTo(like) => self.similar_to(like)?,
            Expr::Case(case) => self.case(case)?,
            Expr::ScalarFunction(call) => self.call(call)?,
            other => return not_impl_err!("{} is not an expression of rows", other.variant_name()),
        })
    }

    fn is(&self, condition: &Expr, operator: Operator, wanted: Option<bool>) -> Result<Physical> {
        let wanted = Arc::new(Literal::new(ScalarValue::Boolean(wanted)));
        let operation = Operation::try_new(operator, &DataType::Boolean, &DataType::Boolean)?;
        Ok(Steps::over(self.condition(condition)?, vec![Step::Operation(operation, wanted)]))
    }

    fn between(&self, between: &Between) -> Result<Physical> {
        let (value, low) = (self.compile(&between.expr)?, self.compile(&between.low)?);
        let high = self.compile(&between.high)?;
        let of = self.type_of(&value)?;
        let at_least = Operation::try_new(Operator::GtEq, &of, &self.type_of(&low)?)?;
        let at_most = Operation::try_new(Operator::LtEq, &of, &self.type_of(&high)?)?;
        let [value, low, high] = [value, low, high].map(Part);
        Ok(Arc::new(steps::Between { value, low, high, at_least, at_most, negated: between.negated }))
    }

    fn like(&self, like: &Like) -> Result<Physical> {
        if like.escape_char.is_some_and(|escape| escape != '\\') {
            return not_impl_err!("LIKE … ESCAPE is not supported");
        }
        let (text, pattern) = (self.compile(&like.expr)?, self.compile(&like.pattern)?);
        expressions::like(like.negated, like.case_insensitive, text, pattern, self.schema)
    }

    fn similar_to(&self, like: &Like) -> Result<Physical> {
        if like.escape_char.is_some() {
            return not_impl_err!("SIMILAR TO … ESCAPE is not supported");
        }
        let (text, pattern) = (self.compile(&like.expr)?, self.compile(&like.pattern)?);
        expressions::similar_to(like.negated, like.case_insensitive, text, pattern)
    }

    fn case(&self, case: &LogicalCase) -> Result<Physical> {
        let operand = case.expr.as_ref().map(|operand| self.compile(operand)).transpose()?;
        let operand_type = operand.as_ref().map(|operand| self.type_of(operand)).transpose()?;
        let mut branches = Vec::with_capacity(case.when_then_expr.len());
        for (when, then) in &case.when_then_expr {
            let (when, equals) = match &operand_type {
                None => (self.condition(when)?, None),
                Some(of) => {
                    let when = self.compile(when)?;
                    let equals = Operation::try_new(Operator::Eq, of, &self.type_of(&when)?)?;
                    (when, Some(equals))
                }
            };
            branches.push(Branch { equals, when: Part(when), then: Part(self.compile(then)?) });
        }
        let otherwise = case.else_expr.as_ref().map(|otherwise| self.compile(otherwise)).transpose()?;
        self.branched(operand, branches, otherwise)
    }

    /// A `CASE` whose results are converted to one type: that of the first result that is not a bare NULL.
    fn branched(
        &self,
        operand: Option<Physical>,
        branches: Vec<Branch>,
        otherwise: Option<Physical>,
    ) -> Result<Physical> {
        let results = branches.iter().map(|branch| &branch.then.0).chain(&otherwise);
        let result = self.common_type(results)?;
        let unified = branches.into_iter().map(|Branch { equals, when, then }| {
            Ok(Branch { equals, when, then: Part(converted(then.0, self.schema, &result)?) })
        });
        let branches = unified.collect::<Result<Vec<_>>>()?;
        let otherwise = otherwise.map(|otherwise| converted(otherwise, self.schema, &result)).transpose()?;
        Ok(Case::over(operand, branches, otherwise, result))
    }

    fn common_type<'a>(&self, results: impl Iterator<Item = &'a Physical>) -> Result<DataType> {
        for result in results {
            let data_type = self.type_of(result)?;
            if !data_type.is_null() {
                return Ok(data_type);
            }
        }
        Ok(DataType::Null)
    }

    fn call(&self, call: &ScalarFunction) -> Result<Physical> {
        let arguments = self.all(&call.args)?;
        match (call.func.name(), arguments.as_slice()) {
            ("coalesce" | "nvl", [only]) => Ok(only.clone()),
            ("coalesce" | "nvl", [_, ..]) => {
                let result = self.common_type(arguments.iter())?;
                let unified = arguments.into_iter().map(|value| converted(value, self.schema, &result));
                Ok(Coalesce::over(unified.collect::<Result<_>>()?, result))
            }
            ("nvl2", [value, known, unknown]) => {
                let when = expressions::is_not_null(value.clone())?;
                let branch = Branch { equals: None, when: Part(when), then: Part(known.clone()) };
                self.branched(None, vec![branch], Some(unknown.clone()))
            }
            _ => {
                let function = call.func.clone();
                Ok(Arc::new(ScalarFunctionExpr::try_new(function, arguments, self.schema, OPTIONS.clone())?))
            }
        }
    }
}
