//! What the SDK says of failures, grouped as the connector acts on them.

use std::{error::Error, io::ErrorKind, sync::OnceLock};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::{ClientConfig, KinesisError, ShardId};

/// How the stream is reached.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) config: ClientConfig,
    /// Where the node's surroundings lead the client, once there is one (`elsewhere`).
    pub(super) led_to: OnceLock<String>,
}

impl Reached {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, led_to: OnceLock::new() }
    }
}

/// What a call was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) reached: &'a Reached,
    pub(super) shard: Option<&'a ShardId>,
    /// The name or the ARN of a consumer.
    pub(super) consumer: Option<&'a str>,
    /// Whether it named a sequence number.
    pub(super) has_position: bool,
}

impl<'a> About<'a> {
    pub(super) fn stream(reached: &'a Reached) -> Self {
        Self { reached, shard: None, consumer: None, has_position: false }
    }

    pub(super) fn shard(reached: &'a Reached, shard: &'a ShardId) -> Self {
        Self { shard: Some(shard), ..Self::stream(reached) }
    }

    pub(super) fn consumer(reached: &'a Reached, consumer: &'a str) -> Self {
        Self { consumer: Some(consumer), ..Self::stream(reached) }
    }

    /// The error of a call that failed.
    pub(super) fn failure<E, R>(&self, error: SdkError<E, R>) -> KinesisError
    where
        E: Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::ServiceError(failed) => self.refusal(failed.err().meta().code(), failed.err().meta().message()),
            SdkError::TimeoutError(_) => {
                let limit = self.reached.config.timeout_ms;
                let who = self.who();
                KinesisError::Unavailable { reason: format!("{who} did not answer within {limit} ms") }
            }
            SdkError::DispatchFailure(failed) => match failed.as_connector_error() {
                Some(connector) => self.unsent(connector),
                None => KinesisError::Unavailable { reason: format!("{failed:?}") },
            },
            SdkError::ResponseError(_) => {
                KinesisError::Unavailable { reason: format!("the answer of {} cannot be read", self.who()) }
            }
            SdkError::ConstructionFailure(failed) => KinesisError::Config { reason: format!("{failed:?}") },
            // The SDK's own kinds may become more.
            _ => KinesisError::Unavailable { reason: "the call failed".to_owned() },
        }
    }

    /// Who is asked, as errors say it.
    fn who(&self) -> String {
        self.reached.led_to.get().map_or_else(|| "Kinesis".to_owned(), |led_to| format!("Kinesis at {led_to}"))
    }

    /// The error that Kinesis answers.
    pub(super) fn refusal(&self, code: Option<&str>, message: Option<&str>) -> KinesisError {
        let Some(code) = code else {
            let reason = format!("{} answered with an error that has no code", self.who());
            return KinesisError::Unavailable { reason };
        };
        let reason = message.map_or_else(|| code.to_owned(), |message| format!("{code}: {message}"));
        match code {
            "ResourceNotFoundException" => self.missing(message.unwrap_or_default()),
            "ExpiredIteratorException" => match self.shard {
                Some(shard) => KinesisError::ExpiredIterator { shard: shard.clone() },
                None => KinesisError::Refused { reason },
            },
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException" => KinesisError::Throttled { reason },
            "ResourceInUseException" => KinesisError::Busy { reason },
            "InvalidArgumentException" | "ValidationException" => match (self.shard, self.has_position) {
                (Some(shard), true) => KinesisError::BadPosition { shard: shard.clone(), reason },
                (_, _) => KinesisError::Refused { reason },
            },
            "AccessDeniedException"
            | "AccessDenied"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestExpired"
            | "OptInRequired"
            | "NotAuthorized"
            | "KMSAccessDeniedException"
            | "KMSDisabledException"
            | "KMSInvalidStateException"
            | "KMSNotFoundException"
            | "KMSOptInRequired" => KinesisError::Denied { reason },
            "SerializationException" | "UnknownOperationException" | "InvalidAction" | "MalformedQueryString" => {
                KinesisError::Refused { reason }
            }
            // InternalFailure, ServiceUnavailable, ExpiredNextTokenException of a list that took long, and what is new.
            _ => KinesisError::Unavailable { reason },
        }
    }

    /// The error of a call that did not reach Kinesis, or for which there were no credentials.
    fn unsent(&self, error: &ConnectorError) -> KinesisError {
        let Some(of_credentials) = find::<CredentialsError>(error) else {
            let led_to = self.reached.led_to.get().map(|led_to| format!("at {led_to}: ")).unwrap_or_default();
            return KinesisError::Unavailable { reason: format!("{led_to}{}", chain(error)) };
        };
        let from = match &self.reached.config.role {
            Some(role) => format!("the role '{}' by {}", role.arn, self.reached.config.credentials),
            None => self.reached.config.credentials.to_string(),
        };
        let reason = format!("no credentials of AWS by {from}: {}", chain(of_credentials));
        match of_credentials {
            CredentialsError::ProviderTimedOut(_) => KinesisError::Unavailable { reason },
            CredentialsError::CredentialsNotLoaded(_) => KinesisError::Denied { reason },
            CredentialsError::InvalidConfiguration(_) => KinesisError::Config { reason },
            failed => match find::<std::io::Error>(failed).map(std::io::Error::kind) {
                // A file that was named.
                Some(ErrorKind::NotFound | ErrorKind::PermissionDenied) => KinesisError::Config { reason },
                Some(_) => KinesisError::Unavailable { reason },
                // Whom the provider asks may be away, or may refuse.
                None if find::<ConnectorError>(failed).is_some() => KinesisError::Unavailable { reason },
                None => KinesisError::Denied { reason },
            },
        }
    }

    /// Kinesis has one code for whatever is not found; its message names it.
    fn missing(&self, message: &str) -> KinesisError {
        let names_consumer = |consumer: &&str| message.contains("onsumer") && message.contains(*consumer);
        if let Some(consumer) = self.consumer.filter(names_consumer) {
            return KinesisError::NoConsumer { consumer: consumer.to_owned() };
        }
        if let Some(shard) = self.shard.filter(|shard| message.contains(shard.as_str())) {
            return KinesisError::NoShard { shard: shard.clone() };
        }
        // An emulator's way to say so.
        if let Some(shard) = self.shard.filter(|_| self.has_position && message.contains("SequenceNumber")) {
            return KinesisError::BadPosition { shard: shard.clone(), reason: message.to_owned() };
        }
        KinesisError::NoStream { stream: self.reached.config.stream.to_string() }
    }
}

/// The first cause of a type, the error itself among them.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}

/// An error and its causes, each said once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut whole: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if whole.last() != Some(&text) {
            whole.push(text);
        }
    }
    whole.join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}
