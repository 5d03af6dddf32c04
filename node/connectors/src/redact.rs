//! Takes the secrets of a table out of what its connector says: errors are kept by coordinators, and notices stand in logs.
//!
//! ```text
//! connector --error, notice--> every value that is a secret becomes *** --> runtime, log, Raft
//! ```
//!
//! Clients quote what they are given in ways that nobody here can know, so the values themselves are looked for. `guard.rs` stands
//! between the runtime and what a connector has opened.

mod guard;

use std::{error::Error, fmt, sync::Arc};

use thalweg_types::{
    connector::{HIDDEN, TableConnector, find},
    text::with_causes,
};

pub(crate) use guard::{committer, source, writer};

use crate::ConnectorError;

/// A line of a longer secret, such as a key, is hidden by itself if it is as long as this.
const LINE_BYTES_MIN: usize = 8;

/// The values of a table that nobody is shown. `Debug` does not show them either.
#[derive(Clone, Default)]
pub(crate) struct Hidden {
    /// The longest first: one may be part of another.
    values: Arc<[String]>,
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden").field("values", &self.values.len()).finish()
    }
}

impl Hidden {
    /// The secrets of a table's options: contents that a node has put in place, and those that stand in the script.
    pub(crate) fn of(connector: &TableConnector) -> Self {
        let hidden = connector.options.iter().filter(|(key, _)| connector.hides(key));
        let mut values: Vec<String> = hidden.flat_map(|(_, value)| forms(value)).collect();
        values.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        values.dedup();
        Self { values: values.into() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn is_in(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value.as_str()))
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: String) -> String {
        match self.is_in(&text) {
            false => text,
            true => self.values.iter().fold(text, |text, value| text.replace(value.as_str(), HIDDEN)),
        }
    }

    /// The error, of the same kind, without secrets.
    pub(crate) fn error(&self, error: ConnectorError) -> ConnectorError {
        use ConnectorError as E;
        if self.is_empty() || !self.is_in(&with_causes(&error)) {
            return error;
        }
        let text = |text: String| self.text(text);
        let cause = |source: Box<dyn Error + Send + Sync>| Box::new(self.cause(source.as_ref()));
        match error {
            E::Config { table, reason } => E::Config { table, reason: text(reason) },
            // It has names only.
            E::Secret { table, option, secret, source } => E::Secret { table, option, secret, source },
            E::Record { position, reason } => E::Record { position: text(position), reason: text(reason) },
            E::Data { attempted, reason } => E::Data { attempted: text(attempted), reason: text(reason) },
            E::Store { attempted, source } => E::Store { attempted: text(attempted), source: cause(source) },
            E::GaveUp { attempted, times, source } => {
                E::GaveUp { attempted: text(attempted), times, source: cause(source) }
            }
            E::Refused { attempted, advice, source } => {
                E::Refused { attempted: text(attempted), advice: text(advice), source: cause(source) }
            }
        }
    }

    fn cause(&self, error: &(dyn Error + 'static)) -> Cause {
        Cause { text: self.text(error.to_string()), source: error.source().map(|source| Box::new(self.cause(source))) }
    }
}

/// The options whose secrets stand in the script: a job is kept with them, by every coordinator.
pub(crate) fn written(connector: &TableConnector) -> impl Iterator<Item = &str> {
    let keys = connector.options.keys().filter(|key| connector.hides(key) && !connector.secrets.contains_key(*key));
    keys.map(String::as_str)
}

/// What people are told of one.
pub(crate) fn written_notice(connector: &TableConnector, option: &str) -> String {
    let spec = find(&connector.name).and_then(|connector| connector.option(option));
    let instead = match spec.is_some_and(|spec| spec.takes_secret(option)) {
        true => "as secret('name') it would be the nodes' alone",
        false => "its password is for whoever may read that",
    };
    format!("option '{option}' is written out, and kept with the job: {instead}")
}

/// A value as it may be quoted: as it is, and each of its lines.
fn forms(value: &str) -> Vec<String> {
    let whole = value.trim();
    let lines = whole.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN && *line != whole);
    // What all keys and certificates have in common is no secret.
    let lines = lines.filter(|line| !line.starts_with("-----"));
    std::iter::once(whole).chain(lines).filter(|form| !form.is_empty()).map(str::to_owned).collect()
}

/// What was said of a cause, without secrets.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests;
