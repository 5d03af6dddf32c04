//! Options that several connectors have.

use super::{OptionSpec, OptionType};

pub(super) const fn option(
    key: &'static str,
    kind: OptionType,
    default: &'static str,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, default, required: false, secret: false, doc }
}

pub(super) const fn required(key: &'static str, kind: OptionType, doc: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default: "", required: true, secret: false, doc }
}

/// An option of every source.
pub(super) const IDLE_TIMEOUT: OptionSpec = option(
    "scan.watermark.idle-timeout",
    OptionType::Duration,
    "",
    "After this time without records a split no longer holds the watermark back. Without it, a silent split always does.",
);
pub(super) const REPLAY_COLUMN: OptionSpec = option(
    "replay.column",
    OptionType::Text,
    "",
    "The timestamp column by which a bounded table is replayed, at the speed of SET 'replay.speed'. Refused with source.monitor-interval: files that are found later may hold earlier records.",
);
pub(super) const DEAD_LETTER_PATH: OptionSpec = option(
    super::DEAD_LETTER_PATH,
    OptionType::Text,
    "",
    "A directory for records that cannot be parsed, with position and reason. Without it, the first such record fails the job.",
);
