//! Makes requests durable in groups: those that arrive while a segment is being put go into the next one together.
//!
//! ```text
//! group -> create segment n -- put ---------------------------> acknowledged, n + 1 is next
//!             ^                |-- no answer, or an error ----> 503; n is in doubt, and the next group tries it
//!             |                |-- taken by an own segment ---> that put succeeded after all: its records are delivered,
//!             '----------------'                                its keys remembered; the group goes on with n + 1
//!                              '-- taken by another writer ---> 503 from now on: a newer attempt has sealed the log
//! ```
//!
//! Of all puts under number n, at most one succeeds. So a segment in doubt either is in the log, where the next attempt
//! at its number or the next reader finds it, or can never get into it.

use std::{sync::Arc, time::Duration};

use thalweg_ingest_log::{Created, IngestLog, Segment, SegmentHead, SegmentNumber, WriterId, encode};
use thalweg_types::text::with_causes;
use tokio::time;

use super::{
    body::decode,
    endpoint::{Endpoint, Pending},
    outcome::Refusal,
    takeover::taken_over,
};

/// A put that takes longer counts as failed towards clients.
const PUT_TIMEOUT: Duration = Duration::from_secs(10);

/// The task that appends to the log of one split.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) log: IngestLog,
    pub(super) writer: WriterId,
    /// The number of the next segment.
    pub(super) next: SegmentNumber,
}

/// Nothing can be appended any more; the reason.
struct Over(String);

impl Appender {
    /// Runs until the reader is gone or another writer has taken over the log.
    pub(super) async fn run(mut self) {
        while let Some(group) = self.endpoint.next_group().await {
            if let Err(Over(reason)) = self.append(group).await {
                tracing::warn!(reason, "nothing is appended to the ingest log any more");
                self.endpoint.fail(reason);
                return;
            }
        }
    }

    async fn append(&mut self, mut group: Vec<Pending>) -> Result<(), Over> {
        while !group.is_empty() {
            let creating = self.log.create(self.next, self.encode(&group));
            let created = match time::timeout(PUT_TIMEOUT, creating).await {
                Ok(Ok(created)) => created,
                Ok(Err(error)) => return self.refuse(group, with_causes(&error)),
                Err(_) => return self.refuse(group, format!("no answer of the object store in {PUT_TIMEOUT:?}")),
            };
            let segment = self.next;
            match created {
                Created::Put => {
                    self.endpoint.acknowledge(segment, std::mem::take(&mut group));
                }
                Created::Taken(found) if found.head.writer == self.writer => {
                    if let Err(reason) = self.deliver(*found) {
                        self.endpoint.refuse(group, &Refusal::Unavailable(reason.clone()));
                        return Err(Over(reason));
                    }
                    self.endpoint.answer_known(&mut group);
                }
                Created::Taken(found) => {
                    let reason = with_causes(&taken_over(found.head.writer.attempt));
                    self.endpoint.refuse(group, &Refusal::Unavailable(reason.clone()));
                    return Err(Over(reason));
                }
            }
            self.next = segment.next();
        }
        Ok(())
    }

    fn refuse(&self, group: Vec<Pending>, reason: String) -> Result<(), Over> {
        tracing::warn!(reason, "records could not be made durable, and were not acknowledged");
        self.endpoint.refuse(group, &Refusal::Unavailable(reason));
        Ok(())
    }

    /// Delivers an own segment that was put although its clients were told that it was in doubt.
    fn deliver(&self, found: Segment) -> Result<(), String> {
        let mut requests = Vec::with_capacity(found.bodies.len());
        for (request, body) in found.head.requests.into_iter().zip(found.bodies) {
            requests.push((request, decode(self.endpoint.schema(), &body)?));
        }
        self.endpoint.deliver(found.head.segment, requests);
        Ok(())
    }

    fn encode(&self, group: &[Pending]) -> bytes::Bytes {
        let requests = group.iter().map(|pending| pending.request.clone()).collect();
        let head = SegmentHead { segment: self.next, writer: self.writer, requests };
        let bodies: Vec<_> = group.iter().map(|pending| pending.body.clone()).collect();
        encode(&head, &bodies)
    }
}
