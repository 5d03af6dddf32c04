//! The gRPC service that answers peeks, before raft runs and while it does, and admits members with empty stores.

use std::sync::Arc;

use thalweg_proto::{
    network::Network,
    v1::{
        self,
        founding_server::{self, Founding},
    },
};
use thalweg_types::MemberId;
use tokio::sync::{Mutex, watch};
use tonic::{Request, Response, Status};

use super::{
    decide::{Holds, Sight},
    rpc,
};
use crate::{
    Consensus, ConsensusError, Replicated,
    config::check_address,
    membership::{Admission, Applicant},
};

/// The service of a member whose raft does not run yet.
pub type ThresholdServer = founding_server::FoundingServer<Threshold>;
/// The service of a running member.
pub type GatekeeperServer<R> = founding_server::FoundingServer<Gatekeeper<R>>;

/// Adding the new number and removing the old one of its address are two steps. Twice as many are allowed, because an
/// earlier leader may have done half of them.
const STEPS_MAX: usize = 4;

/// Answers for a store that only this process's opening writes to.
#[derive(Debug)]
pub struct Threshold {
    sight: watch::Receiver<Sight>,
}

impl Threshold {
    pub(super) fn mounted(sight: watch::Receiver<Sight>) -> ThresholdServer {
        founding_server::FoundingServer::new(Self { sight })
    }
}

#[tonic::async_trait]
impl Founding for Threshold {
    async fn peek(&self, _request: Request<v1::PeekRequest>) -> Result<Response<v1::PeekResponse>, Status> {
        let sight = self.sight.borrow().clone();
        Ok(Response::new(sight.into()))
    }

    async fn admit(&self, _request: Request<v1::AdmitRequest>) -> Result<Response<v1::AdmitResponse>, Status> {
        Err(Status::unavailable("this member does not take part in its group yet"))
    }
}

impl<R: Replicated> Consensus<R> {
    /// The service that tells members without a log where this one stands, and admits them. `incarnation` identifies
    /// this process.
    #[must_use]
    pub fn gatekeeper(&self, network: Arc<dyn Network>, incarnation: u64) -> GatekeeperServer<R> {
        Gatekeeper::mounted(self.clone(), network, incarnation)
    }
}

/// Answers for a running member.
pub struct Gatekeeper<R: Replicated> {
    consensus: Consensus<R>,
    network: Arc<dyn Network>,
    incarnation: u64,
    /// Held during an admission: at most one at a time.
    admitting: Mutex<()>,
}

impl<R: Replicated> std::fmt::Debug for Gatekeeper<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatekeeper").field("consensus", &self.consensus).finish_non_exhaustive()
    }
}

impl<R: Replicated> Gatekeeper<R> {
    fn mounted(consensus: Consensus<R>, network: Arc<dyn Network>, incarnation: u64) -> GatekeeperServer<R> {
        founding_server::FoundingServer::new(Self { consensus, network, incarnation, admitting: Mutex::new(()) })
    }

    /// Checks that the applicant still runs with an empty store. Its request may have been in transit for long.
    async fn check_applicant(&self, applicant: &Applicant) -> Result<(), Status> {
        let seen = rpc::peek_once(&self.network, &applicant.address).await;
        let seen =
            seen.map_err(|why| unavailable(&format!("{} can't be asked from here: {why}", applicant.address)))?;
        if seen.incarnation != applicant.incarnation || seen.holds != Holds::Nothing {
            return Err(unavailable("whoever asked to be admitted is not there any more"));
        }
        Ok(())
    }

    /// Admits an applicant in two changes of the group, the newcomer's number first. So its address always has a seat,
    /// by which the next leader can continue.
    async fn admit_applicant(&self, applicant: Applicant) -> Result<MemberId, Status> {
        let _one = self.admitting.try_lock().map_err(|_| unavailable("another member is just being admitted"))?;
        self.check_applicant(&applicant).await?;
        for _ in 0..STEPS_MAX {
            match self.consensus.admission(applicant.clone()).await.map_err(status)? {
                Admission::Done(member) => {
                    tracing::info!(%member, address = applicant.address, "member admitted");
                    return Ok(member);
                }
                Admission::Next(change) => self.consensus.change(change).await.map_err(status)?,
                Admission::NotNow(why) => return Err(unavailable(&why)),
                Admission::Never(why) => return Err(Status::failed_precondition(why)),
            }
        }
        Err(unavailable("the group's members keep changing"))
    }
}

#[tonic::async_trait]
impl<R: Replicated> Founding for Gatekeeper<R> {
    async fn peek(&self, _request: Request<v1::PeekRequest>) -> Result<Response<v1::PeekResponse>, Status> {
        let standing = self.consensus.standing().await.map_err(status)?;
        let sight = Sight {
            incarnation: self.incarnation,
            cluster: Some(self.consensus.cluster().clone()),
            member: self.consensus.member(),
            holds: if standing.is_founding { Holds::Founding } else { Holds::More },
            first: standing.seats,
        };
        Ok(Response::new(sight.into()))
    }

    async fn admit(&self, request: Request<v1::AdmitRequest>) -> Result<Response<v1::AdmitResponse>, Status> {
        let v1::AdmitRequest { cluster, address, incarnation } = request.into_inner();
        if cluster != self.consensus.cluster().0 {
            let ours = self.consensus.cluster();
            return Err(Status::failed_precondition(format!("this is a member of cluster {ours}, not of {cluster:?}")));
        }
        check_address(MemberId(0), &address).map_err(|_| Status::invalid_argument("the address is not host:port"))?;
        let leadership = self.consensus.leadership().borrow().clone();
        if !leadership.is_self {
            let leader = leadership.leader.filter(|leader| *leader != self.consensus.member());
            let leader = leader.and(leadership.leader_address).unwrap_or_default();
            return Ok(Response::new(v1::AdmitResponse { member: 0, leader }));
        }
        let member = self.admit_applicant(Applicant { address, incarnation }).await?;
        Ok(Response::new(v1::AdmitResponse { member: member.0, leader: String::new() }))
    }
}

fn unavailable(why: &str) -> Status {
    Status::unavailable(why)
}

fn status(error: ConsensusError) -> Status {
    Status::unavailable(error.to_string())
}
