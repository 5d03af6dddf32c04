//! Several members start, crash, lose their stores, found, elect and write in any order. At most one history is ever
//! written to. Nothing acknowledged is lost while a majority of those that promised anything keep their stores.
//!
//! The group is a model of raft with its rules for votes, logs and changes of one member at a time. Elections and
//! appends are one step each, and reach any of the running members. Questions and answers of a founder are separate
//! steps, so anything may happen between two of them. Decisions are the product's: `decide` and `admit`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use raft::eraftpb::ConfState;
use thalweg_types::{ClusterId, MemberId};

use super::super::decide::{Decision, Holds, Sight, decide};
use crate::config::FirstMembers;
use crate::membership::{Admission, Applicant, Change, Roster, Seat, admit};

/// The content of a log's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// The members from here on, and the voters among them.
    Members(Roster, BTreeSet<u64>),
    /// Any command.
    Word(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    number: u64,
    term: u64,
    vote: u64,
    log: Vec<(u64, Said)>,
    committed: usize,
    /// The numbers from which it has received a promise.
    heard: BTreeSet<u64>,
}

impl Disk {
    /// The members as of what is committed here, as raft-rs has them.
    fn members(&self) -> Option<(&Roster, &BTreeSet<u64>)> {
        let known = self.log[..self.committed].iter().rev();
        known.into_iter().find_map(|(_, said)| match said {
            Said::Members(roster, voters) => Some((roster, voters)),
            Said::Word(_) => None,
        })
    }

    fn position(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |(term, _)| *term), self.log.len())
    }

    fn has_promised(&self) -> bool {
        self.term > 1 || self.log.len() != 1
    }
}

/// A founder in the middle of a round of questions.
#[derive(Debug, Clone, Default)]
struct Round {
    answers: BTreeMap<MemberId, Option<Sight>>,
}

/// The process at one address.
#[derive(Debug, Clone)]
struct Host {
    runs: bool,
    incarnation: u64,
    disk: Option<Disk>,
    round: Round,
}

#[derive(Debug)]
struct World {
    hosts: Vec<Host>,
    incarnations: u64,
    leads: Option<(usize, u64)>,
    /// The longest log whose entries a majority has, as far as a leader knew.
    acknowledged: Vec<(u64, Said)>,
    /// Numbers whose store was lost after it had promised something.
    lost: BTreeSet<u64>,
    founded_again: u32,
    admitted: u32,
    words: u32,
    overrides_silence: bool,
}

fn address(host: usize) -> String {
    format!("m{}:1", host + 1)
}

fn number(host: usize) -> u64 {
    u64::try_from(host).expect("few") + 1
}

impl World {
    fn new(size: usize, overrides_silence: bool) -> Self {
        let host = Host { runs: false, incarnation: 0, disk: None, round: Round::default() };
        Self {
            hosts: vec![host; size],
            incarnations: 0,
            leads: None,
            acknowledged: Vec::new(),
            lost: BTreeSet::new(),
            founded_again: 0,
            admitted: 0,
            words: 0,
            overrides_silence,
        }
    }

    fn first(&self) -> FirstMembers {
        (0..self.hosts.len()).map(|host| (MemberId(number(host)), address(host))).collect()
    }

    fn founding(&self) -> (u64, Said) {
        let seat =
            |host| (MemberId(number(host)), Seat { address: address(host), is_promotable: true, application: None });
        let seats = (0..self.hosts.len()).map(seat).collect();
        let voters = (0..self.hosts.len()).map(number).collect();
        (1, Said::Members(Roster { seats, retired: BTreeSet::new() }, voters))
    }

    fn sight(&self, host: usize) -> Sight {
        let Host { incarnation, disk, .. } = &self.hosts[host];
        let (member, holds) = match disk {
            None => (number(host), Holds::Nothing),
            Some(disk) if disk.has_promised() => (disk.number, Holds::More),
            Some(disk) => (disk.number, Holds::Founding),
        };
        let cluster = Some(ClusterId("river".to_owned()));
        Sight { incarnation: *incarnation, cluster, member: MemberId(member), holds, first: self.first() }
    }

    fn start(&mut self, host: usize) {
        if !self.hosts[host].runs {
            self.incarnations += 1;
            (self.hosts[host].runs, self.hosts[host].incarnation) = (true, self.incarnations);
        }
    }

    fn crash(&mut self, host: usize) {
        (self.hosts[host].runs, self.hosts[host].round) = (false, Round::default());
        self.leads.take_if(|(leader, _)| *leader == host);
    }

    /// A host loses its store, unless less than a majority of the voters would be left.
    fn wipe(&mut self, host: usize) {
        let Some(disk) = self.hosts[host].disk.clone() else { return };
        let mut lost = self.lost.clone();
        if disk.has_promised() {
            lost.insert(disk.number);
        }
        let voters = |said: &Said| match said {
            Said::Members(_, voters) => Some(voters.clone()),
            Said::Word(_) => None,
        };
        let now = self.acknowledged.iter().rev().find_map(|(_, said)| voters(said));
        // Also those of uncommitted changes, because whoever removes the store cannot know whether they will be
        // committed.
        let logs = self.hosts.iter().filter_map(|host| host.disk.as_ref());
        let open = logs.flat_map(|disk| disk.log.iter().skip(self.acknowledged.len()));
        let configurations: Vec<BTreeSet<u64>> =
            now.into_iter().chain(open.filter_map(|(_, said)| voters(said))).collect();
        let is_enough = |voters: &BTreeSet<u64>| voters.difference(&lost).count() * 2 > voters.len();
        if configurations.iter().all(is_enough) {
            self.crash(host);
            (self.hosts[host].disk, self.lost) = (None, lost);
        }
    }

    /// One question of a founder. Once it has asked all, acts on the answers.
    fn found(&mut self, host: usize) {
        if !self.hosts[host].runs || self.hosts[host].disk.is_some() {
            return;
        }
        let asked = &self.hosts[host].round.answers;
        let next = (0..self.hosts.len()).find(|other| *other != host && !asked.contains_key(&MemberId(number(*other))));
        if let Some(other) = next {
            let answer = self.hosts[other].runs.then(|| self.sight(other));
            self.hosts[host].round.answers.insert(MemberId(number(other)), answer);
            return;
        }
        let round = std::mem::take(&mut self.hosts[host].round);
        match decide(&self.sight(host), &round.answers, self.overrides_silence).expect("all were told the same") {
            Decision::Wait(_) => {}
            Decision::Found => {
                // A promise binds as long as a member that received it has its store.
                let mut disks = self.hosts.iter().filter_map(|host| host.disk.as_ref());
                let is_remembered = disks.any(|disk| disk.heard.contains(&number(host)));
                self.founded_again += u32::from(is_remembered && self.lost.contains(&number(host)));
                let log = vec![self.founding()];
                self.hosts[host].disk =
                    Some(Disk { number: number(host), term: 1, vote: 0, log, committed: 1, heard: BTreeSet::new() });
            }
            Decision::Apply(_) => self.admit(host),
        }
    }

    /// One step of the leader for an applicant.
    fn admit(&mut self, host: usize) {
        let Some((leader, term)) = self.leads else { return };
        let applicant = Applicant { address: address(host), incarnation: self.hosts[host].incarnation };
        let disk = self.hosts[leader].disk.as_ref().expect("it leads");
        // A leader changes members only after it has committed in its term, and one change at a time.
        if disk.committed < disk.log.len() || disk.position().0 != term {
            return;
        }
        let Some((roster, voters)) = disk.members() else { return };
        let heard: BTreeSet<MemberId> = self.running().map(MemberId).collect();
        let learners = roster.seats.keys().map(|member| member.0).filter(|member| !voters.contains(member));
        let configuration = ConfState::from((voters.iter().copied().collect::<Vec<_>>(), learners.collect::<Vec<_>>()));
        let (mut roster, mut voters) = (roster.clone(), voters.clone());
        match admit(&applicant, &roster, &configuration, &heard, MemberId(disk.number)) {
            Admission::Done(member) => {
                self.admitted += 1;
                let disk =
                    Disk { number: member.0, term: 0, vote: 0, log: Vec::new(), committed: 0, heard: BTreeSet::new() };
                self.hosts[host].disk = Some(disk);
                return;
            }
            Admission::NotNow(_) | Admission::Never(_) => return,
            Admission::Next(Change::Add(member, seat)) => _ = roster.seats.insert(member, seat),
            Admission::Next(Change::Remove(member)) => {
                roster.seats.remove(&member);
                roster.retired.insert(member);
                voters.remove(&member.0);
            }
        }
        self.append(leader, Said::Members(roster, voters), usize::MAX);
    }

    /// The numbers of the running members.
    fn running(&self) -> impl Iterator<Item = u64> + '_ {
        self.hosts.iter().filter(|host| host.runs).filter_map(|host| Some(host.disk.as_ref()?.number))
    }

    /// A candidate asks those reached members that vote, according to its own log.
    fn elect(&mut self, host: usize, reached: usize) {
        let Some(disk) = self.hosts[host].disk.clone().filter(|_| self.hosts[host].runs) else { return };
        let Some((_, voters)) = disk.members().filter(|(_, voters)| voters.contains(&disk.number)) else { return };
        let term = disk.term + 1;
        let (mut votes, mut heard) = (0, BTreeSet::new());
        for other in 0..self.hosts.len() {
            let is_reached = self.hosts[other].runs && (other == host || (reached >> other) & 1 == 1);
            let Some(asked) = self.hosts[other].disk.as_mut().filter(|asked| voters.contains(&asked.number)) else {
                continue;
            };
            if !is_reached || asked.term > term || asked.position() > disk.position() {
                continue;
            }
            if asked.term == term && asked.vote != disk.number {
                continue;
            }
            (asked.term, asked.vote) = (term, disk.number);
            asked.heard.insert(disk.number);
            heard.insert(asked.number);
            votes += 1;
        }
        self.hosts[host].disk.as_mut().expect("it stands").heard.append(&mut heard);
        if votes * 2 > voters.len() {
            self.leads = Some((host, term));
            let is_kept = self.acknowledged.iter().zip(&disk.log).filter(|(kept, found)| kept == found).count();
            assert_eq!(is_kept, self.acknowledged.len(), "a leader lacks what was acknowledged");
            self.words += 1;
            // The first entry of its term, which commits those before it.
            self.append(host, Said::Word(self.words), reached);
        }
    }

    /// The leader appends, and the reached members take its log over.
    fn append(&mut self, leader: usize, said: Said, reached: usize) {
        let Some((_, term)) = self.leads.filter(|(leads, _)| *leads == leader) else { return };
        let disk = self.hosts[leader].disk.as_mut().expect("it leads");
        if disk.term != term {
            self.leads = None;
            return;
        }
        let is_change = matches!(said, Said::Members(..));
        disk.log.push((term, said));
        let disk = disk.clone();
        let (roster, voters) =
            disk.members().map(|(roster, voters)| (roster.clone(), voters.clone())).expect("it leads");
        let (mut acks, mut takers) = (0, Vec::new());
        for other in 0..self.hosts.len() {
            let is_reached = other == leader || (reached >> other) & 1 == 1;
            let runs = self.hosts[other].runs && is_reached;
            let Some(asked) = self.hosts[other].disk.as_mut() else { continue };
            let is_member = roster.seats.contains_key(&MemberId(asked.number));
            if !runs || !is_member || asked.term > term {
                continue;
            }
            asked.vote = if asked.term == term { asked.vote } else { 0 };
            (asked.term, asked.log) = (term, disk.log.clone());
            asked.heard.insert(disk.number);
            acks += usize::from(voters.contains(&asked.number));
            takers.push(other);
        }
        let heard: Vec<u64> =
            takers.iter().filter_map(|taker: &usize| Some(self.hosts[*taker].disk.as_ref()?.number)).collect();
        self.hosts[leader].disk.as_mut().expect("it leads").heard.extend(heard);
        if acks * 2 > voters.len() {
            for taker in takers {
                self.hosts[taker].disk.as_mut().expect("it took the log").committed = disk.log.len();
            }
            self.acknowledged.clone_from(&disk.log);
            if is_change && self.is_removed(leader) {
                self.leads = None;
            }
        }
    }

    fn is_removed(&self, leader: usize) -> bool {
        let disk = self.hosts[leader].disk.as_ref().expect("it leads");
        disk.members().is_none_or(|(_, voters)| !voters.contains(&disk.number))
    }

    /// Learners that have the log become voters.
    fn promote(&mut self, reached: usize) {
        let Some((leader, term)) = self.leads else { return };
        let disk = self.hosts[leader].disk.as_ref().expect("it leads").clone();
        if disk.committed < disk.log.len() || disk.position().0 != term {
            return;
        }
        let Some((roster, voters)) = disk.members() else { return };
        let has_log = |member: &u64| {
            let mut disks = self.hosts.iter().filter(|host| host.runs).filter_map(|host| host.disk.as_ref());
            disks.any(|other| other.number == *member && other.log == disk.log)
        };
        let learner =
            roster.seats.keys().map(|member| member.0).find(|member| !voters.contains(member) && has_log(member));
        if let Some(learner) = learner {
            let voters = voters.iter().copied().chain([learner]).collect();
            self.append(leader, Said::Members(roster.clone(), voters), reached);
        }
    }

    fn step(&mut self, (kind, host, reached): (u8, usize, usize)) {
        let host = host % self.hosts.len();
        match kind {
            0..20 => self.start(host),
            20..26 => self.crash(host),
            26..32 => self.wipe(host),
            32..62 => self.found(host),
            62..74 => self.elect(host, reached),
            74..86 => {
                self.words += 1;
                let said = Said::Word(self.words);
                if let Some((leader, _)) = self.leads {
                    self.append(leader, said, reached);
                }
            }
            86..94 => self.promote(reached),
            _ => (0..self.hosts.len()).for_each(|host| self.start(host)),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    // Two draws of each bit, so that most running members are reached.
    let reached = (any::<u8>(), any::<u8>()).prop_map(|(one, other)| usize::from(one | other));
    proptest::collection::vec((0u8..100, 0usize..5, reached), 40..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_while_a_majority_keep_their_stores(size in 2usize..=5, steps in steps()) {
        let mut world = World::new(size, false);
        for step in steps {
            world.step(step);
        }
        prop_assert_eq!(world.founded_again, 0, "a number that had promised something was founded with again");
    }
}

fn drawn(seed: u64, overrides_silence: bool) -> std::thread::Result<World> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from((state >> 11) % below).expect("it is small")
    };
    let mut step = || (u8::try_from(draw(100)).expect("below 100"), draw(5), draw(256) | draw(256));
    let steps: Vec<(u8, usize, usize)> = (0..600).map(|_| step()).collect();
    std::panic::catch_unwind(|| {
        let mut world = World::new(3, overrides_silence);
        steps.into_iter().for_each(|step| world.step(step));
        assert_eq!(world.founded_again, 0, "a number that had promised something was founded with again");
        world
    })
}

/// The model gets as far as it should, and detects the loss that overriding silence causes.
#[test]
fn the_model_admits_the_wiped_and_would_notice_a_second_founding() {
    let worlds: Vec<World> = (0..200).map(|seed| drawn(seed, false).expect("nothing is lost")).collect();
    let admitted = worlds.iter().filter(|world| world.admitted > 0).count();
    let written = worlds.iter().filter(|world| world.acknowledged.len() > 5).count();
    assert!(admitted > 5 && written > 50, "{admitted} worlds admitted a member, {written} wrote");
    assert!((0..200).any(|seed| drawn(seed, true).is_err()), "silence overridden must lose something somewhere");
}
