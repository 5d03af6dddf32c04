//! The position of a source, as its chain sees it: a checkpoint may be due in the middle of the work, and the chain
//! freezes the source with everything else.

use std::collections::BTreeMap;

use thalweg_flow::SplitWatermarks;
use thalweg_types::{OperatorId, checkpoint::SplitProgress};

use crate::{checkpoint::FrozenSource, pacing::Pacer, readers::PlacedSplit};

/// A source's position: after the rows that it gave to its chain, with the rows that it holds back.
#[derive(Clone, Copy)]
pub(crate) struct SourceView<'a> {
    pub(crate) id: OperatorId,
    pub(crate) splits: &'a BTreeMap<usize, PlacedSplit>,
    /// Of the finished splits that are forgotten, the one with the greatest watermark.
    pub(crate) reached: Option<&'a SplitProgress>,
    pub(crate) watermarks: &'a SplitWatermarks,
    pub(crate) pacer: Option<&'a Pacer>,
}

impl SourceView<'_> {
    /// The position of every split, and the rows held back of it.
    pub(crate) fn freeze(&self) -> FrozenSource {
        let splits = self.splits.iter().map(|(split, placed)| {
            let (watermark, is_idle) = self.watermarks.progress_of(*split);
            let state = placed.state;
            let progress = SplitProgress { split: (placed.at)(), state, watermark, is_idle, held: Vec::new() };
            (progress, self.pacer.and_then(|pacer| pacer.held(*split)))
        });
        let reached = self.reached.map(|reached| (reached.clone(), None));
        FrozenSource { source: self.id, splits: reached.into_iter().chain(splits).collect() }
    }
}
