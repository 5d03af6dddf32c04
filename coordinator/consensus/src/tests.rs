//! Whole members over a network in memory, on a paused clock: the same seed gives the same run.

use thalweg_types::MemberId;

mod calls;
mod chaos;
mod disk;
mod durability;
mod elections;
mod forged;
mod group;
mod members;
mod refusals;
mod snapshots;
mod world;

fn id(member: u64) -> MemberId {
    MemberId(member)
}
