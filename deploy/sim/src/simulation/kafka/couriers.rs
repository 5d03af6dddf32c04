//! Producers whose calls are messages: once sent, a call is executed whatever becomes of its caller.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use thalweg_kafka::{KafkaError, NewRecord, Producer, TransactionalProducer, model::Call};
use tokio::sync::oneshot;

use super::{
    brokers::{Passage, STRUCK_WITHIN, SimulatedKafka},
    faults::Message,
    outcome::outcome,
};

/// A producer of a process, which goes to the brokers with each call and comes back when it is done.
pub(super) struct Courier<P: ?Sized> {
    kafka: SimulatedKafka,
    host: Arc<str>,
    /// Its name in the journal.
    name: Arc<str>,
    client: u64,
    place: Place<P>,
}

enum Place<P: ?Sized> {
    Here(Box<P>),
    /// With a call that the caller may have given up.
    Away(oneshot::Receiver<Box<P>>),
    /// The simulation is over.
    Lost,
}

impl<P: Producer + ?Sized + 'static> Courier<P> {
    pub(super) fn new(kafka: &SimulatedKafka, host: &Arc<str>, name: &str, producer: Box<P>) -> Self {
        let (kafka, client) = (kafka.clone(), kafka.new_client());
        Self { kafka, host: host.clone(), name: name.into(), client, place: Place::Here(producer) }
    }

    /// Waits until the producer is back. Cancel-safe.
    async fn here(&mut self) {
        if let Place::Away(back) = &mut self.place {
            self.place = back.await.map_or(Place::Lost, Place::Here);
        }
    }

    /// Sends a call.
    async fn call<W>(&mut self, call: Call, work: W) -> Result<(), KafkaError>
    where
        W: for<'a> FnOnce(&'a mut P) -> BoxFuture<'a, Result<(), KafkaError>> + Send + 'static,
    {
        let passage = self.kafka.draw(&self.host, call);
        self.send_call(call, passage, work).await
    }

    async fn send_call<W>(&mut self, call: Call, passage: Passage, work: W) -> Result<(), KafkaError>
    where
        W: for<'a> FnOnce(&'a mut P) -> BoxFuture<'a, Result<(), KafkaError>> + Send + 'static,
    {
        let Passage { delay, fault, struck } = passage;
        if struck == Some(Message::Unsent) {
            tokio::time::sleep(STRUCK_WITHIN).await;
        }
        self.here().await;
        let Place::Here(mut producer) = std::mem::replace(&mut self.place, Place::Lost) else { return Err(over()) };
        let (give_back, back) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.place = Place::Away(back);
        let (kafka, host, name, client) = (self.kafka.clone(), self.host.clone(), self.name.clone(), self.client);
        let under_way = self.kafka.under_way();
        self.kafka.carry(Box::pin(async move {
            match struck {
                Some(Message::HeldUntil(by)) => kafka.hold(client, by, false).await,
                Some(Message::HeldBehind(by)) => kafka.hold(client, by, true).await,
                // It arrives while its sender is being struck.
                Some(Message::Delivered) => {}
                Some(Message::Unsent) | None => tokio::time::sleep(delay).await,
            }
            kafka.give_way(client, call).await;
            if let Some(fault) = fault {
                kafka.model.fault_of(&host, call, fault);
            }
            let result = work(&mut producer).await;
            kafka.journal.detail(&format!("kafka: {host}: {call:?} of {name}: {}", outcome(&result)));
            kafka.release(client, call, true);
            // The caller may be gone, or have given the call up.
            drop(give_back.send(producer));
            if struck.is_some() {
                tokio::time::sleep(STRUCK_WITHIN).await;
            }
            drop(answer.send(result));
            drop(under_way);
        }));
        answered.await.unwrap_or_else(|_| Err(over()))
    }
}

fn over() -> KafkaError {
    KafkaError::Broken { reason: "the simulation is over".to_owned() }
}

#[async_trait]
impl<P: Producer + ?Sized + 'static> Producer for Courier<P> {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), KafkaError> {
        self.call(Call::Produce, move |producer| producer.send(records)).await
    }

    async fn flush(&mut self) -> Result<(), KafkaError> {
        // Records go wrong when they are sent. There may be none left.
        let passage = Passage { fault: None, ..self.kafka.draw(&self.host, Call::Produce) };
        self.send_call(Call::Produce, passage, |producer| producer.flush()).await
    }
}

#[async_trait]
impl TransactionalProducer for Courier<dyn TransactionalProducer> {
    async fn init(&mut self) -> Result<(), KafkaError> {
        self.call(Call::Init, |producer| producer.init()).await
    }

    /// Brokers are not asked.
    async fn begin(&mut self) -> Result<(), KafkaError> {
        self.here().await;
        let Place::Here(producer) = &mut self.place else { return Err(over()) };
        producer.begin().await
    }

    async fn commit(&mut self) -> Result<(), KafkaError> {
        self.call(Call::Commit, |producer| producer.commit()).await
    }

    async fn abort(&mut self) -> Result<(), KafkaError> {
        self.call(Call::Abort, |producer| producer.abort()).await
    }
}
