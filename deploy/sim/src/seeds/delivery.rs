//! How the sink of a seeded run delivers files: sizes and ages of parts, merged parts, named directories, complete
//! partitions, manifests. And what must be true of them in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::Value;

use super::outputs::OUTPUT;
use crate::{input::Dice, simulation::COMPLETE};

/// The directory of manifests.
const MANIFESTS: &str = "_manifests";
/// The name of the files that say that a partition had no rows for a while, which says nothing of later ones.
const SUCCESS: &str = "_SUCCESS";
/// Longer than all windows: their rows come when the watermark passes their end.
const WINDOWS_ARE_OVER: &str = "2 s";

/// What a table says of its files, beside their format and age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDelivery {
    /// The size at which parts close.
    part_bytes: Option<u64>,
    /// How long after its last rows a part closes.
    inactivity_ms: Option<u64>,
    /// About how large merged files are.
    merged_bytes: Option<u64>,
    has_template: bool,
    commit: Option<Commit>,
    has_manifests: bool,
}

/// When a partition is said to be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    After {
        delay_ms: u64,
    },
    /// By the watermark: no row may come later.
    ByTime,
}

/// The files of a sink, by what they are to readers.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) data: Vec<(String, Bytes)>,
    /// Directories of complete partitions.
    complete: BTreeSet<String>,
    manifests: Vec<Bytes>,
}

impl FileDelivery {
    pub(super) fn draw(dice: &mut Dice, partition: Option<&str>) -> Self {
        if !dice.percent(60) {
            return Self::default();
        }
        let commit = match dice.below(4) {
            0 | 1 if partition == Some("w") => Some(Commit::ByTime),
            0 | 2 if partition.is_some() => Some(Commit::After { delay_ms: dice.below(2000) }),
            _ => None,
        };
        Self {
            part_bytes: dice.percent(30).then(|| 200 + dice.below(8000)),
            inactivity_ms: dice.percent(30).then(|| 100 + dice.below(1000)),
            merged_bytes: dice.percent(60).then(|| dice.pick(&[1000, 10_000, 1_000_000])),
            has_template: partition.is_some() && dice.percent(50),
            commit,
            has_manifests: dice.percent(50),
        }
    }

    /// The options of a table, each behind a comma. Where two jobs write, rows of one may come when the other has said that
    /// a partition is complete.
    pub(super) fn options(&self, partition: Option<&str>, has_companion: bool) -> String {
        let mut options = Vec::new();
        if let Some(bytes) = self.part_bytes {
            options.push(format!("'sink.rolling-policy.file-size' = '{bytes} b'"));
        }
        if let Some(millis) = self.inactivity_ms {
            options.push(format!("'sink.rolling-policy.inactivity-interval' = '{millis} ms'"));
        }
        if let Some(bytes) = self.merged_bytes {
            options.push(format!("'auto-compaction' = 'true', 'compaction.file-size' = '{bytes} b'"));
        }
        if let (true, Some(column)) = (self.has_template, partition) {
            options.push(format!("'sink.path-template' = '{}'", template(column)));
        }
        if let Some(commit) = self.commit {
            options.push("'sink.partition-commit.policy.kind' = 'success-file'".to_owned());
            options.push(match commit {
                Commit::After { delay_ms } => format!("'sink.partition-commit.delay' = '{delay_ms} ms'"),
                Commit::ByTime => format!(
                    "'sink.partition-commit.trigger' = 'partition-time', \
                     'sink.partition-commit.delay' = '{WINDOWS_ARE_OVER}', \
                     'partition.time-extractor.timestamp-pattern' = '$w'"
                ),
            });
            if commit == Commit::ByTime && !has_companion {
                options.push(format!("'sink.partition-commit.success-file.name' = '{COMPLETE}'"));
            }
        }
        if self.has_manifests {
            options.push(format!("'sink.manifest.path' = '{MANIFESTS}'"));
        }
        options.iter().map(|option| format!(", {option}")).collect()
    }

    /// The text that a file's name has for the value of the partition column, escaped.
    pub(super) fn value_in(&self, name: &str, column: &str) -> Result<String> {
        let below = name.strip_prefix(OUTPUT).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        let levels: Vec<&str> = below.split('/').collect();
        let value = match (self.has_template, column, &levels[..]) {
            (false, _, [level, _]) => {
                level.strip_prefix(column).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
            }
            (true, "w", [date, time, _]) => Some(format!("{date} {}", time.replace('-', ":"))),
            (true, _, [level, _year, _]) => level.strip_prefix("of-").map(str::to_owned),
            _ => None,
        };
        value.context("it lies in no directory of a partition")
    }

    /// Tells files of data from others.
    pub(super) fn sorted(files: Vec<(String, Bytes)>) -> Delivered {
        let mut delivered = Delivered::default();
        for (name, bytes) in files {
            match name.rsplit_once('/') {
                Some((directory, COMPLETE | SUCCESS)) => _ = delivered.complete.insert(directory.to_owned()),
                Some((directory, _)) if directory.ends_with(MANIFESTS) => delivered.manifests.push(bytes),
                _ => delivered.data.push((name, bytes)),
            }
        }
        delivered
    }

    /// Checks what jobs have left that have done all their work.
    ///
    /// # Errors
    /// If a partition is not complete, or the manifests do not name what is there.
    pub(super) fn check(&self, delivered: &Delivered) -> Result<()> {
        let Delivered { data, complete, manifests } = delivered;
        let directories = data.iter().filter_map(|(name, _)| Some(name.rsplit_once('/')?.0.to_owned()));
        let expected = if self.commit.is_some() { directories.collect() } else { BTreeSet::new() };
        ensure!(*complete == expected, "complete are {complete:?}, and not {expected:?}");
        let mut named: BTreeMap<String, u64> = BTreeMap::new();
        for manifest in manifests {
            let manifest: Value = serde_json::from_slice(manifest).context("a manifest")?;
            for entry in manifest["entries"].as_array().context("a manifest without entries")? {
                let url = entry["url"].as_str().context("an entry without a URL")?;
                let at = url.rfind(&format!("/{OUTPUT}/")).context("a URL of another table")?;
                let length = entry["meta"]["content_length"].as_u64().context("an entry without a length")?;
                let before = named.insert(url[at + 1..].to_owned(), length);
                ensure!(before.is_none(), "two manifests name {url}");
            }
        }
        let there: BTreeMap<String, u64> =
            data.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
        let expected = if self.has_manifests { there } else { BTreeMap::new() };
        ensure!(named == expected, "manifests name {named:?}, and there are {expected:?}");
        Ok(())
    }
}

/// How directories are named.
fn template(column: &str) -> String {
    match column {
        "w" => "{w:yyyy-MM-dd}/{w:HH-mm-ss.SSS}".to_owned(),
        column => format!("of-{{{column}}}/{{arrival-time:yyyy}}"),
    }
}

impl fmt::Display for FileDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.part_bytes {
            write!(f, ", parts of {bytes} bytes")?;
        }
        if let Some(millis) = self.inactivity_ms {
            write!(f, ", closed after {millis} ms without rows")?;
        }
        if let Some(bytes) = self.merged_bytes {
            write!(f, ", merged up to {bytes} bytes")?;
        }
        match self.commit {
            None => {}
            Some(Commit::After { delay_ms }) => write!(f, ", complete after {delay_ms} ms")?,
            Some(Commit::ByTime) => f.write_str(", complete by time")?,
        }
        if self.has_template {
            f.write_str(", by a template")?;
        }
        if self.has_manifests { f.write_str(", manifests") } else { Ok(()) }
    }
}
