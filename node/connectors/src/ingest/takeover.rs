//! Takes over a log: reads it from a position on, and seals it so that no older attempt can append to it.
//!
//! ```text
//! list -> heads from `keep` on -> create the seal under the next number -> list again: nothing may follow the seal
//!                                   ^    | taken: read it too
//!                                   '----'
//! ```
//!
//! A number whose segment was deleted since the listing is free again, so a slow attempt may create its seal in the
//! middle of the log. That does no harm: a seal holds no records. The second listing then finds a newer attempt's
//! seal, which is never deleted, and the attempt gives up.
//!
//! The last segment, or one followed by a seal, may remain from a put that a machine crash interrupted: in a directory
//! the name may exist before the content. Its clients were not acknowledged, so if it is damaged it is skipped with a
//! warning. Any other damage is an error.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use thalweg_ingest_log::{
    Created, IngestLog, LogPosition, LoggedRequest, SEALS_MAX, SegmentHead, SegmentNumber, WriterId, encode,
};
use thalweg_storage::StorageError;
use thalweg_types::Attempt;

use crate::ConnectorError;

/// How many heads are fetched concurrently.
const FETCHES: usize = 16;

/// A log that was taken over.
#[derive(Debug)]
pub(super) struct OpenedLog {
    pub(super) log: IngestLog,
    pub(super) writer: WriterId,
    /// The own seal: earlier segments are to be read, new ones follow it.
    pub(super) seal: SegmentNumber,
    /// All known seals, oldest first.
    pub(super) seals: Vec<SegmentNumber>,
    /// Requests with idempotency keys.
    pub(super) keyed: Vec<(SegmentNumber, LoggedRequest)>,
    /// When the newest request arrived, in milliseconds of the log's time.
    pub(super) newest_millis: u64,
    /// Damaged segments to skip.
    pub(super) torn: BTreeSet<SegmentNumber>,
}

/// The part of a segment's head that is kept.
#[derive(Debug)]
enum Link {
    Seal,
    Records(Vec<LoggedRequest>),
    Damaged(StorageError),
}

#[derive(Debug)]
struct Takeover<'a> {
    log: &'a IngestLog,
    attempt: Attempt,
    links: BTreeMap<SegmentNumber, Link>,
    newest_millis: u64,
}

/// Takes over a log for a writer, from a position on.
///
/// # Errors
/// If the store fails, the log is damaged, or a newer attempt has taken it over.
pub(super) async fn take_over(
    log: IngestLog,
    writer: WriterId,
    position: &LogPosition,
) -> Result<OpenedLog, ConnectorError> {
    let mut takeover = Takeover { log: &log, attempt: writer.attempt, links: BTreeMap::new(), newest_millis: 0 };
    let next = takeover.read(position).await?;
    let seal = takeover.seal(writer, next).await?;
    let torn = takeover.find_torn().await?;
    let Takeover { links, newest_millis, .. } = takeover;
    let found = links.iter().filter(|(_, link)| matches!(link, Link::Seal)).map(|(number, _)| *number);
    let seals: BTreeSet<SegmentNumber> = position.seals.iter().copied().chain(found).collect();
    let seals = seals.iter().copied().skip(seals.len().saturating_sub(SEALS_MAX)).collect();
    let keyed = links.into_iter().filter(|(number, _)| !torn.contains(number)).flat_map(|(number, link)| {
        let requests = if let Link::Records(requests) = link { requests } else { Vec::new() };
        requests.into_iter().map(move |request| (number, request))
    });
    let keyed = keyed.collect();
    Ok(OpenedLog { log, writer, seal, seals, keyed, newest_millis, torn })
}

impl Takeover<'_> {
    /// Reads the heads from a position on. Returns the number after the last.
    async fn read(&mut self, position: &LogPosition) -> Result<SegmentNumber, ConnectorError> {
        let mut listed = self.log.list().await?;
        let listed = listed.split_off(&position.keep);
        let mut next = position.keep;
        for number in listed.keys() {
            if *number != next {
                return Err(self.log.missing(next).into());
            }
            next = next.next();
        }
        if next < position.segment {
            return Err(self.log.missing(next).into());
        }
        let log = self.log;
        let heads = futures::stream::iter(listed).map(|(number, bytes)| async move {
            match log.head(number, bytes).await {
                Ok(head) => Ok((number, Ok(head))),
                Err(error) if is_damage(&error) => Ok((number, Err(error))),
                Err(error) => Err(ConnectorError::from(error)),
            }
        });
        let mut heads = heads.buffered(FETCHES);
        while let Some((number, head)) = heads.try_next().await? {
            match head {
                Ok(head) => self.add(head)?,
                Err(error) => _ = self.links.insert(number, Link::Damaged(error)),
            }
        }
        Ok(next)
    }

    fn add(&mut self, head: SegmentHead) -> Result<(), ConnectorError> {
        if head.writer.attempt > self.attempt {
            return Err(taken_over(head.writer.attempt));
        }
        let number = head.segment;
        let newest = head.requests.iter().map(|request| request.arrived_millis).max();
        self.newest_millis = self.newest_millis.max(newest.unwrap_or_default());
        let link = match head.is_seal() {
            true => Link::Seal,
            false => Link::Records(head.requests.into_iter().filter(|request| request.key.is_some()).collect()),
        };
        self.links.insert(number, link);
        Ok(())
    }

    /// Creates the seal under the next free number. Returns that number.
    async fn seal(&mut self, writer: WriterId, mut next: SegmentNumber) -> Result<SegmentNumber, ConnectorError> {
        loop {
            let head = SegmentHead { segment: next, writer, requests: Vec::new() };
            match self.log.create(next, encode(&head, &[])).await? {
                Created::Put => break self.add(head)?,
                Created::Taken(segment) => self.add(segment.head)?,
            }
            next = next.next();
        }
        let listed = self.log.list().await?;
        match listed.last_key_value() {
            Some((last, _)) if *last > next => Err(ConnectorError::Store {
                attempted: format!("seal the ingest log with segment {next}"),
                source: format!("segment {last} is there: a newer attempt has taken the log over").into(),
            }),
            _ => Ok(next),
        }
    }

    /// Finds the damaged segments to skip.
    async fn find_torn(&mut self) -> Result<BTreeSet<SegmentNumber>, ConnectorError> {
        let is_seal = |number: SegmentNumber| matches!(self.links.get(&number), Some(Link::Seal));
        let mut torn = BTreeSet::new();
        for (number, link) in &self.links {
            let is_last = is_seal(number.next());
            let error = match link {
                Link::Damaged(error) if is_last => error.to_string(),
                Link::Damaged(error) => {
                    let reason = error.to_string();
                    return Err(ConnectorError::Data { attempted: "open the ingest log".to_owned(), reason });
                }
                Link::Records(_) if is_last => match self.log.read(*number).await {
                    Err(error) if is_damage(&error) => error.to_string(),
                    Err(error) => return Err(error.into()),
                    Ok(_) => continue,
                },
                Link::Records(_) | Link::Seal => continue,
            };
            tracing::warn!(error, "the last segment of an attempt is left out: its put was interrupted");
            torn.insert(*number);
        }
        Ok(torn)
    }
}

/// Whether a segment is there but is not whole, as an interrupted put leaves it.
fn is_damage(error: &StorageError) -> bool {
    match error {
        StorageError::Corrupt { .. } => true,
        StorageError::NotFound { .. }
        | StorageError::NoCheckpoint { .. }
        | StorageError::Exists { .. }
        | StorageError::Store { .. }
        | StorageError::Refused { .. }
        | StorageError::Config { .. } => false,
    }
}

/// The error of an attempt that a newer one has superseded.
pub(super) fn taken_over(by: Attempt) -> ConnectorError {
    ConnectorError::Store {
        attempted: "append to the ingest log".to_owned(),
        source: format!("{by} has taken it over").into(),
    }
}
