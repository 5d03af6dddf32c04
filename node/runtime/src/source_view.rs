//! The position of a source, as its chain sees it: a checkpoint may be due in the middle of the work, and the chain
//! freezes the source with everything else.

use thalweg_connectors::LaterSplit;
use thalweg_flow::SplitWatermarks;
use thalweg_types::{
    OperatorId,
    checkpoint::{SplitProgress, SplitState},
};

use crate::{checkpoint::FrozenSource, pacing::Pacer};

/// A source's position: after the rows that it gave to its chain, with the rows that it holds back.
#[derive(Clone, Copy)]
pub(crate) struct SourceView<'a> {
    pub(crate) id: OperatorId,
    pub(crate) splits: &'a [(LaterSplit, SplitState)],
    pub(crate) watermarks: &'a SplitWatermarks,
    pub(crate) pacer: Option<&'a Pacer>,
}

impl SourceView<'_> {
    /// The position of every split, and the rows held back of it.
    pub(crate) fn freeze(&self) -> FrozenSource {
        let splits = self.splits.iter().zip(0..).map(|((split, state), index)| {
            let (watermark, is_idle) = self.watermarks.progress_of(index);
            let progress = SplitProgress { split: split(), state: *state, watermark, is_idle, held: Vec::new() };
            (progress, self.pacer.and_then(|pacer| pacer.held(index)))
        });
        FrozenSource { source: self.id, splits: splits.collect() }
    }
}
