//! The names of logs and segments below the root of checkpoints.

use thalweg_storage::names;
use thalweg_types::{ClusterId, JobId};

use crate::{log_name::LogName, segment_number::SegmentNumber};

/// The folder of an ingest log, without `/` at its end.
#[must_use]
pub fn ingest_folder(cluster: &ClusterId, job: JobId, log: &LogName) -> String {
    format!("{}/{log}", names::ingest_prefix(cluster, job))
}

/// A segment of an ingest log.
#[must_use]
pub fn segment_name(folder: &str, number: SegmentNumber) -> String {
    format!("{folder}/{:012}.segment", number.0)
}

/// The folder and the number of a segment; `None` if the name has another form.
#[must_use]
pub fn segment_of(name: &str) -> Option<(&str, SegmentNumber)> {
    let (folder, file) = name.rsplit_once('/')?;
    let number = file.strip_suffix(".segment")?;
    // Digits only: `parse` alone would take a sign too.
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((folder, SegmentNumber(number.parse().ok().filter(|_| is_number)?)))
}

#[cfg(test)]
mod tests {
    use thalweg_types::{SplitId, graph::OperatorIdentity};

    use super::*;

    #[test]
    fn segments_lie_in_the_folder_of_their_log() {
        let (cluster, job) = (ClusterId("00c0ffee00c0ffee".to_owned()), JobId(3));
        let log = LogName::of(OperatorIdentity(0x1f), &SplitId("/ingest/t".to_owned()));
        let folder = ingest_folder(&cluster, job, &log);
        assert_eq!(folder, "00c0ffee00c0ffee/job-3/ingest/000000000000001f-f0cdd6bb395812ff");
        let name = segment_name(&folder, SegmentNumber(12));
        assert_eq!(name, format!("{folder}/000000000012.segment"));
        assert_eq!(segment_of(&name), Some((folder.as_str(), SegmentNumber(12))));
        assert!(names::attempt_of(&name).is_none() && names::checkpoint_of(&name).is_none());
        assert_eq!(segment_of("c/job-1/ingest/7-0/+12.segment"), None);
    }
}
