//! Aggregates of our own: sums and averages that are exact or an error, and extremes to which NaN is the greatest.

mod distinct;
mod exact;
mod extremes;
mod overflow;
mod totals;

use std::sync::Arc;

use datafusion_expr::AggregateUDF;

pub use exact::{Exact, average, sum};
pub use extremes::{Extreme, greatest, least};
pub use overflow::GroupOverflow;

/// The functions, each with the name that a query calls it by. The names that a job graph has are their own: state is laid
/// out otherwise than that of DataFusion's `sum` and `avg`, which earlier graphs name.
#[must_use]
pub fn functions() -> Vec<(&'static str, Arc<AggregateUDF>)> {
    let (sum, average) = (AggregateUDF::from(sum()), AggregateUDF::from(average()));
    let (least, greatest) = (AggregateUDF::from(least()), AggregateUDF::from(greatest()));
    let average = Arc::new(average);
    vec![
        ("sum", Arc::new(sum)),
        ("avg", average.clone()),
        ("mean", average),
        ("min", Arc::new(least)),
        ("max", Arc::new(greatest)),
    ]
}

#[cfg(test)]
mod tests;
