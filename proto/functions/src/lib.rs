//! The functions of SQL: those that a query may call and that nodes evaluate. Both use one list, so neither knows a
//! function that the other lacks.
//!
//! Where Flink documents a function, its meaning wins. DataFusion's functions that mean something else under that name
//! are replaced here or left out: `catalogue` says what every name means.

mod arrays;
mod catalogue;
mod civil;
mod code;
mod distance;
mod extremes;
mod java_regex;
mod java_time;
mod maps;
mod math;
mod native;
mod regexp;
mod text;
mod time;
mod unify;
mod units;

#[cfg(test)]
mod tests;

pub mod aggregate;
pub mod arithmetic;
pub mod budget;
pub mod canonical;
pub mod cast;
mod instant;
pub mod moment;
pub mod names;
pub mod physical;
pub mod row_number;
pub mod time_pattern;

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

pub use catalogue::{VARIES, is_syntax, refused};
pub use instant::{INSTANT_TYPE, instant};
pub use java_regex::{PatternError, WholePattern};
pub use regexp::check_pattern;
pub use units::is_below_a_day;

/// Our own functions.
fn natives() -> impl Iterator<Item = native::Native> {
    let listed = [
        arrays::FUNCTIONS,
        code::FUNCTIONS,
        distance::FUNCTIONS,
        extremes::FUNCTIONS,
        maps::FUNCTIONS,
        regexp::FUNCTIONS,
        text::FUNCTIONS,
        time::FUNCTIONS,
        units::FUNCTIONS,
    ];
    listed.into_iter().flatten().copied().chain(math::functions())
}

/// Functions of one row. Of two with the same name or alias, the later one counts.
#[must_use]
pub fn scalar() -> Vec<Arc<ScalarUDF>> {
    let nested = datafusion_functions_nested::all_default_nested_functions();
    let taken_over = datafusion_functions::all_default_functions().into_iter().chain(nested);
    let taken_over = taken_over.filter(|function| catalogue::is_kept(function.name()));
    taken_over.chain(natives().map(native::Native::into_udf)).chain([instant()]).collect()
}

/// Aggregates of a group's rows. Of two with the same name or alias, the later one counts.
#[must_use]
pub fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let all = datafusion_functions_aggregate::all_default_aggregate_functions();
    all.into_iter().filter(|function| catalogue::is_kept(function.name())).collect()
}

/// Functions of a row and its neighbours. Of two with the same name or alias, the later one counts.
#[must_use]
pub fn window() -> Vec<Arc<WindowUDF>> {
    let all = datafusion_functions_window::all_default_window_functions();
    let mut functions: Vec<_> = all.into_iter().filter(|function| catalogue::is_kept(function.name())).collect();
    functions.push(Arc::new(row_number::function()));
    functions
}

/// Functions that the planner inserts for operators, and for functions that a query calls by another name. Nodes must
/// know them, but no query can name them.
#[must_use]
pub fn unnamed() -> (Vec<Arc<ScalarUDF>>, Vec<Arc<AggregateUDF>>) {
    (arithmetic::functions(), aggregate::functions().into_iter().map(|(_, function)| function).collect())
}
