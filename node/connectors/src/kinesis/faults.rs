//! What a client's errors mean for an attempt.

use std::{future::Future, time::Duration};

use thalweg_kinesis::KinesisError;
use thalweg_types::seam::Seams;
use tokio::time::sleep;

use crate::{ConnectorError, notices::TableNotices};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether the same may succeed later without anybody's help.
pub(super) fn is_passing(error: &KinesisError) -> bool {
    match error {
        KinesisError::Unavailable { .. } | KinesisError::Throttled { .. } | KinesisError::Busy { .. } => true,
        KinesisError::Config { .. }
        | KinesisError::Denied { .. }
        | KinesisError::NoStream { .. }
        | KinesisError::NoShard { .. }
        | KinesisError::NoConsumer { .. }
        | KinesisError::ExpiredIterator { .. }
        | KinesisError::BadPosition { .. }
        | KinesisError::Refused { .. } => false,
    }
}

/// The error of a table whose client could not do something. `attempted` is said behind "could not".
pub(super) fn failed(table: &str, attempted: String, error: KinesisError) -> ConnectorError {
    match error {
        KinesisError::Config { reason } => {
            ConnectorError::Config { table: table.to_owned(), reason: of_client(&reason) }
        }
        KinesisError::Unavailable { .. }
        | KinesisError::Throttled { .. }
        | KinesisError::Busy { .. }
        | KinesisError::ExpiredIterator { .. } => ConnectorError::Store { attempted, source: Box::new(error) },
        KinesisError::Denied { .. } => ConnectorError::Refused {
            attempted,
            advice: "see the policies of the user or role, and 'aws.credentials.*'".to_owned(),
            source: Box::new(error),
        },
        KinesisError::NoStream { .. }
        | KinesisError::NoShard { .. }
        | KinesisError::NoConsumer { .. }
        | KinesisError::BadPosition { .. }
        | KinesisError::Refused { .. } => ConnectorError::Data { attempted, reason: error.to_string() },
    }
}

/// What is wrong with an option of a client.
pub(super) fn of_client(reason: &str) -> String {
    format!("an option of its client ('aws.*', 'stream.arn'): {reason}")
}

/// How long to wait between tries: twice as long each time, between half and all of it, lest many go on in step.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Backoff {
    pub(super) fn take(&mut self, seams: &Seams) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        let share = (seams.entropy.next() >> 32) as f64 / f64::from(u32::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }

    /// Whether the last try failed.
    pub(super) fn is_running(&self) -> bool {
        self.next > FIRST_PAUSE
    }
}

/// Asks until there is an answer, or an error that does not pass. What is tried is told once, and that it has succeeded then.
pub(super) async fn patiently<T, F>(
    (notices, seams): (&TableNotices, &Seams),
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, KinesisError>
where
    F: Future<Output = Result<T, KinesisError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(error) if is_passing(&error) => {
                notices.tell(what, || format!("could not {what}, which is tried again and again: {error}"));
                sleep(backoff.take(seams)).await;
            }
            other => {
                notices.is_over(what, || format!("could {what} at last"));
                return other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use thalweg_types::job::FailureKind;

    use super::*;
    use crate::{Notices, testing::context};

    fn reason() -> String {
        "because".to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_does_not_is_told() {
        let (notices, seams) = (Notices::default().of(None, "t"), context().seams);
        let asked = AtomicU32::new(0);
        let answer = patiently((&notices, &seams), "list shards", || {
            let times = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match times {
                    0..3 => Err(KinesisError::Throttled { reason: reason() }),
                    3..5 => Err(KinesisError::Unavailable { reason: reason() }),
                    _ => Ok(times),
                }
            }
        });
        assert_eq!(answer.await, Ok(5));
        let denied = KinesisError::Denied { reason: reason() };
        let answer = patiently::<u32, _>((&notices, &seams), "list shards", || std::future::ready(Err(denied.clone())));
        assert_eq!(answer.await, Err(denied));
    }

    #[tokio::test]
    async fn pauses_grow_to_a_bound() {
        let (seams, mut backoff) = (context().seams, Backoff::default());
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.take(&seams)).collect();
        assert!(pauses[0] >= FIRST_PAUSE / 2 && pauses[0] <= FIRST_PAUSE);
        assert!(pauses[19] >= LONGEST_PAUSE / 2 && pauses[19] <= LONGEST_PAUSE);
        backoff.reset();
        assert!(backoff.take(&seams) <= FIRST_PAUSE);
    }

    #[test]
    fn errors_say_whether_somebody_must_act() {
        let kind = |error| failed("t", "read".to_owned(), error).failure_kind();
        assert_eq!(kind(KinesisError::Unavailable { reason: reason() }), FailureKind::Store);
        assert_eq!(kind(KinesisError::Throttled { reason: reason() }), FailureKind::Store);
        assert_eq!(kind(KinesisError::Denied { reason: reason() }), FailureKind::Data);
        assert_eq!(kind(KinesisError::Config { reason: reason() }), FailureKind::Data);
        assert_eq!(kind(KinesisError::NoStream { stream: reason() }), FailureKind::Data);
    }
}
