//! Carries out what the controller wants: records its proposals and sends its orders. Checks the rules that bind a
//! leader.

use thalweg_types::session::ALL_ATTEMPTS;

use super::*;

impl World {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Propose(command) => {
                self.check_proposal(&command);
                if self.lost_proposals > 0 {
                    self.lost_proposals -= 1;
                    self.controller.on_proposed(Proposed::NotApplied, self.now);
                    return;
                }
                let applied = matches!(self.apply(command.clone()), Outcome::Applied(_));
                if applied {
                    self.note(&command);
                }
                let outcome = if applied { Proposed::Applied } else { Proposed::NotApplied };
                self.controller.on_proposed(outcome, self.now);
            }
            Effect::Order { node, attempt, action } => {
                if matches!(action, Action::Discard { before: ALL_ATTEMPTS, .. }) {
                    let mut present = self.nodes.values().filter(|node| node.is_present());
                    let runs = present.any(|node| node.attempts.contains_key(&attempt));
                    assert!(!runs, "what still runs may leave more");
                    assert!(self.record().uncommitted().is_none(), "what is complete is not published yet");
                }
                if let Action::BeginCheckpoint { checkpoint } = action {
                    assert_eq!(self.record().open_checkpoint(), Some(checkpoint), "its number may be given again");
                }
                let node = self.nodes.get_mut(&node).unwrap();
                if node.is_present() {
                    node.orders.push_back((attempt, action));
                }
            }
            effect @ (Effect::PutManifest { .. } | Effect::GetManifest { .. } | Effect::CollectCheckpoints { .. }) => {
                self.store_work.push_back(effect);
            }
        }
    }

    /// Notes what a recorded decision promises to publish.
    fn note(&mut self, command: &Command) {
        let ids: Vec<String> = match command {
            Command::CompleteCheckpoint { manifest, .. } => {
                let prepared = self.store[&manifest.name].subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
                prepared.flat_map(|prepared| ids_of(&prepared.committables)).collect()
            }
            Command::CompleteAttempt { committables, .. } => committables.iter().flat_map(ids_of).collect(),
            _ => Vec::new(),
        };
        self.durable.extend(ids);
    }

    fn check_proposal(&self, command: &Command) {
        match command {
            Command::BeginAttempt { plan, .. } => {
                let AttemptPlan { nodes, .. } = plan.as_ref();
                assert!(nodes.keys().all(|node| self.nodes[node].is_present()));
                let last = self.record().last_attempt();
                let mut present = self.nodes.values().filter(|node| node.is_present());
                assert!(!present.any(|node| node.attempts.contains_key(&last)), "the last attempt is still there");
                assert!(
                    nodes.keys().all(|node| self.nodes[node].attempts.is_empty()),
                    "an older attempt is still there"
                );
            }
            Command::RunAttempt { attempt, .. } => {
                let built = |node: &NodeId| self.nodes[node].attempts.get(attempt).is_some_and(|run| !run.building);
                assert!(nodes_of(self.record()).keys().all(built), "not everything is built");
            }
            _ => {}
        }
    }

    /// A new leader takes over: the memory of the old one is lost, and so are the orders that had not arrived.
    pub(crate) fn change_leader(&mut self) {
        self.controller = JobController::new(JOB, self.record(), self.config, self.now).unwrap();
        self.leaders += 1;
        self.store_work.clear();
        for node in self.nodes.values_mut() {
            node.orders.clear();
            node.attached = false;
        }
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.reattach(id);
        }
    }

    /// As above, but all reports arrive before the new leader has looked at the record.
    pub(crate) fn change_leader_unprepared(&mut self) {
        self.controller = JobController::new(JOB, self.record(), self.config, self.now).unwrap();
        self.leaders += 1;
        self.store_work.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&id).unwrap();
            node.orders.clear();
            let reports: Vec<Report> = node.reports.iter().map(|(report, _)| report.clone()).collect();
            self.tell_what_is_there(id);
            self.nodes.get_mut(&id).unwrap().reports.iter_mut().for_each(|(_, told)| *told = true);
            reports.iter().for_each(|report| self.controller.on_report(id, report, self.now));
        }
        self.react();
    }
}
