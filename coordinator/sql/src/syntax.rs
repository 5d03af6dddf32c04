//! Plans syntax as calls of functions: arithmetic, `EXTRACT`, `POSITION … IN`, `SUBSTRING … FROM`, `OVERLAY`,
//! `array[index]`, and `||` of arrays. The functions are our own, so that the syntax means the same as the call.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result as PlanResult, plan_datafusion_err, plan_err};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF,
    planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr},
};
use sqlparser::ast::BinaryOperator;

use crate::numbers;

/// Plans syntax as calls of the functions with these names.
#[derive(Debug)]
pub(crate) struct FunctionSyntax {
    functions: BTreeMap<String, Arc<ScalarUDF>>,
}

impl FunctionSyntax {
    pub(crate) fn new(functions: BTreeMap<String, Arc<ScalarUDF>>) -> Self {
        Self { functions }
    }

    fn call<T>(&self, name: &str, arguments: Vec<Expr>) -> PlanResult<PlannerResult<T>> {
        let function = self.functions.get(name).ok_or_else(|| plan_datafusion_err!("there is no function '{name}'"))?;
        Ok(PlannerResult::Planned(function.call(arguments)))
    }
}

fn is_map(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Map(_, _))
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(_, _)
    )
}

impl ExprPlanner for FunctionSyntax {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        let mut expr = expr;
        if let Some(call) = numbers::planned(&expr.op, &mut expr.left, &mut expr.right, schema) {
            return Ok(PlannerResult::Planned(call));
        }
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        // Make `a || b || c` one call: a long chain is not deep, and its type is not computed for each link.
        if let Expr::ScalarFunction(chain) = &mut expr.left
            && chain.func.name() == "concat"
            && !is_list(&expr.right.get_type(schema)?)
        {
            chain.args.push(expr.right);
            return Ok(PlannerResult::Planned(expr.left));
        }
        match (is_list(&expr.left.get_type(schema)?), is_list(&expr.right.get_type(schema)?)) {
            (true, true) => self.call("array_concat", vec![expr.left, expr.right]),
            (true, false) => self.call("array_append", vec![expr.left, expr.right]),
            (false, true) => self.call("array_prepend", vec![expr.right, expr.left]),
            (false, false) => match expr.left {
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                    self.call("concat", vec![*left, *right, expr.right])
                }
                left => Ok(PlannerResult::Original(RawBinaryExpr { left, ..expr })),
            },
        }
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> PlanResult<PlannerResult<RawFieldAccessExpr>> {
        match expr.field_access {
            GetFieldAccess::ListIndex { key } if is_list(&expr.expr.get_type(schema)?) => {
                self.call("array_at", vec![expr.expr, *key])
            }
            GetFieldAccess::ListIndex { key } if is_map(&expr.expr.get_type(schema)?) => {
                self.call("map_at", vec![expr.expr, *key])
            }
            GetFieldAccess::NamedStructField { name } if is_map(&expr.expr.get_type(schema)?) => {
                self.call("map_at", vec![expr.expr, Expr::Literal(name, None)])
            }
            GetFieldAccess::ListRange { .. } => {
                plan_err!("array[from:to] is not supported: use ARRAY_SLICE(array, from, to)")
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_extract(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        self.call("extract", args)
    }

    fn plan_position(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        self.call("strpos", args)
    }

    fn plan_substring(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        self.call("substr", args)
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        self.call("overlay", args)
    }
}
