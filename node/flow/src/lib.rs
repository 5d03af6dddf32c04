//! The pure machines of the data plane: no clock, no tasks, no channels; input by method, output by return value.

pub mod aligner;
pub mod credit;
pub mod split_watermark;
pub mod watermark;

pub use aligner::{Alignment, BarrierAligner, BarrierViolation};
pub use credit::{CreditLedger, CreditViolation, GrantLedger};
pub use split_watermark::SplitWatermarks;
pub use watermark::WatermarkTracker;
