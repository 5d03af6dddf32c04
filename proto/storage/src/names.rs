//! The names of objects below the root of checkpoints.
//!
//! ```text
//! CLUSTER/job-J/attempt-A/CHAIN-INDEX-CHECKPOINT.state     a subtask's state, of one checkpoint
//! CLUSTER/job-J/attempt-A/staged-SINK-SUBTASK-NUMBER.state rows that a sink's writer has staged for its committer
//! CLUSTER/job-J/manifest-CHECKPOINT-ATTEMPT-TERM.json      all of a checkpoint
//! CLUSTER/job-J/ingest/LOG/NUMBER.segment                  records that were POSTed: see `thalweg-ingest-log`
//! ```
//!
//! No two writers share a name: clusters have different ids, numbers of attempts and checkpoints are never used twice,
//! and the leader of another term writes another manifest. Segments are an intended exception: attempts contend for the
//! next number of a log. A checkpoint in a manifest's name has at least 12 digits, and so has a segment's number, so
//! that names sort by these numbers.

use thalweg_types::{Attempt, CheckpointId, ClusterId, JobId, SubtaskId, Term, graph::OperatorIdentity};

/// The folder of everything that a job writes, without `/` at its end.
#[must_use]
pub fn job_prefix(cluster: &ClusterId, job: JobId) -> String {
    format!("{}/job-{}", cluster.object_part(), job.0)
}

/// The object that a subtask uploads for a checkpoint.
#[must_use]
pub fn state_object(
    cluster: &ClusterId,
    job: JobId,
    attempt: Attempt,
    subtask: SubtaskId,
    checkpoint: CheckpointId,
) -> String {
    let SubtaskId { chain, index } = subtask;
    let prefix = job_prefix(cluster, job);
    format!("{prefix}/attempt-{}/{}-{index}-{}.state", attempt.0, chain.0, checkpoint.0)
}

/// The object of this number that the writer of a sink's subtask has staged in an attempt.
#[must_use]
pub fn staged_object(
    (cluster, job): (&ClusterId, JobId),
    attempt: Attempt,
    sink: OperatorIdentity,
    subtask: u32,
    number: u64,
) -> String {
    format!("{}/attempt-{}/staged-{sink}-{subtask}-{number}.state", job_prefix(cluster, job), attempt.0)
}

/// A checkpoint's manifest as the leader of a term writes it.
#[must_use]
pub fn manifest(cluster: &ClusterId, job: JobId, checkpoint: CheckpointId, attempt: Attempt, term: Term) -> String {
    format!("{}/manifest-{:012}-{}-{}.json", job_prefix(cluster, job), checkpoint.0, attempt.0, term.0)
}

/// The folder of all ingest logs of a job, without `/` at its end.
#[must_use]
pub fn ingest_prefix(cluster: &ClusterId, job: JobId) -> String {
    format!("{}/ingest", job_prefix(cluster, job))
}

/// The attempt that wrote an object; `None` if the name has another form.
#[must_use]
pub fn attempt_of(name: &str) -> Option<Attempt> {
    match parse(name)? {
        ObjectName::State { attempt, .. }
        | ObjectName::Staged { attempt, .. }
        | ObjectName::Manifest { attempt, .. } => Some(attempt),
    }
}

/// The sink whose writer has staged an object, and the attempt; `None` if the name has another form.
#[must_use]
pub fn staged_by(name: &str) -> Option<(OperatorIdentity, Attempt)> {
    match parse(name)? {
        ObjectName::Staged { sink, attempt, .. } => Some((sink, attempt)),
        ObjectName::State { .. } | ObjectName::Manifest { .. } => None,
    }
}

/// The checkpoint that an object was written for; `None` if the name does not tell.
#[must_use]
pub fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    match parse(name)? {
        ObjectName::State { checkpoint, .. } | ObjectName::Manifest { checkpoint, .. } => Some(checkpoint),
        ObjectName::Staged { .. } => None,
    }
}

/// Whether an object is a manifest, by its name.
#[must_use]
pub fn is_manifest(name: &str) -> bool {
    matches!(parse(name), Some(ObjectName::Manifest { .. }))
}

/// What a name says, except for the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectName {
    State { job: JobId, attempt: Attempt, subtask: SubtaskId, checkpoint: CheckpointId },
    Staged { job: JobId, attempt: Attempt, sink: OperatorIdentity, subtask: u32, number: u64 },
    Manifest { job: JobId, checkpoint: CheckpointId, attempt: Attempt, term: Term },
}

pub(crate) fn parse(name: &str) -> Option<ObjectName> {
    let mut parts = name.split('/');
    let (_cluster, job) = (parts.next()?, parts.next()?);
    let job = JobId(number(job.strip_prefix("job-")?)?);
    let (third, fourth) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let Some(state) = fourth else {
        let [checkpoint, attempt, term] = numbers(third.strip_prefix("manifest-")?.strip_suffix(".json")?)?;
        let attempt = Attempt(u32::try_from(attempt).ok()?);
        return Some(ObjectName::Manifest { job, checkpoint: CheckpointId(checkpoint), attempt, term: Term(term) });
    };
    let attempt = Attempt(u32::try_from(number(third.strip_prefix("attempt-")?)?).ok()?);
    let state = state.strip_suffix(".state")?;
    if let Some(staged) = state.strip_prefix("staged-") {
        let mut parts = staged.split('-');
        let (sink, subtask, at) = (parts.next()?.parse().ok()?, number(parts.next()?)?, number(parts.next()?)?);
        let subtask = u32::try_from(subtask).ok().filter(|_| parts.next().is_none())?;
        return Some(ObjectName::Staged { job, attempt, sink, subtask, number: at });
    }
    let [chain, index, checkpoint] = numbers(state)?;
    let chain = thalweg_types::ChainId(u32::try_from(chain).ok()?);
    let subtask = SubtaskId { chain, index: u32::try_from(index).ok()? };
    Some(ObjectName::State { job, attempt, subtask, checkpoint: CheckpointId(checkpoint) })
}

fn numbers(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.split('-');
    let numbers = [number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?];
    parts.next().is_none().then_some(numbers)
}

/// Parses digits only: `parse` alone would take a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use thalweg_types::ChainId;

    use super::*;

    #[test]
    fn names_have_one_form_and_say_what_they_are() {
        let (cluster, job) = (ClusterId("00c0ffee00c0ffee".to_owned()), JobId(3));
        let subtask = SubtaskId { chain: ChainId(2), index: 7 };
        assert_eq!(job_prefix(&cluster, job), "00c0ffee00c0ffee/job-3");
        let state = state_object(&cluster, job, Attempt(4), subtask, CheckpointId(51));
        assert_eq!(state, "00c0ffee00c0ffee/job-3/attempt-4/2-7-51.state");
        assert_eq!((attempt_of(&state), checkpoint_of(&state)), (Some(Attempt(4)), Some(CheckpointId(51))));
        let whole = manifest(&cluster, job, CheckpointId(51), Attempt(4), Term(9));
        assert_eq!(whole, "00c0ffee00c0ffee/job-3/manifest-000000000051-4-9.json");
        assert_eq!((attempt_of(&whole), checkpoint_of(&whole)), (Some(Attempt(4)), Some(CheckpointId(51))));
        assert!(is_manifest(&whole) && !is_manifest(&state));
        let staged = staged_object((&cluster, job), Attempt(4), OperatorIdentity(0xfeed), 7, 51);
        assert_eq!(staged, "00c0ffee00c0ffee/job-3/attempt-4/staged-000000000000feed-7-51.state");
        assert_eq!((attempt_of(&staged), checkpoint_of(&staged)), (Some(Attempt(4)), None));
        assert_eq!(staged_by(&staged), Some((OperatorIdentity(0xfeed), Attempt(4))));
        assert_eq!(staged_by(&state), None);
        let last = manifest(&cluster, job, CheckpointId::FINAL, Attempt(4), Term(9));
        assert_eq!(checkpoint_of(&last), Some(CheckpointId::FINAL));
    }

    #[test]
    fn names_of_others_are_none_of_ours() {
        let others = [
            "",
            "c/job-1",
            "c/job-1/manifest-1-2.json",
            "c/job-1/manifest-1-2-3-4.json",
            "c/job-1/manifest-+1-2-3.json",
            "c/job-1/manifest--2-3.json",
            "c/job-1/manifest-1-2-3.txt",
            "c/job-x/manifest-1-2-3.json",
            "c/job-1/attempt-4294967296/0-0-1.state",
            "c/job-1/attempt-1/0-0-1.state/more",
            "c/job-1/attempt-1/0-0-99999999999999999999.state",
            "c/job-1/attempt-1/staged-1-0-1.state",
            "c/job-1/attempt-1/staged-0123456789abcdef-0.state",
            "c/job-1/attempt-1/staged-0123456789abcdef-0-1-2.state",
            "c/job-1/attempt-1/staged-0123456789abcdef-4294967296-1.state",
        ];
        assert!(others.iter().all(|name| parse(name).is_none()));
    }
}
