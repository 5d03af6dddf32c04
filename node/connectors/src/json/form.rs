//! How a table wants its timestamps written.

use super::timestamp::TimestampForm;
use crate::options::Options;

/// The timestamp form that a table asks for.
pub(crate) fn json_form(options: &Options<'_>) -> TimestampForm {
    match options.text("json.timestamp-format") {
        Some("iso-8601") => TimestampForm::Iso8601,
        _ => TimestampForm::Sql,
    }
}
