//! Forwards raft-rs's slog lines to `tracing`, informational ones a level lower, because elections are normal here.

use std::fmt::{self, Write as _};

use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer};
use tracing::{debug, error, trace, warn};

/// A logger that forwards to `tracing`.
pub(crate) fn forwarding() -> Logger {
    Logger::root(Forward, slog::o!())
}

struct Forward;

impl Drain for Forward {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        match record.level() {
            Level::Critical | Level::Error if tracing::enabled!(tracing::Level::ERROR) => {
                error!("{}", line(record, values));
            }
            Level::Warning if tracing::enabled!(tracing::Level::WARN) => warn!("{}", line(record, values)),
            Level::Info if tracing::enabled!(tracing::Level::DEBUG) => debug!("{}", line(record, values)),
            Level::Debug | Level::Trace if tracing::enabled!(tracing::Level::TRACE) => {
                trace!("{}", line(record, values));
            }
            _ => {}
        }
        Ok(())
    }
}

fn line(record: &Record<'_>, values: &OwnedKVList) -> String {
    let mut line = Line(format!("raft: {}", record.msg()));
    // Writing into a string does not fail.
    let _ = record.kv().serialize(record, &mut line);
    let _ = values.serialize(record, &mut line);
    line.0
}

struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}
