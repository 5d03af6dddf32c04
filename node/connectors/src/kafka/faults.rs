//! What a client's errors mean for an attempt.

use std::{future::Future, time::Duration};

use thalweg_kafka::KafkaError;
use tokio::time::{sleep, timeout};

use crate::{ConnectorError, notices::TableNotices};

/// How long one question to brokers may take. Clients have limits of their own, which are longer.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether the same may succeed later without anybody's help.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Unavailable { .. } | KafkaError::Broken { .. } => true,
        KafkaError::Config { .. }
        | KafkaError::Denied { .. }
        | KafkaError::NoTopic { .. }
        | KafkaError::OffsetOutOfRange { .. }
        | KafkaError::Refused { .. }
        | KafkaError::Fenced { .. }
        | KafkaError::Aborted { .. } => false,
    }
}

/// The error of a table whose client could not do something. `attempted` is said behind "could not".
pub(super) fn failed(table: &str, attempted: String, error: KafkaError) -> ConnectorError {
    match error {
        KafkaError::Config { reason } => ConnectorError::Config { table: table.to_owned(), reason: of_client(&reason) },
        KafkaError::Unavailable { .. } | KafkaError::Broken { .. } => {
            ConnectorError::Store { attempted, source: Box::new(error) }
        }
        KafkaError::Denied { .. } => ConnectorError::Refused {
            attempted,
            advice:
                "see the access control lists of the cluster, 'properties.security.protocol' and 'properties.sasl.*'"
                    .to_owned(),
            source: Box::new(error),
        },
        KafkaError::NoTopic { .. }
        | KafkaError::OffsetOutOfRange { .. }
        | KafkaError::Refused { .. }
        | KafkaError::Fenced { .. }
        | KafkaError::Aborted { .. } => ConnectorError::Data { attempted, reason: error.to_string() },
    }
}

/// What is wrong with a property of a client.
pub(super) fn of_client(reason: &str) -> String {
    format!("a property of its client ('properties.*'): {reason}")
}

/// Asks, and takes silence for an error.
pub(super) async fn answered<T>(
    within: Duration,
    question: impl Future<Output = Result<T, KafkaError>>,
) -> Result<T, KafkaError> {
    let silent = |_| KafkaError::Unavailable { reason: format!("there was no answer within {} s", within.as_secs()) };
    timeout(within, question).await.map_err(silent)?
}

/// Asks until there is an answer, or an error that does not pass. What is tried is told once, and that it has succeeded then.
pub(super) async fn patiently<T, F>(
    notices: &TableNotices,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, KafkaError>
where
    F: Future<Output = Result<T, KafkaError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match answered(ANSWERED_WITHIN, ask()).await {
            Err(error) if is_passing(&error) => {
                notices.tell(what, || format!("could not {what}, which is tried again and again: {error}"));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
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

    use super::*;
    use crate::Notices;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_does_not_is_told() {
        let notices = Notices::default().of(None, "t");
        let asked = AtomicU32::new(0);
        let away = || KafkaError::Unavailable { reason: "nobody".to_owned() };
        let answer = patiently(&notices, "list topics", || {
            let times = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match times {
                    0..5 => Err(away()),
                    5 => std::future::pending().await,
                    _ => Ok(times),
                }
            }
        });
        assert_eq!(answer.await, Ok(6));
        let denied = KafkaError::Denied { reason: "no".to_owned() };
        let answer = patiently::<u32, _>(&notices, "list topics", || std::future::ready(Err(denied.clone())));
        assert_eq!(answer.await, Err(denied));
    }

    #[test]
    fn errors_say_whether_somebody_must_act() {
        use thalweg_types::job::FailureKind;
        let kind = |error| failed("t", "read x-0".to_owned(), error).failure_kind();
        let reason = || "because".to_owned();
        assert_eq!(kind(KafkaError::Unavailable { reason: reason() }), FailureKind::Store);
        assert_eq!(kind(KafkaError::Broken { reason: reason() }), FailureKind::Store);
        assert_eq!(kind(KafkaError::Denied { reason: reason() }), FailureKind::Data);
        assert_eq!(kind(KafkaError::Config { reason: reason() }), FailureKind::Data);
        assert_eq!(kind(KafkaError::NoTopic { topic: reason() }), FailureKind::Data);
    }
}
