//! The standard input of an embedded cluster.

use super::{
    ConnectorSpec, Ends, Input, SourceSpec, Splits,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT},
};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "stdin",
    source: Some(SourceSpec { input: Input::StandardInput, splits: Splits::Listed, ends: Ends::Always, rules: &[] }),
    sink: None,
    formats: &["json", "csv"],
    keys: false,
    metadata: &[],
    options: &[IDLE_TIMEOUT, DEAD_LETTER_PATH],
    fixed_columns: "",
    doc: "Reads the standard input of an embedded cluster, until its end.",
};
