//! Windowed aggregation: state per pane (a slice of event time and the windows that it feeds), shared by all windows.
//!
//! ```text
//! rows --split by pane--> live table per pane --seal--> partials (immutable)
//!                              |                            |
//!             window closes:   +---------- merge -----------+--> results
//! ```
//!
//! A window fires once, when the watermark reaches its end, by merging what its panes hold; a pane goes with its last window.
//! A tumbling window's only pane is evaluated in place. `freeze` seals what is live: the partials made since the last freeze
//! are what a checkpoint has to upload.
//!
//! Two phases: the local one keeps the same tables and sends their contents as partials; it judges lateness by its own
//! watermark, and a partial names by its pane the windows for which it counts. Sessions are of one phase.

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
pub(crate) use session::SessionAggregate;
pub(crate) use table::canonical_keys;
pub(crate) use windowed::WindowedAggregate;
pub(crate) use windows::{check_timestamps, event_times, is_session, split_attached};
