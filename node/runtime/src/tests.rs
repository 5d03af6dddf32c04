//! Whole attempts in one process: hand-made graphs over tables of the test, on one node or on several.

mod checkpoints;
mod failures;
mod flows;
mod graph;
mod portions;
mod rig;
mod sources;
mod tables;
mod unaligned;

pub(crate) use graph::rows;
