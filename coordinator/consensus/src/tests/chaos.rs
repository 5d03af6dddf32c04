//! Faults drawn from a seed: members crash, return, are cut off, leave and rejoin while commands and reads go on.
//!
//! After every step, what one member applied is a prefix of what another applied. Every read holds everything
//! acknowledged before it. At the end all members have the same state, and nothing acknowledged is missing or there
//! twice.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::{disk::Disk, group::Group};
use crate::ConsensusError;

#[derive(Debug, Clone)]
enum Trouble {
    Propose {
        member: u64,
    },
    /// Does not wait for the outcome, so that the next steps happen while it is in progress.
    ProposeMeanwhile {
        member: u64,
    },
    Read {
        member: u64,
    },
    Crash {
        member: u64,
    },
    Return {
        member: u64,
    },
    Cut {
        member: u64,
    },
    Heal {
        member: u64,
    },
    Wait {
        millis: u64,
    },
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let member = 1..=3u64;
    prop_oneof![
        6 => member.clone().prop_map(|member| Trouble::Propose { member }),
        3 => member.clone().prop_map(|member| Trouble::ProposeMeanwhile { member }),
        3 => member.clone().prop_map(|member| Trouble::Read { member }),
        1 => member.clone().prop_map(|member| Trouble::Crash { member }),
        2 => member.clone().prop_map(|member| Trouble::Return { member }),
        1 => member.clone().prop_map(|member| Trouble::Cut { member }),
        2 => member.prop_map(|member| Trouble::Heal { member }),
        3 => (1..900u64).prop_map(|millis| Trouble::Wait { millis }),
    ]
}

struct Chaos {
    group: Group,
    proposed: usize,
    acknowledged: BTreeSet<String>,
}

impl Chaos {
    async fn new(seed: u64) -> Self {
        let mut group = Group::new(3, seed);
        group.snapshot_every_entries = 7;
        for member in 1..=3 {
            group.set_store(member, Disk::new(u64::MAX - seed * member, 30));
        }
        group.start_all().await;
        Self { group, proposed: 0, acknowledged: BTreeSet::new() }
    }

    async fn step(&mut self, trouble: &Trouble) {
        match *trouble {
            Trouble::Propose { member } if self.group.runs(member) => self.propose(member).await,
            Trouble::Read { member } if self.group.runs(member) => self.read(member).await,
            Trouble::Crash { member } => self.group.crash(member),
            Trouble::Return { member } if !self.group.runs(member) => self.group.start(member).await,
            Trouble::Cut { member } => self.group.cut(member),
            Trouble::Heal { member } => self.group.heal(member),
            Trouble::Wait { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
            Trouble::ProposeMeanwhile { member } if self.group.runs(member) => self.propose_meanwhile(member).await,
            Trouble::Propose { .. }
            | Trouble::ProposeMeanwhile { .. }
            | Trouble::Read { .. }
            | Trouble::Return { .. } => {}
        }
        self.check_prefixes();
    }

    async fn propose(&mut self, member: u64) {
        let command = self.next_command();
        match self.group.propose(member, &command).await {
            Ok(_) => {
                self.acknowledged.insert(command);
            }
            Err(ConsensusError::NotLeader { .. } | ConsensusError::Dropped) => {}
            Err(other) => panic!("{other:?} for a proposal"),
        }
    }

    async fn propose_meanwhile(&mut self, member: u64) {
        let command = self.next_command();
        // Long enough for a message to leave, and shorter than most writes.
        let moment = Duration::from_millis(5);
        if let Ok(Ok(_)) = tokio::time::timeout(moment, self.group.propose(member, &command)).await {
            self.acknowledged.insert(command);
        }
    }

    fn next_command(&mut self) -> String {
        self.proposed += 1;
        format!("c{}", self.proposed)
    }

    async fn read(&self, member: u64) {
        match self.group.read(member).await {
            Ok(state) => self.check_holds_acknowledged(&state),
            Err(ConsensusError::NotLeader { .. } | ConsensusError::Unconfirmed) => {}
            Err(other) => panic!("{other:?} for a read"),
        }
    }

    fn check_holds_acknowledged(&self, state: &[String]) {
        let distinct: BTreeSet<String> = state.iter().cloned().collect();
        assert_eq!(distinct.len(), state.len(), "a command took effect twice");
        assert!(self.acknowledged.is_subset(&distinct), "an acknowledged command is missing");
    }

    fn check_prefixes(&self) {
        let mut states: Vec<_> = self.group.running().into_iter().map(|member| self.group.peek(member)).collect();
        states.sort_by_key(Vec::len);
        assert!(states.windows(2).all(|pair| pair[1].starts_with(&pair[0])), "members applied different logs");
    }

    async fn finish(mut self) {
        for member in 1..=3 {
            self.group.heal(member);
            if !self.group.runs(member) {
                self.group.start(member).await;
            }
        }
        let before = self.acknowledged.len();
        // A command whose outcome is unknown is not proposed again: it could take effect twice.
        while self.acknowledged.len() == before {
            let leader = self.group.leader().await;
            self.propose(leader).await;
        }
        let leader = self.group.leader().await;
        let state = self.group.read(leader).await.expect("all is well");
        self.check_holds_acknowledged(&state);
        self.group.converge(state.len()).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn trouble_loses_nothing_and_doubles_nothing(seed: u64, troubles in prop::collection::vec(trouble(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut chaos = Chaos::new(seed % 1_000_000).await;
            for trouble in &troubles {
                chaos.step(trouble).await;
            }
            chaos.finish().await;
        });
    }
}
