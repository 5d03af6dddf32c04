//! Checks that every visible object belongs to a recorded complete checkpoint, or to a job that has finished.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use thalweg_cluster_state::JobRecord;
use thalweg_connectors::part_committables;
use thalweg_types::checkpoint::{Manifest, SinkCommittables};

use super::directory::is_hidden;

/// The name of an object that says that its directory gets no further ones.
pub(crate) const COMPLETE: &str = "_COMPLETE";
/// What is added to the name of a part by which a merged object is named.
const MERGED: &str = "-merged";

/// The objects that may be published, and those that are.
#[derive(Debug, Default)]
pub(super) struct Publications {
    /// Names of objects that may be visible.
    allowed: BTreeSet<String>,
    /// Objects that are visible.
    published: BTreeSet<String>,
    /// Directories of which it was said that no further object comes.
    complete: BTreeSet<String>,
}

impl Publications {
    /// Adds the objects that a recorded checkpoint allows.
    pub(super) fn learn(&mut self, manifest: &Manifest) {
        let prepared = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
        self.allow(prepared.map(|prepared| &prepared.committables));
    }

    /// Adds the objects that the replicated record of a job allows at its end.
    pub(super) fn learn_last(&mut self, record: &JobRecord) {
        let last = record.attempt.as_ref().and_then(|attempt| attempt.committables.as_deref());
        self.allow(last.into_iter().flatten());
    }

    fn allow<'a>(&mut self, committables: impl Iterator<Item = &'a SinkCommittables>) {
        let name = |committable: Value| committable.get("published").and_then(Value::as_str).map(str::to_owned);
        for of_sink in committables {
            let (own, failed_rows) = part_committables(of_sink.committables.clone());
            self.allowed.extend(own.into_iter().chain(failed_rows).filter_map(name));
        }
    }

    /// Checks objects that have become visible.
    ///
    /// # Errors
    /// If no record allows an object, or it was visible before, or its directory was complete.
    pub(super) fn check(&mut self, objects: impl IntoIterator<Item = String>) -> Result<()> {
        for object in objects {
            let (directory, name) = object.rsplit_once('/').unwrap_or(("", &object));
            if name == COMPLETE {
                self.complete.insert(directory.to_owned());
                continue;
            }
            if is_hidden(name) {
                continue;
            }
            // Merged objects are named by their first part.
            let name = &name.replace(MERGED, "");
            ensure!(!self.complete.contains(directory), "{object} is visible after its directory was complete");
            ensure!(self.allowed.contains(name), "{object} is visible, and no complete checkpoint holds it");
            ensure!(self.published.insert(object.clone()), "{object} was written over");
        }
        Ok(())
    }
}
