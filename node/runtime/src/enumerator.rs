//! The actor of an enumerator: lists a table's pieces now and then, and assigns the splits of new ones to the subtasks of
//! the source.
//!
//! ```text
//! Ready -- started --> list -- something new --> begin -> assign.. -> all is processed -> settled --.
//!                        ^ '-- nothing new ----------------------------------------------> settled --+-- interval --> list
//!                        |                                                                           '-- no interval --> end
//!                        '-- interval
//! ```
//!
//! An assignment and the memory of it change together, between two barriers. So a checkpoint has both or neither: the
//! subtask's splits hold what the enumerator knows to be assigned, or the exchange holds it on its way. What is listed and
//! not assigned yet is in no checkpoint; the next listing finds it again.
//!
//! Where the first listing decides where splits begin, as with the partitions of a topic, all of a listing changes together,
//! without waiting for credit: a checkpoint with a part of it would let the rest begin elsewhere. That the first listing is
//! known is part of the memory too.
//!
//! Where pieces follow one another (`ends`), what waits for an end is assigned once a complete checkpoint has that. So the
//! manifests of complete checkpoints are read while something waits, and each time a listing follows. It goes to the subtask
//! that holds the end. In the same message subtasks are told which ends they need not hold any more.
//!
//! The watermark of the source: files that are found together may have any times. So no subtask lets its watermark grow
//! before all subtasks that were idle count again, everywhere behind them. A subtask returns the credit of what it is
//! assigned only then, and only as far as it has read: what is assigned and not begun has a bound. Once all credit is back, all is settled: the enumerator becomes idle, and its subtasks may go on.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use thalweg_connectors::{ConnectorError, Enumerator, Listing, Piece};
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    OperatorId, Split,
    checkpoint::{ManifestRef, SplitProgress, SplitState},
};
use tokio::sync::watch;

use crate::{
    assignment,
    attempt_orders::AttemptOrders,
    chain::Chain,
    ends::Ends,
    failure::SubtaskError,
    known::KnownPieces,
    meter::{Meter, Spent},
};

/// Pieces that are cut at a time: cutting may read the end of a file.
const CUTS_MAX: usize = 16;
/// The most pieces that are assigned in one batch.
const PIECES_MAX: usize = 64;

/// The state of the actor. What it remembers is in the chain, which freezes it.
pub(crate) struct EnumeratorSubtask {
    pub(crate) table: String,
    pub(crate) source: OperatorId,
    pub(crate) enumerator: Arc<dyn Enumerator>,
    /// Splits of a checkpoint that was taken without an enumerator.
    pub(crate) former: Vec<SplitProgress>,
    pub(crate) ends: Ends,
    /// Has the manifests of complete checkpoints.
    pub(crate) store: CheckpointStore,
    /// The manifest of the newest one.
    pub(crate) complete: watch::Receiver<Option<ManifestRef>>,
    /// How many subtasks the source has.
    pub(crate) subtasks: u32,
    pub(crate) orders: watch::Receiver<AttemptOrders>,
    pub(crate) chain: Chain,
    pub(crate) meter: Arc<Meter>,
}

impl EnumeratorSubtask {
    /// Runs until it is cancelled or fails.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        if self.orders.wait_for(|orders| orders.started || orders.stopped).await.is_err() {
            // The sender drops only when the attempt ends. This is not the end of input: cancellation follows.
            std::future::pending::<()>().await;
        }
        self.chain.observe_state()?;
        self.go_on_from_former()?;
        while self.look().await?.is_some()
            && let Some(interval) = self.enumerator.interval()
            && self.pause(interval).await?.is_some()
        {}
        self.chain.finish(None).await?;
        self.chain.attend_on(None).await
    }

    /// Takes over the work of splits that looked for new files before there were enumerators: the names that they had
    /// found become known, and all that is not read to its end is assigned anew.
    fn go_on_from_former(&mut self) -> Result<(), SubtaskError> {
        if self.former.is_empty() {
            return Ok(());
        }
        // Nothing is awaited, not even credit: a checkpoint that is taken before would have the memory without these.
        let (mut left, mut reached) = (Vec::new(), None::<SplitProgress>);
        for mut progress in std::mem::take(&mut self.former) {
            let former = self.enumerator.former(&progress.split).map_err(|source| self.failed(source))?;
            if let Some(former) = former {
                former.found.iter().for_each(|name| _ = self.known().insert(name));
                match former.current {
                    Some(current) => progress.split = current,
                    None => (progress.split.payload, progress.state) = (serde_json::Value::Null, SplitState::Finished),
                }
            }
            if progress.state != SplitState::Finished {
                left.push(progress);
            } else if reached.as_ref().is_none_or(|reached| progress.watermark > reached.watermark) {
                reached = Some(progress);
            }
        }
        left.extend(reached);
        self.assign(left)
    }

    /// Lists once, and assigns what is new. `None` if the source was stopped.
    async fn look(&mut self) -> Result<Option<()>, SubtaskError> {
        let enumerator = self.enumerator.clone();
        let listing = self.known().listing();
        if listing == Listing::First || enumerator.interval().is_some() {
            let Some(listed) = self.attending(enumerator.list(listing)).await? else { return Ok(None) };
            let mut new = listed.map_err(|source| self.failed(source))?;
            if enumerator.awaits_ends() {
                let Some(()) = self.assign_following(enumerator.as_ref(), &new, listing).await? else {
                    return Ok(None);
                };
                return self.settle().await;
            }
            new.retain(|piece| !self.known().contains(&piece.name));
            let assigned = match enumerator.cuts_together() {
                true => self.assign_together(enumerator.as_ref(), &new, listing).await?,
                false if new.is_empty() => Some(()),
                false => self.assign_all(enumerator.as_ref(), new, listing).await?,
            };
            if assigned.is_none() {
                return Ok(None);
            }
            self.known().set_listed();
        }
        self.settle().await
    }

    /// Assigns all splits of new pieces at once. `None` if the source was stopped.
    async fn assign_together(
        &mut self,
        enumerator: &dyn Enumerator,
        new: &[Piece],
        listing: Listing,
    ) -> Result<Option<()>, SubtaskError> {
        if new.is_empty() {
            return Ok(Some(()));
        }
        let Some(cut) = self.cut_together(enumerator, new, listing).await? else { return Ok(None) };
        self.chain.ready(None).await?;
        // Nothing may be awaited from here on, not even credit.
        self.chain.set_idle(false)?;
        self.begin()?;
        for (pieces, cut) in new.chunks(PIECES_MAX).zip(cut.chunks(PIECES_MAX)) {
            self.assign_new(pieces.iter().zip(cut.iter().cloned()))?;
        }
        self.known().set_listed();
        Ok(Some(()))
    }

    /// The splits of pieces. `None` if the source was stopped.
    async fn cut_together(
        &mut self,
        enumerator: &dyn Enumerator,
        pieces: &[Piece],
        listing: Listing,
    ) -> Result<Option<Vec<Vec<Split>>>, SubtaskError> {
        let Some(cut) = self.attending(enumerator.cut(pieces, listing)).await? else { return Ok(None) };
        let cut = cut.map_err(|source| self.failed(source))?;
        if cut.len() != pieces.len() {
            let reason = format!("{} pieces were cut into splits of {}", pieces.len(), cut.len());
            return Err(SubtaskError::Assignment { reason });
        }
        Ok(Some(cut))
    }

    /// Assigns what a listing has that waits for nothing, and tells subtasks which ends they need not hold any more. `None` if
    /// the source was stopped.
    async fn assign_following(
        &mut self,
        enumerator: &dyn Enumerator,
        listed: &[Piece],
        listing: Listing,
    ) -> Result<Option<()>, SubtaskError> {
        let Self { ends, chain, .. } = self;
        // The first listing decides of all whether anything of it is read.
        let new = match listing {
            Listing::First => listed.to_vec(),
            Listing::Later => ends.ready(listed, known(chain)),
        };
        let Some(cut) = self.cut_together(enumerator, &new, listing).await? else { return Ok(None) };
        self.chain.ready(None).await?;
        // Nothing may be awaited from here on, not even credit.
        let Self { ends, chain, subtasks, .. } = self;
        let pieces = known(chain);
        for (piece, _) in new.iter().zip(&cut).filter(|(_, splits)| splits.is_empty()) {
            pieces.insert(&piece.name);
            pieces.set_ended(&piece.name);
        }
        let ready = ends.ready(listed, pieces);
        let splits = |piece: &Piece| new.iter().zip(&cut).find(|(cut, _)| cut.name == piece.name);
        let mut assigned = Vec::new();
        for (piece, splits) in ready.iter().filter_map(splits) {
            if pieces.insert(&piece.name) {
                let place = ends.place(piece);
                let splits = splits.iter().cloned().map(SplitProgress::unread);
                let subtask = |known: &mut KnownPieces| place.unwrap_or_else(|| known.next_subtask(*subtasks));
                assigned.extend(splits.map(|split| (subtask(pieces), Some(split))));
            }
        }
        assigned.extend(ends.settled(listed, pieces).into_iter().map(|(subtask, split)| (subtask, Some(split))));
        pieces.set_listed();
        if !assigned.is_empty() {
            self.chain.set_idle(false)?;
            self.begin()?;
            for part in assigned.chunks(PIECES_MAX) {
                self.send(part)?;
            }
        }
        self.chain.observe_state()?;
        Ok(Some(()))
    }

    /// Waits until the next listing is due: after an interval, or when an end has become known for which something waits.
    /// `None` if the source was stopped.
    async fn pause(&mut self, interval: Duration) -> Result<Option<()>, SubtaskError> {
        let mut passed = pin!(tokio::time::sleep(interval));
        loop {
            if self.ends.is_awaited() && self.learn_ends().await? {
                return Ok(Some(()));
            }
            let (mut complete, is_awaited) = (self.complete.clone(), self.ends.is_awaited());
            let told = async move {
                if !is_awaited || complete.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let next = async {
                tokio::select! {
                    biased;
                    () = passed.as_mut() => true,
                    () = told => false,
                }
            };
            match self.attending(next).await? {
                None => return Ok(None),
                Some(true) => return Ok(Some(())),
                Some(false) => {}
            }
        }
    }

    /// Reads which splits have ended from the newest complete checkpoint, unless that was done. Returns whether that may let
    /// something be assigned. If it cannot be read, the next one may be.
    async fn learn_ends(&mut self) -> Result<bool, SubtaskError> {
        if !self.complete.has_changed().unwrap_or(false) {
            return Ok(false);
        }
        let Some(manifest) = self.complete.borrow_and_update().clone() else { return Ok(false) };
        let store = self.store.clone();
        let read = async move { (store.get_manifest(&manifest).await, manifest.checkpoint) };
        match self.attending(read).await? {
            Some((Ok(manifest), _)) => {
                let Self { source, ends, chain, .. } = self;
                Ok(ends.learn(*source, &manifest, known(chain)))
            }
            Some((Err(error), checkpoint)) => {
                tracing::warn!(table = self.table, %error, "could not read from {checkpoint} which splits have ended");
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Tells all subtasks that assignments begin.
    fn begin(&mut self) -> Result<(), SubtaskError> {
        self.send(&(0..self.subtasks).map(|subtask| (subtask, None)).collect::<Vec<_>>())
    }

    /// Assigns the splits of new pieces as there is room. `None` if the source was stopped.
    async fn assign_all(
        &mut self,
        enumerator: &dyn Enumerator,
        new: Vec<Piece>,
        listing: Listing,
    ) -> Result<Option<()>, SubtaskError> {
        self.chain.ready(None).await?;
        self.chain.set_idle(false)?;
        self.begin()?;
        let cut = |piece: Piece| async move {
            let splits = enumerator.cut(std::slice::from_ref(&piece), listing).await?;
            Ok::<_, ConnectorError>((piece, splits.into_iter().flatten().collect::<Vec<Split>>()))
        };
        let mut cuts = pin!(stream::iter(new).map(cut).buffered(CUTS_MAX).ready_chunks(PIECES_MAX));
        loop {
            let Some(next) = self.attending(cuts.next()).await? else { return Ok(None) };
            let Some(next) = next else { return Ok(Some(())) };
            let next: Result<Vec<(Piece, Vec<Split>)>, ConnectorError> = next.into_iter().collect();
            let next = next.map_err(|source| self.failed(source))?;
            self.chain.take_turn().await;
            self.chain.ready(None).await?;
            // Nothing may be awaited from here on: what is known and what was sent must be on one side of a barrier.
            self.assign_new(next.iter().map(|(piece, splits)| (piece, splits.clone())))?;
        }
    }

    fn assign_new<'a>(&mut self, cut: impl Iterator<Item = (&'a Piece, Vec<Split>)>) -> Result<(), SubtaskError> {
        let mut splits = Vec::new();
        for (piece, of_piece) in cut {
            // A file that grows may be listed twice.
            if self.known().insert(&piece.name) {
                splits.extend(of_piece.into_iter().map(SplitProgress::unread));
            }
        }
        self.assign(splits)
    }

    fn assign(&mut self, splits: Vec<SplitProgress>) -> Result<(), SubtaskError> {
        let subtasks = self.subtasks;
        let known = self.known();
        let assigned: Vec<_> = splits.into_iter().map(|split| (known.next_subtask(subtasks), Some(split))).collect();
        if assigned.is_empty() { Ok(()) } else { self.send(&assigned) }
    }

    fn send(&mut self, assigned: &[(u32, Option<SplitProgress>)]) -> Result<(), SubtaskError> {
        let rows = assignment::encode(assigned);
        let rows = rows.map_err(|error| SubtaskError::Assignment { reason: error.to_string() })?;
        self.chain.push(&rows)?;
        self.chain.observe_state()
    }

    /// Waits until the subtasks have processed all assignments, and tells them so. `None` if the source was stopped.
    async fn settle(&mut self) -> Result<Option<()>, SubtaskError> {
        let carried = self.chain.carried();
        loop {
            self.chain.attend(None).await?;
            if self.orders.borrow().stopped {
                return Ok(None);
            }
            if self.chain.wait_processed(&carried).await?.is_some() {
                break;
            }
        }
        self.chain.set_idle(true)?;
        Ok(Some(()))
    }

    /// Runs a future while attending to checkpoints. `None` if the source was stopped meanwhile.
    async fn attending<T>(&mut self, future: impl Future<Output = T>) -> Result<Option<T>, SubtaskError> {
        let mut future = pin!(future);
        let since = self.meter.now();
        loop {
            self.chain.attend(None).await?;
            if self.orders.borrow().stopped {
                return Ok(None);
            }
            if let Some(done) = self.chain.wait_for(future.as_mut()).await? {
                self.meter.spend(Spent::Idle, since);
                return Ok(Some(done));
            }
        }
    }

    fn known(&mut self) -> &mut KnownPieces {
        known(&mut self.chain)
    }

    fn failed(&self, source: ConnectorError) -> SubtaskError {
        SubtaskError::Connector { table: self.table.clone(), source }
    }
}

fn known(chain: &mut Chain) -> &mut KnownPieces {
    chain.known().expect("the head of an enumerator's chain remembers")
}
