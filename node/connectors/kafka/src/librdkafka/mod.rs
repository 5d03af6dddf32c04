//! Clients of librdkafka, by the crate `rdkafka`.
//!
//! | module | |
//! |---|---|
//! | `settings` | the properties of each client |
//! | `context` | what a client tells: its log, what keeps it from brokers, what became of records |
//! | `admin`, `consumer`, `producer` | the clients |
//! | `group` | offsets of a consumer group |
//! | `failures` | what librdkafka's codes mean to callers |
//! | `hangups` | why connections failed, as the log tells it |
//! | `threads` | where C may wait |
//! | `native` | what rdkafka does not wrap, and all that is `unsafe` |
//!
//! No consumer joins a group: partitions are assigned by hand, and a group's offsets are read and committed from outside. Every producer is
//! idempotent.

mod admin;
mod consumer;
mod context;
mod failures;
mod group;
mod hangups;
#[expect(unsafe_code, reason = "it calls a C library")]
mod native;
mod producer;
mod settings;
mod threads;

use std::{fmt, sync::Arc, time::Duration};

use rdkafka::{ClientConfig as NativeConfig, error::KafkaError as NativeError, producer::BaseProducer};
use thalweg_types::seam::{Clock, Seams};
use tokio::runtime::Handle;

use self::{admin::RdAdmin, consumer::RdConsumer, context::Context, producer::RdProducer};
use crate::{
    Admin, ClientConfig, Consumer, Isolation, Kafka, KafkaError, Producer, TransactionalProducer, Transactions,
    properties,
};

/// Makes clients of librdkafka. Make them in a runtime if they need tokens, which are got there.
#[derive(Clone)]
pub struct RdKafka {
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for RdKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdKafka").finish_non_exhaustive()
    }
}

impl RdKafka {
    /// Only the clock is used: the rest of librdkafka's surroundings is its own.
    #[must_use]
    pub fn new(seams: &Seams) -> Self {
        native::keep_to_the_end();
        Self { clock: seams.clock.clone() }
    }

    fn context(&self, config: &ClientConfig) -> Result<Context, KafkaError> {
        context_of(&self.clock, config)
    }

    fn native_producer(
        &self,
        config: &ClientConfig,
        native: &NativeConfig,
    ) -> Result<(Arc<BaseProducer<Context>>, Context), KafkaError> {
        let context = self.context(config)?;
        let client = threads::beside(|| native.create_with_context::<_, BaseProducer<_>>(context.clone()));
        Ok((Arc::new(client.map_err(|error| refused(&error))?), context))
    }
}

impl Kafka for RdKafka {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        let (client, context) = self.native_producer(config, &settings::admin(config)?)?;
        let servers = config.properties.get(properties::SERVERS).cloned().unwrap_or_default();
        let answer = Duration::from_millis(settings::answer_ms(config)?);
        let (clock, given) = (self.clock.clone(), config.clone());
        let new_group = Box::new(move |group: &str| Ok((settings::group(&given, group)?, context_of(&clock, &given)?)));
        Ok(Arc::new(RdAdmin::new(client, context, (servers, answer), new_group)?))
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        let (clock, given) = (self.clock.clone(), config.clone());
        let new_context = Box::new(move || context_of(&clock, &given));
        Ok(Arc::new(RdConsumer::new(config, isolation, new_context)?))
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
        let (client, context) = self.native_producer(config, &settings::producer(config, None)?)?;
        Ok(Box::new(RdProducer::new(client, context, None)?))
    }

    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError> {
        let (client, context) = self.native_producer(config, &settings::producer(config, Some(transactions))?)?;
        Ok(Box::new(RdProducer::new(client, context, Some(transactions.clone()))?))
    }
}

fn context_of(clock: &Arc<dyn Clock>, config: &ClientConfig) -> Result<Context, KafkaError> {
    let tokens = match &config.token {
        None => None,
        Some(source) => {
            let outside =
                |_| KafkaError::Broken { reason: "a client that needs tokens is made in a runtime".to_owned() };
            Some((source.clone(), Handle::try_current().map_err(outside)?))
        }
    };
    Ok(Context::new(clock.clone(), tokens))
}

/// Why librdkafka did not make a client. Values of properties are not told: some are secret.
fn refused(error: &NativeError) -> KafkaError {
    let reason = match error {
        NativeError::ClientConfig(_, reason, name, _) => format!("the client's property '{name}' is refused: {reason}"),
        other => format!("the client cannot be made: {other}"),
    };
    KafkaError::Config { reason }
}
