//! Lets time pass: orders and reports arrive, step by step or until a condition holds.

use super::*;

impl World {
    /// Every order in transit arrives.
    pub(crate) fn pump_orders(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            while !self.nodes[&id].orders.is_empty() {
                self.deliver_order(id);
            }
        }
    }

    fn round(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.deliver_order(id);
            self.progress(id);
            self.deliver_reports(id);
            self.use_store();
        }
    }

    /// Everything happens but the orders to the first node, if the next one is to publish.
    pub(crate) fn trickle(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if !matches!(self.next_order(id), Some(Action::Commit(_))) {
                self.deliver_order(id);
            }
            self.progress(id);
            self.deliver_reports(id);
            self.use_store();
        }
        self.advance(Duration::from_millis(50));
    }

    /// Lets everything in transit arrive, with a little time between.
    pub(crate) fn pump(&mut self) {
        for _ in 0..60 {
            self.round();
            self.advance(Duration::from_millis(50));
        }
    }

    /// Lets time pass until nothing more happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.pump();
            if self.status().is_terminal() && self.is_done() {
                return;
            }
        }
        panic!("the job does not come to an end: {} {:?}", self.status(), self.controller);
    }

    pub(crate) fn until(&mut self, status: JobStatus) {
        for _ in 0..2000 {
            self.advance(Duration::from_millis(50));
            if self.status() == status {
                return;
            }
            self.step_once(status);
        }
        panic!("{status} is not reached: {} {:?}", self.status(), self.controller.facts);
    }

    /// One order, one piece of progress or one round of reports at a time, so that no status is skipped.
    fn step_once(&mut self, status: JobStatus) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            for act in [Self::deliver_order, Self::progress, Self::deliver_reports] {
                if self.status() != status {
                    act(self, id);
                }
            }
            if self.status() != status {
                self.use_store();
            }
        }
    }

    /// Everything is built, and the leader has not heard of it.
    pub(crate) fn until_all_deployed(&mut self) {
        self.until(JobStatus::Deploying);
        for _ in 0..3 {
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.deliver_order(id);
                if self.nodes[&id].attempts.is_empty() {
                    self.deliver_reports(id);
                } else {
                    self.progress_building(id);
                }
            }
        }
        assert_eq!(self.status(), JobStatus::Deploying);
    }

    fn progress_building(&mut self, id: NodeId) {
        if self.nodes[&id].attempts.values().any(|run| run.building) {
            self.progress(id);
        }
    }
}
