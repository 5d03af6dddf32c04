//! Newest rows by key, which a job keeps and nodes answer over HTTP.

use super::{ConnectorSpec, Delivers, Delivery, OptionType, Output, SinkSpec, option::option};

/// How long after its last row a key is kept.
pub const TTL: &str = "ttl";
/// The part of a request's query that is no column, so that no column of a key can have this name.
pub const LIMIT: &str = "limit";

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "queryable",
    source: None,
    sink: Some(SinkSpec { delivery: Delivers::Always(Delivery::ExactlyOnce), output: Output::Queryable, rules: &[] }),
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[option(
        TTL,
        OptionType::Duration,
        "",
        "How long a key is kept after its last row, in event time: it goes when the watermark is that far behind the one that followed the row. Needs watermarks. Without it, keys are kept for ever.",
    )],
    fixed_columns: "",
    doc: "Keeps the newest row of each PRIMARY KEY in the job's state, and answers GET /tables/TABLE with them.",
};
