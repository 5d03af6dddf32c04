//! What is on disk, and when.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::FutureExt;
use thalweg_types::ClusterId;

use super::{
    disk::Disk,
    group::{Group, Texts},
    id,
    world::eventually,
};
use crate::{
    Consensus, ConsensusConfig, ConsensusExit, StartError,
    store::{LogStore, LogWrite, MemoryStore, RedbStore, StoreError, Stored},
};

#[tokio::test]
async fn a_log_on_disk_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || RedbStore::open(directory.path()).expect("opens");
    let mut group = Group::new(1, 14);
    group.snapshot_every_entries = 8;
    let mut expected = Vec::new();
    for incarnation in 0..3 {
        group.set_store(1, Arc::new(open()));
        group.start(1).await;
        group.leads(1).await;
        assert_eq!(group.read(1).await, Ok(expected.clone()));
        for number in 0..7 {
            let command = format!("{incarnation}/{number}");
            group.propose(1, &command).await.expect("committed");
            expected.push(command);
        }
        group.stop(1).await;
        group.forget(1);
    }
    let stored = open().load().await.expect("loads");
    assert!(stored.compacted.index > 1, "snapshots were taken");
}

#[tokio::test(start_paused = true)]
async fn a_vote_is_on_disk_before_any_entry_of_its_term() {
    let mut group = Group::new(3, 19);
    let disks = [(); 3].map(|()| Disk::new(u64::MAX, 20));
    for (member, disk) in (1..).zip(&disks) {
        group.set_store(member, disk.clone());
    }
    group.start_all().await;
    let leader = group.leader().await;
    let term = group.term(leader);
    let has_voted = |disk: &&Arc<Disk>| {
        let journal = disk.journal();
        let vote = journal.iter().position(|w| w.hard_state.is_some_and(|s| (s.term, s.vote) == (term, leader)));
        let entries = journal.iter().position(|w| !w.entries.is_empty());
        vote.is_some_and(|vote| entries.is_none_or(|entries| vote < entries))
    };
    assert!(disks.iter().filter(has_voted).count() >= 2, "two votes of three made it the leader");
}

/// A store that notes whether its member had told that it has ended, before nobody held the store any more.
#[derive(Debug, Default)]
struct Watched {
    log: MemoryStore,
    member: Arc<OnceLock<Consensus<Texts>>>,
    was_told_first: Arc<OnceLock<bool>>,
}

impl Watched {
    /// Where the store is told of its member, and where it tells whether that had ended first.
    fn ends(&self) -> (Arc<OnceLock<Consensus<Texts>>>, Arc<OnceLock<bool>>) {
        (self.member.clone(), self.was_told_first.clone())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let exit = self.member.get().and_then(|member| member.exited().now_or_never());
        self.was_told_first.set(exit.is_some()).expect("it is dropped once");
    }
}

#[async_trait]
impl LogStore for Watched {
    async fn load(&self) -> Result<Stored, StoreError> {
        self.log.load().await
    }

    async fn write(&self, write: LogWrite) -> Result<(), StoreError> {
        self.log.write(write).await
    }
}

/// Whoever waits for the end may open the store at once, even if a snapshot was to be encoded. Nobody wants that any more, so
/// the end does not wait for it, however busy the compute threads are.
#[tokio::test(start_paused = true)]
async fn nothing_holds_the_store_of_a_member_that_has_ended() {
    for encodes in [false, true] {
        let mut group = Group::new(1, 21);
        group.snapshot_every_entries = 4;
        let store = Watched::default();
        let (member, was_told_first) = store.ends();
        group.set_store(1, Arc::new(store));
        group.start(1).await;
        group.leads(1).await;
        member.set(group.consensus(1)).expect("it is set once");
        // The group gives up its own handle.
        group.set_store(1, Arc::new(MemoryStore::new()));
        if encodes {
            group.compute(1).hold();
            for number in 0..8 {
                group.propose(1, &format!("c{number}")).await.expect("committed");
            }
            assert_eq!(group.compute(1).waiting(), 1, "a snapshot is to be encoded");
        }
        group.consensus(1).shutdown().await;
        assert_eq!(group.compute(1).waiting(), 0);
        assert_eq!(was_told_first.get(), Some(&false), "with a snapshot: {encodes}");
    }
}

/// The same of a follower that is to decode its leader's snapshot.
#[tokio::test(start_paused = true)]
async fn nothing_holds_the_store_of_a_follower_that_has_ended() {
    let mut group = Group::new(3, 22);
    group.snapshot_every_entries = 10;
    group.start_all().await;
    let leader = group.leader().await;
    let late = group.others(leader)[0];
    group.crash(late);
    for number in 0..40 {
        group.propose(leader, &format!("c{number}")).await.expect("two of three are a quorum");
    }
    let store = Watched::default();
    let (member, was_told_first) = store.ends();
    group.set_store(late, Arc::new(store));
    group.start(late).await;
    group.compute(late).hold();
    member.set(group.consensus(late)).expect("it is set once");
    group.set_store(late, Arc::new(MemoryStore::new()));
    eventually("a snapshot", || (group.compute(late).waiting() > 0).then_some(())).await;
    group.consensus(late).shutdown().await;
    assert_eq!((group.compute(late).waiting(), was_told_first.get()), (0, Some(&false)));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_the_member_and_acknowledges_nothing() {
    let mut group = Group::new(1, 18);
    group.set_store(1, Disk::new(6, 0));
    group.start(1).await;
    group.leads(1).await;
    let mut acknowledged = 0;
    while group.propose(1, "x").await.is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 5, "the disk is full");
    }
    let exit = group.consensus(1).exited().await;
    let expected = "could not keep the log: could not write the log: no space left on device";
    assert_eq!(exit, ConsensusExit::Failed(expected.to_owned()));
    assert_eq!(group.peek(1).len(), acknowledged);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_bound_to_its_member_and_cluster() {
    let mut group = Group::new(1, 15);
    group.start(1).await;
    group.leads(1).await;
    group.stop(1).await;

    let config = |member: u64| ConsensusConfig::single(id(member), format!("m{member}:7000"));
    let refused = group.try_start(1, config(2)).await.expect_err("another member");
    assert_eq!(
        refused.to_string(),
        "the log belongs to member-1, which the group knows at m1:7000, and this is member-2 at m2:7000: each member needs a \
         data directory of its own. To move member-1 here, start it under its own number (--member)"
    );
    let numbered = ConsensusConfig { member: id(2), ..config(1) };
    group.try_start(1, numbered).await.expect("the number in the store counts where the address is its own");
    assert_eq!(group.consensus(1).member(), id(1));
    group.leads(1).await;
    group.stop(1).await;
    let elsewhere = ConsensusConfig { cluster: Some(ClusterId("elsewhere".to_owned())), ..config(1) };
    assert!(matches!(group.try_start(1, elsewhere).await, Err(StartError::OtherCluster { .. })));
    group.try_start(1, config(1)).await.expect("its own store, and the cluster that it knows");
}
