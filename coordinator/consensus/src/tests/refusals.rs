//! What no member takes: senseless configurations, strangers, commands of another version.

use super::{group::Group, id};
use crate::{COMMAND_BYTES_MAX, ConfigError, ConsensusConfig, ConsensusError, ConsensusExit, Member, StartError};

#[tokio::test(start_paused = true)]
async fn configurations_that_make_no_sense_are_refused() {
    let member = |member: u64, voter: bool| Member { member: id(member), address: format!("m{member}:1"), voter };
    let good = ConsensusConfig::single(id(1), "m1:1");
    let cases = [
        (ConsensusConfig { member: id(0), ..good.clone() }, ConfigError::MemberZero),
        (ConsensusConfig { election_ticks: 2, ..good.clone() }, ConfigError::Ticks),
        (ConsensusConfig { snapshot_every_entries: 0, ..good.clone() }, ConfigError::SnapshotEvery),
        (ConsensusConfig { bootstrap: vec![], ..good.clone() }, ConfigError::NothingToStart(id(1))),
        (ConsensusConfig { bootstrap: vec![member(2, true)], ..good.clone() }, ConfigError::NotAmongFirst(id(1))),
        (ConsensusConfig { bootstrap: vec![member(1, false)], ..good.clone() }, ConfigError::NoVoter),
        (
            ConsensusConfig { bootstrap: vec![member(1, true), member(1, true)], ..good.clone() },
            ConfigError::Twice(id(1)),
        ),
        (ConsensusConfig { bootstrap: vec![member(1, true), member(2, true)], ..good.clone() }, ConfigError::NoCluster),
        (ConsensusConfig { join: true, ..good.clone() }, ConfigError::NoCluster),
        (
            ConsensusConfig { address: "m1".to_owned(), ..good },
            ConfigError::Address { member: id(1), address: "m1".to_owned() },
        ),
    ];
    for (config, expected) in cases {
        let mut group = Group::new(1, 16);
        let refused = group.try_start(1, config).await.expect_err("it makes no sense");
        assert!(matches!(&refused, StartError::Config(found) if *found == expected), "{refused:?} for {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn envelopes_of_strangers_are_refused_with_a_reason() {
    use thalweg_proto::v1::{RaftEnvelope, raft_client::RaftClient};
    let mut group = Group::new(1, 17);
    group.start(1).await;
    group.leads(1).await;
    let channel = thalweg_proto::network::channel(&group.network(9), "m1:7000").expect("an address");
    for (cluster, to, reason) in [("other", 1, "cluster"), ("test", 2, "member-2")] {
        let envelope = RaftEnvelope {
            cluster: cluster.to_owned(),
            from: 9,
            to,
            from_address: "m9:7000".to_owned(),
            ..RaftEnvelope::default()
        };
        let refused = RaftClient::new(channel.clone())
            .send(futures::stream::iter([envelope]))
            .await
            .expect_err("it is a stranger's");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains(reason), "{}", refused.message());
    }
    assert!(matches!(group.propose(1, &"x".repeat(COMMAND_BYTES_MAX + 1)).await, Err(ConsensusError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_a_committed_command_stops_and_stays_stopped() {
    let mut group = Group::new(1, 77);
    group.start_all().await;
    group.leads(1).await;
    let unreadable = group.consensus(1).propose(vec![0xFF]).await;
    assert!(matches!(unreadable, Err(ConsensusError::Stopped | ConsensusError::Dropped)), "{unreadable:?}");
    let exit = group.consensus(1).exited().await;
    assert!(matches!(&exit, ConsensusExit::Failed(why) if why.contains("must run the same one")), "{exit:?}");
    group.crash(1);
    group.start(1).await;
    assert!(matches!(group.consensus(1).exited().await, ConsensusExit::Failed(_)), "it cannot pass over the command");
}
