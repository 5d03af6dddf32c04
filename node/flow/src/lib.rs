//! The pure machines of the data plane: no clock, no tasks, no channels. Input by method, output by return value.

pub mod aligner;
pub mod credit;
pub mod hash;
pub mod split_watermark;
pub mod watermark;
pub mod window;

pub use aligner::{Alignment, BarrierAligner, BarrierViolation};
pub use credit::{CreditLedger, CreditViolation, GrantLedger, ROW_BYTES_MAX};
pub use hash::{hash_rows, is_routable, key_groups_of};
pub use split_watermark::SplitWatermarks;
pub use watermark::WatermarkTracker;
pub use window::{Pane, Window, WindowAssigner};
