//! Between attempts: removes the last attempt and places the next.

use std::{sync::Arc, time::Duration};

use thalweg_cluster_state::{AttemptPlan, Command, JobRecord};
use thalweg_types::{
    JobStatus, NodeId,
    bug::{self, Bug},
    job::FailureKind,
    session::Action,
};

use super::{Effect, JobController, JobView, checkpoint::own_newest, expects_rows, nodes_of, publish::must_publish};
use crate::{
    placement::{NodeOffer, PlacementRequest, check_assignment, plan_assignment},
    restart,
};

impl JobController {
    /// One step towards the next attempt of a created or restarting job.
    pub(super) fn begin(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let backoff = self.backoff(view);
        let mut effects = self.cancel_leftovers(view);
        effects.extend(self.publish(view));
        if self.leftovers(view).next().is_some() || view.now < backoff || must_publish(view.record) {
            return effects;
        }
        let newest = view.record.newest_checkpoint().map(|manifest| manifest.checkpoint);
        match newest.map(|checkpoint| self.manifest(view, checkpoint)) {
            Some(Err(read)) => effects.extend(self.fail_if_broken(view).or(read)),
            Some(Ok(_)) | None => effects.extend(self.place(view).map(Effect::Propose)),
        }
        effects
    }

    /// When the next attempt may begin. The streams to a lost node break before its loss is known. If such a break was
    /// the first failure in a row, the loss counts instead, and a first loss waits for nothing.
    fn backoff(&mut self, view: &JobView<'_>) -> Duration {
        let is_moved = view.record.attempt.as_ref().is_some_and(|attempt| attempt.is_moved);
        if view.record.status == JobStatus::Created || is_moved {
            return Duration::ZERO;
        }
        let kind = view.record.failure.as_ref().map_or(FailureKind::Node, |failure| failure.kind);
        let restart_at = match self.facts.restart_at {
            Some(at) => at,
            None => self.draw_backoff(view, kind),
        };
        let has_lost = nodes_of(view.record).iter().any(|(node, incarnation)| !view.is_present(*node, *incarnation));
        let is_first_loss = kind == FailureKind::Link && has_lost && self.failures_in_a_row <= 1;
        if is_first_loss { Duration::ZERO } else { restart_at }
    }

    /// Draws the backoff, and counts the failure. The count of failures in a row starts again after an attempt that
    /// completed a checkpoint, because it made progress, and after one that ran for long.
    fn draw_backoff(&mut self, view: &JobView<'_>, kind: FailureKind) -> Duration {
        let ran_for = self.facts.running_since.map_or(Duration::ZERO, |since| view.now.saturating_sub(since));
        let went_well = ran_for > self.settings.restart_backoff_max || own_newest(view.record).is_some();
        self.failures_in_a_row = if went_well { 1 } else { self.failures_in_a_row.saturating_add(1) };
        let at = view.now + restart::backoff(&self.settings, kind, self.failures_in_a_row, view.jitter);
        *self.facts.restart_at.insert(at)
    }

    /// Nodes that are not lost and have not reported that the last attempt is gone.
    pub(super) fn leftovers<'a>(&'a self, view: &'a JobView<'_>) -> impl Iterator<Item = NodeId> + 'a {
        let kept = self.keeps_rows(view.record);
        let present = nodes_of(view.record)
            .iter()
            .filter(move |(node, incarnation)| !kept && view.is_present(**node, **incarnation));
        present.map(|(node, _)| *node).filter(|node| !self.facts.gone.contains(node))
    }

    /// Orders each of them, once, to drop the attempt.
    pub(super) fn cancel_leftovers(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let nodes: Vec<NodeId> =
            self.leftovers(view).filter(|node| !self.facts.cancel_ordered.contains(node)).collect();
        self.facts.cancel_ordered.extend(&nodes);
        nodes.into_iter().map(|node| self.order(node, Action::Cancel)).collect()
    }

    /// Rows of a bare `SELECT` stay on their node after the job has finished, until the job is forgotten.
    pub(super) fn keeps_rows(&self, record: &JobRecord) -> bool {
        record.ended_well() && expects_rows(&self.graph)
    }

    /// The next attempt, if there is room for it.
    fn place(&mut self, view: &JobView<'_>) -> Option<Command> {
        let offers: Vec<NodeOffer> = view
            .nodes
            .iter()
            .filter(|(_, node)| node.takes_work && node.attached)
            .map(|(id, node)| NodeOffer { node: *id, zone: node.zone.clone(), free: node.free })
            .collect();
        let free = offers.iter().fold(0u32, |sum, offer| sum.saturating_add(offer.free));
        let parallelism = self.parallelism_now(view, free)?;
        let previous = view.record.attempt.as_ref().map(|attempt| &attempt.plan.assignment);
        let request = PlacementRequest {
            parallelism,
            key_groups: view.record.spec.key_groups,
            nodes: &offers,
            previous,
            avoid: &self.avoid,
        };
        let assignment = plan_assignment(&request).ok()?;
        assert_eq!(check_assignment(&request, &assignment), Ok(()), "the planner keeps its rules");
        let nodes = assignment.slices.iter().map(|node| (*node, view.nodes[node].incarnation)).collect();
        let plan = Arc::new(AttemptPlan { assignment, nodes });
        let is_reused = bug::is_active(Bug::ReuseAttempt) && self.facts.attempt.0 > 0;
        let attempt = if is_reused { self.facts.attempt } else { self.facts.attempt.next() };
        Some(Command::BeginAttempt { job: self.job, attempt, plan })
    }

    /// How many slices to place now. `None`: wait for more slots.
    fn parallelism_now(&mut self, view: &JobView<'_>, free: u32) -> Option<u32> {
        let wanted = self.parallelism_wanted(view);
        if (1..=free).contains(&wanted) {
            return Some(wanted);
        }
        let since = *self.waits_for_slots_since.get_or_insert(view.now);
        let waited = view.now.saturating_sub(since) >= self.config.slot_wait;
        Some(free.min(wanted)).filter(|fits| waited && *fits > 0)
    }

    /// How many slices the job wants: as many as its client asked for. Otherwise half of the slots that are or will be
    /// free, so that the next job finds room. A restarted job keeps its parallelism if it fits; after the loss of a
    /// node it takes what is left at once.
    fn parallelism_wanted(&self, view: &JobView<'_>) -> u32 {
        view.record.spec.parallelism.unwrap_or_else(|| {
            let working = view.nodes.values().filter(|node| node.takes_work);
            let free = working.fold(0u32, |sum, node| sum.saturating_add(node.free));
            let had = view.record.attempt.as_ref().map_or(0, |attempt| attempt.plan.assignment.parallelism());
            // More slices than key groups would leave some without keys.
            free.div_ceil(2).max(had.min(free)).min(u32::from(view.record.spec.key_groups))
        })
    }
}

/// Whether the last attempt has failed and its restart is still due.
pub(super) fn is_to_be_counted(record: &JobRecord) -> bool {
    record.status == JobStatus::Restarting && record.attempt.as_ref().is_some_and(|attempt| !attempt.is_moved)
}
