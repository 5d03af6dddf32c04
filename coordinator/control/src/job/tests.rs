//! Facts of a job's lifecycle, shown in a small cluster of simulated nodes that can lose everything that can be lost.

use std::sync::Arc;

use thalweg_cluster_state::{AttemptPlan, ClusterState, EndMode, JobSpec, Outcome};
use thalweg_types::{
    OperatorId, RequestId, Split, SplitId,
    checkpoint::SinkCommittables,
    job::SubtaskMetrics,
    node::NodeRegistration,
    session::{Publication, SubtaskState},
};

use super::*;

mod checkpoints;
mod graphs;
mod properties;
mod unseen;
mod world;

use world::World;

#[test]
fn a_job_runs_from_submission_to_publication() {
    let mut world = World::new(&[2, 2], Some(3));
    assert_eq!(world.status(), JobStatus::Created);
    world.settle();
    assert_eq!(world.status(), JobStatus::Finished);
    assert_eq!(world.record().last_attempt(), Attempt(1));
    assert_eq!(world.published, vec![(Attempt(1), 3)], "every sink subtask's committable, once");
    assert!(world.is_done(), "the nodes hold nothing any more");
}

#[test]
fn splits_are_dealt_over_all_source_subtasks() {
    let mut world = World::new(&[2, 2], Some(4));
    world.settle();
    let mut hands: Vec<(u32, Vec<String>)> = world.dealt.clone();
    hands.sort();
    let expected = |subtask: u32| (subtask, vec![format!("split-{subtask}"), format!("split-{}", subtask + 4)]);
    assert_eq!(hands, (0..4).map(expected).collect::<Vec<_>>());
}

#[test]
fn splits_that_cannot_be_handed_out_fail_the_job() {
    let mut world = World::new(&[2, 2], Some(4));
    world.payload = serde_json::Value::String("x".repeat(5 << 20));
    world.settle();
    assert_eq!((world.status(), world.record().failures), (JobStatus::Failed, 1));
    let failure = world.record().failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Data);
    assert!(failure.message.contains("8 splits"), "{}", failure.message);
}

#[test]
fn without_a_wish_a_job_takes_half_of_the_free_slots() {
    for (slots, taken) in [(vec![2, 3], 3), (vec![4], 2), (vec![1], 1)] {
        let mut world = World::new(&slots, None);
        world.settle();
        assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.parallelism(), taken, "of {slots:?}");
    }
}

#[test]
fn too_few_slots_are_waited_for_and_then_taken() {
    let mut world = World::new(&[1, 1], Some(4));
    world.advance(Duration::ZERO);
    world.advance(ControlConfig::default().slot_wait - Duration::from_millis(1));
    assert_eq!(world.status(), JobStatus::Created);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.parallelism(), 2);
}

#[test]
fn without_a_wish_a_job_takes_what_a_lost_node_left_at_once() {
    let mut world = World::new(&[2, 3], None);
    world.until(JobStatus::Running);
    assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.parallelism(), 3);
    world.lose_node(NodeId(2));
    let before = world.now();
    world.until(JobStatus::Running);
    assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.parallelism(), 2);
    assert!(world.now() - before < Duration::from_secs(1));
}

#[test]
fn a_lost_node_restarts_the_job_elsewhere_once_the_others_have_dropped_it() {
    let mut world = World::new(&[2, 2], Some(2));
    world.until(JobStatus::Running);
    world.lose_node(NodeId(2));
    assert_eq!(world.status(), JobStatus::Restarting);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.record().last_attempt(), Attempt(1), "node 1 has not said that it is gone");
    world.settle();
    assert_eq!(world.status(), JobStatus::Finished);
    assert_eq!(world.published, vec![(Attempt(2), 2)]);
    let slices = &world.record().attempt.as_ref().unwrap().plan.assignment.slices;
    assert_eq!(slices, &[NodeId(1), NodeId(1)]);
}

#[test]
fn the_work_of_a_leaving_node_is_moved_where_there_is_room_for_it() {
    let mut world = World::new(&[1, 2], Some(2));
    world.until(JobStatus::Running);
    world.leave(NodeId(1));
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(2)));
    assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.slices, [NodeId(2), NodeId(2)]);
    assert_eq!((world.record().failures, &world.record().failure), (0, &None), "nothing has failed");

    let mut world = World::new(&[2], Some(2));
    world.until(JobStatus::Running);
    world.leave(NodeId(1));
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(1)));
}

#[test]
fn a_node_that_leaves_although_its_work_fits_nowhere_else_is_no_failure_either() {
    let mut world = World::new(&[1], Some(1));
    world.until(JobStatus::Running);
    world.leave(NodeId(1));
    assert_eq!(world.status(), JobStatus::Running, "there is no room elsewhere");
    world.lose_node(NodeId(1));
    assert_eq!(world.status(), JobStatus::Restarting);
    assert_eq!((world.record().failures, &world.record().failure), (0, &None));
}

#[test]
fn a_refused_deployment_ends_the_attempt() {
    let mut world = World::new(&[1, 1], Some(1));
    world.until(JobStatus::Deploying);
    world.refuse_next(NodeId(1));
    assert_eq!(world.status(), JobStatus::Restarting);
    world.settle();
    assert_eq!(world.record().attempt.as_ref().unwrap().plan.assignment.slices, [NodeId(2)], "it is avoided");
}

/// Where the two slices run after one of three nodes has reported a failure.
fn placed_after(node: u64, kind: FailureKind, peer: Option<NodeId>) -> Vec<NodeId> {
    let mut world = World::new(&[1, 1, 1], Some(2));
    world.until(JobStatus::Running);
    assert_eq!(slices(&world), [NodeId(1), NodeId(2)]);
    world.fail_subtask(NodeId(node), kind, peer);
    world.deliver_reports(NodeId(node));
    world.advance(ControlConfig::default().cause_wait);
    assert_eq!(world.status(), JobStatus::Restarting);
    world.until(JobStatus::Running);
    assert_eq!(world.record().last_attempt(), Attempt(2));
    slices(&world)
}

fn slices(world: &World) -> Vec<NodeId> {
    world.record().attempt.as_ref().unwrap().plan.assignment.slices.clone()
}

#[test]
fn the_attempt_after_a_failure_avoids_its_node_or_its_pair_of_nodes() {
    let of_pair = placed_after(1, FailureKind::Link, Some(NodeId(2)));
    assert!(of_pair.contains(&NodeId(3)), "the broken stream is between two of them again: {of_pair:?}");
    assert_eq!(placed_after(2, FailureKind::Link, Some(NodeId(1))), of_pair, "whichever end tells of it");
    for (node, kind) in [(1, FailureKind::Node), (2, FailureKind::Store), (1, FailureKind::Link)] {
        let others = placed_after(node, kind, None);
        assert!(!others.contains(&NodeId(node)), "{kind:?}: {others:?}");
    }
    assert_eq!(placed_after(1, FailureKind::Operator, None), [NodeId(1), NodeId(2)], "it fails wherever it runs");
}

#[test]
fn operator_failures_are_limited_and_data_failures_end_at_once() {
    let mut world = World::new(&[2], Some(1));
    for attempt in 1..=4 {
        world.until(JobStatus::Running);
        assert_eq!(world.record().last_attempt(), Attempt(attempt));
        world.fail_subtask(NodeId(1), FailureKind::Operator, None);
        world.deliver_reports(NodeId(1));
    }
    assert_eq!(world.status(), JobStatus::Failed, "three restarts by default");

    let mut world = World::new(&[2], Some(1));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(1), FailureKind::Data, None);
    world.settle();
    assert_eq!((world.status(), world.record().failures), (JobStatus::Failed, 1));
    assert!(world.is_done());
}

#[test]
fn the_cause_of_a_broken_stream_is_waited_for() {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(2), FailureKind::Link, None);
    world.deliver_reports(NodeId(2));
    assert_eq!(world.status(), JobStatus::Running);
    world.fail_subtask(NodeId(1), FailureKind::Operator, None);
    world.deliver_reports(NodeId(1));
    assert_eq!(world.status(), JobStatus::Restarting);
    assert_eq!(world.record().operator_failures, 1);
}

#[test]
fn a_broken_stream_alone_ends_the_attempt_after_the_wait() {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(2), FailureKind::Link, None);
    world.deliver_reports(NodeId(2));
    world.advance(ControlConfig::default().cause_wait);
    assert_eq!(world.record().failure.as_ref().unwrap().kind, FailureKind::Link);
}

#[test]
fn a_job_whose_stream_broke_with_a_node_that_is_lost_waits_for_nothing_more() {
    let mut world = World::new(&[2, 2], Some(2));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(1), FailureKind::Link, None);
    world.deliver_reports(NodeId(1));
    world.advance(ControlConfig::default().cause_wait);
    assert_eq!(world.status(), JobStatus::Restarting);
    let restarting = world.now();
    world.lose_node(NodeId(2));
    world.pump_orders();
    world.deliver_reports(NodeId(1));
    world.advance(Duration::ZERO);
    assert_eq!((world.record().last_attempt(), world.now()), (Attempt(2), restarting));
}

#[test]
fn a_cause_is_waited_for_although_the_node_of_the_broken_stream_has_dropped_the_attempt() {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(2), FailureKind::Link, None);
    world.drop_attempt(NodeId(2));
    world.deliver_reports(NodeId(2));
    world.advance(Duration::from_millis(50));
    assert_eq!(world.status(), JobStatus::Running);
    world.fail_subtask(NodeId(1), FailureKind::Data, None);
    world.deliver_reports(NodeId(1));
    assert_eq!(world.status(), JobStatus::Failed);

    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.drop_attempt(NodeId(2));
    world.deliver_reports(NodeId(2));
    assert_eq!(world.record().failure.as_ref().unwrap().kind, FailureKind::Node, "it said nothing else");
}

#[test]
fn orders_that_were_lost_with_a_link_are_given_again_to_the_same_incarnation_of_the_node() {
    let mut world = World::new(&[2], Some(1));
    world.until(JobStatus::Committing);
    world.cut_off(NodeId(1));
    world.come_back(NodeId(1));
    world.settle();
    assert_eq!(world.status(), JobStatus::Finished, "the publication");

    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.fail_subtask(NodeId(2), FailureKind::Operator, None);
    world.deliver_reports(NodeId(2));
    assert_eq!(world.status(), JobStatus::Restarting);
    world.cut_off(NodeId(1));
    world.come_back(NodeId(1));
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(2)), "the cancellation");

    let mut world = World::new(&[1], Some(1));
    world.until(JobStatus::Running);
    world.pump_orders();
    world.end(EndMode::Cancel);
    world.deliver_order(NodeId(1));
    world.deliver_reports(NodeId(1));
    world.cut_off(NodeId(1));
    world.come_back(NodeId(1));
    world.settle();
    assert!(!world.has_leftovers(), "the removal of leftovers");

    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.pump_orders();
    world.cut_off(NodeId(1));
    world.end(EndMode::Cancel);
    world.deliver_order(NodeId(2));
    world.deliver_reports(NodeId(2));
    world.come_back(NodeId(1));
    world.cut_off(NodeId(2));
    world.come_back(NodeId(2));
    world.settle();
    assert!(!world.has_leftovers(), "the removal of leftovers, while others have to drop the attempt first");
}

#[test]
fn cancel_drops_the_attempt_and_publishes_nothing() {
    let mut world = World::new(&[2, 2], Some(3));
    world.until(JobStatus::Running);
    world.end(EndMode::Cancel);
    assert_eq!(world.status(), JobStatus::Cancelled);
    assert!(!world.is_done());
    world.settle();
    assert!(world.is_done());
    assert!(world.published.is_empty());
    assert!(!world.has_leftovers());
}

#[test]
fn what_a_job_leaves_that_ends_badly_is_removed() {
    let mut world = World::new(&[2, 2], Some(3));
    world.until(JobStatus::Running);
    world.deliver_order(NodeId(1));
    assert!(world.has_leftovers());
    world.fail_subtask(NodeId(1), FailureKind::Data, None);
    world.discard_failures = vec![FailureKind::Store, FailureKind::Store];
    world.settle();
    assert_eq!(world.status(), JobStatus::Failed);
    assert!(!world.has_leftovers(), "it is tried again");
}

#[test]
fn what_cannot_be_removed_stays_in_the_end() {
    let mut world = World::new(&[2], Some(1));
    world.until(JobStatus::Running);
    world.end(EndMode::Cancel);
    world.discard_failures = vec![FailureKind::Store; 1000];
    world.settle();
    assert!(world.is_done());
    assert_eq!(world.discard_failures.len(), 992, "it is tried eight times");
}

#[test]
fn a_job_that_is_published_has_ended_well_although_what_is_left_cannot_be_removed() {
    let mut world = World::new(&[2], Some(1));
    world.discard_failures = vec![FailureKind::Data; 1000];
    world.settle();
    assert_eq!((world.status(), world.published.len()), (JobStatus::Finished, 1));
    assert_eq!(world.discard_failures.len(), 992, "it is tried eight times");
}

/// Nothing of the job runs on its two nodes any more, and the first one is ordered to remove what the job has left.
fn cancelled_and_about_to_be_cleared() -> World {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Running);
    world.pump_orders();
    world.end(EndMode::Cancel);
    for node in [1, 2] {
        world.deliver_order(NodeId(node));
        world.deliver_reports(NodeId(node));
    }
    world
}

#[test]
fn a_node_that_is_lost_while_it_removes_leftovers_is_replaced() {
    let mut world = cancelled_and_about_to_be_cleared();
    world.lose_node(NodeId(1));
    assert!(world.has_leftovers(), "the order was lost with its node");
    world.settle();
    assert!(!world.has_leftovers());
}

#[test]
fn what_one_node_is_refused_for_good_another_is_asked_for_at_once() {
    let mut world = cancelled_and_about_to_be_cleared();
    world.discard_failures = vec![FailureKind::Data];
    let began = world.now();
    world.deliver_order(NodeId(1));
    world.deliver_reports(NodeId(1));
    world.deliver_order(NodeId(2));
    assert!(!world.has_leftovers() && world.now() == began);
}

#[test]
fn what_a_straggler_leaves_is_removed_although_all_was_removed_before() {
    let mut world = cancelled_and_about_to_be_cleared();
    world.deliver_order(NodeId(1));
    assert!(!world.has_leftovers(), "they are removed, and the answer is on its way");
    world.run_on(Attempt(1));
    world.settle();
    assert!(!world.has_leftovers() && world.is_done());
    world.run_on(Attempt(1));
    world.settle();
    assert!(!world.has_leftovers() && world.is_done());
}

#[test]
fn nothing_is_removed_for_a_job_that_never_ran_or_writes_nothing() {
    let mut world = World::new(&[], Some(1));
    world.end(EndMode::Cancel);
    assert!(world.is_done());
    let mut world = World::with_graph(&[2], Some(2), graphs::collecting());
    world.discard_failures = vec![FailureKind::Store];
    world.until(JobStatus::Running);
    world.end(EndMode::Cancel);
    world.settle();
    assert_eq!(world.discard_failures.len(), 1, "nobody was asked");
}

#[test]
fn stop_ends_the_sources_and_publishes() {
    let mut world = World::new(&[2, 2], Some(3));
    world.endless = true;
    world.until(JobStatus::Running);
    world.pump();
    assert_eq!(world.status(), JobStatus::Running, "it would run for ever");
    world.end(EndMode::Stop);
    world.settle();
    assert_eq!(world.status(), JobStatus::Stopped);
    assert_eq!(world.published.len(), 1);
}

#[test]
fn a_new_leader_leaves_a_running_attempt_alone() {
    let mut world = World::new(&[2, 2], Some(3));
    world.until(JobStatus::Running);
    world.progress(NodeId(1));
    world.deliver_reports(NodeId(1));
    world.change_leader();
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(1)));
    assert_eq!(world.published, vec![(Attempt(1), 3)], "what the old leader had been told is told again");
}

#[test]
fn a_new_leader_finishes_a_publication() {
    let mut world = World::new(&[2, 2], Some(3));
    world.until(JobStatus::Committing);
    world.lose_node(NodeId(1));
    world.change_leader();
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(1)));
}

#[test]
fn a_half_deployed_attempt_is_given_up_by_a_new_leader_and_a_ready_one_is_not() {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Deploying);
    world.change_leader();
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(2)));

    let mut world = World::new(&[1, 1], Some(2));
    world.until_all_deployed();
    world.change_leader();
    world.settle();
    assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Finished, Attempt(1)));
}

#[test]
fn a_failed_commit_is_tried_again_when_the_store_was_at_fault() {
    let mut world = World::new(&[2], Some(1));
    world.commit_failures = vec![FailureKind::Store, FailureKind::Store];
    world.settle();
    assert_eq!(world.status(), JobStatus::Finished);
    let mut world = World::new(&[2], Some(1));
    world.commit_failures = vec![FailureKind::Data];
    world.settle();
    assert_eq!(world.status(), JobStatus::Failed);
}

#[test]
fn a_publication_that_the_store_refuses_for_ever_is_shown_and_can_be_given_up() {
    let mut world = World::new(&[2], Some(1));
    world.commit_failures = vec![FailureKind::Store; 1000];
    world.until(JobStatus::Committing);
    world.pump();
    assert_eq!(world.commit_failure().unwrap().message, "no space");
    assert!(world.end(EndMode::Cancel));
    world.settle();
    assert_eq!(world.status(), JobStatus::Failed);
    assert!(world.published.is_empty());
    assert!(!world.has_leftovers(), "what did not become visible is removed");
}

#[test]
fn a_failure_while_it_stops_is_followed_by_another_attempt_that_is_stopped() {
    for graph in [graphs::publishing(), graphs::collecting()] {
        let mut world = World::with_graph(&[1, 1], Some(2), graph);
        world.endless = true;
        world.until(JobStatus::Running);
        world.end(EndMode::Stop);
        world.fail_subtask(NodeId(1), FailureKind::Operator, None);
        world.settle();
        assert_eq!((world.status(), world.record().last_attempt()), (JobStatus::Stopped, Attempt(2)));
        assert!(!world.has_leftovers());
    }
}

#[test]
fn a_deployment_that_hangs_is_given_up() {
    let mut world = World::new(&[1, 1], Some(2));
    world.until(JobStatus::Deploying);
    world.advance(ControlConfig::default().deploy_timeout);
    assert_eq!(world.status(), JobStatus::Restarting);
}

#[test]
fn rows_of_a_bare_select_stay_until_the_job_is_forgotten() {
    let mut world = World::with_graph(&[2], Some(2), graphs::collecting());
    world.settle();
    assert_eq!(world.status(), JobStatus::Finished);
    assert!(world.is_done());
    assert_eq!(world.attempts_on(NodeId(1)), vec![Attempt(1)], "the node still has it");
    world.pump_orders();
    assert_eq!(world.released, BTreeSet::from([NodeId(1)]), "no checkpoint is waited for");
}

#[test]
fn the_end_of_a_subtask_is_settled_only_by_the_record() {
    let mut world = World::new(&[2], Some(1));
    world.until(JobStatus::Running);
    let (job, attempt) = (JobId(1), Attempt(1));
    let metrics = SubtaskMetrics::default();
    let finished = Report {
        job,
        attempt,
        body: ReportBody::Finished { subtask: SubtaskId::default(), metrics, prepared: Vec::new() },
    };
    assert!(!is_settled(&finished, Some(world.record())));
    assert!(is_settled(&Report { job, attempt, body: ReportBody::Ready }, Some(world.record())));
    world.settle();
    assert!(is_settled(&finished, Some(world.record())));
    assert!(is_settled(&finished, None));
}
