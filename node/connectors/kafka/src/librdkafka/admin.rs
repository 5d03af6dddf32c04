//! Asks brokers about topics, offsets and groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig as NativeConfig, Offset, TopicPartitionList,
    error::RDKafkaErrorCode,
    producer::{BaseProducer, Producer as _},
};
use tokio::time::{sleep, timeout};

use super::{
    context::Context,
    failures::{Kind, Place, kind_of},
    group::{About, GroupClient},
    native::{self, Answer, Client, Failure, Question, Queue},
    threads,
};
use crate::{Admin, Isolation, KafkaError, NewTopic, OffsetAt, Topic, TopicPartition, Wanted};

/// Between two questions to brokers that are busy.
const BACKOFF: Duration = Duration::from_millis(100);
/// Brokers' answers come later than the limit that they are told by so much at most.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct RdAdmin {
    client: Arc<BaseProducer<Context>>,
    context: Context,
    servers: String,
    answer: Duration,
    new_group: NewGroup,
    /// The group that was asked about last.
    group: Mutex<Option<(String, Arc<GroupClient>)>>,
}

/// What is asked, and whom.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Admin(&'a Question<'a>),
    Group(&'a GroupClient, &'a About<'a>),
}

/// What a client of a group is made of.
pub(super) type NewGroup = Box<dyn Fn(&str) -> Result<(NativeConfig, Context), KafkaError> + Send + Sync>;

impl RdAdmin {
    /// Librdkafka's administrators are producers that produce nothing. Brokers have so long for an answer.
    pub(super) fn new(
        client: Arc<BaseProducer<Context>>,
        context: Context,
        (servers, answer): (String, Duration),
        new_group: NewGroup,
    ) -> Result<Self, KafkaError> {
        threads::serve("kafka-admin", client.clone(), |client| client.poll(threads::TICK))?;
        Ok(Self { client, context, servers, answer, new_group, group: Mutex::default() })
    }

    /// Asks until there is an answer, or until the limit.
    async fn ask(&self, question: Question<'_>, place: Place<'_>) -> Result<Answer, KafkaError> {
        let told = self.ask_patiently(&question).await?;
        told.map_err(|failure| self.named(self.context.error_of(&failure, place)))
    }

    /// As `ask`, with librdkafka's own failure.
    async fn ask_patiently(&self, question: &Question<'_>) -> Result<Result<Answer, Failure>, KafkaError> {
        self.repeat(Asked::Admin(question)).await
    }

    /// Asks while brokers are busy, until the limit.
    async fn repeat(&self, asked: Asked<'_>) -> Result<Result<Answer, Failure>, KafkaError> {
        let asked = async {
            loop {
                let told = match asked {
                    Asked::Admin(question) => self.ask_once(question).await,
                    Asked::Group(client, about) => self.ask_group_once(client, about).await,
                };
                match told? {
                    Ok(answer) if is_busy(&answer) => {}
                    Err(failure) if kind_of(failure.code) == Kind::Busy => {}
                    told => return Ok(told),
                }
                sleep(BACKOFF).await;
            }
        };
        timeout(self.answer + GRACE, asked).await.unwrap_or_else(|_| Err(self.named(self.unanswered())))
    }

    async fn ask_once(&self, question: &Question<'_>) -> Result<Result<Answer, Failure>, KafkaError> {
        let client: Arc<dyn Client> = self.client.clone();
        let queue = Queue::for_answers(client.clone());
        let limit_ms = i32::try_from(self.answer.as_millis()).unwrap_or(i32::MAX);
        if let Err(failure) = native::ask(&client, &queue, question, limit_ms) {
            return Ok(Err(failure));
        }
        loop {
            if let Some(answer) = native::take_answer(&queue) {
                return Ok(answer);
            }
            tokio::select! {
                biased;
                () = queue.filled() => {}
                error = self.context.denied() => return Err(error),
            }
        }
    }

    /// Asks about the offsets of a group.
    async fn ask_group(&self, group: &str, about: About<'_>) -> Result<Answer, KafkaError> {
        let client = self.group_client(group).await?;
        let told = self.repeat(Asked::Group(&client, &about)).await?;
        if let Err(failure) = &told
            && !matches!(kind_of(failure.code), Kind::Busy | Kind::Unavailable)
        {
            // A client that was refused tells nothing else any more, though it may be let in by the next question.
            self.group.lock().take_if(|(_, kept)| Arc::ptr_eq(kept, &client));
        }
        told.map_err(|failure| self.named(self.context.error_of(&failure, Place::Group(group))))
    }

    async fn ask_group_once(
        &self,
        client: &GroupClient,
        about: &About<'_>,
    ) -> Result<Result<Answer, Failure>, KafkaError> {
        tokio::select! {
            biased;
            answer = client.ask(about, self.answer) => answer,
            error = self.context.denied() => Err(error),
        }
    }

    async fn group_client(&self, group: &str) -> Result<Arc<GroupClient>, KafkaError> {
        let kept = self.group.lock().as_ref().filter(|(name, _)| name == group).map(|(_, kept)| kept.clone());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let (native, context) = (self.new_group)(group)?;
        // Files are read, and threads begin.
        let opened = threads::call("kafka-open", move || GroupClient::new(&native, context)).await??;
        let opened = Arc::new(opened);
        *self.group.lock() = Some((group.to_owned(), opened.clone()));
        Ok(opened)
    }

    fn unanswered(&self) -> KafkaError {
        let code = RDKafkaErrorCode::OperationTimedOut;
        let reason = format!("no answer within {} ms", self.answer.as_millis());
        self.context.error_of(&Failure { code, reason }, Place::Nowhere)
    }

    /// Says where brokers were looked for.
    fn named(&self, error: KafkaError) -> KafkaError {
        match error {
            KafkaError::Unavailable { reason } => {
                KafkaError::Unavailable { reason: format!("brokers at {}: {reason}", self.servers) }
            }
            KafkaError::Config { .. }
            | KafkaError::Denied { .. }
            | KafkaError::NoTopic { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Refused { .. }
            | KafkaError::Fenced { .. }
            | KafkaError::Aborted { .. }
            | KafkaError::Broken { .. } => error,
        }
    }

    /// The names of all topics.
    async fn names(&self) -> Result<Vec<String>, KafkaError> {
        let (client, limit) = (self.client.clone(), self.answer);
        let asked = threads::call("kafka-metadata", move || {
            let metadata = client.client().fetch_metadata(None, limit);
            metadata.map(|found| found.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>())
        });
        let told = tokio::select! {
            told = asked => told?,
            error = self.context.denied() => return Err(error),
        };
        told.map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let failure = Failure { code, reason: error.to_string() };
            self.named(self.context.error_of(&failure, Place::Nowhere))
        })
    }

    async fn describe(&self, names: &[String]) -> Result<Vec<(String, Result<(Topic, bool), Failure>)>, KafkaError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(Question::Topics(names), Place::Nowhere).await? {
            Answer::Topics(topics) => Ok(topics),
            Answer::Offsets(_) | Answer::Done | Answer::Config(_) => Err(misunderstood()),
        }
    }
}

#[async_trait]
impl Admin for RdAdmin {
    async fn topics(&self, wanted: &Wanted) -> Result<Vec<Topic>, KafkaError> {
        let (names, all) = match wanted {
            Wanted::Named(names) => (names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(), false),
            Wanted::All => (self.names().await?, true),
        };
        let mut topics = Vec::new();
        for (name, described) in self.describe(&names).await? {
            match described {
                Ok((topic, is_internal)) if !(all && is_internal) => topics.push(topic),
                Ok(_) => {}
                // It is gone since its name was told.
                Err(failure) if kind_of(failure.code) == Kind::NoTopic => {}
                // Those that others may not see are none of ours.
                Err(failure) if all && kind_of(failure.code) == Kind::Denied => {}
                Err(failure) => return Err(self.context.error_of(&failure, Place::Topic(&name))),
            }
        }
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let wanted = match at {
            OffsetAt::Earliest => Offset::Beginning,
            OffsetAt::Latest => Offset::End,
            // Negative ones have other meanings.
            OffsetAt::Timestamp(timestamp_ms) => Offset::Offset(timestamp_ms.max(0)),
        };
        let mut offsets = BTreeMap::new();
        let distinct: BTreeSet<&TopicPartition> = partitions.iter().collect();
        if let Some(list) = list_of(distinct.iter().map(|of| (*of, wanted)))? {
            offsets = match self.ask_patiently(&Question::Offsets(&list, isolation)).await? {
                Ok(answer) => self.offsets_in(answer)?,
                Err(failure) if failure.code == RDKafkaErrorCode::NoEnt => {
                    return Err(self.without_leader(&distinct).await?);
                }
                Err(failure) => return Err(self.named(self.context.error_of(&failure, Place::Nowhere))),
            };
        }
        // Behind the last, where no record is as late.
        let late: Vec<_> = offsets.iter().filter(|(_, offset)| **offset < 0).map(|(of, _)| of.clone()).collect();
        if let Some(list) = list_of(late.iter().map(|of| (of, Offset::End)))? {
            let answer = self.ask(Question::Offsets(&list, isolation), Place::Nowhere).await;
            offsets.extend(self.offsets_in(answer?)?);
        }
        Ok(offsets)
    }

    async fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let distinct: BTreeSet<&TopicPartition> = partitions.iter().collect();
        let Some(list) = list_of(distinct.into_iter().map(|of| (of, Offset::Invalid)))? else {
            return Ok(BTreeMap::new());
        };
        let answer = self.ask_group(group, About::Committed(&list)).await?;
        let mut offsets = self.offsets_in(answer)?;
        offsets.retain(|_, offset| *offset >= 0);
        Ok(offsets)
    }

    async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        let Some(list) = list_of(offsets.iter().map(|(of, offset)| (of, Offset::Offset(*offset))))? else {
            return Ok(());
        };
        let answer = self.ask_group(group, About::Commit(&list)).await?;
        self.offsets_in(answer).map(drop)
    }

    async fn create_topic(&self, topic: &NewTopic) -> Result<bool, KafkaError> {
        match self.ask_patiently(&Question::CreateTopic(topic)).await? {
            Ok(_) => Ok(true),
            Err(failure) if failure.code == RDKafkaErrorCode::TopicAlreadyExists => Ok(false),
            Err(failure) => Err(self.named(self.context.error_of(&failure, Place::Topic(&topic.name)))),
        }
    }

    async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, KafkaError> {
        match self.ask(Question::Config(topic), Place::Topic(topic)).await? {
            Answer::Config(mut config) => Ok(config.remove(key).flatten()),
            Answer::Topics(_) | Answer::Offsets(_) | Answer::Done => Err(misunderstood()),
        }
    }
}

impl RdAdmin {
    /// Why one of these partitions has no leader that could be asked.
    async fn without_leader(&self, partitions: &BTreeSet<&TopicPartition>) -> Result<KafkaError, KafkaError> {
        let names: BTreeSet<String> = partitions.iter().map(|of| of.topic.to_string()).collect();
        let topics = self.topics(&Wanted::Named(names.into_iter().collect())).await?;
        let exists = |of: &TopicPartition| {
            topics.iter().any(|topic| *topic.name == *of.topic && (0..topic.partitions).contains(&of.partition))
        };
        Ok(match partitions.iter().find(|of| !exists(of)) {
            Some(missing) => KafkaError::NoTopic { topic: missing.topic.to_string() },
            None => self.named(KafkaError::Unavailable { reason: "a partition has no leader now".to_owned() }),
        })
    }

    /// The offsets of an answer; an error is that of the first partition that has one.
    fn offsets_in(&self, answer: Answer) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let Answer::Offsets(offsets) = answer else { return Err(misunderstood()) };
        let told = offsets.into_iter().map(|(of, told)| match told {
            Ok(offset) => Ok((of, offset)),
            Err(failure) => Err(self.named(self.context.error_of(&failure, Place::Partition(&of, -1)))),
        });
        told.collect()
    }
}

/// Whether brokers have to be asked again, since one was busy.
fn is_busy(answer: &Answer) -> bool {
    let busy = |failure: &Failure| kind_of(failure.code) == Kind::Busy;
    match answer {
        Answer::Topics(topics) => topics.iter().any(|(_, told)| told.as_ref().is_err_and(busy)),
        Answer::Offsets(offsets) => offsets.iter().any(|(_, told)| told.as_ref().is_err_and(busy)),
        Answer::Done | Answer::Config(_) => false,
    }
}

fn misunderstood() -> KafkaError {
    KafkaError::Broken { reason: "librdkafka answered another question".to_owned() }
}

/// A list for librdkafka; `None` if it is empty.
pub(super) fn list_of<'a>(
    partitions: impl Iterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<Option<TopicPartitionList>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (of, offset) in partitions {
        // It would panic on a name that C cannot have.
        if of.topic.contains('\0') {
            return Err(KafkaError::NoTopic { topic: of.topic.to_string() });
        }
        let added = list.add_partition_offset(&of.topic, of.partition, offset);
        let invalid = |error| KafkaError::Config { reason: format!("{of} cannot have the offset {offset:?}: {error}") };
        added.map_err(invalid)?;
    }
    Ok((list.count() > 0).then_some(list))
}
