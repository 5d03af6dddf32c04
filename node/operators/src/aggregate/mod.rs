//! Windowed aggregation: state per pane (a slice of event time and the windows that it feeds), shared by all windows.
//!
//! ```text
//! rows --split by pane--> live table per pane --seal--> partials (immutable)
//!                              |                            |
//!             window closes:   +---------- merge -----------+--> results
//! ```
//!
//! A window fires once, when the watermark reaches its end, by merging the contents of its panes; a pane is dropped
//! with its last window. The only pane of a tumbling window is evaluated in place. `freeze` seals the live tables: the
//! partials made since the last freeze are what a checkpoint has to upload.
//!
//! With two phases, the local one keeps the same tables and sends their contents as partials. It judges lateness by its
//! own watermark, and each partial names its pane, and so the windows it counts for. Sessions have a single phase.

mod local;
mod output;
mod panes;
mod session;
mod session_store;
mod spec;
mod table;
mod windowed;
mod windows;

#[cfg(test)]
mod tests;

pub(crate) use local::LocalAggregate;
pub(crate) use session::session_aggregate;
pub(crate) use windowed::windowed_aggregate;
pub(crate) use windows::is_session;
