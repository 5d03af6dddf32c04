//! A group of members under test. The replicated state is a list of texts.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use raft::eraftpb::Message;
use thalweg_proto::{network::Network, v1::raft_client::RaftClient};
use thalweg_types::{ClusterId, MemberId, seam::Seams};

use super::world::{Compute, Hub, Link, Tasks, eventually, seams};
use crate::{
    Consensus, ConsensusConfig, ConsensusError, Member, Replicated, StartError, Unreadable,
    message_codec::Post,
    start,
    store::{LogStore, MemoryStore, Stored},
};

/// The replicated state: every command in order. The outcome of a command is its position, from 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(Vec<String>);

impl Replicated for Texts {
    type Command = String;
    type Outcome = u64;

    fn decode(command: &[u8]) -> Result<String, Unreadable> {
        Ok(std::str::from_utf8(command)?.to_owned())
    }

    fn apply(&mut self, _index: u64, command: String) -> u64 {
        self.0.push(command);
        u64::try_from(self.0.len()).expect("few")
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.join("\n").into_bytes()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Unreadable> {
        let text = std::str::from_utf8(snapshot)?;
        self.0 = text.lines().map(str::to_owned).collect();
        Ok(())
    }
}

struct Running {
    consensus: Consensus<Texts>,
    tasks: Arc<Tasks>,
    compute: Arc<Compute>,
}

pub(super) struct Group {
    size: u64,
    seed: u64,
    incarnations: u64,
    pub(super) snapshot_every_entries: u64,
    hub: Arc<Hub>,
    clock: Seams,
    stores: BTreeMap<u64, Arc<dyn LogStore>>,
    running: BTreeMap<u64, Running>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.running.values().for_each(|member| member.tasks.kill());
    }
}

impl Group {
    /// A group that will begin with `size` voters.
    pub(super) fn new(size: u64, seed: u64) -> Self {
        Self {
            size,
            seed,
            incarnations: 0,
            snapshot_every_entries: 1000,
            hub: Arc::default(),
            clock: seams(seed, &Arc::default()).0,
            stores: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.clock.monotonic()
    }

    pub(super) fn network(&self, member: u64) -> Arc<dyn Network> {
        Arc::new(Link { hub: self.hub.clone(), address: address(member) })
    }

    pub(super) fn set_store(&mut self, member: u64, store: Arc<dyn LogStore>) {
        self.stores.insert(member, store);
    }

    /// Removes a member's store.
    pub(super) fn forget(&mut self, member: u64) {
        self.running.remove(&member);
        self.stores.remove(&member);
    }

    pub(super) async fn stored(&self, member: u64) -> Stored {
        self.stores[&member].load().await.expect("loads")
    }

    fn config(&self, member: u64) -> ConsensusConfig {
        let first = |member| Member { member: MemberId(member), address: address(member), voter: true };
        ConsensusConfig {
            member: MemberId(member),
            address: address(member),
            cluster: Some(ClusterId("test".to_owned())),
            bootstrap: (1..=self.size).map(first).collect(),
            snapshot_every_entries: self.snapshot_every_entries,
            ..ConsensusConfig::default()
        }
    }

    pub(super) async fn start_all(&mut self) {
        for member in 1..=self.size {
            self.start(member).await;
        }
    }

    pub(super) async fn start(&mut self, member: u64) {
        let config = self.config(member);
        self.try_start(member, config).await.expect("starts");
    }

    pub(super) async fn start_joining(&mut self, member: u64) {
        let config = ConsensusConfig { join: true, bootstrap: Vec::new(), ..self.config(member) };
        self.try_start(member, config).await.expect("starts");
    }

    /// Starts a member with the store of `member`.
    pub(super) async fn try_start(&mut self, member: u64, config: ConsensusConfig) -> Result<(), StartError> {
        let store = self.stores.entry(member).or_insert_with(|| Arc::new(MemoryStore::new())).clone();
        self.incarnations += 1;
        let tasks = Arc::<Tasks>::default();
        let (seams, compute) = seams(self.seed.wrapping_mul(1000) + self.incarnations, &tasks);
        let network = self.network(member);
        let listener = network.listen(&address(member)).await.expect("listens");
        let (consensus, service) = start(config, Texts::default(), store, network, seams.clone()).await?;
        let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(listener.incoming);
        seams.io.spawn("server", Box::pin(async { server.await.expect("serves") }));
        self.running.insert(member, Running { consensus, tasks, compute });
        Ok(())
    }

    /// The process ends. Its store stays.
    pub(super) fn crash(&mut self, member: u64) {
        if let Some(member) = self.running.remove(&member) {
            member.tasks.kill();
        }
    }

    pub(super) async fn stop(&mut self, member: u64) {
        let running = self.running.remove(&member).expect("it runs");
        in_time(running.consensus.shutdown()).await;
        running.tasks.kill();
    }

    pub(super) fn cut(&self, member: u64) {
        self.hub.cut(&address(member));
    }

    pub(super) fn heal(&self, member: u64) {
        self.hub.heal(&address(member));
    }

    /// A member's compute threads.
    pub(super) fn compute(&self, member: u64) -> &Compute {
        &self.running[&member].compute
    }

    pub(super) fn consensus(&self, member: u64) -> Consensus<Texts> {
        self.running[&member].consensus.clone()
    }

    /// The leader on which a majority of the running members agree.
    pub(super) async fn leader(&self) -> u64 {
        eventually("a leader", || {
            let views = self.running.values().map(|member| member.consensus.leadership().borrow().clone());
            let views: Vec<_> = views.collect();
            self.running.keys().copied().find(|candidate| {
                let agree = views.iter().filter(|view| view.leader == Some(MemberId(*candidate))).count();
                let is_ready = self.running[candidate].consensus.leadership().borrow().is_self;
                is_ready && agree * 2 > views.len()
            })
        })
        .await
    }

    pub(super) async fn leads(&self, member: u64) {
        let mut leadership = self.consensus(member).leadership();
        in_time(leadership.wait_for(|now| now.is_self)).await.expect("it runs");
    }

    pub(super) fn others(&self, member: u64) -> Vec<u64> {
        self.running.keys().copied().filter(|other| *other != member).collect()
    }

    pub(super) fn running(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    pub(super) fn runs(&self, member: u64) -> bool {
        self.running.contains_key(&member)
    }

    pub(super) fn term(&self, member: u64) -> u64 {
        self.consensus(member).leadership().borrow().term.0
    }

    pub(super) fn members(&self, member: u64) -> Vec<Member> {
        self.consensus(member).members()
    }

    pub(super) fn propose(
        &self,
        member: u64,
        command: &str,
    ) -> impl Future<Output = Result<u64, ConsensusError>> + use<> {
        let (consensus, command) = (self.consensus(member), command.as_bytes().to_vec());
        async move { in_time(consensus.propose(command)).await }
    }

    /// Proposes to the current leader until it succeeds. A command whose outcome is unknown is proposed again.
    pub(super) async fn propose_until_done(&self, command: &str) {
        loop {
            let leader = self.leader().await;
            if self.propose(leader, command).await.is_ok() {
                return;
            }
        }
    }

    pub(super) async fn read(&self, member: u64) -> Result<Vec<String>, ConsensusError> {
        in_time(self.consensus(member).read(|texts| texts.0.clone())).await
    }

    pub(super) fn peek(&self, member: u64) -> Vec<String> {
        self.consensus(member).peek(|texts| texts.0.clone())
    }

    /// Sends a message in the name of its sender, which may be refused. Then lets the member take a turn.
    pub(super) async fn forge(&self, message: Message) {
        let post = Post {
            member: MemberId(message.from),
            cluster: ClusterId("test".to_owned()),
            address: address(message.from),
        };
        let to = address(message.to);
        let channel = thalweg_proto::network::channel(&self.network(9), &to).expect("an address");
        let envelopes: Vec<_> = post.envelopes(&message).collect();
        let sent = RaftClient::new(channel).send(futures::stream::iter(envelopes)).await;
        if sent.is_ok() && self.runs(message.to) {
            // The message is before this in the member's queue, or is settled with it.
            let _ = self.consensus(message.to).beat().await;
        }
    }

    pub(super) async fn add(&self, leader: u64, member: u64, voter: bool) -> Result<(), ConsensusError> {
        let member = Member { member: MemberId(member), address: address(member), voter };
        in_time(self.consensus(leader).add_member(member)).await
    }

    pub(super) async fn until_voter(&self, at: u64, member: u64) {
        let mut members = self.consensus(at).members_watch();
        let is_voter = |now: &Vec<Member>| now.iter().any(|m| m.member == MemberId(member) && m.voter);
        in_time(members.wait_for(is_voter)).await.expect("it runs");
    }

    /// Waits until all running members have applied this many commands, and checks that they are the same.
    pub(super) async fn converge(&self, commands: usize) {
        eventually(&format!("{commands} commands everywhere"), || {
            self.running.keys().all(|member| self.peek(*member).len() == commands).then_some(())
        })
        .await;
        let states: Vec<_> = self.running.keys().map(|member| self.peek(*member)).collect();
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

fn address(member: u64) -> String {
    format!("m{member}:7000")
}

/// Every call is answered within a few election timeouts.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), call).await.expect("an answer")
}
