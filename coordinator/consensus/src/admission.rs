//! What the driver tells of this member to those that have no log.

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
    /// As raft has it, which is never behind what is on disk: one that says that nothing was promised has promised nothing.
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
