//! What tests of several crates share: the suite that each client must pass, and emulators as processes.
//!
//! Only with the feature `testing`. Failures are panics, as in tests.

pub mod emulator;
pub mod seams;
pub mod suite;
