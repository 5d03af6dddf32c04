//! Lost disks, clocks that jump, and crashes of all processes together.
//!
//! A cluster promises nothing once less than a majority of its voters have their disks. So the next disk is lost only
//! after the group has recovered from the last loss: three members vote, and none of them has the number of a lost
//! disk.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use anyhow::{Result, ensure};
use thalweg_types::MemberId;

use crate::input::Dice;

use super::{
    super::{
        faults::{BLACKOUT_SPREAD, Host, Loss},
        processes::{self, Stage},
    },
    Direction, End,
};

/// The disks that were lost.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Ledger {
    lost: BTreeSet<MemberId>,
    is_whole: bool,
}

impl Ledger {
    /// Checks the members, and whether the group has recovered, as the leader sees it.
    ///
    /// # Errors
    /// If a coordinator uses the number of a lost disk: nobody knows what that number has promised.
    pub(super) fn look(&mut self, stage: &Stage) -> Result<()> {
        let seen = stage.seen();
        for (host, member) in &seen.members {
            let number = member.member();
            ensure!(!self.lost.contains(&number), "{host} goes by {number}, whose disk was lost");
        }
        let leads = seen.members.values().find(|member| member.leadership().borrow().is_self);
        let Some(members) = leads.map(|leader| leader.members()) else { return Ok(()) };
        let has_disk = |member: MemberId| !self.lost.contains(&member);
        let voters = members.iter().filter(|member| member.voter && has_disk(member.member)).count();
        self.is_whole = voters == members.len() && voters == stage.disks.len();
        Ok(())
    }
}

impl Direction<'_> {
    pub(super) fn crash(&mut self, host: String, until: Duration) {
        if self.down.insert(host.clone()) {
            self.journal.say(format!("{host} crashes"));
            self.stage.seen().members.remove(&host);
            self.stage.gate(&host).begin_end();
            match self.directory.clone() {
                None => self.sim.crash(host.as_str()),
                Some(directory) => directory
                    .survive(|| self.sim.crash(host.as_str()))
                    .expect("the system has room for the names of a few files"),
            }
            self.later(until, End::Start(host));
        }
    }

    pub(super) fn lose_disk(&mut self, coordinator: u32, loss: Loss, until: Duration) {
        let host = processes::coordinator_name(coordinator);
        let Some(disk) = self.stage.disks.get(&host).cloned() else { return };
        if !self.ledger.is_whole || self.down.contains(&host) {
            return;
        }
        self.ledger.is_whole = false;
        self.ledger.lost.extend(disk.member());
        self.crash(host.clone(), until);
        match loss {
            Loss::Wiped => {
                self.journal.say(format!("the disk of {host} is lost"));
                disk.replace();
            }
            Loss::Damaged => {
                self.journal.say(format!("the disk of {host} is damaged"));
                disk.damage();
                // Until then the process ends at each start.
                self.later(until + Duration::from_millis(1500), End::Replace(host));
            }
        }
    }

    pub(super) fn replace_disk(&mut self, host: &str) {
        self.journal.say(format!("{host} has another disk"));
        if let Some(disk) = self.stage.disks.get(host) {
            disk.replace();
        }
    }

    /// Cuts the power: all processes die. They restart in an order that is independent of their names.
    pub(super) fn black_out(&mut self, until: Duration) {
        let hosts = self.stage.hosts();
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let first = usize::try_from(self.stage.seed % u64::from(count)).unwrap_or_default();
        for (at, host) in hosts.iter().enumerate() {
            let place = u32::try_from((at + first) % hosts.len()).unwrap_or_default();
            self.crash(host.clone(), until + BLACKOUT_SPREAD * place / count);
        }
        if let Some(directory) = self.directory.clone() {
            let lost = directory.lose_power(&mut Dice::new(self.stage.seed ^ 0x70fe_0000));
            for lost in lost.expect("the files of a run can be changed") {
                self.journal.say(lost);
            }
        }
    }

    pub(super) fn set_wrong(&mut self, host: Host, by_ms: i64, until: Duration) {
        let host = self.name_of(host);
        self.journal.say(format!("the clock of {host} jumps by {by_ms} ms"));
        self.stage.clock(&host).fetch_add(by_ms, Ordering::Relaxed);
        self.later(until, End::SetRight(host, by_ms));
    }

    pub(super) fn set_right(&mut self, host: &str, by_ms: i64) {
        self.journal.say(format!("the clock of {host} jumps back by {by_ms} ms"));
        self.stage.clock(host).fetch_sub(by_ms, Ordering::Relaxed);
    }
}
