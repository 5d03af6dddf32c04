//! SQL text in Flink's dialect to a job graph: parsed, analysed and optimised with DataFusion, then lowered to operators.
//!
//! ```text
//! text --ddl--> statements --catalog, context--> logical plans --optimize--> --prune, lower--> JobGraph
//! ```
//!
//! The rule of this crate: what it plans has the answer that the same SQL has over the same rows in a batch; what it cannot
//! plan so is refused, with the construct, its line and column. It does no input or output of its own, reads no clock and
//! knows no cluster.

mod calls;
mod catalog;
mod chains;
mod context;
mod ddl;
mod dialect;
mod errors;
mod explain;
mod expressions;
mod families;
mod filters;
mod floats;
mod limits;
mod lower;
mod modifiers;
mod numbers;
mod optimize;
mod outputs;
mod prune;
mod refuse;
mod rewrite;
mod script;
mod simplify;
mod syntax;
mod text;
mod times;
mod values;
mod window_tvf;
mod wording;

#[cfg(test)]
mod tests;

pub use errors::SqlError;
pub use explain::explain;
pub use script::{CatalogColumn, CatalogTable, PlannedQuery, PlannedScript, catalog, plan, with_room};
pub use text::{is_complete, split_statements};
