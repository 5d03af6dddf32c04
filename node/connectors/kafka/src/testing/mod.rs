//! What tests of several crates share: the suite that each client must pass, and brokers of Apache Kafka as processes.
//!
//! Only with the feature `testing`. Failures are panics, as in tests.

pub mod apache;
pub mod seams;
pub mod suite;
