//! The folders of a job's output.

pub(super) const OUTPUT: &str = "out";
pub(super) const LATE: &str = "late";
pub(super) const DEAD_LETTERS: &str = "dead";
pub(super) const FAILED: &str = "failed";
