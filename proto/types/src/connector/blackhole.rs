//! A sink that forgets its rows.

use super::{ConnectorSpec, Delivers, Delivery, OptionType, Output, SinkSpec, option::option};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "blackhole",
    source: None,
    sink: Some(SinkSpec { delivery: Delivers::Always(Delivery::ExactlyOnce), output: Output::Nowhere, rules: &[] }),
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[option(
        "rows-per-second",
        OptionType::Number,
        "",
        "The most rows per second that each subtask takes; no limit if it is not set.",
    )],
    fixed_columns: "",
    doc: "Counts rows and forgets them.",
};
