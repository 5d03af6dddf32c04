//! What people should know of the tables of a job, though it fails nothing: each is logged once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use thalweg_types::JobId;

/// What was told is forgotten when it is so much; then it may be told again.
const TOLD_MAX: usize = 10_000;

/// What a process has told. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    told: Arc<Mutex<BTreeSet<Told>>>,
}

/// Job, table, and what it was about.
type Told = (Option<JobId>, String, String);

/// What is told of one table of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableNotices {
    notices: Notices,
    job: Option<JobId>,
    table: String,
}

impl Notices {
    /// Those of a table; of a job, where it is known.
    pub(crate) fn of(&self, job: Option<JobId>, table: &str) -> TableNotices {
        TableNotices { notices: self.clone(), job, table: table.to_owned() }
    }
}

impl TableNotices {
    /// Tells something about a thing of the table, unless that was done before.
    pub(crate) fn tell(&self, about: &str, text: impl FnOnce() -> String) {
        let Ok(mut told) = self.notices.told.lock() else { return };
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if told.insert((self.job, self.table.clone(), about.to_owned())) {
            drop(told);
            let (job, text) = (self.job.map(|job| job.0), text());
            tracing::warn!(target: "thalweg::notice", job, "table {}: {text}", self.table);
        }
    }

    /// Tells of columns that none of the records of an input has.
    pub(crate) fn tell_absent(&self, absent: Vec<Absent>, input: &str) {
        for Absent { column, near } in absent {
            self.tell(&format!("column {column}"), || {
                let hint = near.map_or_else(String::new, |near| format!("; it has {near}, which is another name"));
                format!("no record of {input} has the column {column}, which is NULL then{hint}")
            });
        }
    }
}

/// A declared column that no record had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) column: String,
    /// A name that the records have, and that is spelled much like it.
    pub(crate) near: Option<String>,
}

impl Absent {
    /// A column that is none of these names.
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
    }
}
