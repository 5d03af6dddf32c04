//! Coordinators that start with empty stores in any order, and coordinators that have lost their stores.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use object_store::memory::InMemory;
use thalweg_consensus::store::{LogStore, MemoryStore};
use thalweg_proto::{
    network::{MemoryNetwork, Network},
    testing::seeded_seams,
};
use thalweg_storage::{CheckpointStore, Marker, ObjectStores};
use thalweg_types::{ClusterId, JobId, MemberId, seam::TaskHandle, text::with_causes};
use tokio::sync::{oneshot, watch};

use super::{
    PATIENCE,
    cluster::address,
    rpc::{TestClient, serve},
};
use crate::{Coordinator, CoordinatorConfig, MemberConfig, Opening, StartError};

/// A job that waits for nodes.
const SQL: &str = "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen'); \
                   CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO o SELECT n FROM n;";

/// Coordinators with one list of members. Some of them run.
struct Coordinators {
    size: u64,
    network: Arc<MemoryNetwork>,
    stores: ObjectStores,
    disks: BTreeMap<u64, Arc<dyn LogStore>>,
    running: BTreeMap<u64, Running>,
    incarnations: u64,
}

/// A coordinator process, before or after it takes part.
struct Running {
    waits_for: watch::Receiver<Option<String>>,
    started: Option<oneshot::Receiver<Result<Coordinator, StartError>>>,
    coordinator: Option<Coordinator>,
    tasks: Vec<Box<dyn TaskHandle>>,
}

impl Coordinators {
    fn new(size: u64) -> Self {
        Self {
            size,
            network: Arc::default(),
            stores: ObjectStores::default().with_store("memory://test", Arc::new(InMemory::new())),
            disks: BTreeMap::new(),
            running: BTreeMap::new(),
            incarnations: 0,
        }
    }

    fn config(&self, member: u64) -> CoordinatorConfig {
        let first = |member| MemberConfig { member: MemberId(member), address: address(member) };
        CoordinatorConfig {
            member: MemberId(member),
            address: address(member),
            cluster: Some(ClusterId("test".to_owned())),
            members: (1..=self.size).map(first).collect(),
            checkpoints: "memory://test".to_owned(),
            ..CoordinatorConfig::default()
        }
    }

    fn checkpoints(&self) -> CheckpointStore {
        CheckpointStore::open("memory://test", &self.stores).unwrap()
    }

    async fn start(&mut self, member: u64) {
        self.start_as(member, self.config(member)).await.unwrap();
    }

    async fn start_as(&mut self, member: u64, config: CoordinatorConfig) -> Result<(), StartError> {
        self.incarnations += 1;
        let disk = self.disks.entry(member).or_insert_with(|| Arc::new(MemoryStore::new())).clone();
        let network: Arc<dyn Network> = self.network.clone();
        let seams = seeded_seams(1000 * self.incarnations + member);
        let opening = Opening::open(config, disk, network.clone(), &self.stores, seams.clone()).await?;
        let listener = network.listen(&address(member)).await.unwrap();
        let server = seams.io.spawn("server", Box::pin(serve(opening.routes(), listener)));
        let (tell, started) = oneshot::channel();
        let waits_for = opening.waits_for();
        let start = async move { drop(tell.send(opening.start().await)) };
        let tasks = vec![server, seams.io.spawn("opening", Box::pin(start))];
        self.running.insert(member, Running { waits_for, started: Some(started), coordinator: None, tasks });
        Ok(())
    }

    /// Waits until a coordinator takes part or has failed to.
    async fn settled(&mut self, member: u64) -> Result<&Coordinator, StartError> {
        let running = self.running.get_mut(&member).unwrap();
        if let Some(started) = running.started.take() {
            let started = tokio::time::timeout(PATIENCE, started).await.expect("it settles").unwrap();
            running.coordinator = Some(started?);
        }
        Ok(running.coordinator.as_ref().unwrap())
    }

    async fn is_waiting(&self, member: u64, for_what: &str) {
        let mut waits_for = self.running[&member].waits_for.clone();
        let is_so = |waits: &Option<String>| waits.as_ref().is_some_and(|waits| waits.contains(for_what));
        let waited = tokio::time::timeout(PATIENCE, waits_for.wait_for(is_so)).await;
        let now = self.running[&member].waits_for.borrow().clone();
        waited.unwrap_or_else(|_| panic!("it waits for {now:?} and not {for_what:?}")).unwrap();
    }

    async fn stop(&mut self, member: u64) {
        let mut running = self.running.remove(&member).unwrap();
        let started = running.started.take().and_then(|mut started| started.try_recv().ok());
        if let Some(coordinator) = running.coordinator.or(started.and_then(Result::ok)) {
            coordinator.shutdown().await;
        }
        running.tasks.iter().for_each(|task| task.abort());
        self.network.close(&address(member));
        // Cutting the connections lets the others notice the end.
        self.network.cut();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    async fn wipe(&mut self, member: u64) {
        self.stop(member).await;
        self.disks.remove(&member);
    }

    fn client(&self, member: u64) -> TestClient {
        let network: Arc<dyn Network> = self.network.clone();
        TestClient::new(&network, &address(member))
    }

    /// Waits until the coordinator at this address reports these voters.
    async fn until_voters(&self, at: u64, wanted: &[u64]) {
        let mut seen = Vec::new();
        let polling = async {
            loop {
                if let Ok(overview) = self.client(at).describe().await {
                    seen =
                        overview.members.iter().filter(|member| member.voter).map(|member| member.member.0).collect();
                    if seen == wanted && overview.members.len() == wanted.len() && overview.leader.is_some() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let polled = tokio::time::timeout(PATIENCE, polling).await;
        assert!(polled.is_ok(), "the voters are {seen:?} and not {wanted:?}");
    }

    async fn submit(&self, at: u64, request: &str) -> JobId {
        let submitting = async {
            loop {
                match self.client(at).submit(request, SQL).await {
                    Ok(submitted) => return submitted.job,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, submitting).await.expect("a leader takes the job")
    }
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_start_one_after_the_other_found_one_cluster_under_the_numbers_of_the_list() {
    let mut three = Coordinators::new(3);
    three.start(1).await;
    three
        .is_waiting(1, "waiting for an answer of member-2 at coordinator-2:7000, member-3 at coordinator-3:7000")
        .await;
    let early = three.client(1).jobs().await.unwrap_err();
    assert_eq!((early.code(), early.message()), (tonic::Code::Unavailable, "this coordinator does not take part yet"));
    three.start(3).await;
    three.is_waiting(3, "waiting for an answer of member-2 at coordinator-2:7000. A group is founded once").await;
    three.start(2).await;
    for member in 1..=3 {
        assert_eq!(three.settled(member).await.unwrap().consensus().member(), MemberId(member));
    }
    three.until_voters(2, &[1, 2, 3]).await;
    assert_eq!(three.running[&1].waits_for.borrow().clone(), None);
    three.submit(1, "a").await;
    let marker = three.checkpoints().marker().await.unwrap().expect("it is there before the first job is");
    assert_eq!(marker.name, ClusterId("test".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_lost_its_store_is_admitted_under_a_new_number_and_nothing_is_lost() {
    let mut three = Coordinators::new(3);
    for member in 1..=3 {
        three.start(member).await;
    }
    for member in 1..=3 {
        three.settled(member).await.unwrap();
    }
    assert_eq!(three.submit(2, "a").await, JobId(1));
    // All members are down, and the one that has lost its store comes back first.
    for member in [2, 3] {
        three.stop(member).await;
    }
    three.wipe(1).await;
    three.start(1).await;
    three.is_waiting(1, "member-2 at coordinator-2:7000, member-3 at coordinator-3:7000").await;
    three.start(2).await;
    three.is_waiting(1, "its store is empty, and member-2 holds the group's log: waiting to be admitted").await;
    three.start(3).await;
    assert_eq!(three.settled(1).await.unwrap().consensus().member(), MemberId(4));
    three.until_voters(1, &[2, 3, 4]).await;
    assert_eq!(three.client(1).jobs().await.unwrap().len(), 1);
    assert_eq!(three.submit(1, "b").await, JobId(2), "its number is not given again");
    // The number in its store counts, not the one it is started with. It also votes.
    three.stop(1).await;
    three.stop(2).await;
    three.start(1).await;
    assert_eq!(three.settled(1).await.unwrap().consensus().member(), MemberId(4));
    assert_eq!(three.submit(3, "c").await, JobId(3));
    // It loses its store once more, and so does another member.
    three.start(2).await;
    three.settled(2).await.unwrap();
    three.wipe(1).await;
    three.start(1).await;
    three.until_voters(3, &[2, 3, 5]).await;
    three.wipe(3).await;
    three.start(3).await;
    three.until_voters(2, &[2, 5, 6]).await;
    assert_eq!(three.client(2).jobs().await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn two_of_five_come_back_one_after_the_other() {
    let mut five = Coordinators::new(5);
    for member in 1..=5 {
        five.start(member).await;
    }
    assert_eq!(five.submit(5, "a").await, JobId(1));
    for member in [4, 5] {
        five.wipe(member).await;
    }
    for member in [4, 5] {
        five.start(member).await;
    }
    let [four, other] = [4, 5].map(MemberId);
    let (first, second) =
        (five.settled(4).await.unwrap().consensus().member(), five.settled(5).await.unwrap().consensus().member());
    assert!([first, second].iter().all(|number| *number > MemberId(5)), "{four} and {other} are {first} and {second}");
    five.until_voters(1, &[1, 2, 3, 6, 7]).await;
    assert_eq!(five.client(4).jobs().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_less_than_a_majority_left_whoever_lost_its_store_waits() {
    let mut three = Coordinators::new(3);
    for member in 1..=3 {
        three.start(member).await;
    }
    three.submit(1, "a").await;
    three.stop(3).await;
    three.wipe(1).await;
    three.start(1).await;
    three.is_waiting(1, "member-2 holds the group's log: waiting to be admitted under a new number").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    three.is_waiting(1, "coordinator-2:7000 knows no leader").await;
    three.start(3).await;
    three.until_voters(1, &[2, 3, 4]).await;
    assert_eq!(three.client(1).jobs().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_crashed_after_the_founding_goes_on_with_it() {
    let mut three = Coordinators::new(3);
    for member in 1..=3 {
        three.start(member).await;
    }
    // The first member that writes the founding stops before anybody is elected.
    let writes = async {
        loop {
            for member in 1..=3 {
                if three.disks[&member].load().await.unwrap().identity.is_some() {
                    return member;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let first = tokio::time::timeout(PATIENCE, writes).await.unwrap();
    three.stop(first).await;
    let stored = three.disks[&first].load().await.unwrap();
    assert_eq!((stored.hard_state.term, stored.hard_state.vote), (1, 0), "nothing was promised");
    three.start(first).await;
    for member in 1..=3 {
        three.settled(member).await.unwrap();
    }
    three.until_voters(first, &[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_together_is_refused() {
    let mut three = Coordinators::new(3);
    three.start(1).await;
    let mut other = three.config(2);
    other.members.truncate(2);
    three.start_as(2, other).await.unwrap();
    let refused = three.settled(2).await.unwrap_err();
    assert!(refused.to_string().contains("replicated log"), "{refused}");
    let why = with_causes(&refused);
    assert!(why.contains("this is member-2 and was told 1=coordinator-1:7000,2=coordinator-2:7000; member-1"), "{why}");
    let refused = with_causes(&three.settled(1).await.unwrap_err());
    assert!(refused.contains("the lists of first members differ: this is member-1"), "{refused}");

    let mut alone = Coordinators::new(0);
    let stranger = CoordinatorConfig { member: MemberId(2), cluster: None, ..alone.config(2) };
    alone.start_as(2, stranger).await.unwrap();
    let refused = with_causes(&alone.settled(2).await.unwrap_err());
    assert!(refused.contains("the store of member-2 is empty, and it was told of no other members"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_founded_over_another_clusters_checkpoints() {
    for size in [1, 3] {
        let mut cluster = Coordinators::new(size);
        for member in 1..=size {
            cluster.start(member).await;
        }
        cluster.submit(1, "a").await;
        for member in 1..=size {
            cluster.wipe(member).await;
        }
        for member in 1..=size {
            cluster.start(member).await;
        }
        let refused = with_causes(&cluster.settled(1).await.unwrap_err());
        assert!(refused.contains("belongs to another cluster (cluster "), "{refused}");
        assert!(refused.contains("delete thalweg-cluster.json there"), "{refused}");
        assert!(cluster.disks[&1].load().await.unwrap().identity.is_none(), "nothing was written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_became_another_clusters_meanwhile_takes_no_job() {
    let mut one = Coordinators::new(1);
    one.start(1).await;
    one.settled(1).await.unwrap();
    let marker = Marker::new(ClusterId("other".to_owned()), ClusterId("lake".to_owned()));
    // The leader has not put its own marker yet, because that happens at its first tick.
    let there = one.checkpoints().put_marker(&marker).await.unwrap();
    assert_eq!(there, marker, "the marker of another cluster was first");
    one.until_voters(1, &[1]).await;
    let refused = one.client(1).submit("a", SQL).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert_eq!(refused.message(), "the place for checkpoints belongs to another cluster (cluster other, named lake)");
}

#[tokio::test(start_paused = true)]
async fn silence_is_overridden_by_hand_and_a_log_never_is() {
    let mut three = Coordinators::new(3);
    let bootstrap = |three: &Coordinators, member| CoordinatorConfig { bootstrap: true, ..three.config(member) };
    for member in [1, 2] {
        let config = bootstrap(&three, member);
        three.start_as(member, config).await.unwrap();
    }
    three.until_voters(1, &[1, 2, 3]).await;
    three.submit(1, "a").await;
    // The third member comes too late to be a founder.
    three.start(3).await;
    assert_eq!(three.settled(3).await.unwrap().consensus().member(), MemberId(4));
    three.until_voters(3, &[1, 2, 4]).await;
    // A member that has lost its store gets answers, so it does not found a cluster although it is told to bootstrap.
    three.wipe(1).await;
    let config = bootstrap(&three, 1);
    three.start_as(1, config).await.unwrap();
    three.until_voters(1, &[2, 4, 5]).await;
    assert_eq!(three.client(1).jobs().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_each_coordinator_was_last_heard() {
    let mut three = Coordinators::new(3);
    for member in 1..=3 {
        three.start(member).await;
    }
    three.until_voters(1, &[1, 2, 3]).await;
    three.submit(1, "a").await;
    three.stop(2).await;
    three.until_voters(1, &[1, 2, 3]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for asked in [1, 3] {
        let overview = three.client(asked).describe().await.unwrap();
        let heard = |member: u64| overview.members.iter().find(|seen| seen.member.0 == member).unwrap().heard;
        assert!(heard(2).is_some_and(|ago| ago > Duration::from_secs(29)), "{overview:?}");
        for member in [1, 3] {
            assert!(heard(member).is_some_and(|ago| ago < Duration::from_secs(1)), "{overview:?}");
        }
    }
}
