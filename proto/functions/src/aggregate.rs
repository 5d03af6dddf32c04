//! Aggregates of our own: sums that are exact or fail, averages of such sums, and extremes for which NaN is the
//! greatest value.

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

/// The functions, each with the name by which a query calls it. In job graphs they have other names: their state is
/// laid out differently from that of DataFusion's `sum` and `avg`, which earlier graphs name.
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
