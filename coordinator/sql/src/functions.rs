//! The functions that a script may call, by name, and the options of DataFusion's planner.

use std::{collections::BTreeMap, sync::Arc};

use datafusion_common::config::ConfigOptions;
use datafusion_expr::{
    AggregateUDF, ScalarUDF, Volatility, WindowUDF,
    planner::{ExprPlanner, RelationPlanner},
};

use crate::{syntax::FunctionSyntax, values::ValuesPlanner, window_tvf::WindowTvfPlanner};

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

    pub(crate) fn scalar(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.scalar.get(name)
    }

    pub(crate) fn aggregate(&self, name: &str) -> Option<&Arc<AggregateUDF>> {
        self.aggregate.get(name)
    }

    pub(crate) fn window(&self, name: &str) -> Option<&Arc<WindowUDF>> {
        self.window.get(name)
    }

    pub(crate) fn expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    pub(crate) fn relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    pub(crate) fn scalar_names(&self) -> impl Iterator<Item = &String> {
        self.scalar.keys()
    }

    pub(crate) fn aggregate_names(&self) -> impl Iterator<Item = &String> {
        self.aggregate.keys()
    }

    pub(crate) fn window_names(&self) -> impl Iterator<Item = &String> {
        self.window.keys()
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
