//! Plans SQL text in Flink's dialect as a job graph: parses it, analyses and optimises it with DataFusion, then lowers
//! it to operators.
//!
//! ```text
//! text --ddl--> statements --catalog, context--> logical plans --optimize--> --prune, lower--> JobGraph
//! ```
//!
//! The rule of this crate: a plan gives the answer that the same SQL gives over the same rows in a batch. SQL that
//! cannot be planned so is refused, with the construct, its line and its column. The crate does no I/O, reads no clock
//! and knows no cluster.

mod calls;
mod catalog;
mod chains;
mod context;
mod ddl;
mod declared_type;
mod dialect;
mod errors;
mod explain;
mod expressions;
mod families;
mod filters;
mod floats;
mod functions;
mod implicit;
mod insert;
mod intervals;
mod limits;
mod lower;
mod masked;
mod modifiers;
mod numbers;
mod optimize;
mod outputs;
mod paths;
mod prune;
mod refuse;
mod rewrite;
mod script;
mod settle;
mod simplify;
mod syntax;
mod text;
mod times;
mod values;
mod window_tvf;
mod wording;
mod words;

#[cfg(test)]
mod tests;

pub use errors::SqlError;
pub use explain::explain;
pub use masked::without_secrets;
pub use script::{CatalogColumn, CatalogTable, PlannedQuery, PlannedScript, catalog, plan, with_room};
pub use text::{is_complete, split_statements};
