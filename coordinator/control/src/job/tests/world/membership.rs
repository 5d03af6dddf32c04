//! Nodes join, leave, are lost or cut off, and return. Applies the effects on the record and on what is in transit.

use super::*;

impl World {
    /// The node says that it takes no more work.
    pub(crate) fn leave(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.leaving = true;
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LeaveNode { node, incarnation });
        self.react();
    }

    /// The node is killed, and its loss is noticed.
    pub(crate) fn lose_node(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.alive {
            return;
        }
        node.alive = false;
        node.attached = false;
        node.orders.clear();
        node.attempts.clear();
        node.reports.clear();
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LoseNode { node, incarnation, reason: "silent".to_owned() });
        self.react();
    }

    /// The node runs on, but cannot be reached for so long that it is given up, with the orders in transit to it.
    pub(crate) fn cut_off(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.is_present() {
            return;
        }
        node.cut_off = true;
        node.attached = false;
        node.orders.clear();
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LoseNode { node, incarnation, reason: "silent".to_owned() });
        self.react();
    }

    /// A node that was cut off returns in the same incarnation.
    pub(crate) fn come_back(&mut self, id: NodeId) {
        if self.nodes[&id].alive && self.nodes[&id].cut_off {
            self.admit(id);
            self.react();
        }
    }

    /// A lost node returns as a new process.
    pub(crate) fn restart_node(&mut self, id: NodeId) {
        if !self.nodes[&id].alive {
            self.register(id);
            self.react();
        }
    }

    pub(super) fn register(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.incarnation = node.incarnation.next();
        node.alive = true;
        self.admit(id);
    }

    fn admit(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.cut_off = false;
        let registration = NodeRegistration {
            node: id,
            incarnation: node.incarnation,
            address: String::new(),
            http_address: String::new(),
            slots: node.slots,
            zone: String::new(),
            version: String::new(),
        };
        let _ = self.apply(Command::RegisterNode { registration });
        self.tell_what_is_there(id);
    }

    /// The node opens a session and reports what it runs. It will repeat the reports it keeps.
    pub(crate) fn reattach(&mut self, id: NodeId) {
        self.tell_what_is_there(id);
        self.react();
    }

    pub(super) fn tell_what_is_there(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.is_present() {
            return;
        }
        node.attached = true;
        let last = self.state.job(JOB).unwrap().last_attempt();
        node.orders.extend(node.attempts.range(..last).map(|(of, _)| (*of, Action::Cancel)));
        node.reports.iter_mut().for_each(|(_, told)| *told = false);
        let built = node.attempts.iter().filter(|(_, run)| !run.building);
        let subtasks: Vec<SubtaskReport> = built
            .flat_map(|(attempt, run)| {
                run.subtasks.iter().map(|(subtask, state)| SubtaskReport {
                    job: JOB,
                    attempt: *attempt,
                    subtask: *subtask,
                    state: *state,
                })
            })
            .collect();
        self.controller.on_reattach(id, &subtasks);
    }
}
