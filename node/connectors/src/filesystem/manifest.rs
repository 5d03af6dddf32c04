//! What a checkpoint has published, as a file for loaders: it comes behind the files that it names.
//!
//! ```json
//! {"job":3,"checkpoint":17,"entries":[{"url":"s3://b/t/day=1/part-c1-3-1-….parquet","meta":{"content_length":421}}]}
//! ```
//!
//! `entries` has the form that `COPY … MANIFEST` of Redshift reads. The file is named by cluster, job, sink and
//! checkpoint, and is written again, alike, if a node crashed before the publication was recorded.

use serde::Serialize;
use thalweg_types::{CheckpointId, connector::TableConnector};

use super::{publish::Published, whole::WholeFiles};
use crate::{CommitterIdentity, ConnectorError, Epochs, options::Options};

/// Where a table's manifests lie.
#[derive(Debug)]
pub(super) struct Manifests {
    /// Relative to the table's path.
    directory: String,
    /// The table's path, as the script has it.
    table: String,
}

#[derive(Serialize)]
struct Manifest {
    job: u64,
    /// `None`: the end of the job.
    checkpoint: Option<u64>,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    url: String,
    mandatory: bool,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    content_length: u64,
}

impl Manifests {
    /// `None` if the table wants none.
    pub(super) fn of_table(options: &Options<'_>) -> Result<Option<Self>, ConnectorError> {
        let Some(directory) = options.checked(TableConnector::manifest_directory)? else { return Ok(None) };
        let table = options.required("path")?.trim_end_matches('/').to_owned();
        Ok(Some(Self { directory, table }))
    }

    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// Writes the manifest of a checkpoint.
    pub(super) async fn write(
        &self,
        files: &WholeFiles,
        epochs: Epochs,
        published: &[Published],
    ) -> Result<(), ConnectorError> {
        let CommitterIdentity { cluster, job, sink, .. } = files.identity();
        let number = (epochs.publishing != CheckpointId::FINAL).then_some(epochs.publishing.0);
        let shown = number.map_or_else(|| "end".to_owned(), |number| format!("{number:010}"));
        let name = format!("manifest-{}-{}-{sink}-{shown}.json", cluster.object_part(), job.0);
        let mut entries: Vec<Entry> = published.iter().map(|file| self.entry(file)).collect();
        entries.sort_unstable_by(|one, other| one.url.cmp(&other.url));
        let manifest = Manifest { job: job.0, checkpoint: number, entries };
        let content = serde_json::to_vec(&manifest).expect("a manifest has only text keys");
        files.write(epochs.attempt, (&self.directory, &name), content).await
    }

    fn entry(&self, file: &Published) -> Entry {
        let below = if file.directory.is_empty() { String::new() } else { format!("{}/", file.directory) };
        let url = format!("{}/{below}{}", self.table, file.name);
        Entry { url, mandatory: true, meta: Meta { content_length: file.bytes } }
    }
}
