//! The tables of running jobs that keep their newest rows here, for those who ask.
//!
//! ```text
//! deploy -- publish(part of a table) --> QueryableTables <-- read(part) -- node: its own requests, and those of other nodes
//! ```
//!
//! A part is one subtask's key groups of one table, in one attempt. It is here as long as its operator: rows are seen as they
//! come, before any checkpoint holds them. An answer names the slices that it is of, so that whoever asked several nodes knows
//! whether it has all of a table.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::Mutex;
use thalweg_connectors::key_of_texts;
use thalweg_flow::key_groups_of;
use thalweg_operators::{FoundRows, OperatorError, TableView, merge_found};
use thalweg_types::{Attempt, JobId, KeyGroupTable};
use thiserror::Error;

/// What one node gives of a table at most, unless it is one row.
const PART_BYTES_MAX: usize = 4 << 20;

/// The parts of tables on a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct QueryableTables {
    tables: Arc<Mutex<BTreeMap<Place, BTreeMap<u32, Part>>>>,
}

/// Table, job and attempt.
type Place = (String, JobId, Attempt);

#[derive(Debug, Clone)]
struct Part {
    view: TableView,
    owners: Arc<KeyGroupTable>,
}

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRequest {
    /// Its name.
    pub table: String,
    /// The job that has it.
    pub job: JobId,
    /// The attempt that is meant.
    pub attempt: Attempt,
    /// Values of the first columns of its key, as text, in any order.
    pub key: Vec<(String, String)>,
    /// The most rows.
    pub limit: usize,
}

/// Rows of some parts of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAnswer {
    /// The slices whose parts these are.
    pub slices: Vec<u32>,
    /// The columns of the key.
    pub key: Vec<usize>,
    /// The rows, in the order of the key.
    pub rows: RecordBatch,
    /// Whether rows follow that were left out.
    pub more: bool,
}

/// Why nothing of a table is answered.
#[derive(Debug, Error)]
pub enum TableRefusal {
    /// No part of it is here.
    #[error("no part of table {table} of {job}, {attempt} is here")]
    NotHere {
        table: String,
        job: JobId,
        /// The attempt that was asked for.
        attempt: Attempt,
    },
    /// It cannot be asked so.
    #[error("{reason}")]
    Malformed {
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// The rows could not be put together.
    #[error("could not read table {table}")]
    Unreadable {
        table: String,
        #[source]
        source: OperatorError,
    },
}

impl QueryableTables {
    /// Shows a part of a table to those who ask, as long as its operator lives.
    pub(crate) fn publish(
        &self,
        (table, job, attempt): (&str, JobId, Attempt),
        slice: u32,
        view: TableView,
        owners: &Arc<KeyGroupTable>,
    ) {
        let mut tables = self.tables.lock();
        tables.retain(|_, parts| {
            parts.retain(|_, part| part.view.is_there());
            !parts.is_empty()
        });
        let parts = tables.entry((table.to_owned(), job, attempt)).or_default();
        parts.insert(slice, Part { view, owners: owners.clone() });
    }

    /// The rows that the parts have that are here.
    ///
    /// # Errors
    /// If no part is here, or the table cannot be asked so.
    pub fn read(&self, request: &TableRequest) -> Result<TableAnswer, TableRefusal> {
        let not_here = || {
            let TableRequest { table, job, attempt, .. } = request;
            TableRefusal::NotHere { table: table.clone(), job: *job, attempt: *attempt }
        };
        let unreadable = |source| TableRefusal::Unreadable { table: request.table.clone(), source };
        let parts = self.parts(request);
        let (schema, key) = parts.values().find_map(|part| part.view.shape()).ok_or_else(not_here)?;
        let beginning = key_of_texts(&schema, &key, &request.key);
        let beginning = beginning.map_err(|error| TableRefusal::Malformed { reason: error.to_string() })?;
        let (mut slices, mut found) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
        for (slice, part) in parts {
            // A part whose operator has gone meanwhile is none.
            let Some(rows) = part.view.find(&beginning, request.limit, PART_BYTES_MAX) else { continue };
            slices.push(slice);
            found.push(rows.map_err(unreadable)?);
        }
        let merged = merge_found(&key, &found, request.limit).map_err(unreadable)?.ok_or_else(not_here)?;
        let FoundRows { rows, more } = merged;
        Ok(TableAnswer { slices, key, rows, more })
    }

    /// The slice that has the only row that the request can mean, if its key is whole and a part of the table is here.
    #[must_use]
    pub fn owner(&self, request: &TableRequest) -> Option<u32> {
        let parts = self.parts(request);
        let (part, (schema, key)) = parts.values().find_map(|part| Some((part, part.view.shape()?)))?;
        let values: Vec<ArrayRef> = key_of_texts(&schema, &key, &request.key).ok()?;
        if values.len() != key.len() {
            return None;
        }
        let group = key_groups_of(&values, 1, part.owners.groups()).first().copied()?;
        Some(part.owners.owner(group))
    }

    fn parts(&self, request: &TableRequest) -> BTreeMap<u32, Part> {
        let place = (request.table.clone(), request.job, request.attempt);
        self.tables.lock().get(&place).cloned().unwrap_or_default()
    }
}

/// Puts the answers of several nodes together; `None` if there are none.
///
/// # Errors
/// If they are not of one table.
pub fn merge_answers(
    table: &str,
    answers: Vec<TableAnswer>,
    limit: usize,
) -> Result<Option<TableAnswer>, TableRefusal> {
    let Some(first) = answers.first() else { return Ok(None) };
    let key = first.key.clone();
    let slices = answers.iter().flat_map(|answer| answer.slices.iter().copied()).collect();
    let parts: Vec<FoundRows> =
        answers.into_iter().map(|TableAnswer { rows, more, .. }| FoundRows { rows, more }).collect();
    let merged = merge_found(&key, &parts, limit);
    let merged = merged.map_err(|source| TableRefusal::Unreadable { table: table.to_owned(), source })?;
    Ok(merged.map(|FoundRows { rows, more }| TableAnswer { slices, key, rows, more }))
}
