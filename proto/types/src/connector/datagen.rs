//! Random or sequential rows.

use super::{
    ConnectorSpec, Ends, Input, OptionType, SourceSpec, Splits,
    option::{IDLE_TIMEOUT, option},
};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "datagen",
    source: Some(SourceSpec {
        input: Input::Generated,
        splits: Splits::Listed,
        ends: Ends::With("number-of-rows"),
        rules: &[],
    }),
    sink: None,
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[
        option("number-of-rows", OptionType::Integer, "", "How many rows; unbounded if it is not set."),
        option(
            "rows-per-second",
            OptionType::Number,
            "",
            "Rows per second of real time; as fast as possible if it is not set.",
        ),
        option("splits", OptionType::Integer, "8", "Into how many independent ranges the rows are divided."),
        option("seed", OptionType::Integer, "42", "The seed of all random choices."),
        option(
            "fields.*",
            OptionType::Text,
            "",
            "Per column: fields.NAME.kind (random or sequence), .min, .max, .start, .end, .step, .length, .null-rate, .max-past.",
        ),
        IDLE_TIMEOUT,
    ],
    fixed_columns: "",
    doc: "Random or sequential rows for the declared columns.",
};
