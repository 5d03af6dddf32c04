//! What a client of librdkafka tells while it runs: lines of its log, what keeps it from brokers, what became of records; and the tokens that it
//! asks for.
//!
//! librdkafka's calls tell of a wrong password or a refused connection only that they have timed out. Why is in these events.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message as _,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError as NativeError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};
use thalweg_types::seam::Clock;
use tokio::{runtime::Handle, sync::Notify, time::timeout};

use super::{
    failures::{Kind, Place, error_of, is_unknown_here, kind_of},
    hangups::Hangups,
    native::Failure,
};
use crate::{KafkaError, TokenError, TokenSource, TopicPartition};

/// librdkafka repeats what is wrong twice a minute at least, so what is older is over.
const TROUBLE_AGE: Duration = Duration::from_secs(45);
/// A cluster that has let a client in refuses it only if it does so again and again, for so long, and lets it in nowhere between: a broker may not
/// know yet who may come in when it has just started. librdkafka tells it again after half a minute.
const REFUSED_FOR: Duration = Duration::from_secs(25);
/// A source of tokens that takes longer holds the client's events up.
const TOKEN_LIMIT: Duration = Duration::from_secs(20);
/// So many records make those look again who wait for room.
const WAKE_EACH: u64 = 256;

/// Shared by a client's threads and those who use it.
#[derive(Clone)]
pub(super) struct Context(Arc<Told>);

struct Told {
    clock: Arc<dyn Clock>,
    tokens: Option<(Arc<dyn TokenSource>, Handle)>,
    trouble: Mutex<Troubles>,
    /// Wakes those who wait for an answer that will not come.
    denied: Notify,
    deliveries: Deliveries,
}

#[derive(Default)]
struct Troubles {
    /// What was told last, and when.
    last: Option<(String, Duration)>,
    /// That brokers do not believe who the client says it is, as they have told since they last let it in.
    refusal: Option<Refusal>,
    /// Whether a broker ever let it in.
    was_let_in: bool,
    hangups: Hangups,
    /// Whether tokens could not be had for now: then brokers do not refuse them.
    lacks_token: bool,
}

struct Refusal {
    reason: String,
    /// When it was told first, and last.
    first: Duration,
    last: Duration,
}

impl Troubles {
    fn on_refused(&mut self, reason: &str, now: Duration) {
        let first = self.refusal.as_ref().map_or(now, |refusal| refusal.first);
        self.refusal = Some(Refusal { reason: reason.to_owned(), first, last: now });
    }

    /// Why the cluster refuses the client, if it does.
    fn denial(&self, now: Duration) -> Option<&str> {
        let Refusal { reason, first, last } = self.refusal.as_ref()?;
        let is_sure = !self.was_let_in || last.saturating_sub(*first) >= REFUSED_FOR;
        (is_sure && now.saturating_sub(*last) < TROUBLE_AGE).then_some(reason)
    }
}

/// What became of records.
#[derive(Default)]
struct Deliveries {
    /// Records that were handed over, and those of which something became.
    sent: AtomicU64,
    done: AtomicU64,
    /// Why the first record was not written, since this was last asked.
    failed: Mutex<Option<Undelivered>>,
    /// Wakes who waits for room.
    room: Notify,
}

/// Why a record was not written.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    pub(super) of: TopicPartition,
    pub(super) failure: Failure,
}

impl Undelivered {
    /// Whether it was given up because of another one.
    fn is_consequence(&self) -> bool {
        matches!(
            self.failure.code,
            RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal
        )
    }
}

impl Context {
    /// Tokens are got in the runtime in which the client is made.
    pub(super) fn new(clock: Arc<dyn Clock>, tokens: Option<(Arc<dyn TokenSource>, Handle)>) -> Self {
        Self(Arc::new(Told {
            clock,
            tokens,
            trouble: Mutex::default(),
            denied: Notify::new(),
            deliveries: Deliveries::default(),
        }))
    }

    /// What keeps the client from brokers, if it was told within the last while and after a moment.
    pub(super) fn trouble_since(&self, since: Duration) -> Option<String> {
        let now = self.0.clock.monotonic();
        let trouble = self.0.trouble.lock();
        let last = trouble.last.as_ref().filter(|(_, at)| *at >= since && now.saturating_sub(*at) < TROUBLE_AGE);
        last.map(|(text, _)| text.clone())
    }

    pub(super) fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// A failure, with what was told of the connection, where that is why.
    pub(super) fn error_of(&self, failure: &Failure, place: Place<'_>) -> KafkaError {
        if let Some(error) = self.denial() {
            return error;
        }
        let error = error_of(failure, place);
        match (kind_of(failure.code), self.trouble_since(Duration::ZERO)) {
            (Kind::Unavailable, Some(trouble)) => KafkaError::Unavailable { reason: format!("{error}: {trouble}") },
            (_, _) => error,
        }
    }

    /// Why the cluster refuses this client, if it does: brokers do not believe who it says it is.
    pub(super) fn denial(&self) -> Option<KafkaError> {
        let trouble = self.0.trouble.lock();
        trouble.denial(self.now()).map(|reason| KafkaError::Denied { reason: reason.to_owned() })
    }

    /// A broker has answered what the client has asked, so it has let it in.
    pub(super) fn on_let_in(&self) {
        let mut trouble = self.0.trouble.lock();
        (trouble.was_let_in, trouble.refusal) = (true, None);
    }

    /// Waits until the cluster refuses this client.
    pub(super) async fn denied(&self) -> KafkaError {
        loop {
            let denied = self.0.denied.notified();
            tokio::pin!(denied);
            denied.as_mut().enable();
            if let Some(error) = self.denial() {
                return error;
            }
            denied.await;
        }
    }

    /// A record is handed over.
    pub(super) fn on_sent(&self) {
        self.0.deliveries.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// A record was not handed over after all.
    pub(super) fn on_unsent(&self) {
        self.0.deliveries.sent.fetch_sub(1, Ordering::AcqRel);
    }

    /// Waits until there may be room that there was not when so many records were done.
    pub(super) async fn room_after(&self, done: u64) {
        let deliveries = &self.0.deliveries;
        loop {
            let room = deliveries.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            // While no record is under way there is room: nobody else takes it.
            let has_moved = deliveries.done.load(Ordering::Acquire) != done || deliveries.outstanding() == 0;
            if has_moved || self.denial().is_some() {
                return;
            }
            room.await;
        }
    }

    /// Of how many records something became.
    pub(super) fn done(&self) -> u64 {
        self.0.deliveries.done.load(Ordering::Acquire)
    }

    /// How many records are under way.
    pub(super) fn outstanding(&self) -> u64 {
        self.0.deliveries.outstanding()
    }

    /// Why a record was not written, if one was not, since this was last asked.
    pub(super) fn take_undelivered(&self) -> Option<Undelivered> {
        self.0.deliveries.failed.lock().take()
    }

    fn tell_denial(&self) {
        self.0.denied.notify_waiters();
        self.0.deliveries.room.notify_waiters();
    }
}

impl Deliveries {
    fn outstanding(&self) -> u64 {
        let done = self.done.load(Ordering::Acquire);
        self.sent.load(Ordering::Acquire).saturating_sub(done)
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// The reasons come again with calls that fail, so that a line is a warning at most.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.trouble.lock().hangups.on_line(facility, line, self.0.clock.monotonic());
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
    }

    fn error(&self, error: NativeError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        // librdkafka looks for the group of each consumer, though ours join none.
        if code == RDKafkaErrorCode::GroupAuthorizationFailed {
            return;
        }
        let now = self.0.clock.monotonic();
        let is_denied = {
            let trouble = &mut *self.0.trouble.lock();
            // That all brokers are down is told after why the last one is.
            let is_summary = code == RDKafkaErrorCode::AllBrokersDown && trouble.last.is_some();
            let explained = trouble.hangups.explained(code, reason, now);
            match &mut trouble.last {
                Some((_, at)) if is_summary => *at = now,
                last => *last = Some((explained, now)),
            }
            if is_unknown_here(code, reason) && !trouble.lacks_token {
                trouble.on_refused(reason, now);
            }
            trouble.denial(now).is_some()
        };
        if is_denied {
            self.tell_denial();
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Some((source, runtime)) = &self.0.tokens else {
            return Err("the client has no source of tokens for OAUTHBEARER".into());
        };
        // The thread is the client's own.
        let got = runtime.block_on(async { timeout(TOKEN_LIMIT, source.token()).await });
        let late = |_| TokenError::Unavailable { reason: format!("there was no token within {TOKEN_LIMIT:?}") };
        let got = got.map_err(late).and_then(|got| got);
        self.0.trouble.lock().lacks_token = matches!(got, Err(TokenError::Unavailable { .. }));
        // librdkafka tells the same reason only once, though it asks again and again.
        if let Err(error @ TokenError::Denied { .. }) = &got {
            let now = self.now();
            self.0.trouble.lock().on_refused(&error.to_string(), now);
            self.tell_denial();
        }
        let token = got?;
        Ok(OAuthToken {
            token: token.value,
            principal_name: token.principal,
            lifetime_ms: i64::try_from(token.expires.as_millis())?,
        })
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let deliveries = &self.0.deliveries;
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let of = TopicPartition { topic: message.topic().into(), partition: message.partition() };
            let undelivered = Undelivered { of, failure: Failure { code, reason: reason_of(code) } };
            let mut failed = deliveries.failed.lock();
            if failed.as_ref().is_none_or(|known| known.is_consequence() && !undelivered.is_consequence()) {
                *failed = Some(undelivered);
            }
        }
        let done = deliveries.done.fetch_add(1, Ordering::AcqRel) + 1;
        let is_pause = done.is_multiple_of(WAKE_EACH) || deliveries.outstanding() == 0;
        if result.is_err() || is_pause {
            deliveries.room.notify_waiters();
        }
        if result.is_ok() && is_pause {
            self.on_let_in();
        }
    }
}

/// What librdkafka calls an error.
fn reason_of(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    // It is shown as `Name (text)`.
    let inner = text.split_once(" (").and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::seams::seams;

    const REFUSED: &str = "broker:9092: SASL authentication error: Authentication failed";

    fn tell(context: &Context, reason: &str) {
        context.error(NativeError::Global(RDKafkaErrorCode::Authentication), reason);
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_never_let_in_is_denied_at_once() {
        let context = Context::new(seams().clock, None);
        tell(&context, REFUSED);
        assert_eq!(context.denied().await, KafkaError::Denied { reason: REFUSED.to_owned() });
        context.on_let_in();
        assert_eq!(context.denial(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_is_not_repeated_is_over() {
        let context = Context::new(seams().clock, None);
        tell(&context, REFUSED);
        pass(TROUBLE_AGE.as_secs()).await;
        assert_eq!(context.denial(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_let_in_is_denied_after_a_while_only() {
        let context = Context::new(seams().clock, None);
        context.on_let_in();
        for is_let_in_between in [true, false] {
            tell(&context, REFUSED);
            assert_eq!(context.denial(), None);
            pass(30).await;
            if is_let_in_between {
                context.on_let_in();
            }
            tell(&context, REFUSED);
            assert_eq!(context.denial().is_none(), is_let_in_between);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_lost_in_a_handshake_is_no_refusal() {
        let context = Context::new(seams().clock, None);
        let lost = "broker:9092: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported \
                    mechanisms: (n/a)";
        tell(&context, lost);
        tell(&context, "broker:9092: Disconnected: hung up from peer in state AUTH_LEGACY");
        assert_eq!(context.denial(), None);
        assert!(context.trouble_since(Duration::ZERO).is_some());
        let answered = "broker:9092: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's \
                        supported mechanisms: SCRAM-SHA-512";
        tell(&context, answered);
        assert!(context.denial().is_some());
    }
}
