//! What tests of several crates share: the suite that each client must pass.
//!
//! Only with the feature `testing`. Failures are panics, as in tests.

pub mod seams;
pub mod suite;
