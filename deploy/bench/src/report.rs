//! What was measured, as a table.

use serde::{Deserialize, Serialize};

/// One job's measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The query.
    pub query: String,
    /// Where its events came from.
    pub input: String,
    /// Events read.
    pub events: u64,
    /// Slices.
    pub parallelism: u32,
    /// Nodes.
    pub nodes: u32,
    /// From submission to the job's end.
    pub seconds: f64,
    /// Events over seconds.
    pub events_per_second: f64,
    /// User and system time per event.
    pub cpu_nanos_per_event: f64,
    /// The most memory resident.
    pub memory_peak_bytes: u64,
}

/// A row a job.
pub(crate) fn table(rows: &[Measured]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "query",
        "input",
        "events",
        "parallelism",
        "nodes",
        "seconds",
        "M events/s",
        "CPU ns/event",
        "peak MiB",
    ]);
    for row in rows {
        table.add_row([
            row.query.clone(),
            row.input.clone(),
            row.events.to_string(),
            row.parallelism.to_string(),
            row.nodes.to_string(),
            format!("{:.2}", row.seconds),
            format!("{:.2}", row.events_per_second / 1e6),
            format!("{:.0}", row.cpu_nanos_per_event),
            format!("{}", row.memory_peak_bytes >> 20),
        ]);
    }
    for column in 2..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}
