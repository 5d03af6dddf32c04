//! Facts of checkpoints: how they are taken, aborted, published, restored and forgotten.

use thalweg_types::{ChainPlan, graph::OperatorIdentity, job::CheckpointState};

use super::*;

const INTERVAL: Duration = Duration::from_millis(500);

/// An endless job on two nodes that takes a checkpoint every half second.
fn running() -> World {
    let mut world = World::checkpointing(&[2, 2], Some(3), INTERVAL);
    world.endless = true;
    world.until(JobStatus::Running);
    world
}

/// Lets time pass until a checkpoint with at least this number is complete and published.
fn until_complete(world: &mut World, checkpoint: u64) {
    for _ in 0..100 {
        if world.record().committed >= CheckpointId(checkpoint) {
            return;
        }
        world.pump();
    }
    panic!("{checkpoint} is not complete: {:?}", world.controller());
}

fn states(world: &World) -> Vec<(u64, CheckpointState)> {
    let overviews = world.controller().checkpoint_overviews(world.record(), world.now());
    overviews.iter().map(|overview| (overview.checkpoint.0, overview.state)).collect()
}

#[test]
fn a_running_job_publishes_at_each_checkpoint_and_keeps_the_last_two() {
    let mut world = running();
    until_complete(&mut world, 4);
    let committed: Vec<u64> = world.commits.iter().map(|(checkpoint, _)| checkpoint.0).collect();
    assert!(committed.is_sorted() && committed.len() >= 4, "{committed:?}");
    assert!(world.record().checkpoints.len() <= 3, "{:?}", world.record().checkpoints);
    let overview = world.controller().checkpoint_overviews(world.record(), world.now())[0].clone();
    assert_eq!((overview.attempt, overview.cost.uploaded_bytes), (Attempt(1), 60), "of six subtasks");
    world.end(EndMode::Stop);
    world.settle();
    assert_eq!(world.status(), JobStatus::Stopped);
    world.check_published();
    assert!(world.record().checkpoints.is_empty());
    assert!(!world.has_leftovers());
}

#[test]
fn without_an_interval_only_wanted_checkpoints_are_taken() {
    let mut world = World::checkpointing(&[2], Some(1), Duration::ZERO);
    world.endless = true;
    world.until(JobStatus::Running);
    world.pump();
    assert_eq!(world.record().last_checkpoint, CheckpointId(0));
    world.want_checkpoint(NodeId(1));
    world.pump();
    assert_eq!(world.record().committed, CheckpointId(1));
}

#[test]
fn a_lost_node_costs_what_came_after_the_last_complete_checkpoint_and_nothing_else() {
    let mut world = running();
    until_complete(&mut world, 2);
    world.lose_node(NodeId(2));
    world.restart_node(NodeId(2));
    world.until(JobStatus::Running);
    let record = world.record();
    let restored = record.attempt.as_ref().unwrap().restored;
    assert_eq!((record.last_attempt(), restored), (Attempt(2), Some(record.committed)));
    let mut splits: Vec<String> = world.dealt.iter().rev().take(3).flat_map(|(_, splits)| splits.clone()).collect();
    splits.sort();
    assert_eq!(splits, (0..8).map(|at| format!("split-{at}")).collect::<Vec<_>>(), "those of the checkpoint");
    let before = record.last_checkpoint.0;
    until_complete(&mut world, before + 1);
    world.end(EndMode::Stop);
    world.settle();
    world.check_published();
    assert!(!world.has_leftovers());
}

#[test]
fn the_first_checkpoint_after_a_failed_attempt_comes_soon_and_the_others_by_the_interval() {
    let mut world = World::checkpointing(&[2, 2], Some(2), Duration::from_secs(60));
    world.endless = true;
    world.until(JobStatus::Running);
    let waited = until_begun(&mut world, 1);
    assert!(waited > Duration::from_secs(59), "{waited:?}: nothing had failed");
    until_complete(&mut world, 1);
    world.lose_node(NodeId(2));
    world.until(JobStatus::Running);
    let waited = until_begun(&mut world, 2);
    assert!((150..=250).contains(&waited.as_millis()), "{waited:?}");
    until_complete(&mut world, 2);
    let waited = until_begun(&mut world, 3);
    assert!(waited > Duration::from_secs(50), "{waited:?}");

    let mut world = World::checkpointing(&[2, 2], Some(2), Duration::ZERO);
    world.endless = true;
    world.until(JobStatus::Running);
    world.lose_node(NodeId(2));
    world.until(JobStatus::Running);
    world.pump();
    assert_eq!(world.record().last_checkpoint, CheckpointId(0), "none are taken by time");
}

/// Lets time pass until a checkpoint has begun. Returns how much.
fn until_begun(world: &mut World, checkpoint: u64) -> Duration {
    let since = world.now();
    while world.record().last_checkpoint < CheckpointId(checkpoint) {
        assert!(world.now() - since < Duration::from_secs(600), "{:?}", world.controller());
        world.advance(Duration::from_millis(50));
    }
    world.now() - since
}

#[test]
fn a_checkpoint_that_fails_is_given_up_and_the_job_runs_on() {
    let mut world = running();
    world.snapshot_failures = 1;
    world.pump();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Running, Attempt(1)));
    assert_eq!(states(&world)[0], (1, CheckpointState::Failed));
    until_complete(&mut world, 2);
    assert_eq!(world.controller().checkpoint_summary(world.record()).failures_in_a_row, 0);

    let mut world = running();
    world.store_failures = vec![FailureKind::Store];
    world.pump();
    let summary = world.controller().checkpoint_summary(world.record());
    assert!(states(&world).contains(&(1, CheckpointState::Failed)), "{summary:?}");
    until_complete(&mut world, 2);
}

#[test]
fn a_job_that_is_to_stop_takes_a_checkpoint_first_if_it_can() {
    let stop = |snapshot_failures: u32| {
        let mut world = World::checkpointing(&[2, 2], Some(2), Duration::from_secs(3600));
        world.endless = true;
        world.until(JobStatus::Running);
        world.snapshot_failures = snapshot_failures;
        assert!(world.end(EndMode::Stop));
        world.settle();
        assert_eq!(world.status(), JobStatus::Stopped);
        world.check_published();
        (world.record().last_checkpoint, world.commits.len())
    };
    assert_eq!(stop(0), (CheckpointId(1), 2), "its commit, and that of the end");
    assert_eq!(stop(1), (CheckpointId(1), 1), "it does not wait for another");
}

#[test]
fn a_checkpoint_that_takes_too_long_is_given_up() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    assert_eq!(states(&world), [(1, CheckpointState::InProgress)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(states(&world), [(1, CheckpointState::Failed)]);
    let summary = world.controller().checkpoint_summary(world.record());
    assert!(summary.reason.contains("6 subtasks had not answered"), "{}", summary.reason);
    assert_eq!((world.status(), summary.failures_in_a_row), (JobStatus::Running, 1));
}

/// Whom the last checkpoint waits for, or waited for.
fn waits(world: &World) -> Option<String> {
    let overviews = world.controller().checkpoint_overviews(world.record(), world.now());
    overviews.last()?.waits.as_ref().map(ToString::to_string)
}

#[test]
fn a_checkpoint_tells_whom_it_waits_for_until_it_is_complete() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    let assignment = world.record().attempt.as_ref().unwrap().plan.assignment.clone();
    let told = |subtask: SubtaskId| {
        let name = if subtask.chain.0 == 0 { "operator 0" } else { "operator 1 -> operator 2" };
        format!("{subtask} on {} ({name})", assignment.node_of(subtask).unwrap())
    };
    let subtasks: Vec<SubtaskId> = ChainPlan::of(&graphs::publishing()).subtasks(3).collect();
    let all: Vec<String> = subtasks.iter().map(|subtask| told(*subtask)).collect();
    assert_eq!(waits(&world), Some(all.join(", ")), "senders come before receivers");
    world.pump_orders();
    world.progress(NodeId(1));
    world.deliver_reports(NodeId(1));
    let of_others = subtasks.iter().filter(|subtask| assignment.node_of(**subtask) != Some(NodeId(1)));
    let of_others: Vec<String> = of_others.map(|subtask| told(*subtask)).collect();
    let now = waits(&world).unwrap();
    assert!(of_others.iter().all(|other| now.contains(other)) && now.len() < all.join(", ").len(), "{now}");
    world.lose_node(NodeId(2));
    assert_eq!((states(&world)[0].1, waits(&world)), (CheckpointState::Failed, Some(now)), "as it ended");
    world.restart_node(NodeId(2));
    until_complete(&mut world, 2);
    let overviews = world.controller().checkpoint_overviews(world.record(), world.now());
    let complete = overviews.iter().filter(|overview| overview.state == CheckpointState::Complete);
    assert!(complete.clone().count() > 0 && complete.clone().all(|overview| overview.waits.is_none()));
}

#[test]
fn a_checkpoint_that_was_given_up_tells_whom_it_had_waited_for() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    let before = waits(&world);
    world.advance(Duration::from_mins(10));
    assert_eq!(states(&world), [(1, CheckpointState::Failed)]);
    let waited_for = world.controller().waited_for(CheckpointId(1)).map(ToString::to_string);
    assert!(before.is_some() && before == waited_for, "{before:?}, {waited_for:?}");
}

#[test]
fn a_checkpoint_is_slow_after_several_intervals_or_half_of_its_timeout() {
    let slow_after = |interval, timeout: &str| {
        let mut graph = graphs::publishing();
        graph.settings.insert("checkpoint.timeout".to_owned(), timeout.to_owned());
        let mut world = World::with_interval(&[2, 2], Some(3), graph, interval);
        world.endless = true;
        world.until(JobStatus::Running);
        while world.record().open_checkpoint().is_none() {
            world.advance(interval);
        }
        let begun = world.now();
        while world.controller().slow_checkpoint(world.now()).is_none() {
            assert_eq!(states(&world).last().unwrap().1, CheckpointState::InProgress);
            world.advance(Duration::from_secs(1));
        }
        let slow = world.controller().slow_checkpoint(world.now()).unwrap();
        assert_eq!((slow.attempt, slow.checkpoint), (Attempt(1), CheckpointId(1)));
        assert_eq!(slow.open_for, world.now() - begun);
        slow.open_for.as_secs()
    };
    assert_eq!(slow_after(INTERVAL, "10 min"), 30, "not before uploads may take so long");
    assert_eq!(slow_after(Duration::from_secs(40), "10 min"), 120);
    assert_eq!(slow_after(Duration::from_secs(40), "3 min"), 90);
    assert_eq!(slow_after(INTERVAL, "8 s"), 4);
}

#[test]
fn a_new_leader_goes_on_with_the_checkpoint_in_progress() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    world.pump_orders();
    world.progress(NodeId(1));
    world.deliver_reports(NodeId(1));
    world.change_leader();
    until_complete(&mut world, 1);
    assert_eq!(world.record().last_attempt(), Attempt(1), "it ran on");
    assert_eq!(world.commits[0].0, CheckpointId(1), "it was not begun anew");
}

#[test]
fn a_new_leader_publishes_what_is_complete() {
    let mut world = running();
    world.commit_failures = vec![FailureKind::Store; 1000];
    world.pump();
    assert!(!world.record().checkpoints.is_empty());
    assert_eq!(world.controller().commit_failure().unwrap().message, "no space");
    world.commit_failures.clear();
    world.change_leader();
    until_complete(&mut world, 1);
    world.end(EndMode::Stop);
    world.settle();
    world.check_published();
}

/// The order that the first node would carry out next, if it is to publish.
fn next_publication(world: &World) -> Option<Publication> {
    match world.next_order(NodeId(1)) {
        Some(Action::Commit(publication)) => Some(publication.as_ref().clone()),
        _ => None,
    }
}

/// Lets things happen until the first node is to publish.
fn until_publication(world: &mut World) -> Publication {
    for _ in 0..1000 {
        if let Some(publication) = next_publication(world) {
            return publication;
        }
        world.trickle();
    }
    panic!("nothing is to be published: {:?}", world.controller());
}

#[test]
fn an_order_to_publish_tells_what_the_sink_published_last_and_what_is_complete() {
    let mut world = running();
    let sink = OperatorId(2);
    let first = until_publication(&mut world);
    assert!(first.published.is_empty(), "nothing was published before");
    assert_eq!((first.checkpoint, first.complete), (CheckpointId(1), CheckpointId(1)));
    world.commit_failures = vec![FailureKind::Store];
    world.deliver_order(NodeId(1));
    until_complete(&mut world, 1);
    let second = until_publication(&mut world);
    assert_eq!(second.published, [(sink, world.record().committed)].into(), "over retries");
    world.change_leader();
    let again = until_publication(&mut world);
    assert_eq!((again.checkpoint, again.published), (second.checkpoint, second.published), "over leaders");
    assert_eq!(again.checkpoints, "memory://checkpoints");
}

#[test]
fn a_checkpoint_of_which_a_sink_publishes_nothing_is_not_its_last() {
    let mut world = running();
    until_complete(&mut world, 1);
    let last = |world: &World| world.record().published.values().copied().collect::<Vec<_>>();
    let before = last(&world);
    assert_eq!(before.len(), 1, "there is one sink");
    world.is_idle = true;
    let newest = world.record().last_checkpoint.0;
    until_complete(&mut world, newest + 2);
    let idle = last(&world);
    assert!(idle[0].0 <= newest, "{idle:?}");
    world.is_idle = false;
    let newest = world.record().last_checkpoint.0;
    until_complete(&mut world, newest + 2);
    assert!(last(&world)[0].0 > newest, "and the order told the one before: the destination agrees");
}

#[test]
fn a_job_that_fails_publishes_what_is_complete_and_keeps_its_newest_checkpoint() {
    let mut world = running();
    world.commit_failures = vec![FailureKind::Store; 2];
    while world.record().checkpoints.is_empty() {
        world.pump();
    }
    world.fail_subtask(NodeId(1), FailureKind::Data, None);
    world.settle();
    assert_eq!(world.status(), JobStatus::Failed);
    world.check_published();
    assert_eq!(world.record().checkpoints.len(), 1);
    assert!(!world.has_leftovers());
}

#[test]
fn what_is_complete_is_published_in_the_end_however_long_the_store_is_away() {
    for kind in [FailureKind::Store, FailureKind::Data] {
        let mut world = running();
        world.commit_failures = vec![FailureKind::Store; 1000];
        while world.record().checkpoints.is_empty() {
            world.pump();
        }
        world.fail_subtask(NodeId(1), FailureKind::Data, None);
        world.commit_failures = vec![kind; 1000];
        for _ in 0..60 {
            world.pump();
            world.advance(Duration::from_mins(1));
        }
        assert_eq!((world.status(), world.is_done()), (JobStatus::Failed, false));
        assert_eq!(world.commit_failure().unwrap().message, "no space");
        assert!((900..980).contains(&world.commit_failures.len()), "{}", world.commit_failures.len());
        assert!(world.has_leftovers());
        world.commit_failures.clear();
        world.settle();
        world.check_published();
        assert!(!world.has_leftovers());
    }
}

#[test]
fn what_is_complete_is_published_in_the_end_although_its_manifest_cannot_be_read_for_a_while() {
    let mut world = running();
    world.commit_failures = vec![FailureKind::Store; 1000];
    while world.record().checkpoints.is_empty() {
        world.pump();
    }
    world.end(EndMode::Cancel);
    world.change_leader();
    world.store_failures = vec![FailureKind::Data; 3];
    world.pump();
    assert_eq!(world.commit_failure().unwrap().message, "the store is away");
    world.commit_failures.clear();
    world.settle();
    assert_eq!(world.status(), JobStatus::Cancelled);
    world.check_published();
}

/// A destination may be away for good.
#[test]
fn what_is_given_up_is_tried_no_more_and_leaves_nothing() {
    let mut world = running();
    world.commit_failures = vec![FailureKind::Store; 1000];
    while world.record().checkpoints.is_empty() {
        world.pump();
    }
    world.end(EndMode::Cancel);
    world.pump();
    assert!(!world.is_done() && world.record().uncommitted().is_some(), "it is published whatever comes");
    assert!(world.end(EndMode::Abandon));
    world.settle();
    assert_eq!(world.status(), JobStatus::Cancelled);
    assert!(world.commit_failures.len() > 900, "{} failures are left", world.commit_failures.len());
    assert_eq!((world.stored(), world.has_leftovers()), (Vec::new(), false));
}

#[test]
fn a_manifest_that_is_damaged_fails_the_job() {
    let mut world = running();
    until_complete(&mut world, 1);
    world.fail_subtask(NodeId(1), FailureKind::Node, None);
    world.deliver_reports(NodeId(1));
    world.change_leader();
    world.store_failures = vec![FailureKind::Data];
    world.settle();
    assert_eq!(world.status(), JobStatus::Failed);
    assert_eq!(world.record().failure.as_ref().unwrap().message, "the store is away");
}

#[test]
fn a_store_that_is_away_delays_the_next_attempt() {
    let mut world = running();
    until_complete(&mut world, 1);
    world.fail_subtask(NodeId(1), FailureKind::Node, None);
    world.deliver_reports(NodeId(1));
    world.change_leader();
    world.store_failures = vec![FailureKind::Store; 3];
    world.until(JobStatus::Running);
    assert!(world.record().attempt.as_ref().unwrap().restored.is_some());
}

#[test]
fn objects_that_could_not_be_deleted_are_deleted_later() {
    let mut world = running();
    until_complete(&mut world, 3);
    // One of the next uses of the store deletes what is forgotten. Manifests are written again too.
    world.store_failures = vec![FailureKind::Store; 6];
    let last = world.record().last_checkpoint.0;
    until_complete(&mut world, last + 8);
    world.end(EndMode::Cancel);
    world.store_failures = vec![FailureKind::Store; 6];
    world.settle();
    assert_eq!(world.stored(), [""; 0], "what was to be deleted while it ran is deleted too");
}

#[test]
fn what_lands_after_everything_was_deleted_is_deleted_too() {
    for change_leader in [false, true] {
        let mut world = running();
        until_complete(&mut world, 3);
        let late = world.any_manifest();
        world.end(EndMode::Cancel);
        world.pump();
        assert_eq!((world.stored(), world.is_done()), (Vec::new(), false));
        world.land(late);
        world.land_output(Attempt(1));
        if change_leader {
            world.change_leader();
        }
        world.settle();
        assert_eq!((world.stored(), world.has_leftovers()), (Vec::new(), false));
    }
}

#[test]
fn a_removal_that_is_told_again_does_not_stand_for_the_second_one() {
    let mut world = running();
    until_complete(&mut world, 3);
    world.end(EndMode::Cancel);
    world.pump();
    assert!(!world.is_done(), "it waits for what may land");
    world.tell_of_removal(NodeId(1));
    world.land_output(Attempt(1));
    world.settle();
    assert!(!world.has_leftovers());
}

#[test]
fn output_that_cannot_be_removed_is_tried_once_more_and_keeps_no_checkpoint() {
    let mut world = running();
    until_complete(&mut world, 3);
    world.discard_failures = vec![FailureKind::Data; 1000];
    world.end(EndMode::Cancel);
    world.settle();
    assert_eq!((world.stored(), 1000 - world.discard_failures.len()), (Vec::new(), 9));
}

#[test]
fn no_more_checkpoints_are_begun_than_can_be_published() {
    let mut world = running();
    world.commit_failures = vec![FailureKind::Store; 1000];
    for _ in 0..20 {
        world.pump();
    }
    let waiting = world.record().checkpoints.len() as u64;
    assert_eq!((waiting, world.record().last_checkpoint), (4, CheckpointId(4)));
    let summary = world.controller().checkpoint_summary(world.record());
    assert_eq!(summary.failures_in_a_row, 0);
    assert!(summary.reason.contains("4 complete ones wait to be published: no space"), "{}", summary.reason);
    world.commit_failures.clear();
    until_complete(&mut world, 6);
    assert_eq!(world.controller().checkpoint_summary(world.record()).reason, "");
    world.end(EndMode::Stop);
    world.settle();
    world.check_published();
}

#[test]
fn completed_checkpoints_forgive_failures_of_operators() {
    let mut world = running();
    for attempt in 1..=6 {
        world.until(JobStatus::Running);
        assert_eq!(world.record().last_attempt(), Attempt(attempt));
        let next = world.record().last_checkpoint.0 + 1;
        until_complete(&mut world, next);
        world.fail_subtask(NodeId(1), FailureKind::Operator, None);
        world.deliver_reports(NodeId(1));
        assert_eq!(world.status(), JobStatus::Restarting, "three in a row would end it");
    }
}

#[test]
fn parts_of_a_checkpoint_are_settled_once_it_is_over() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    let (job, attempt, checkpoint) = (JobId(1), Attempt(1), CheckpointId(1));
    let failure = failure(FailureKind::Store, "no space");
    let part = Report {
        job,
        attempt,
        body: ReportBody::SnapshotFailed { checkpoint, subtask: SubtaskId::default(), failure },
    };
    assert!(!is_settled(&part, Some(world.record())));
    until_complete(&mut world, 1);
    assert!(is_settled(&part, Some(world.record())));
}

#[test]
fn what_a_new_leader_hears_before_its_record_is_up_to_date_is_not_lost() {
    let mut world = running();
    world.advance(Duration::ZERO);
    world.advance(INTERVAL);
    world.pump_orders();
    for node in [1, 2] {
        (0..3).for_each(|_| world.progress(NodeId(node)));
    }
    // Its nodes report before it has looked at the record.
    world.change_leader_unprepared();
    world.pump();
    assert_eq!(world.commits[0].0, CheckpointId(1));
    assert_eq!(states(&world)[0].1, CheckpointState::Complete);
}

#[test]
fn no_node_is_told_of_a_checkpoint_before_its_beginning_is_recorded() {
    let mut world = running();
    world.pump_orders();
    world.lost_proposals = 1;
    world.advance(INTERVAL);
    assert_eq!((world.lost_proposals, world.record().last_checkpoint), (0, CheckpointId(0)), "it was proposed in vain");
    assert!(!world.is_told_to_begin(CheckpointId(1)));
    world.advance(INTERVAL);
    assert_eq!(world.record().open_checkpoint(), Some(CheckpointId(1)));
    assert!(world.is_told_to_begin(CheckpointId(1)));
}

#[test]
fn a_job_whose_state_no_operator_goes_on_from_fails_before_it_is_deployed() {
    let mut world = running();
    until_complete(&mut world, 1);
    for manifest in world.manifests() {
        manifest.graph.as_mut().unwrap().operators[0].identity = OperatorIdentity(7);
    }
    world.change_leader();
    world.lose_node(NodeId(2));
    world.restart_node(NodeId(2));
    world.until(JobStatus::Failed);
    let told = &world.record().failure.as_ref().unwrap().message;
    assert!(told.contains("state of op-0") && told.contains("source, identity 0000000000000007"), "{told}");
}

/// Nobody lists the splits before the job begins, and the checkpoint has those that were found.
#[test]
fn what_an_enumerator_has_assigned_is_dealt_out_from_the_checkpoint() {
    let mut world = World::with_interval(&[2, 2], Some(3), graphs::watching(), INTERVAL);
    world.endless = true;
    world.until(JobStatus::Running);
    assert!(world.dealt.is_empty(), "{:?}", world.dealt);
    until_complete(&mut world, 2);
    world.lose_node(NodeId(2));
    world.restart_node(NodeId(2));
    world.until(JobStatus::Running);
    let mut splits: Vec<String> = world.dealt.iter().flat_map(|(_, splits)| splits.clone()).collect();
    splits.sort();
    assert_eq!(splits, ["found-0", "found-1", "found-2"]);
}

/// Checkpoints of before there were enumerators name all splits, and only the connector can tell which of them looked for
/// new ones.
#[test]
fn an_enumerator_gets_the_splits_of_a_checkpoint_that_was_taken_without_it() {
    let mut world = World::with_interval(&[2, 2], Some(3), graphs::watching(), INTERVAL);
    world.endless = true;
    world.until(JobStatus::Running);
    until_complete(&mut world, 1);
    let mut manifest = world.any_manifest();
    let plan = ChainPlan::of(&graphs::watching());
    let matching = manifest.matched(&graphs::watching(), &plan).unwrap();
    let (source, enumerator) = (OperatorId(0), OperatorId(3));
    let splits: Vec<_> = manifest
        .subtasks
        .iter()
        .filter_map(|subtask| subtask.source.clone())
        .flat_map(|source| source.splits)
        .collect();
    assert_eq!(world.controller().handed_over(&manifest, &matching), [(source, splits.clone())]);
    manifest.subtasks.iter_mut().for_each(|subtask| subtask.operators.clear());
    assert_eq!(world.controller().handed_over(&manifest, &matching), [(enumerator, splits)]);
}
