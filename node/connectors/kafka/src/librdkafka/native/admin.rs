//! What an administrator asks: a question is sent, and its answer is put into a queue. What is told of a group comes the same way.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_char, c_int},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{self, rd_kafka_AdminOptions_t, rd_kafka_topic_partition_t},
};

use super::{Client, Failure, Queue, c_string, event::Event, failure_of, text_of};
use crate::{Isolation, NewTopic, Topic, TopicId, TopicPartition};

/// Room for librdkafka's reasons.
const REASON_BYTES: usize = 512;
/// Brokers that know of no replication of their own would refuse it; all since 2.4 do.
const DEFAULT_REPLICATION: c_int = -1;

/// What is asked.
#[derive(Debug)]
pub(in crate::librdkafka) enum Question<'a> {
    /// Of at least one topic. The answer is `Topics`.
    Topics(&'a [String]),
    /// Offsets of at least one partition, no two the same: which offset is wanted stands as the offset. The answer is `Offsets`.
    Offsets(&'a TopicPartitionList, Isolation),
    /// The answer is `Done`.
    CreateTopic(&'a NewTopic),
    /// The answer is `Config`.
    Config(&'a str),
}

/// A topic's name, and the topic and whether it is internal, or why it is not described.
pub(in crate::librdkafka) type Described = (String, Result<(Topic, bool), Failure>);

/// What was answered.
#[derive(Debug)]
pub(in crate::librdkafka) enum Answer {
    Topics(Vec<Described>),
    /// An offset that there is not is negative.
    Offsets(Vec<(TopicPartition, Result<i64, Failure>)>),
    Done,
    Config(BTreeMap<String, Option<String>>),
}

/// Sends a question. Brokers have so long for their answer.
pub(in crate::librdkafka) fn ask(
    client: &Arc<dyn Client>,
    queue: &Queue,
    question: &Question<'_>,
    timeout_ms: i32,
) -> Result<(), Failure> {
    let options = Options::new(client.as_ref(), timeout_ms)?;
    match question {
        Question::Topics(names) => ask_topics(client.as_ref(), queue, &options, names),
        Question::Offsets(partitions, isolation) => {
            options.isolate(*isolation)?;
            // SAFETY: all of them live; the list is copied.
            unsafe {
                bindings::rd_kafka_ListOffsets(client.handle(), partitions.ptr(), options.pointer(), queue.pointer());
            }
            Ok(())
        }
        Question::CreateTopic(topic) => ask_to_create(client.as_ref(), queue, &options, topic, timeout_ms),
        Question::Config(topic) => {
            let topic = c_string(topic)?;
            let kind = bindings::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            // SAFETY: all of them live. What is asked is copied, and freed here.
            unsafe {
                let mut asked = bindings::rd_kafka_ConfigResource_new(kind, topic.as_ptr());
                bindings::rd_kafka_DescribeConfigs(
                    client.handle(),
                    &raw mut asked,
                    1,
                    options.pointer(),
                    queue.pointer(),
                );
                bindings::rd_kafka_ConfigResource_destroy(asked);
            }
            Ok(())
        }
    }
}

fn ask_topics(client: &dyn Client, queue: &Queue, options: &Options, names: &[String]) -> Result<(), Failure> {
    let names: Vec<CString> = names.iter().map(|name| c_string(name)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: all of them live. What is asked is copied, and freed here.
    unsafe {
        let asked = bindings::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        bindings::rd_kafka_DescribeTopics(client.handle(), asked, options.pointer(), queue.pointer());
        bindings::rd_kafka_TopicCollection_destroy(asked);
    }
    Ok(())
}

fn ask_to_create(
    client: &dyn Client,
    queue: &Queue,
    options: &Options,
    topic: &NewTopic,
    timeout_ms: i32,
) -> Result<(), Failure> {
    options.await_effect(timeout_ms)?;
    let name = c_string(&topic.name)?;
    let pairs = topic.config.iter().map(|(key, value)| Ok((c_string(key)?, c_string(value)?)));
    let pairs: Vec<(CString, CString)> = pairs.collect::<Result<_, Failure>>()?;
    let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
    // SAFETY: the text lives, and there is as much room for a reason as is said.
    let created = unsafe {
        bindings::rd_kafka_NewTopic_new(
            name.as_ptr(),
            topic.partitions,
            DEFAULT_REPLICATION,
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    let Some(created) = NonNull::new(created) else {
        let code = bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_INVALID_PARTITIONS;
        // SAFETY: librdkafka ends its reasons with a zero byte.
        return unsafe { failure_of(code, reason.as_ptr()) };
    };
    for (key, value) in &pairs {
        // It fails only where the key is null.
        // SAFETY: all of them live; the texts are copied.
        unsafe { bindings::rd_kafka_NewTopic_set_config(created.as_ptr(), key.as_ptr(), value.as_ptr()) };
    }
    let mut asked = created.as_ptr();
    // SAFETY: all of them live. What is asked is copied, and freed here.
    unsafe {
        bindings::rd_kafka_CreateTopics(client.handle(), &raw mut asked, 1, options.pointer(), queue.pointer());
        bindings::rd_kafka_NewTopic_destroy(asked);
    }
    Ok(())
}

/// Options of a question.
struct Options(NonNull<rd_kafka_AdminOptions_t>);

impl Options {
    fn new(client: &dyn Client, timeout_ms: i32) -> Result<Self, Failure> {
        let any = bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY;
        // SAFETY: the client lives.
        let options = unsafe { bindings::rd_kafka_AdminOptions_new(client.handle(), any) };
        let options =
            NonNull::new(options).expect("librdkafka returns options, or ends the process for lack of memory");
        let options = Self(options);
        let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
        // SAFETY: the options live, there is as much room for a reason as is said, and it ends with a zero byte.
        unsafe {
            let code = bindings::rd_kafka_AdminOptions_set_request_timeout(
                options.pointer(),
                timeout_ms,
                reason.as_mut_ptr(),
                reason.len(),
            );
            failure_of(code, reason.as_ptr())?;
        }
        Ok(options)
    }

    /// Which offsets are told.
    fn isolate(&self, isolation: Isolation) -> Result<(), Failure> {
        let level = match isolation {
            Isolation::ReadCommitted => bindings::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            Isolation::ReadUncommitted => {
                bindings::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
            }
        };
        // SAFETY: the options live. The error belongs to us: it is read, then freed; both functions take null.
        unsafe {
            let error = bindings::rd_kafka_AdminOptions_set_isolation_level(self.pointer(), level);
            let failure = failure_of(bindings::rd_kafka_error_code(error), bindings::rd_kafka_error_string(error));
            bindings::rd_kafka_error_destroy(error);
            failure
        }
    }

    /// Brokers answer when all of them know of what is new.
    fn await_effect(&self, timeout_ms: i32) -> Result<(), Failure> {
        let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
        // SAFETY: the options live, there is as much room for a reason as is said, and it ends with a zero byte.
        unsafe {
            let code = bindings::rd_kafka_AdminOptions_set_operation_timeout(
                self.pointer(),
                timeout_ms,
                reason.as_mut_ptr(),
                reason.len(),
            );
            failure_of(code, reason.as_ptr())
        }
    }

    fn pointer(&self) -> *mut rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: they live; questions have copied them.
        unsafe { bindings::rd_kafka_AdminOptions_destroy(self.pointer()) };
    }
}

/// Takes an answer out of the queue, if there is one.
pub(in crate::librdkafka) fn take_answer(queue: &Queue) -> Option<Result<Answer, Failure>> {
    let event = Event::take(queue)?;
    Some(event.failure().and_then(|()| answer_of(&event)))
}

fn answer_of(event: &Event) -> Result<Answer, Failure> {
    let pointer = event.pointer();
    match event.kind() {
        bindings::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => Ok(Answer::Topics(topics_of(event))),
        bindings::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => Ok(Answer::Offsets(offsets_of(event))),
        bindings::RD_KAFKA_EVENT_OFFSET_COMMIT => Ok(committed_of(event)),
        bindings::RD_KAFKA_EVENT_CREATETOPICS_RESULT => {
            let mut count = 0;
            // SAFETY: the event is of this type and lives, what is written to does too, and its topics live as long as it.
            unsafe {
                let result = bindings::rd_kafka_event_CreateTopics_result(pointer);
                for topic in array_of(bindings::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count) {
                    failure_of(
                        bindings::rd_kafka_topic_result_error(*topic),
                        bindings::rd_kafka_topic_result_error_string(*topic),
                    )?;
                }
            }
            Ok(Answer::Done)
        }
        // Nothing else is asked.
        _ => config_of(event).map(Answer::Config),
    }
}

/// An array of pointers that C returned; it may be null where it is empty.
///
/// # Safety
/// It has so many elements for `'a`.
unsafe fn array_of<'a, T>(array: *mut *const T, count: usize) -> &'a [*const T] {
    if array.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: it is not null, and the caller promises the rest.
    unsafe { slice::from_raw_parts(array, count) }
}

fn topics_of(event: &Event) -> Vec<Described> {
    let mut count = 0;
    // SAFETY: the event is of this type and lives, and what is written to does too.
    let topics = unsafe {
        let result = bindings::rd_kafka_event_DescribeTopics_result(event.pointer());
        array_of(bindings::rd_kafka_DescribeTopics_result_topics(result, &raw mut count), count)
    };
    let described = topics.iter().map(|topic| {
        let mut partitions = 0;
        // SAFETY: the topics of an event live as long as it, and so do their parts; what is written to lives.
        unsafe {
            let error = bindings::rd_kafka_TopicDescription_error(*topic);
            let failure = failure_of(bindings::rd_kafka_error_code(error), bindings::rd_kafka_error_string(error));
            bindings::rd_kafka_TopicDescription_partitions(*topic, &raw mut partitions);
            let name = text_of(bindings::rd_kafka_TopicDescription_name(*topic)).unwrap_or_default();
            let id = bindings::rd_kafka_TopicDescription_topic_id(*topic);
            let bits = if id.is_null() {
                (0, 0)
            } else {
                (bindings::rd_kafka_Uuid_most_significant_bits(id), bindings::rd_kafka_Uuid_least_significant_bits(id))
            };
            let is_internal = bindings::rd_kafka_TopicDescription_is_internal(*topic) != 0;
            let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
            let topic = Topic { name: name.clone(), id: id_of(bits), partitions };
            (name, failure.map(|()| (topic, is_internal)))
        }
    });
    described.collect()
}

/// An id, from its upper and lower half; zero stands for none.
fn id_of((upper, lower): (i64, i64)) -> Option<TopicId> {
    let id = u128::from(upper.cast_unsigned()) << 64 | u128::from(lower.cast_unsigned());
    Some(TopicId(id)).filter(|_| id != 0)
}

fn offsets_of(event: &Event) -> Vec<(TopicPartition, Result<i64, Failure>)> {
    let mut count = 0;
    // SAFETY: the event is of this type and lives, what is written to does too, and its partitions live as long as it.
    unsafe {
        let result = bindings::rd_kafka_event_ListOffsets_result(event.pointer());
        let found = array_of(bindings::rd_kafka_ListOffsets_result_infos(result, &raw mut count), count);
        found.iter().map(|info| offset_of(bindings::rd_kafka_ListOffsetsResultInfo_topic_partition(*info))).collect()
    }
}

/// What is told of one partition.
///
/// # Safety
/// The partition lives.
unsafe fn offset_of(partition: *const rd_kafka_topic_partition_t) -> (TopicPartition, Result<i64, Failure>) {
    // SAFETY: it lives, and its topic ends with a zero byte.
    unsafe {
        let topic = text_of((*partition).topic).unwrap_or_default();
        let of = TopicPartition { topic: topic.into(), partition: (*partition).partition };
        let offset = failure_of((*partition).err, ptr::null()).map(|()| (*partition).offset);
        (of, offset)
    }
}

/// What became of a commit of offsets for a group.
fn committed_of(event: &Event) -> Answer {
    // SAFETY: the event is of this type and lives, and its list lives as long as it.
    unsafe { offsets_in(bindings::rd_kafka_event_topic_partition_list(event.pointer())) }
}

/// What is told of each partition of a list.
///
/// # Safety
/// The list is null or lives.
pub(super) unsafe fn offsets_in(list: *const bindings::rd_kafka_topic_partition_list_t) -> Answer {
    // SAFETY: the caller promises it, and a list has as many elements as it says.
    unsafe {
        let Some(list) = list.as_ref() else { return Answer::Offsets(Vec::new()) };
        let count = usize::try_from(list.cnt).unwrap_or_default();
        Answer::Offsets((0..count).map(|index| offset_of(list.elems.add(index))).collect())
    }
}

fn config_of(event: &Event) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let (mut count, mut config) = (0, BTreeMap::new());
    // SAFETY: the event lives; of another type, the result is null, of which there are no resources. What is written to lives, and the parts
    // of an event live as long as it.
    unsafe {
        let result = bindings::rd_kafka_event_DescribeConfigs_result(event.pointer());
        if result.is_null() {
            return Ok(config);
        }
        for resource in array_of(bindings::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count), count) {
            failure_of(
                bindings::rd_kafka_ConfigResource_error(*resource),
                bindings::rd_kafka_ConfigResource_error_string(*resource),
            )?;
            let mut entries = 0;
            for entry in array_of(bindings::rd_kafka_ConfigResource_configs(*resource, &raw mut entries), entries) {
                let name = text_of(bindings::rd_kafka_ConfigEntry_name(*entry)).unwrap_or_default();
                config.insert(name, text_of(bindings::rd_kafka_ConfigEntry_value(*entry)));
            }
        }
    }
    Ok(config)
}
