//! A stream as all readers of an attempt share it on a node: one client, and what is known of the stream.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thalweg_kinesis::{ClientConfig, Consumer, ConsumerStatus, Kinesis, KinesisError, Stream, StreamDescription};
use thalweg_types::seam::Seams;
use tokio::time::sleep;

use super::{
    check::Place,
    faults::{Backoff, failed, is_passing},
    options::{FanOut, ReadOptions, ReaderType, client_config},
};
use crate::{ConnectorContext, ConnectorError, DecodingShare, notices::TableNotices, options::Options};

/// How long what was told of the stream is taken to hold: Kinesis allows 20 such questions a second per account.
const DESCRIBED_FOR: Duration = Duration::from_secs(10);
/// A share for those that read nothing.
const NOTHING_BYTES: u64 = 1 << 20;

/// What all readers of a table share.
pub(super) struct KinesisTable {
    pub(super) name: String,
    /// The stream as the table names it.
    pub(super) stream_name: String,
    /// What is looked at before a job runs.
    pub(super) place: Place,
    pub(super) options: ReadOptions,
    pub(super) notices: TableNotices,
    pub(super) seams: Seams,
    pub(super) decoding: DecodingShare,
    stream: Arc<dyn Stream>,
    /// What was told last, and when.
    described: tokio::sync::Mutex<Option<(Duration, StreamDescription)>>,
    consumer: tokio::sync::Mutex<Option<Consumer>>,
    /// How many open shards cannot be read now.
    unreachable: Mutex<usize>,
}

/// The client of this build.
pub(super) fn kinesis(options: &Options<'_>, context: &ConnectorContext) -> Result<Arc<dyn Kinesis>, ConnectorError> {
    context.kinesis.clone().ok_or_else(|| {
        options.error("this build has no Kinesis client: build it with the feature 'kinesis', which is on by default")
    })
}

/// A client of the table's stream.
pub(super) fn open_stream(
    options: &Options<'_>,
    config: &ClientConfig,
    context: &ConnectorContext,
) -> Result<Arc<dyn Stream>, ConnectorError> {
    let opened = kinesis(options, context)?.stream(config);
    opened.map_err(|error| failed(options.table(), format!("open a client for '{}'", config.stream), error))
}

impl KinesisTable {
    /// `decoding`: the memory of the attempt's readers; `None`: nothing is read.
    pub(super) fn new(
        options: &Options<'_>,
        notices: TableNotices,
        (context, decoding): (&ConnectorContext, Option<&DecodingShare>),
    ) -> Result<Self, ConnectorError> {
        let config = client_config(options)?;
        Ok(Self {
            name: options.table().to_owned(),
            stream_name: config.stream.to_string(),
            place: Place::new(options.table(), &config),
            options: ReadOptions::of(options)?,
            notices,
            seams: context.seams.clone(),
            decoding: decoding.cloned().unwrap_or_else(|| DecodingShare::new(NOTHING_BYTES)),
            stream: open_stream(options, &config, context)?,
            described: tokio::sync::Mutex::default(),
            consumer: tokio::sync::Mutex::default(),
            unreachable: Mutex::default(),
        })
    }

    pub(super) fn stream(&self) -> &Arc<dyn Stream> {
        &self.stream
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.seams.clock.unix_time().as_millis()).unwrap_or(i64::MAX)
    }

    /// What the stream is, as it was told within the last seconds. Whoever asks at the same time waits for one answer.
    pub(super) async fn describe(&self) -> Result<StreamDescription, KinesisError> {
        let mut described = self.described.lock().await;
        let now = self.seams.clock.monotonic();
        if let Some((at, known)) = &*described
            && now.saturating_sub(*at) < DESCRIBED_FOR
        {
            return Ok(known.clone());
        }
        let told = self.stream.describe().await?;
        *described = Some((now, told.clone()));
        Ok(told)
    }

    /// What the stream is now.
    pub(super) async fn describe_now(&self) -> Result<StreamDescription, KinesisError> {
        self.doubt().await;
        self.describe().await
    }

    /// What was told of the stream may not hold any more.
    pub(super) async fn doubt(&self) {
        *self.described.lock().await = None;
    }

    /// The consumer for fan-out, once it can subscribe. Registered if the table says so and it is not there.
    pub(super) async fn consumer(&self, options: &FanOut) -> Result<Consumer, KinesisError> {
        let mut consumer = self.consumer.lock().await;
        if let Some(known) = &*consumer {
            return Ok(known.clone());
        }
        let found = self.stream.consumer(&options.consumer).await?;
        let found = match found {
            Some(found) => found,
            None if options.is_managed => self.stream.register_consumer(&options.consumer).await?,
            None => return Err(KinesisError::NoConsumer { consumer: options.consumer.clone() }),
        };
        match found.status {
            ConsumerStatus::Active => Ok(consumer.insert(found).clone()),
            ConsumerStatus::Creating | ConsumerStatus::Deleting => {
                Err(KinesisError::Busy { reason: format!("the consumer '{}' is not active yet", options.consumer) })
            }
        }
    }

    /// The consumer was found to be gone.
    pub(super) async fn forget_consumer(&self) {
        *self.consumer.lock().await = None;
    }

    /// Removes the consumer, if the table manages it: nobody reads any more.
    pub(super) fn remove_consumer(&self) {
        let ReaderType::FanOut(FanOut { consumer, is_managed: true, .. }) = &self.options.reader else { return };
        let (stream, consumer, seams) = (self.stream.clone(), consumer.clone(), self.seams.clone());
        let notices = self.notices.clone();
        let remove = async move {
            let mut backoff = Backoff::default();
            for _ in 0..REMOVED_WITHIN {
                match stream.deregister_consumer(&consumer).await {
                    Err(error) if is_passing(&error) => sleep(backoff.take(&seams)).await,
                    Err(error) => {
                        let text = || format!("the consumer '{consumer}' could not be removed and costs on: {error}");
                        return notices.tell("consumer left", text);
                    }
                    Ok(_) => return,
                }
            }
        };
        // Nobody waits for it: all that is read is published.
        let _ = self.seams.io.spawn("removal of a consumer", Box::pin(remove));
    }

    /// Counts a shard that cannot be read now, or can again. That some cannot is told once for all of them.
    pub(super) fn count_unreachable(&self, is_unreachable: bool, why: impl FnOnce() -> String) {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        let about = "unreachable";
        if is_unreachable {
            *unreachable += 1;
            self.notices.tell(about, why);
        } else {
            *unreachable = unreachable.saturating_sub(1);
            if *unreachable == 0 {
                self.notices.is_over(about, || "all shards can be read again".to_owned());
            }
        }
    }
}

/// How often it is tried to remove a consumer.
const REMOVED_WITHIN: u32 = 10;
