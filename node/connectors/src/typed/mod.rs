//! Values of columns as values of Rust, for formats whose values have types of their own: Avro, Protobuf, raw bytes.
//!
//! ```text
//! bytes --(format)--> Scalar --column (range, precision), nested, rows (faults)--> RecordBatch
//! RecordBatch --cells--> Scalar --(format)--> bytes
//! ```
//!
//! Values are changed as in all formats: times are rounded down to the column's precision, numbers to the scale of a DECIMAL.
//! What does not fit is a fault of its row.

mod cells;
mod column;
mod nested;
mod path;
mod rows;
mod scalar;
mod write;

pub(crate) use cells::{Cells, cells_of, extent};
pub(crate) use column::ScalarColumn;
pub(crate) use nested::{Builder, RowColumn};
pub(crate) use path::{ITEMS, below, key_and_value, of_column};
pub(crate) use rows::Rows;
pub(crate) use scalar::{Kind, Scalar, decimal_in, is_text};
pub(crate) use write::{WriteRow, unfit};

#[cfg(test)]
mod tests;
