//! What DataFusion's SQL planner asks for: tables, functions, types, options.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{
    DFSchema, Result as PlanResult, TableReference, config::ConfigOptions, plan_datafusion_err, plan_err,
};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
    planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::{
    ast::{self, Query},
    tokenizer::TokenWithSpan,
};

use crate::{
    catalog::Catalog,
    chains,
    declared_type::{arrow_type, detail},
    errors::{Result, SqlError, is_keyword, nearest, quote_it},
    functions::Functions,
    limits, outputs, refuse, rewrite,
    settle::settled,
    values,
};

/// The functions, and the tables as of one statement.
pub(crate) struct Context<'a> {
    pub(crate) functions: &'a Functions,
    pub(crate) catalog: &'a Catalog,
    /// The number of relations in the script's plans so far.
    pub(crate) relations: &'a Cell<usize>,
}

/// How the reader of a query refers to its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// By position, so several columns may have one name.
    ByPlace,
    ByName,
}

impl Context<'_> {
    /// Plans a query. Refuses what the engine cannot do in a stream, with its place in the text.
    pub(crate) fn plan_query(&self, query: &Query, taken: Taken, tokens: &[TokenWithSpan]) -> Result<LogicalPlan> {
        refuse::query(query, self.functions, tokens)?;
        let place = tokens.first().map(|token| token.span.start);
        limits::check_tables(query, self.catalog).map_err(|reason| SqlError::new(reason).with_place(place))?;
        let mut query = query.clone();
        rewrite::query(&mut query, self.functions)?;
        outputs::number_listed(&mut query);
        if taken == Taken::ByPlace {
            outputs::number(&mut query, &BTreeSet::new());
        }
        let planned = match (self.planned(&query), taken) {
            (Err(error), Taken::ByPlace) => self.beside_wildcards(&query).ok_or(error),
            (planned, _) => planned,
        };
        let plan = planned.map_err(|error| SqlError::from_plan(&error, tokens))?;
        limits::check_plan(&plan, self.relations).map_err(|reason| SqlError::new(reason).with_place(place))?;
        Ok(plan)
    }

    fn planned(&self, query: &Query) -> PlanResult<LogicalPlan> {
        let mut query = query.clone();
        // Last, because the steps before recognise rows by their form in the text.
        values::into_from(&mut query);
        self.planner().sql_statement_to_plan(ast::Statement::Query(Box::new(query)))
    }

    /// Plans a query again where other columns have names that its `*` gives as well. Only a plan of the `*` tells
    /// those names.
    fn beside_wildcards(&self, query: &Query) -> Option<LogicalPlan> {
        let wildcards = self.planned(&outputs::only_wildcards(query)?).ok()?;
        let names = wildcards.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut numbered = query.clone();
        outputs::number(&mut numbered, &names);
        self.planned(&numbered).ok()
    }

    /// Plans an expression over the columns of one table, coerced and simplified. Its columns are unqualified.
    pub(crate) fn plan_expr(&self, expr: &ast::Expr, schema: &Schema, tokens: &[TokenWithSpan]) -> Result<Expr> {
        refuse::expression(expr, self.functions, tokens)?;
        let mut expr = expr.clone();
        chains::flatten_expr(&mut expr);
        rewrite::expression(&mut expr, self.functions)?;
        let planned = || {
            let schema = Arc::new(DFSchema::try_from(schema.clone())?);
            settled(self.planner().sql_to_expr(expr, &schema, &mut PlannerContext::new())?, &schema)
        };
        planned().map_err(|error| SqlError::from_plan(&error, tokens))
    }

    fn planner(&self) -> SqlToRel<'_, Self> {
        SqlToRel::new_with_options(self, ParserOptions::from(&self.functions.options().sql_parser))
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        if name.schema().is_some() {
            return plan_err!("'{name}': there are no catalogs or databases, a table's name is one word");
        }
        self.catalog.source(name.table()).ok_or_else(|| match nearest(name.table(), self.catalog.names()) {
            Some(near) => plan_datafusion_err!("unknown table '{}'; did you mean '{near}'?", name.table()),
            None if is_keyword(name.table()) => {
                plan_datafusion_err!("unknown table '{}'; {}", name.table(), quote_it(name.table()))
            }
            None => plan_datafusion_err!("unknown table '{}'", name.table()),
        })
    }

    fn get_table_function_source(&self, name: &str, _args: Vec<Expr>) -> PlanResult<Arc<dyn TableSource>> {
        plan_err!("unknown table function '{name}'")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.functions.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.functions.options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_names().cloned().collect()
    }
}

/// Types in a CAST are those of the DDL.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> PlanResult<Option<FieldRef>> {
        match arrow_type(sql_type) {
            Ok(data_type) => {
                let field = Field::new("", data_type, true).with_metadata(detail(sql_type).metadata());
                Ok(Some(Arc::new(field)))
            }
            Err(reason) => plan_err!("{reason}"),
        }
    }
}
