//! Whole attempts in one process: hand-made graphs over test tables, on one node or several.

mod checkpoints;
mod enumerated;
mod failures;
mod first_listing;
mod flows;
mod following;
mod golden;
mod graph;
mod newest_rows;
mod portions;
mod published;
mod rig;
mod sources;
mod streams;
mod tables;
mod unaligned;

pub(crate) use graph::rows;
