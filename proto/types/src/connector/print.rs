//! The node's standard output.

use super::{ConnectorSpec, Delivers, Delivery, OptionType, Output, SinkSpec, option::option};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "print",
    source: None,
    sink: Some(SinkSpec {
        delivery: Delivers::Always(Delivery::AtLeastOnce),
        output: Output::StandardOutput,
        rules: &[],
    }),
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[option("print-identifier", OptionType::Text, "", "Written before each row.")],
    fixed_columns: "",
    doc: "Writes rows to the node's standard output, at least once.",
};
