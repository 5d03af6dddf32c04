//! Records that are POSTed to a node, and batches that are POSTed to a server.

use super::{
    ConnectorSpec, Delivers, Delivery, Ends, Input, OptionType, Output, SinkSpec, SourceSpec, Splits,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT, option},
};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "http",
    source: Some(SourceSpec {
        input: Input::Posts { path: "path" },
        splits: Splits::Listed,
        ends: Ends::Never,
        rules: &[],
    }),
    sink: Some(SinkSpec { delivery: Delivers::Always(Delivery::AtLeastOnce), output: Output::Elsewhere, rules: &[] }),
    formats: &["json"],
    keys: false,
    metadata: &[],
    options: &[
        option(
            "path",
            OptionType::Text,
            "",
            "Source: the path under the node's HTTP address to which records are POSTed. If it is not set, /ingest/TABLE.",
        ),
        option("url", OptionType::Text, "", "Sink: where batches are POSTed."),
        option(
            "buffer-size",
            OptionType::Bytes,
            "8 MiB",
            "Source: how many bytes may be accepted and not yet read; beyond it requests are answered with 429.",
        ),
        option(
            "idempotency.retention",
            OptionType::Duration,
            "10 min",
            "Source: for how long after its arrival a retry of a request with the same Idempotency-Key is answered again and not taken again.",
        ),
        option("batch-rows", OptionType::Integer, "1000", "Sink: the most rows of one request."),
        option("timeout", OptionType::Duration, "30 s", "Sink: how long a request may take."),
        option(
            "retries",
            OptionType::Integer,
            "10",
            "Sink: how often a failed request is repeated, with growing delays. After that the attempt fails, which counts towards restart.attempts.",
        ),
        IDLE_TIMEOUT,
        DEAD_LETTER_PATH,
    ],
    fixed_columns: "",
    doc: "Takes records by POST; writes batches by POST, at least once.",
};
