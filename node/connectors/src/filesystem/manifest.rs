//! What a checkpoint has published, as a file for loaders: it comes behind the files that it names.
//!
//! ```json
//! {"job":3,"checkpoint":17,"entries":[{"url":"s3://b/t/day=1/part-c1-3-1-….parquet","meta":{"content_length":421}}]}
//! ```
//!
//! `entries` has the form that `COPY … MANIFEST` of Redshift reads. The file is named by cluster, job, sink and
//! checkpoint, and is written again, alike, if a node crashed before the publication was recorded.

use serde::Serialize;
use thalweg_types::CheckpointId;

use super::{publish::Published, whole::WholeFiles};
use crate::{CommitterIdentity, ConnectorError, Epochs, options::Options};

const PATH: &str = "sink.manifest.path";

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
        let Some(directory) = hidden_directory(options, PATH)? else { return Ok(None) };
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

/// The directory below a table's path that an option names, and that the table's readers must not see; `None` if it is not set.
pub(super) fn hidden_directory(options: &Options<'_>, key: &str) -> Result<Option<String>, ConnectorError> {
    let Some(given) = options.text(key) else { return Ok(None) };
    let directory = given.trim_matches('/');
    match unfit_directory(directory) {
        None => Ok(Some(directory.to_owned())),
        Some(reason) => Err(options.error(format!("option '{key}' = '{given}' {reason}"))),
    }
}

/// Why a directory cannot have this name, if so.
fn unfit_directory(directory: &str) -> Option<String> {
    if !directory.starts_with('_') {
        return Some("would be read as data: let it begin with _, as _manifests does".to_owned());
    }
    if directory.split('/').any(|name| name.is_empty() || name == "." || name == ".." || name.len() > 255) {
        let wanted = "names of 1 to 255 bytes with / between them, without . and ..";
        return Some(format!("is no path below the table's: give it {wanted}"));
    }
    let odd = directory.chars().find(|c| c.is_control() || r##""#%*:<>?\{}|^[]~`"##.contains(*c))?;
    Some(format!("has the character {odd:?}, which not all stores take in names: leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::connector;

    #[test]
    fn directories_are_hidden_and_below_the_tables() {
        let given = |directory: &str| {
            let table = connector("filesystem", &[(PATH, directory)]);
            hidden_directory(&Options::new("t", &table), PATH).map_err(|error| error.to_string())
        };
        assert_eq!(given(""), Ok(None));
        assert_eq!(given("_manifests/"), Ok(Some("_manifests".to_owned())));
        assert_eq!(given("_a/b-1=c"), Ok(Some("_a/b-1=c".to_owned())));
        for (refused, why) in [
            ("/", "would be read as data: let it begin with _"),
            ("manifests", "would be read as data: let it begin with _"),
            (".m", "would be read as data: let it begin with _"),
            ("_a/../b", "is no path below the table's: give it"),
            ("_a//b", "is no path below the table's: give it"),
            ("_a/.", "is no path below the table's: give it"),
            ("_a*", "has the character '*', which not all stores take in names: leave it out"),
            ("_%41", "has the character '%'"),
            ("_\u{1}", "has the character '\\u{1}'"),
        ] {
            let told = given(refused).expect_err("refused");
            let expected = format!("table t: option 'sink.manifest.path' = '{refused}' {why}");
            assert!(told.starts_with(&expected), "{told}");
        }
    }
}
