//! What DataFusion's SQL planner asks for: tables, functions, types, options.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{
    DFSchema, Result as PlanResult, TableReference, config::ConfigOptions, plan_datafusion_err, plan_err,
    tree_node::TreeNode,
};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, Volatility, WindowUDF,
    planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::{
    ast::{self, Query},
    tokenizer::TokenWithSpan,
};

use crate::{
    catalog::Catalog,
    chains, ddl,
    errors::{Result, SqlError, is_keyword, nearest, quote_it},
    families, floats, limits, numbers, outputs, refuse, rewrite,
    simplify::simplified,
    syntax::FunctionSyntax,
    times,
    values::{self, ValuesPlanner},
    window_tvf::WindowTvfPlanner,
};

/// The functions and options, which all scripts share; made once per call of `plan`.
#[derive(Debug)]
pub(crate) struct Functions {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    window: BTreeMap<String, Arc<WindowUDF>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    options: Arc<ConfigOptions>,
}

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

impl Functions {
    pub(crate) fn new() -> Self {
        let mut scalar = BTreeMap::new();
        for function in thalweg_functions::scalar() {
            register(&mut scalar, function.name(), function.aliases(), &function);
        }
        let mut aggregate = BTreeMap::new();
        for function in thalweg_functions::aggregate() {
            register(&mut aggregate, function.name(), function.aliases(), &function);
        }
        for (name, function) in thalweg_functions::aggregate::functions() {
            aggregate.insert(name.to_owned(), function);
        }
        let mut window = BTreeMap::new();
        for function in thalweg_functions::window() {
            register(&mut window, function.name(), function.aliases(), &function);
        }
        let mut options = ConfigOptions::default();
        // Identifiers keep their case, as in Flink.
        options.sql_parser.enable_ident_normalization = false;
        // Literals such as `0.5` are exact, as in Flink.
        options.sql_parser.parse_float_as_decimal = true;
        // Spans give errors that are found on the plan their place in the text.
        options.sql_parser.collect_spans = true;
        // As in Flink, NULL is the smallest value.
        options.sql_parser.default_null_ordering = "nulls_min".to_owned();
        options.sql_parser.map_string_types_to_utf8view = true;
        let expr_planners = expr_planners(&scalar);
        Self {
            scalar,
            aggregate,
            window,
            expr_planners,
            relation_planners: vec![Arc::new(WindowTvfPlanner), Arc::new(ValuesPlanner)],
            options: Arc::new(options),
        }
    }

    pub(crate) fn options(&self) -> &Arc<ConfigOptions> {
        &self.options
    }

    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.scalar.contains_key(name) || self.aggregate.contains_key(name) || self.window.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.scalar.keys().chain(self.aggregate.keys()).chain(self.window.keys()).map(String::as_str)
    }

    /// Whether this function takes rows (an aggregate or a window function) instead of single values.
    pub(crate) fn is_aggregate(&self, name: &str) -> bool {
        self.aggregate.contains_key(name) || self.window.contains_key(name) || ["listagg", "variance"].contains(&name)
    }

    /// The own name of the scalar function that has this name or alias. `None` if there is no such function, or if
    /// another function is known by that own name.
    pub(crate) fn own_name(&self, name: &str) -> Option<&str> {
        let function = self.scalar.get(name)?;
        let known = self.scalar.get(function.name())?;
        Arc::ptr_eq(function, known).then(|| function.name())
    }

    /// Whether a scalar function's value depends on more than its arguments.
    pub(crate) fn is_volatile(&self, name: &str) -> bool {
        self.scalar.get(name).is_some_and(|function| function.signature().volatility != Volatility::Immutable)
    }
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
        SqlToRel::new_with_options(self, ParserOptions::from(&self.functions.options.sql_parser))
    }
}

/// Applies to a lone expression what analysis does to plans: settles its types, then simplifies it.
pub(crate) fn settled(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let expr = numbers::rewrite(expr, schema)?.data;
    families::check(&expr, schema)?;
    let expr = times::rewrite(floats::rewrite(expr, schema)?.data, schema)?.data;
    let expr = expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data;
    Ok(simplified(expr, schema)?.data)
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
        &self.functions.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.functions.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name.to_lowercase().as_str()).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name.to_lowercase().as_str()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name.to_lowercase().as_str()).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.functions.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}

/// Types in a CAST are those of the DDL.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> PlanResult<Option<FieldRef>> {
        match ddl::arrow_type(sql_type) {
            Ok(data_type) => {
                let field = Field::new("", data_type, true).with_metadata(ddl::detail(sql_type).metadata());
                Ok(Some(Arc::new(field)))
            }
            Err(reason) => plan_err!("{reason}"),
        }
    }
}

fn register<F>(functions: &mut BTreeMap<String, Arc<F>>, name: &str, aliases: &[String], function: &Arc<F>) {
    for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
        functions.insert(name.to_owned(), function.clone());
    }
}

fn expr_planners(scalar: &BTreeMap<String, Arc<ScalarUDF>>) -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(FunctionSyntax::new(scalar.clone())),
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
        Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
        Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
    ]
}
