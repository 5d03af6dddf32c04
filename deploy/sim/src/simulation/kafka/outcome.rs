//! How calls end, for the journal.

use std::fmt;

use thalweg_kafka::KafkaError;

pub(super) fn outcome<T>(answer: &Result<T, KafkaError>) -> &dyn fmt::Display {
    match answer {
        Ok(_) => &"done",
        Err(error) => error,
    }
}
