//! The store of manifests. It checks that a manifest has a part of every subtask, and that none that may be needed is
//! removed.

use thalweg_types::session::ALL_ATTEMPTS;

use super::*;

impl World {
    /// The store carries out the oldest request.
    pub(crate) fn use_store(&mut self) {
        let Some(effect) = self.store_work.pop_front() else { return };
        let failed = |kind| failure(kind, "the store is away");
        match effect {
            Effect::PutManifest { manifest } => {
                let checkpoint = manifest.checkpoint;
                let result = match self.store_failures.pop() {
                    Some(kind) => Err(failed(kind)),
                    None => Ok(self.put(&manifest)),
                };
                self.controller.on_manifest_put(checkpoint, result);
            }
            Effect::GetManifest { manifest } => {
                let result = self
                    .store_failures
                    .pop()
                    .map_or_else(|| Ok(self.store[&manifest.name].clone()), |kind| Err(failed(kind)));
                self.controller.on_manifest_got(manifest.checkpoint, result, self.now);
            }
            Effect::CollectCheckpoints { .. } if self.store_failures.pop().is_some() => {
                self.controller.on_collected(&Err(failed(FailureKind::Store)), self.now);
            }
            Effect::CollectCheckpoints { drop, keep, older_than } => {
                let is_over = self.status().is_terminal();
                for manifest in drop {
                    assert!(!keep.contains(&manifest));
                    assert!(is_over || self.record().checkpoint(manifest.checkpoint).is_none(), "it may be needed");
                    self.store.remove(&manifest.name);
                }
                if older_than == Some(ALL_ATTEMPTS) {
                    self.store.retain(|name, _| keep.iter().any(|kept| kept.name == *name));
                }
                self.controller.on_collected(&Ok(()), self.now);
            }
            Effect::Propose(_) | Effect::Order { .. } => unreachable!("not for the store"),
        }
        self.react();
    }

    fn put(&mut self, manifest: &Manifest) -> ManifestRef {
        let all: Vec<SubtaskId> = self.plan.subtasks(manifest.parallelism).collect();
        let told: Vec<SubtaskId> = manifest.subtasks.iter().map(|snapshot| snapshot.subtask).collect();
        assert_eq!(told, all, "a part is missing");
        let name = format!("{}-{}-{}", manifest.checkpoint.0, manifest.attempt.0, self.leaders);
        self.store.insert(name.clone(), manifest.clone());
        ManifestRef { checkpoint: manifest.checkpoint, name, bytes: 1, checksum: 1 }
    }
}
