//! Asks other members what they hold, and their leader for a number.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thalweg_proto::{
    network::{self, Network},
    v1::{self, founding_client::FoundingClient},
};
use thalweg_types::{ClusterId, MemberId};
use tokio::time;
use tonic::transport::Channel;

use super::decide::Sight;
use crate::config::FirstMembers;

/// A process that does not answer a peek within this time is silent.
const PEEK_WITHIN: Duration = Duration::from_secs(1);
/// How long an admission may take: the leader peeks at the applicant, and changes the group twice.
const ADMIT_WITHIN: Duration = Duration::from_secs(10);

/// Channels to other members. Each is kept, and reconnects after it broke.
#[derive(Debug)]
pub(super) struct Lines {
    network: Arc<dyn Network>,
    channels: BTreeMap<String, Channel>,
}

impl Lines {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, channels: BTreeMap::new() }
    }

    fn client(&mut self, address: &str) -> Result<FoundingClient<Channel>, String> {
        if let Some(channel) = self.channels.get(address) {
            return Ok(FoundingClient::new(channel.clone()));
        }
        let channel = network::channel(&self.network, address).map_err(|error| error.to_string())?;
        self.channels.insert(address.to_owned(), channel.clone());
        Ok(FoundingClient::new(channel))
    }

    /// Asks all of these members at once. `None`: silent.
    pub(super) async fn peek_at(
        &mut self,
        members: impl Iterator<Item = (&MemberId, &String)>,
    ) -> BTreeMap<MemberId, Option<Sight>> {
        let calls = members.map(|(member, address)| {
            let client = self.client(address);
            async move { (*member, peek(client).await.ok()) }
        });
        futures::future::join_all(calls.collect::<Vec<_>>()).await.into_iter().collect()
    }

    /// Asks a holder of a log for a number, and then the leader that it names.
    ///
    /// # Errors
    /// Why there is no number yet.
    pub(super) async fn apply_to(
        &mut self,
        address: &str,
        application: (&ClusterId, &str, u64),
    ) -> Result<MemberId, String> {
        let answer = self.admit(address, application).await?;
        let answer = match answer {
            v1::AdmitResponse { member: 0, leader } if leader.is_empty() => {
                return Err(format!("{address} knows no leader"));
            }
            v1::AdmitResponse { member: 0, leader } => self.admit(&leader, application).await?,
            answer => answer,
        };
        match answer.member {
            0 => Err("the leader has just changed".to_owned()),
            member => Ok(MemberId(member)),
        }
    }

    async fn admit(
        &mut self,
        address: &str,
        (cluster, own, incarnation): (&ClusterId, &str, u64),
    ) -> Result<v1::AdmitResponse, String> {
        let mut client = self.client(address)?;
        let request = v1::AdmitRequest { cluster: cluster.0.clone(), address: own.to_owned(), incarnation };
        let answered = time::timeout(ADMIT_WITHIN, client.admit(request)).await;
        let answer = answered.map_err(|_| format!("{address} does not answer"))?;
        answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    }
}

/// Asks one process.
pub(super) async fn peek_once(network: &Arc<dyn Network>, address: &str) -> Result<Sight, String> {
    let channel = network::channel(network, address).map_err(|error| error.to_string());
    peek(channel.map(FoundingClient::new)).await
}

async fn peek(client: Result<FoundingClient<Channel>, String>) -> Result<Sight, String> {
    let mut client = client?;
    let answered = time::timeout(PEEK_WITHIN, client.peek(v1::PeekRequest {})).await;
    let answer = answered.map_err(|_| format!("no answer within {PEEK_WITHIN:?}"))?;
    let answer = answer.map_err(|status| status.message().to_owned())?;
    Sight::try_from(answer.into_inner()).map_err(str::to_owned)
}

/// The first members but this one.
pub(super) fn others(first: &FirstMembers, own: MemberId) -> impl Iterator<Item = (&MemberId, &String)> {
    first.iter().filter(move |(member, _)| **member != own)
}
