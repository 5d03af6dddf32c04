//! The kinds of runs.

use clap::ValueEnum;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Variant {
    /// librdkafka's consumer reads the topic.
    ClientRead,
    /// The connector reads it, each value as one text.
    ReadRaw,
    /// The connector reads it and decodes JSON.
    ReadJson,
    /// librdkafka's producer writes the topic, each record once.
    ClientWrite,
    /// The same in transactions.
    ClientTransactions,
    /// The rows that are written are made, and go nowhere.
    Generate,
    /// The connector writes texts, at least once.
    WriteRaw,
    /// The connector writes JSON, at least once.
    WriteJson,
    /// The connector writes texts, exactly once.
    WriteRawOnce,
    /// The connector writes JSON, exactly once.
    WriteJsonOnce,
    /// Windows over a topic without end, written at least once, until the process is killed.
    Windows,
    /// The same, written exactly once.
    WindowsOnce,
    /// What is compared with Apache Flink: the topic as it is now is written to another, exactly once.
    Copy,
    /// The same with windows over the topic.
    Count,
}

impl Variant {
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
