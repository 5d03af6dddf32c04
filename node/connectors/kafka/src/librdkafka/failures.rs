//! What a code of librdkafka's means to a caller.

use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::Failure;
use crate::{KafkaError, OutOfRange, TopicPartition};

/// What librdkafka says where a log was cut back.
const TRUNCATED: &str = "Partition log truncation detected";
/// What it says before the offset up to which the log is the same; -1 stands for none.
const END_OFFSET: &str = "broker end offset is ";

/// What a caller can do about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A property or an argument has to be mended.
    Config,
    /// A right or a credential has to be mended.
    Denied,
    /// The topic or the partition does not exist.
    NoTopic,
    /// The record, or the transaction, would be refused again.
    Refused,
    /// Another producer has the transactional id.
    Fenced,
    /// The same may succeed at once, or soon: brokers are busy with it.
    Busy,
    /// The same may succeed later.
    Unavailable,
    /// The client cannot go on.
    Broken,
}

pub(super) fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidTopic
        | Code::InvalidGroupId
        | Code::PolicyViolation
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedCompressionType
        | Code::NotConfigured
        | Code::NotImplemented
        | Code::UnknownProtocol => Kind::Config,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SecurityDisabled => Kind::Denied,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId => {
            Kind::NoTopic
        }
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidMessageSize
        // It is a table's option, and no property that people give.
        | Code::InvalidTransactionTimeout => Kind::Refused,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Kind::Fenced,
        Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::ConcurrentTransactions
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::ReplicaNotAvailable
        | Code::KafkaStorageError
        | Code::ThrottlingQuotaExceeded
        | Code::RebalanceInProgress
        | Code::UnstableOffsetCommit
        | Code::WaitingForCoordinator => Kind::Busy,
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::SSL
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::Unknown => Kind::Unavailable,
        // The list is librdkafka's, and grows.
        _ => Kind::Broken,
    }
}

/// What librdkafka tells of a handshake that no broker has answered, though with the code of a refusal: the list of mechanisms is missing.
const UNANSWERED: &str = "supported mechanisms: (n/a)";
/// What it tells in the same way of a connection that was lost while it was authenticated at a broker before 1.0. Those end it to refuse
/// somebody, too, so that they cannot be told apart.
const HUNG_UP: &str = "hung up from peer in state AUTH";

/// Whether a broker has answered that it does not believe who the client says it is, by the code and the text of an event. Then none of the
/// client's calls is answered.
pub(super) fn is_unknown_here(code: Code, reason: &str) -> bool {
    let is_refusal = matches!(
        code,
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState
    );
    is_refusal && !reason.contains(UNANSWERED) && !reason.contains(HUNG_UP)
}

/// Where something failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Nowhere,
    Topic(&'a str),
    /// At an offset.
    Partition(&'a TopicPartition, i64),
    /// A transactional id.
    Id(&'a str),
    /// A consumer group.
    Group(&'a str),
}

/// A failure as an error for callers.
pub(super) fn error_of(failure: &Failure, place: Place<'_>) -> KafkaError {
    let reason = described(failure, place);
    match kind_of(failure.code) {
        Kind::Config => KafkaError::Config { reason },
        Kind::Denied => KafkaError::Denied { reason },
        Kind::NoTopic => match place {
            Place::Topic(topic) => KafkaError::NoTopic { topic: topic.to_owned() },
            Place::Partition(of, _) => KafkaError::NoTopic { topic: of.topic.to_string() },
            Place::Nowhere | Place::Id(_) | Place::Group(_) => KafkaError::Broken { reason },
        },
        Kind::Refused => KafkaError::Refused { reason },
        Kind::Fenced => match place {
            Place::Id(id) => KafkaError::Fenced { id: id.to_owned() },
            Place::Nowhere | Place::Topic(_) | Place::Partition(..) | Place::Group(_) => KafkaError::Broken { reason },
        },
        Kind::Busy | Kind::Unavailable => KafkaError::Unavailable { reason },
        Kind::Broken => match (failure.code, place) {
            (Code::OffsetOutOfRange | Code::AutoOffsetReset, Place::Partition(of, offset)) => {
                KafkaError::OffsetOutOfRange { partition: of.clone(), offset, why: why_out_of_range(&failure.reason) }
            }
            _ => KafkaError::Broken { reason },
        },
    }
}

/// librdkafka has one code for all that makes it look for another offset, and says in words why it does.
fn why_out_of_range(reason: &str) -> OutOfRange {
    if !reason.contains(TRUNCATED) {
        return OutOfRange::Outside;
    }
    let end = reason.split_once(END_OFFSET).map(|(_, end)| end);
    let digits = end.and_then(|end| end.split(|character: char| !character.is_ascii_digit()).next());
    OutOfRange::CutBack { end: digits.and_then(|digits| digits.parse().ok()) }
}

/// Says what failed where, and how librdkafka calls it.
fn described(failure: &Failure, place: Place<'_>) -> String {
    let Failure { code, reason } = failure;
    if *code == Code::InvalidTransactionTimeout {
        return "transactions may last no longer than the brokers' transaction.max.timeout.ms (15 min by default)"
            .to_owned();
    }
    match place {
        Place::Nowhere => format!("{reason} ({code:?})"),
        Place::Topic(topic) => format!("topic '{topic}': {reason} ({code:?})"),
        Place::Partition(of, _) => format!("{of}: {reason} ({code:?})"),
        Place::Group(group) => format!("group '{group}': {reason} ({code:?})"),
        Place::Id(id) => format!("transactional id '{id}': {reason} ({code:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_offset_is_out_of_range_is_found_in_the_text() {
        let cut = "Partition log truncation detected at offset 3 (leader epoch 0): broker end offset is 1 (offset leader epoch 0). Reset \
                   to INVALID.: Local: Partition log truncation detected (broker 1)";
        let unknown = "No epoch found less or equal to offset 3 (leader epoch 9): broker end offset is -1 (offset leader epoch -1). Reset \
                       using configured policy.: Local: Partition log truncation detected (broker 1)";
        let outside =
            "fetch failed due to requested offset not available on the broker: Broker: Offset out of range (broker 1)";
        assert_eq!(why_out_of_range(cut), OutOfRange::CutBack { end: Some(1) });
        assert_eq!(why_out_of_range(unknown), OutOfRange::CutBack { end: None });
        assert_eq!(why_out_of_range(outside), OutOfRange::Outside);
    }
}
