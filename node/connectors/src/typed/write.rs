//! Rows that are written one by one, and those among them that cannot be.

use arrow::array::RecordBatch;
use thalweg_types::Fault as RowFault;

use super::cells::{Cells, cells_of};
use crate::json::Fault;

/// Appends a row's message or record to others.
pub(crate) trait WriteRow: Send + Sync + 'static {
    /// Whether there are rows that it cannot write.
    fn can_fail(&self) -> bool;

    /// Appends a row. After a fault, what was appended is nothing whole.
    fn write(&self, cells: &[Cells], row: usize, into: &mut Vec<u8>) -> Result<(), Fault>;
}

/// The rows that cannot be written.
pub(crate) fn unfit(writer: &impl WriteRow, rows: &RecordBatch) -> Vec<RowFault> {
    if !writer.can_fail() {
        return Vec::new();
    }
    // A column that cannot be read at all is told when rows are written.
    let Ok(cells) = cells_of(rows) else { return Vec::new() };
    let mut scratch = Vec::new();
    let faults = (0..rows.num_rows()).filter_map(|row| {
        scratch.clear();
        let reason = writer.write(&cells, row, &mut scratch).err()?.to_string();
        Some(RowFault { row, expression: String::new(), place: None, reason })
    });
    faults.collect()
}
