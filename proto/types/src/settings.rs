//! The keys of `SET 'key' = 'value'` and `--set`, with types, defaults and meaning, as data.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One key that `SET` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    /// The key.
    pub key: &'static str,
    /// The default as text; empty: none.
    pub default: &'static str,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// Every key that `SET` knows.
pub const SETTINGS: &[SettingSpec] = &[
    SettingSpec {
        key: "job.name",
        default: "",
        doc: "The job's name in lists, unless `--name` gives one. If neither is set, the script's file name.",
    },
    SettingSpec {
        key: "parallelism.default",
        default: "",
        doc: "How many slices the job has. If it is not set, half of the cluster's free slots, so that the next job finds room.",
    },
    SettingSpec {
        key: "pipeline.max-parallelism",
        default: "256",
        doc: "How many key groups the job has: a power of two that never changes for the job.",
    },
    SettingSpec {
        key: "pipeline.batch-rows",
        default: "8192",
        doc: "The most rows that a source or operator emits at once.",
    },
    SettingSpec {
        key: "exchange.window",
        default: "1 MiB",
        doc: "Bytes that a channel may have in flight: its credit.",
    },
    SettingSpec {
        key: "exchange.compression",
        default: "none",
        doc: "Compression of batches between nodes: none or lz4.",
    },
    SettingSpec {
        key: "optimizer.two-phase",
        default: "auto",
        doc: "Whether windowed aggregates are pre-aggregated before the exchange: auto, always or never.",
    },
    SettingSpec {
        key: "restart.attempts",
        default: "3",
        doc: "How many operator failures a job survives before it is failed.",
    },
    SettingSpec {
        key: "restart.backoff",
        default: "500 ms",
        doc: "The first delay before a restart; it doubles up to restart.backoff-max.",
    },
    SettingSpec { key: "restart.backoff-max", default: "30 s", doc: "The longest delay before a restart." },
    SettingSpec {
        key: "checkpoint.interval",
        default: "",
        doc: "How long after one checkpoint has begun the next one begins. 0 or off: only those that rows of a SELECT wait for. If it is not set, the cluster's interval applies.",
    },
    SettingSpec {
        key: "checkpoint.timeout",
        default: "10 min",
        doc: "How long a checkpoint may take before it is given up. The job runs on.",
    },
    SettingSpec {
        key: "checkpoint.alignment-timeout",
        default: "1 s",
        doc: "How long the barriers of a checkpoint may take to pass a subtask before they overtake rows.",
    },
    SettingSpec {
        key: "checkpoint.retain",
        default: "1",
        doc: "How many older checkpoints are kept, in addition to the newest.",
    },
    SettingSpec {
        key: "late.path",
        default: "",
        doc: "A directory to which every late record is written, with the operator and window that refused it. Without it, late records are only counted.",
    },
    SettingSpec {
        key: "error.path",
        default: "",
        doc: "A directory to which every row is written for which an expression, a cast or a sink's constraint fails, with reason and place. Without it, the first such row fails the job.",
    },
    SettingSpec {
        key: "replay.speed",
        default: "max",
        doc: "Event time per real time for tables with a replay.column: a number, or max.",
    },
    SettingSpec {
        key: "replay.start",
        default: "",
        doc: "The event time at which the replay clock starts. If it is not set, that of the first record.",
    },
    SettingSpec {
        key: "state.memory-share",
        default: "0.5",
        doc: "The share of a node's memory budget that state may hold before the job is failed.",
    },
];

/// The keys that may change when a failed job is restarted. The job's plan or state depends on the others.
pub const SETTINGS_OF_RESTARTS: &[&str] = &[
    "parallelism.default",
    "restart.attempts",
    "restart.backoff",
    "restart.backoff-max",
    "checkpoint.interval",
    "checkpoint.timeout",
    "checkpoint.alignment-timeout",
    "checkpoint.retain",
    "late.path",
    "error.path",
    "state.memory-share",
];

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// There is no such key.
    #[error("unknown setting '{key}'")]
    Unknown {
        /// As written.
        key: String,
    },
    /// The key is fixed as long as the job exists.
    #[error("setting '{key}' cannot change when a job is started again, since its plan or its state depends on it; what can: {}", SETTINGS_OF_RESTARTS.join(", "))]
    Fixed {
        /// As written.
        key: String,
    },
    /// It names a directory, and names none.
    #[error("setting '{key}' is empty: name a directory, or leave the setting out")]
    Empty { key: String },
    /// Its value cannot be read.
    #[error("setting '{key}' = '{value}': {reason}")]
    Value {
        key: String,
        value: String,
        /// What is expected.
        reason: String,
    },
}

/// The settings of a job, parsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSettings {
    /// The job's name, if given.
    pub name: Option<String>,
    /// The number of slices, if given.
    pub parallelism: Option<u32>,
    /// The number of key groups.
    pub key_groups: u16,
    /// The most rows of a batch.
    pub batch_rows: usize,
    /// Credit per channel in bytes.
    pub exchange_window_bytes: u64,
    /// Whether batches between nodes are compressed with LZ4.
    pub exchange_lz4: bool,
    /// Whether to pre-aggregate before the exchange; `None`: the planner chooses.
    pub two_phase: Option<bool>,
    /// How many operator failures the job survives.
    pub restart_attempts: u32,
    /// The first delay before a restart.
    pub restart_backoff: Duration,
    /// The longest delay before a restart.
    pub restart_backoff_max: Duration,
    /// Time from the beginning of a checkpoint to that of the next. Zero: none begin periodically; `None`: the
    /// cluster's setting.
    pub checkpoint_interval: Option<Duration>,
    /// How long a checkpoint may take.
    pub checkpoint_timeout: Duration,
    /// How long the barriers of a checkpoint may take to pass a subtask before they overtake rows.
    pub checkpoint_alignment_timeout: Duration,
    /// How many older checkpoints are kept beside the newest.
    pub checkpoint_retain: u32,
    /// The directory for late records.
    pub late_path: Option<String>,
    /// The directory for rows that could not be evaluated.
    pub error_path: Option<String>,
    /// Event time per real time; `None`: as fast as possible.
    pub replay_speed: Option<f64>,
    /// The start of the replay clock, as written.
    pub replay_start: Option<String>,
    /// The share of a node's memory budget that state may hold.
    pub state_memory_share: f64,
}

impl JobSettings {
    /// Checks what somebody gives. A path of nothing is refused here alone: jobs may have been taken with one, which is none.
    ///
    /// # Errors
    /// Names the first key that is unknown or empty, or whose value cannot be read.
    pub fn check_given(given: &BTreeMap<String, String>) -> Result<(), SettingError> {
        Self::parse(given)?;
        let is_blank = |(key, value): &(&String, &String)| key.ends_with(".path") && value.trim().is_empty();
        given.iter().find(is_blank).map_or(Ok(()), |(key, _)| Err(SettingError::Empty { key: key.clone() }))
    }

    /// Reads settings; keys not given have their defaults.
    ///
    /// # Errors
    /// Names the first key that is unknown or whose value cannot be parsed.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self, SettingError> {
        if let Some(key) = given.keys().find(|key| SETTINGS.iter().all(|spec| spec.key != key.as_str())) {
            return Err(SettingError::Unknown { key: key.clone() });
        }
        let settings = Given(given);
        let duration = "a duration such as 500 ms";
        Ok(Self {
            name: settings.text("job.name"),
            parallelism: settings.optional("parallelism.default", "a whole number from 1 to 4096", within(1..=4096))?,
            key_groups: settings.read("pipeline.max-parallelism", "a power of two from 1 to 32768", |text| {
                text.parse().ok().filter(|groups: &u16| groups.is_power_of_two() && *groups <= 32_768)
            })?,
            batch_rows: settings.read(
                "pipeline.batch-rows",
                "a whole number from 1 to 1048576",
                within(1..=1_048_576),
            )?,
            exchange_window_bytes: settings.read("exchange.window", "a size from 1 KiB, such as 1 MiB", |text| {
                parse_bytes(text).filter(|bytes| *bytes >= 1024)
            })?,
            exchange_lz4: settings.read("exchange.compression", "none or lz4", |text| match text {
                "none" => Some(false),
                "lz4" => Some(true),
                _ => None,
            })?,
            two_phase: settings.read("optimizer.two-phase", "auto, always or never", |text| match text {
                "auto" => Some(None),
                "always" => Some(Some(true)),
                "never" => Some(Some(false)),
                _ => None,
            })?,
            restart_attempts: settings.read("restart.attempts", "a whole number", |text| text.parse().ok())?,
            restart_backoff: settings.read("restart.backoff", duration, parse_duration)?,
            restart_backoff_max: settings.read("restart.backoff-max", duration, parse_duration)?,
            checkpoint_interval: settings.optional(
                "checkpoint.interval",
                "a duration such as 10 s, or off",
                parse_interval,
            )?,
            checkpoint_timeout: settings.read("checkpoint.timeout", "a duration above 0, such as 10 min", |text| {
                parse_duration(text).filter(|timeout| !timeout.is_zero())
            })?,
            checkpoint_alignment_timeout: settings.read("checkpoint.alignment-timeout", duration, parse_duration)?,
            checkpoint_retain: settings.read("checkpoint.retain", "a whole number from 0 to 1000", within(0..=1000))?,
            late_path: settings.text("late.path"),
            error_path: settings.text("error.path"),
            replay_speed: settings.read("replay.speed", "a number above 0, or max", |text| match text {
                "max" => Some(None),
                number => number.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0).map(Some),
            })?,
            replay_start: settings.text("replay.start"),
            state_memory_share: settings.read("state.memory-share", "a number above 0 and at most 1", |text| {
                text.parse().ok().filter(|share: &f64| *share > 0.0 && *share <= 1.0)
            })?,
        })
    }
}

/// The settings of a job that is restarted with some of them changed.
///
/// # Errors
/// Names the first of them that a job does not have, that a restart cannot change, that is empty, or whose value cannot
/// be read.
pub fn settings_of_restart(
    before: &BTreeMap<String, String>,
    changes: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, SettingError> {
    for key in changes.keys() {
        if SETTINGS.iter().all(|spec| spec.key != key.as_str()) {
            return Err(SettingError::Unknown { key: key.clone() });
        }
        if !SETTINGS_OF_RESTARTS.contains(&key.as_str()) {
            return Err(SettingError::Fixed { key: key.clone() });
        }
    }
    JobSettings::check_given(changes)?;
    let mut settings = before.clone();
    settings.extend(changes.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(settings)
}

/// Settings as written, with the defaults behind them.
struct Given<'a>(&'a BTreeMap<String, String>);

impl Given<'_> {
    /// The value as written, or the default; `None` if it is empty.
    fn text(&self, key: &str) -> Option<String> {
        let default = SETTINGS.iter().find(|spec| spec.key == key).map_or("", |spec| spec.default);
        let value = self.0.get(key).map_or(default, String::as_str).trim();
        Some(value.to_owned()).filter(|value| !value.is_empty())
    }

    fn read<T>(&self, key: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, SettingError> {
        let value = self.text(key).unwrap_or_default();
        parse(&value).ok_or_else(|| SettingError::Value {
            key: key.to_owned(),
            value,
            reason: format!("expected {expected}"),
        })
    }

    fn optional<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.text(key).map(|_| self.read(key, expected, parse)).transpose()
    }
}

/// A parser of numbers in a range.
fn within<T: std::str::FromStr + PartialOrd>(range: std::ops::RangeInclusive<T>) -> impl FnOnce(&str) -> Option<T> {
    move |text| text.parse().ok().filter(|number| range.contains(number))
}

/// Parses the interval of something periodic. Zero, also written `off`, means never.
#[must_use]
pub fn parse_interval(text: &str) -> Option<Duration> {
    if text.trim().eq_ignore_ascii_case("off") { Some(Duration::ZERO) } else { parse_duration(text) }
}

/// Parses `500 ms`, `10s`, `1.5 min`, `2 h`, `1 d`. A bare number is milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit.as_str() {
        "us" | "µs" | "micro" | "micros" => 1e-6,
        "" | "ms" | "milli" | "millis" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// Parses `65536`, `64 KiB`, `1MiB`, `2 gb`, in bytes. Every unit is a power of 1024.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = number * factor as f64;
    (bytes.is_finite() && (0.0..9e18).contains(&bytes)).then_some(bytes as u64)
}

fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests;
