//! The subtask actors of a node: deploys its share of an attempt, runs it and supervises it.
//!
//! ```text
//! AttemptHandle -- orders --> supervisor -- builds, connects, watches --> actors (one task per subtask)
//!       ^ metrics, states          '-- ReportBody --> node
//! ```
//!
//! An actor owns its whole state: a chain of fused operators, its inputs or splits, and its outputs. It never blocks
//! its thread: steps are bounded, and between two steps it yields to cancellation, credit and other actors.

mod assignment;
mod attempt;
mod attempt_orders;
mod chain;
mod checkpoint;
mod checks;
mod collect;
mod context;
mod deploy;
mod ends;
mod enumerator;
mod failure;
mod gate;
mod held;
mod home;
mod known;
mod measures;
mod meter;
mod pacing;
mod portion;
mod publish;
mod queryable;
mod readers;
mod replay;
mod rolling;
mod side_outputs;
mod source;
mod source_view;
mod spans;
mod stamp;
mod state_budget;
mod subtask;
mod tables;

pub use attempt::AttemptHandle;
pub use checkpoint::LocalState;
pub use collect::{CollectStore, CollectedRows};
pub use context::RuntimeContext;
pub use measures::{AttemptMeasures, ChainMeasures};
pub use meter::SplitCounts;
pub use publish::{commit, discard, discover};
pub use queryable::{QueryableTables, TableAnswer, TableRefusal, TableRequest, merge_answers};

#[cfg(test)]
mod tests;
