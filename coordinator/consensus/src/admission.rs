//! What the driver answers to members without a log.

use std::collections::BTreeSet;

use thalweg_types::MemberId;

use crate::{
    Replicated,
    consensus::{ConsensusError, Standing},
    driver::Driver,
    membership::{Admission, Applicant, admit},
    start::FIRST,
};

impl<R: Replicated> Driver<R> {
    /// Where this member stands, as raft has it. Raft is never behind the disk, so if raft says that nothing was
    /// promised, nothing was.
    pub(crate) fn standing(&self) -> Standing {
        let raft = &self.node.raft;
        let is_founding = (raft.term, raft.vote, raft.raft_log.last_index()) == (FIRST.term, 0, FIRST.index);
        let seats = self.roster.seats.iter().map(|(member, seat)| (*member, seat.address.clone()));
        Standing { is_founding, seats: seats.collect() }
    }

    pub(crate) fn admission(&self, applicant: &Applicant) -> Result<Admission, ConsensusError> {
        if !self.is_leading() {
            return Err(self.not_leader());
        }
        let ticks = u32::try_from(2 * self.config.election_ticks).unwrap_or(u32::MAX);
        let lately = self.config.tick.saturating_mul(ticks);
        let ago = self.published.heard.ago().into_iter();
        let heard: BTreeSet<MemberId> = ago.filter(|(_, ago)| *ago <= lately).map(|(member, _)| member).collect();
        let configuration = self.node.raft.prs().conf().to_conf_state();
        Ok(admit(applicant, &self.roster, &configuration, &heard, self.config.member))
    }
}
