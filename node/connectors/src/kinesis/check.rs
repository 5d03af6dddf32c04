//! The look at the stream before a job runs: is it there, does it let the table's client in, can it be read.
//!
//! What a reader asks for later is asked for once, so that a permission that is missing is told at once, and which one. Whatever
//! else these questions meet, the reader meets too, and knows what to do.

use std::time::Duration;

use thalweg_kinesis::{ClientConfig, KinesisError, ShardFilter, ShardId, Start, Stream, StreamStatus};
use tokio::time::timeout;

use super::{
    faults::{failed, is_passing, of_client},
    options::{FanOut, ReaderType},
};
use crate::ConnectorError;

/// Whoever submits a job waits for this.
const CHECKED_WITHIN: Duration = Duration::from_secs(13);

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) table: String,
    /// The stream as the table names it.
    pub(super) stream: String,
    /// Who is asked for it, and the option that says so.
    pub(super) host: String,
}

impl Place {
    pub(super) fn new(table: &str, config: &ClientConfig) -> Self {
        let host = match (&config.endpoint, &config.region, config.stream.region()) {
            (Some(endpoint), _, _) => format!("{endpoint} ('aws.endpoint')"),
            (None, Some(region), _) => format!("Kinesis in {region} ('aws.region')"),
            (None, None, Some(region)) => format!("Kinesis in {region} ('stream.arn')"),
            (None, None, None) => "Kinesis in the region that AWS's tools find ('aws.region')".to_owned(),
        };
        Self { table: table.to_owned(), stream: config.stream.to_string(), host }
    }

    /// As it is known once the client was asked something: the node's surroundings may lead it elsewhere.
    fn led(&self, stream: &dyn Stream) -> Self {
        Self { host: stream.led_to().unwrap_or_else(|| self.host.clone()), ..self.clone() }
    }
}

/// Checks that a table can be read. `patient`: what does not answer now may do so later.
pub(super) async fn check(
    place: &Place,
    (stream, reader): (&dyn Stream, &ReaderType),
    patient: bool,
) -> Result<(), ConnectorError> {
    check_stream(place, stream, patient).await?;
    let place = &place.led(stream);
    match reader {
        ReaderType::Polling { .. } => check_polling(place, stream).await,
        ReaderType::FanOut(FanOut { consumer, is_managed, .. }) => {
            listed_shard(place, stream).await?;
            check_consumer(place, stream, (consumer, *is_managed), patient).await
        }
    }
}

async fn check_consumer(
    place: &Place,
    stream: &dyn Stream,
    (consumer, is_managed): (&str, bool),
    patient: bool,
) -> Result<(), ConnectorError> {
    match answered(stream.consumer(consumer)).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) if is_managed => Ok(()),
        Ok(None) => Err(ConnectorError::Config {
            table: place.table.clone(),
            reason: format!(
                "option 'source.efo.consumer.name': '{}' at {} has no consumer '{consumer}'; with 'source.efo.lifecycle' = \
                 'JOB_MANAGED' the job registers it",
                place.stream, place.host
            ),
        }),
        Err(error) if is_passing(&error) && (patient || is_managed) => Ok(()),
        Err(KinesisError::Denied { reason }) => Err(forbidden(place, "DescribeStreamConsumer", &reason)),
        Err(error) => Err(refusal(place, error)),
    }
}

/// Checks that records may be asked for: none is wanted.
async fn check_polling(place: &Place, stream: &dyn Stream) -> Result<(), ConnectorError> {
    let Some(shard) = listed_shard(place, stream).await? else { return Ok(()) };
    let iterator = allowed(place, "GetShardIterator", answered(stream.iterator(&shard, &Start::Latest)).await)?;
    let Some(iterator) = iterator else { return Ok(()) };
    allowed(place, "GetRecords", answered(stream.get_records(&iterator, 1)).await).map(drop)
}

/// An open shard, if there is an answer.
async fn listed_shard(place: &Place, stream: &dyn Stream) -> Result<Option<ShardId>, ConnectorError> {
    let listed = answered(stream.shards(&ShardFilter::AtLatest)).await;
    let shards = allowed(place, "ListShards", listed)?;
    Ok(shards.into_iter().flatten().next().map(|shard| shard.id))
}

/// What an action gave. `None`: it has failed otherwise than by a missing permission.
fn allowed<T>(place: &Place, action: &str, gave: Result<T, KinesisError>) -> Result<Option<T>, ConnectorError> {
    match gave {
        Ok(gave) => Ok(Some(gave)),
        Err(KinesisError::Denied { reason }) => Err(forbidden(place, action, &reason)),
        Err(
            KinesisError::Config { .. }
            | KinesisError::Unavailable { .. }
            | KinesisError::Throttled { .. }
            | KinesisError::NoStream { .. }
            | KinesisError::NoShard { .. }
            | KinesisError::NoConsumer { .. }
            | KinesisError::Busy { .. }
            | KinesisError::ExpiredIterator { .. }
            | KinesisError::BadPosition { .. }
            | KinesisError::Refused { .. },
        ) => Ok(None),
    }
}

/// The error of an action for which a permission is missing.
fn forbidden(Place { table, stream, host }: &Place, action: &str, reason: &str) -> ConnectorError {
    let reason = format!(
        "AWS refuses kinesis:{action} on stream '{stream}' at {host}: {reason}: 'aws.credentials.*' say who asks, and a policy must \
         allow it"
    );
    ConnectorError::Config { table: table.clone(), reason }
}

/// Checks that a stream is there and may be asked for.
pub(super) async fn check_stream(place: &Place, stream: &dyn Stream, patient: bool) -> Result<(), ConnectorError> {
    let described = answered(stream.describe()).await;
    let place = &place.led(stream);
    let Place { table, stream: name, host } = place;
    let refused = |reason: String| ConnectorError::Config { table: table.clone(), reason };
    match described {
        Ok(described) => match described.status {
            StreamStatus::Creating | StreamStatus::Active | StreamStatus::Updating => Ok(()),
            StreamStatus::Deleting if patient => Ok(()),
            StreamStatus::Deleting => Err(refused(format!("stream '{name}' at {host} is being deleted"))),
        },
        Err(error) if is_passing(&error) && patient => Ok(()),
        // A stream that was deleted while the job did not run is for the rule of data loss.
        Err(KinesisError::NoStream { .. }) if patient => Ok(()),
        Err(error) => Err(refusal(place, error)),
    }
}

fn refusal(Place { table, stream, host }: &Place, error: KinesisError) -> ConnectorError {
    let refused = |reason: String| ConnectorError::Config { table: table.clone(), reason };
    match error {
        KinesisError::Config { reason } => refused(of_client(&reason)),
        KinesisError::Denied { reason } => {
            let see = "'aws.credentials.*' say who asks";
            refused(format!(
                "AWS refuses to tell of stream '{stream}' at {host} (kinesis:DescribeStreamSummary): {reason}: {see}"
            ))
        }
        KinesisError::Unavailable { reason } | KinesisError::Throttled { reason } | KinesisError::Busy { reason } => {
            refused(format!("stream '{stream}' cannot be asked for at {host}: {reason}"))
        }
        KinesisError::NoStream { .. } => refused(format!(
            "there is no stream '{stream}' at {host} for the account that 'aws.credentials.*' find; a table creates none"
        )),
        other @ (KinesisError::NoShard { .. }
        | KinesisError::NoConsumer { .. }
        | KinesisError::ExpiredIterator { .. }
        | KinesisError::BadPosition { .. }
        | KinesisError::Refused { .. }) => failed(table, format!("ask for stream '{stream}' at {host}"), other),
    }
}

async fn answered<T>(question: impl Future<Output = Result<T, KinesisError>>) -> Result<T, KinesisError> {
    let silent =
        |_| KinesisError::Unavailable { reason: format!("there was no answer within {} s", CHECKED_WITHIN.as_secs()) };
    timeout(CHECKED_WITHIN, question).await.map_err(silent)?
}

#[cfg(test)]
mod tests {
    use thalweg_kinesis::StreamName;

    use super::*;

    #[test]
    fn whoever_is_asked_is_named_with_the_option_that_says_so() {
        let of = |stream, endpoint: Option<&str>, region: Option<&str>| {
            let (endpoint, region) = (endpoint.map(str::to_owned), region.map(str::to_owned));
            Place::new("t", &ClientConfig { endpoint, region, ..ClientConfig::new(stream) }).host
        };
        let name = || StreamName::Name("clicks".to_owned());
        let arn = || StreamName::Arn("arn:aws:kinesis:eu-west-1:1:stream/clicks".to_owned());
        assert_eq!(of(arn(), Some("http://127.0.0.1:4567"), None), "http://127.0.0.1:4567 ('aws.endpoint')");
        assert_eq!(of(name(), None, Some("eu-west-1")), "Kinesis in eu-west-1 ('aws.region')");
        assert_eq!(of(arn(), None, None), "Kinesis in eu-west-1 ('stream.arn')");
        assert_eq!(of(name(), None, None), "Kinesis in the region that AWS's tools find ('aws.region')");
    }
}
