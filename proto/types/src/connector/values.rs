//! Rows that are written in the script.

use super::{ConnectorSpec, Ends, Input, SourceSpec, Splits};

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: super::VALUES_CONNECTOR,
    source: Some(SourceSpec { input: Input::Written, splits: Splits::Listed, ends: Ends::Always, rules: &[] }),
    sink: None,
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[],
    fixed_columns: "",
    doc: "The rows of a VALUES clause.",
};
