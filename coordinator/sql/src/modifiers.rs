//! Refuses what stands around a function's arguments, or in place of them, and has no effect on the function. The
//! planner accepts `OVER`, `FILTER`, `DISTINCT` and the like on a scalar function, and ignores them.

use sqlparser::ast::{DuplicateTreatment, Function, FunctionArgumentClause, FunctionArguments};

/// Aggregates that heed `DISTINCT`, or whose result is the same without it.
const DISTINCT: &[&str] = &[
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "count",
    "listagg",
    "max",
    "mean",
    "min",
    "percentile_cont",
    "quantile_cont",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_population",
    "var_samp",
    "var_sample",
    "variance",
];
/// Functions that heed `IGNORE NULLS` and `RESPECT NULLS`.
const NULLS: &[&str] = &["array_agg", "first_value", "last_value", "nth_value", "lead", "lag"];

/// The part of a call that would have no effect. `aggregate` says whether the function takes rows.
pub(crate) fn unheeded(function: &Function, name: &str, aggregate: bool) -> Option<&'static str> {
    if function.parameters != FunctionArguments::None {
        return Some("a second list of arguments");
    }
    let list = match &function.args {
        FunctionArguments::List(list) => list,
        FunctionArguments::Subquery(_) => return Some("a query as its argument"),
        FunctionArguments::None => return (!aggregate && function.over.is_some()).then_some("OVER"),
    };
    let nulls = |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_));
    let ordered = |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
    let treats_nulls = function.null_treatment.is_some() || list.clauses.iter().any(nulls);
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let said = [
        (!aggregate && function.over.is_some(), "OVER"),
        (!aggregate && function.filter.is_some(), "FILTER"),
        (!aggregate && list.duplicate_treatment.is_some(), "DISTINCT and ALL"),
        (!aggregate && !function.within_group.is_empty(), "WITHIN GROUP"),
        (!aggregate && list.clauses.iter().any(ordered), "ORDER BY"),
        (treats_nulls && !NULLS.contains(&name), "IGNORE NULLS and RESPECT NULLS"),
        (aggregate && distinct && !DISTINCT.contains(&name), "DISTINCT"),
    ];
    said.into_iter().find(|(said, _)| *said).map(|(_, what)| what)
}
