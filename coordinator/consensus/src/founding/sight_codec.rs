//! Answers to a peek on the wire.

use thalweg_proto::v1::{self, peek_response::Holds as WireHolds};
use thalweg_types::{ClusterId, MemberId};

use super::decide::{Holds, Sight};

/// The most first members that are read from the wire. No group has as many.
const MEMBERS_MAX: usize = 1024;

impl From<Sight> for v1::PeekResponse {
    fn from(sight: Sight) -> Self {
        let holds = match sight.holds {
            Holds::Nothing => WireHolds::Nothing,
            Holds::Founding => WireHolds::Founding,
            Holds::More => WireHolds::More,
        };
        let first = sight.first.into_iter();
        Self {
            incarnation: sight.incarnation,
            cluster: sight.cluster.map(|cluster| cluster.0).unwrap_or_default(),
            member: sight.member.0,
            holds: holds.into(),
            first: first.map(|(member, address)| v1::FirstMember { member: member.0, address }).collect(),
        }
    }
}

impl TryFrom<v1::PeekResponse> for Sight {
    type Error = &'static str;

    fn try_from(wire: v1::PeekResponse) -> Result<Self, Self::Error> {
        let holds = match wire.holds() {
            WireHolds::Unspecified => return Err("it does not say what its store holds"),
            WireHolds::Nothing => Holds::Nothing,
            WireHolds::Founding => Holds::Founding,
            WireHolds::More => Holds::More,
        };
        if wire.member == 0 || wire.first.len() > MEMBERS_MAX || wire.first.iter().any(|first| first.member == 0) {
            return Err("it names no member, or too many");
        }
        let first = wire.first.into_iter().map(|first| (MemberId(first.member), first.address));
        Ok(Self {
            incarnation: wire.incarnation,
            cluster: Some(wire.cluster).filter(|cluster| !cluster.is_empty()).map(ClusterId),
            member: MemberId(wire.member),
            holds,
            first: first.collect(),
        })
    }
}
