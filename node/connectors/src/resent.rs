//! How many records sinks had to send again, for those who monitor a node.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use thalweg_types::JobId;

/// So many tables are counted for, those of the newest jobs: counts outlive writers and committers, of which there are many.
const TABLES_MAX: usize = 200;

/// The counts of a node, by job and table. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ResentRecords {
    tables: Arc<Mutex<BTreeMap<(JobId, String), Resent>>>,
}

/// The count of one table. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resent(Arc<AtomicU64>);

impl Resent {
    pub(crate) fn add(&self, records: usize) {
        self.0.fetch_add(records as u64, Relaxed);
    }
}

impl ResentRecords {
    /// That of a table, 0 at first.
    pub(crate) fn of(&self, job: JobId, table: &str) -> Resent {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let resent = tables.entry((job, table.to_owned())).or_default().clone();
        while tables.len() > TABLES_MAX {
            tables.pop_first();
        }
        resent
    }

    /// All counts.
    #[must_use]
    pub fn counts(&self) -> Vec<(JobId, String, u64)> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().map(|((job, table), resent)| (*job, table.clone(), resent.0.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_jobs_are_counted_for() {
        let all = ResentRecords::default();
        for job in (0..300).map(JobId) {
            all.of(job, "t").add(1);
            all.of(job, "t").add(2);
        }
        let counts = all.counts();
        assert_eq!((counts.len(), &counts[0]), (TABLES_MAX, &(JobId(100), "t".to_owned(), 3)));
    }
}
