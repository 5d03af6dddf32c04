//! Facts of checkpoints in the replicated state.

use super::*;
use crate::JobRecord;

/// A running job with these checkpoints complete and none published.
fn with_complete(checkpoints: std::ops::RangeInclusive<u64>) -> ClusterState {
    let mut state = running();
    for id in checkpoints {
        for command in [begin_checkpoint(1, 1, id), complete_checkpoint(1, 1, id)] {
            state.apply(10 * id, command).into_result().unwrap();
            state.check_invariants().unwrap();
        }
    }
    state
}

fn applied(state: &mut ClusterState, command: Command) {
    state.apply(900, command).into_result().unwrap();
    state.check_invariants().unwrap();
}

fn record(state: &ClusterState) -> &JobRecord {
    state.job(JobId(1)).unwrap()
}

fn not_due(due: u64, given: u64) -> Rejection {
    Rejection::NotDueCheckpoint { job: JobId(1), due: CheckpointId(due), given: CheckpointId(given) }
}

/// How the checkpoints of a job may change in one command.
pub(super) fn check_step(old: &JobRecord, new: &JobRecord) {
    assert!(new.last_checkpoint >= old.last_checkpoint, "numbers are not used twice");
    assert!(new.committed >= old.committed, "what is published stays so");
    let goes_back = |(sink, last): (_, &CheckpointId)| new.published.get(sink).is_none_or(|now| now < last);
    assert!(!old.published.iter().any(goes_back), "what is published of a sink stays so");
    let published: Vec<_> = old.checkpoints.iter().map(|manifest| manifest.checkpoint).collect();
    let skipped = published.iter().filter(|id| **id > old.committed && **id < new.committed).count();
    assert!(skipped == 0 || new.ending == Some(EndMode::Abandon), "in the order of checkpoints");
    let begins = new.last_attempt() > old.last_attempt();
    assert!(!begins || old.uncommitted().is_none(), "an attempt began before what it goes on from was published");
}

#[test]
fn numbers_of_checkpoints_are_used_once_over_all_attempts() {
    let mut state = running();
    assert_eq!(rejection(&state, begin_checkpoint(1, 1, 2)), not_due(1, 2));
    applied(&mut state, begin_checkpoint(1, 1, 1));
    assert_eq!(record(&state).open_checkpoint(), Some(CheckpointId(1)));
    assert_eq!(rejection(&state, begin_checkpoint(1, 1, 1)), not_due(2, 1));
    applied(&mut state, begin_checkpoint(1, 1, 2));
    assert_eq!(rejection(&state, complete_checkpoint(1, 1, 1)), not_due(2, 1), "it was given up");
    applied(&mut state, fail(1, 1, FailureKind::Node, Verdict::Restart));
    assert!(matches!(rejection(&state, begin_checkpoint(1, 1, 3)), Rejection::WrongStatus { .. }));
    applied(&mut state, begin(1, 2, &[(1, 10)]));
    applied(&mut state, run(1, 2));
    assert_eq!(rejection(&state, complete_checkpoint(1, 2, 2)), not_due(0, 2), "it was of another attempt");
    assert!(matches!(rejection(&state, complete_checkpoint(1, 1, 2)), Rejection::NotCurrentAttempt { .. }));
    applied(&mut state, begin_checkpoint(1, 2, 3));
}

#[test]
fn an_attempt_goes_on_from_the_newest_complete_checkpoint_once_it_is_published() {
    let mut state = with_complete(1..=2);
    applied(&mut state, fail(1, 1, FailureKind::Node, Verdict::Restart));
    let waiting = |id| Rejection::NotCommitted { job: JobId(1), checkpoint: CheckpointId(id) };
    assert_eq!(rejection(&state, begin(1, 2, &[(1, 10)])), waiting(1));
    assert_eq!(rejection(&state, committed(1, 2)), not_due(1, 2), "in their order");
    applied(&mut state, committed(1, 1));
    assert_eq!(rejection(&state, begin(1, 2, &[(1, 10)])), waiting(2));
    applied(&mut state, committed(1, 2));
    assert_eq!(rejection(&state, committed(1, 2)), not_due(0, 2));
    applied(&mut state, begin(1, 2, &[(1, 10)]));
    assert_eq!(record(&state).attempt.as_ref().unwrap().restored, Some(CheckpointId(2)));
}

#[test]
fn a_job_finishes_after_what_its_checkpoints_hold_is_published() {
    let mut state = with_complete(1..=1);
    applied(&mut state, complete(1, 1));
    let finish = Command::FinishJob { job: JobId(1), attempt: Attempt(1) };
    assert!(matches!(rejection(&state, finish.clone()), Rejection::NotCommitted { .. }));
    applied(&mut state, committed(1, 1));
    applied(&mut state, finish);
    assert_eq!(status(&state), JobStatus::Finished);
}

#[test]
fn the_record_knows_with_which_checkpoint_a_sink_published_last() {
    let mut state = with_complete(1..=3);
    let last = |state: &ClusterState, sink| record(state).published.get(&OperatorIdentity(sink)).copied();
    assert_eq!((last(&state, 7), last(&state, 8)), (None, None));
    applied(&mut state, published(1, 1, &[7, 8]));
    applied(&mut state, published(1, 2, &[8]));
    applied(&mut state, committed(1, 3));
    assert_eq!((last(&state, 7), last(&state, 8)), (Some(CheckpointId(1)), Some(CheckpointId(2))));
    assert_eq!(rejection(&state, published(1, 3, &[7])), not_due(0, 3));
    applied(&mut state, fail(1, 1, FailureKind::Node, Verdict::Restart));
    applied(&mut state, begin(1, 2, &[(1, 10)]));
    assert_eq!(last(&state, 7), Some(CheckpointId(1)), "over all attempts");
}

#[test]
fn a_completed_checkpoint_forgives_failures_of_operators() {
    let mut state = running();
    applied(&mut state, fail(1, 1, FailureKind::Operator, Verdict::Restart));
    applied(&mut state, begin(1, 2, &[(1, 10)]));
    applied(&mut state, run(1, 2));
    assert_eq!(record(&state).operator_failures, 1);
    applied(&mut state, begin_checkpoint(1, 2, 1));
    applied(&mut state, complete_checkpoint(1, 2, 1));
    assert_eq!((record(&state).operator_failures, record(&state).failures), (0, 1));
}

#[test]
fn what_a_job_may_need_is_not_forgotten_while_it_lives() {
    let mut state = with_complete(1..=3);
    applied(&mut state, committed(1, 1));
    let needed = |id| Rejection::CheckpointNeeded { job: JobId(1), checkpoint: CheckpointId(id) };
    assert_eq!(rejection(&state, forget(1, &[1, 2])), needed(2), "it is not published");
    assert_eq!(rejection(&state, forget(1, &[3])), needed(3), "it is the newest");
    assert!(matches!(rejection(&state, forget(1, &[9])), Rejection::UnknownCheckpoint { .. }));
    applied(&mut state, forget(1, &[1]));
    assert_eq!(record(&state).checkpoints, vec![manifest(2), manifest(3)]);
    applied(&mut state, Command::EndJob { job: JobId(1), mode: EndMode::Cancel });
    applied(&mut state, committed(1, 2));
    applied(&mut state, forget(1, &[2, 3]));
    assert!(record(&state).checkpoints.is_empty());
}

/// A destination may be away for good, or not go with the record.
#[test]
fn a_client_can_give_up_what_is_not_published() {
    let abandon = || Command::EndJob { job: JobId(1), mode: EndMode::Abandon };
    for is_over in [false, true] {
        let mut state = with_complete(1..=3);
        applied(&mut state, committed(1, 1));
        if is_over {
            applied(&mut state, Command::EndJob { job: JobId(1), mode: EndMode::Cancel });
            assert!(record(&state).uncommitted().is_some(), "it is published all the same");
        }
        applied(&mut state, abandon());
        let given_up = record(&state).clone();
        assert_eq!((given_up.status, given_up.committed), (JobStatus::Cancelled, CheckpointId(3)));
        assert!(given_up.uncommitted().is_none());
        let message = &given_up.failure.as_ref().expect("it says so").message;
        assert!(message.contains("checkpoint-2 up to checkpoint-3 may be missing"), "{message}");
        let again = state.apply(901, abandon());
        assert_eq!(again, Outcome::Applied(Vec::new()), "once");
        assert_eq!(*record(&state), given_up);
        state.check_invariants().unwrap();
        applied(&mut state, forget(1, &[1, 2, 3]));
    }
    // A job that has failed says both, and can be restarted behind what is given up.
    let mut state = with_complete(1..=2);
    applied(&mut state, fail(1, 1, FailureKind::Data, Verdict::Fail));
    let again = restart(&state, "again", 1);
    assert!(matches!(rejection(&state, again.clone()), Rejection::NotCommitted { .. }));
    applied(&mut state, abandon());
    assert_eq!(record(&state).status, JobStatus::Failed);
    let message = record(&state).failure.clone().expect("it failed").message;
    assert!(message.contains("; publishing was given up"), "{message}");
    applied(&mut state, again);
    assert_eq!(record(&state).status, JobStatus::Restarting);
    // With nothing to give up it is a cancel.
    applied(&mut state, abandon());
    assert_eq!(record(&state).status, JobStatus::Cancelled);
}
