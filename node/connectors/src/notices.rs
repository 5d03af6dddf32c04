//! Notices to users about the tables of a job. They fail nothing; each is logged once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use thalweg_types::JobId;

use crate::redact::Hidden;

/// After this many notices the log of given ones is cleared; each may then be given again.
const TOLD_MAX: usize = 10_000;

/// The notices that a process has given. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    told: Arc<Mutex<BTreeSet<Told>>>,
    hidden: Hidden,
}

/// Job, table, and subject.
type Told = (Option<JobId>, String, String);

/// The notices of one table of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableNotices {
    notices: Notices,
    job: Option<JobId>,
    table: String,
}

impl Notices {
    /// The same log, for a table with these secrets.
    pub(crate) fn hiding(&self, hidden: Hidden) -> Self {
        Self { told: self.told.clone(), hidden }
    }

    /// The notices of a table, and of its job if that is known.
    pub(crate) fn of(&self, job: Option<JobId>, table: &str) -> TableNotices {
        TableNotices { notices: self.clone(), job, table: table.to_owned() }
    }
}

impl TableNotices {
    /// Logs a notice about a subject of the table, unless that was done before.
    pub(crate) fn tell(&self, about: &str, text: impl FnOnce() -> String) {
        let Ok(mut told) = self.notices.told.lock() else { return };
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if told.insert((self.job, self.table.clone(), about.to_owned())) {
            drop(told);
            let (job, text) = (self.job.map(|job| job.0), text());
            tracing::warn!(target: "thalweg::notice", job, "{}", self.said(text));
        }
    }

    /// Logs that something is over which `tell` has told of. It may then be told of again.
    pub(crate) fn is_over(&self, about: &str, text: impl FnOnce() -> String) {
        let Ok(mut told) = self.notices.told.lock() else { return };
        if told.remove(&(self.job, self.table.clone(), about.to_owned())) {
            drop(told);
            let (job, text) = (self.job.map(|job| job.0), text());
            tracing::info!(target: "thalweg::notice", job, "{}", self.said(text));
        }
    }

    /// A notice as it is logged.
    pub(crate) fn said(&self, text: String) -> String {
        format!("table {}: {}", self.table, self.notices.hidden.text(text))
    }

    /// Logs the columns that newer records of an input have no more.
    pub(crate) fn tell_lost(&self, lost: Vec<Lost>, input: &str) {
        for Lost { column, had, schema } in lost {
            self.tell(&format!("column {column} of schema {schema}"), || {
                format!(
                    "schema {schema} of {input} has no field for the column {column}, which schema {had} has: it is NULL in its records"
                )
            });
        }
    }

    /// Logs the columns that no record of an input has.
    pub(crate) fn tell_absent(&self, absent: Vec<Absent>, input: &str) {
        for Absent { column, near } in absent {
            self.tell(&format!("column {column}"), || {
                let hint = near.map_or_else(String::new, |near| format!("; it has {near}, which is another name"));
                format!("no record of {input} has the column {column}, which is NULL then{hint}")
            });
        }
    }
}

/// A declared column that records had, until another schema came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) column: String,
    /// The number of a schema that has it.
    pub(crate) had: u32,
    /// The number of a later schema that does not.
    pub(crate) schema: u32,
}

/// A declared column that no record had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) column: String,
    /// A similarly spelled name that the records do have.
    pub(crate) near: Option<String>,
}

impl Absent {
    /// A column that is not among `names`.
    pub(crate) fn new<'a>(column: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let length = column.chars().count();
        let far = length.min(8) / 3;
        let distance = |name: &str| match name.eq_ignore_ascii_case(column) {
            true => 0,
            false => strsim::damerau_levenshtein(name, column),
        };
        // Whoever wrote the input may have made names of any length, and comparing takes memory.
        let names = names.filter(|name| name.chars().nth(length + far).is_none());
        let near = names.map(|name| (distance(name), name)).filter(|(distance, _)| *distance <= far).min();
        Self { column: column.to_owned(), near: near.map(|(_, name)| name.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let near = |column: &str, names: &[&str]| Absent::new(column, names.iter().copied()).near;
        assert_eq!(near("ts", &["id", "TS", "tsx"]).as_deref(), Some("TS"));
        assert_eq!(near("carrier", &["carier", "x"]).as_deref(), Some("carier"));
        assert_eq!(near("ts", &["id", "at"]), None);
        let long = "x".repeat(64 << 20);
        assert_eq!(
            near("a_column_of_some_length", &[&long, "a_column_of_some_length_"]).as_deref(),
            Some("a_column_of_some_length_")
        );
    }

    #[test]
    fn each_thing_is_told_once() {
        let notices = Notices::default();
        let count = |table: &TableNotices, about: &str| {
            let mut told = 0;
            table.tell(about, || {
                told += 1;
                String::new()
            });
            told
        };
        let first = notices.of(Some(JobId(1)), "t");
        assert_eq!(
            [count(&first, "a"), count(&first, "a"), count(&first.clone(), "a"), count(&first, "b")],
            [1, 0, 0, 1]
        );
        assert_eq!(count(&notices.of(Some(JobId(2)), "t"), "a"), 1);
        let mut over = 0;
        let mut end = |table: &TableNotices, about: &str| {
            table.is_over(about, || {
                over += 1;
                String::new()
            });
            over
        };
        assert_eq!([end(&first, "a"), end(&first, "a"), end(&first, "c")], [1, 1, 1], "what was told ends once");
        assert_eq!(count(&first, "a"), 1, "it may begin again");
    }
}
