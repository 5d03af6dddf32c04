//! Describes and changes the coordinators of the cluster.

use std::time::Duration;

use thalweg_consensus::Member;
use thalweg_proto::v1::{self, cluster_client::ClusterClient};
use thalweg_types::{
    ENGINE_VERSION,
    client::{ClusterOverview, MemberChange, MemberOverview},
};
use tokio::time;
use tonic::{Request, Response, Status};

use super::{
    ClusterService,
    rpc::{consensus_status, forwarded, is_forwarded},
};

/// How long a leader has to answer before this member answers for itself.
const LEADER_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl ClusterService {
    pub(super) async fn describe_members(
        &self,
        request: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::DescribeClusterResponse>, Status> {
        let leadership = self.consensus.leadership().borrow().clone();
        let elsewhere = !leadership.is_self && !is_forwarded(&request);
        let leader =
            leadership.leader_address.filter(|_| elsewhere && leadership.leader != Some(self.consensus.member()));
        if let Some(leader) = leader.and_then(|address| self.channel_to(address).ok()) {
            let mut leader = ClusterClient::new(leader);
            let asked = leader.describe_cluster(forwarded(request));
            if let Ok(Ok(answer)) = time::timeout(LEADER_ANSWERS_WITHIN, asked).await {
                return Ok(answer);
            }
        }
        Ok(Response::new(self.describe_members_here().into()))
    }

    fn describe_members_here(&self) -> ClusterOverview {
        let leadership = self.consensus.leadership().borrow().clone();
        let (own, heard) = (self.consensus.member(), self.consensus.heard());
        let member = |member: Member| MemberOverview {
            heard: if member.member == own { Some(Duration::ZERO) } else { heard.get(&member.member).copied() },
            member: member.member,
            address: member.address,
            voter: member.voter,
        };
        ClusterOverview {
            cluster: self.consensus.cluster().clone(),
            leader: leadership.leader,
            term: leadership.term,
            members: self.consensus.members().into_iter().map(member).collect(),
            version: ENGINE_VERSION.to_owned(),
        }
    }

    pub(super) async fn change_members_here(&self, change: MemberChange) -> Result<(), Status> {
        let changed = match change {
            MemberChange::Add(MemberOverview { member, address, voter, .. }) => {
                let added = self.consensus.add_member(Member { member, address: address.clone(), voter }).await;
                added.inspect(|()| tracing::info!(%member, address, "member admitted"))
            }
            MemberChange::Remove(member) => {
                let removed = self.consensus.remove_member(member).await;
                removed.inspect(|()| tracing::info!(%member, "member removed"))
            }
        };
        changed.map_err(consensus_status)
    }
}
