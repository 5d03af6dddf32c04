//! A text by which a map's value is taken is of the type of the map's keys.
//!
//! `m['k']` becomes `get_field(m, 'k')`, whose literal is `Utf8` whatever the keys are; the function compares both as they are.

use arrow::datatypes::DataType;
use datafusion_common::{
    DFSchema, Result as PlanResult,
    config::ConfigOptions,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    Expr, ExprSchemable, LogicalPlan, expr::ScalarFunction, expr_rewriter::NamePreserver, utils::merge_schema,
};
use datafusion_optimizer::AnalyzerRule;

/// The rule, over whole plans.
#[derive(Debug)]
pub(crate) struct MapKeys;

impl AnalyzerRule for MapKeys {
    fn name(&self) -> &'static str {
        "map_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        let analyzed = plan.transform_up(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let typed = expr.transform_up(|expr| with_typed_key(expr, &schema))?;
                Ok(typed.update_data(|expr| name.restore(expr)))
            })
        });
        analyzed.map(|analyzed| analyzed.data)
    }
}

fn with_typed_key(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, mut args }) = expr else { return Ok(Transformed::no(expr)) };
    let key_type = match args.as_slice() {
        [map, Expr::Literal(_, _)] if func.name() == "get_field" => key_type(&map.get_type(schema)?),
        _ => None,
    };
    if let (Some(key_type), Some(Expr::Literal(key, _))) = (key_type, args.last_mut())
        && key.data_type() != key_type
    {
        *key = key.cast_to(&key_type)?;
        return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
    }
    Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })))
}

fn key_type(data_type: &DataType) -> Option<DataType> {
    let DataType::Map(entries, _) = data_type else { return None };
    match entries.data_type() {
        DataType::Struct(pair) => pair.first().map(|key| key.data_type().clone()),
        _ => None,
    }
}
