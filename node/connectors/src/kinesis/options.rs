//! The options of a stream that is read, and those of its client.

use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use thalweg_kinesis::{AssumedRole, ClientConfig, CredentialsFrom, GET_RECORDS_MAX, StaticKeys, StreamName};

use crate::{ConnectorError, options::Options};

/// Kinesis allows five calls of `GetRecords` a second per shard, whoever calls.
pub(super) const POLLS_APART_MIN: Duration = Duration::from_millis(200);
const DISCOVERY_MIN: Duration = Duration::from_secs(1);
/// Kinesis sends an event every five seconds, also without records.
const SILENCE_MIN: Duration = Duration::from_secs(10);
/// The longest name of a consumer.
const CONSUMER_CHARS_MAX: usize = 128;
const STREAM_CHARS_MAX: usize = 128;

/// What of a table's options says which records are read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadOptions {
    pub(super) init: Init,
    /// How long after one look for shards the next one follows.
    pub(super) discovery: Duration,
    pub(super) reader: ReaderType,
    pub(super) foreign: Foreign,
    pub(super) on_loss: OnLoss,
}

/// Where the shards begin that are there when the job begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Init {
    Latest,
    TrimHorizon,
    /// In milliseconds since 1970.
    At(i64),
}

/// How shards are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReaderType {
    Polling {
        /// The most records of one request.
        records_max: usize,
        /// How long after a request without records the next one follows.
        empty_interval: Duration,
    },
    FanOut(FanOut),
}

/// Enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FanOut {
    /// The consumer's name.
    pub(super) consumer: String,
    /// Whether the job registers it and removes it.
    pub(super) is_managed: bool,
    /// How long a subscription may be silent.
    pub(super) silence: Duration,
}

/// What becomes of records in an aggregated one that belong to another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Drop,
    Keep,
}

/// What follows when records are gone before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLoss {
    Fail,
    Skip,
}

impl ReadOptions {
    pub(super) fn of(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let foreign = match options.text("source.aggregation.other-shards") {
            Some("keep") => Foreign::Keep,
            _ => Foreign::Drop,
        };
        let on_loss = if options.text("scan.on-data-loss") == Some("skip") { OnLoss::Skip } else { OnLoss::Fail };
        Ok(Self {
            init: init(options)?,
            discovery: at_least(options, "source.shard.discovery.interval", DISCOVERY_MIN)?,
            reader: reader(options)?,
            foreign,
            on_loss,
        })
    }
}

fn init(options: &Options<'_>) -> Result<Init, ConnectorError> {
    Ok(match options.required("source.init.position")? {
        "TRIM_HORIZON" => Init::TrimHorizon,
        "AT_TIMESTAMP" => {
            let key = "source.init.timestamp";
            let expected = "a time such as '2026-01-01T00:00:00Z', or seconds since 1970";
            let millis = options.parsed(key, milliseconds, expected)?;
            Init::At(millis.ok_or_else(|| options.error(format!("option '{key}' is missing")))?)
        }
        _ => Init::Latest,
    })
}

/// Milliseconds since 1970 of a time in text or of seconds.
fn milliseconds(text: &str) -> Option<i64> {
    let millis = match text.trim().parse::<f64>() {
        Ok(seconds) => seconds * 1000.0,
        Err(_) => {
            return Some(string_to_timestamp_nanos(text.trim()).ok()?.div_euclid(1_000_000)).filter(|at| *at >= 0);
        }
    };
    // The year 9999.
    (0.0..253_402_300_800_000.0).contains(&millis).then_some(millis as i64)
}

fn reader(options: &Options<'_>) -> Result<ReaderType, ConnectorError> {
    if options.text("source.reader.type") != Some("EFO") {
        let records_max = "source.shard.get-records.max-record-count";
        return Ok(ReaderType::Polling {
            records_max: within(options, records_max, 1..=GET_RECORDS_MAX)?,
            empty_interval: at_least(options, "source.reader.empty-records-fetch-interval", POLLS_APART_MIN)?,
        });
    }
    let key = "source.efo.consumer.name";
    let consumer = options.required(key)?.to_owned();
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if consumer.len() > CONSUMER_CHARS_MAX || !consumer.chars().all(is_legal) {
        let names = format!("names have letters, digits, '.', '_' and '-', {CONSUMER_CHARS_MAX} at most");
        return Err(options.error(format!("option '{key}': '{consumer}' cannot be a consumer: {names}")));
    }
    Ok(ReaderType::FanOut(FanOut {
        consumer,
        is_managed: options.text("source.efo.lifecycle") != Some("SELF_MANAGED"),
        silence: at_least(options, "source.efo.subscription.timeout", SILENCE_MIN)?,
    }))
}

fn at_least(options: &Options<'_>, key: &str, least: Duration) -> Result<Duration, ConnectorError> {
    let given = options.duration(key)?.unwrap_or(least);
    if given < least {
        return Err(options.error(format!("option '{key}' must be at least {} ms", least.as_millis())));
    }
    Ok(given)
}

/// A whole number from a range.
pub(super) fn within(
    options: &Options<'_>,
    key: &str,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, ConnectorError> {
    let given: usize = options.number(key)?.unwrap_or(*range.end());
    if !range.contains(&given) {
        return Err(options.error(format!("option '{key}' must be from {} to {}", range.start(), range.end())));
    }
    Ok(given)
}

/// How the stream is reached, and as whom.
pub(super) fn client_config(options: &Options<'_>) -> Result<ClientConfig, ConnectorError> {
    let text = |key: &str| options.text(key).map(str::to_owned);
    let mut config = ClientConfig::new(stream_name(options)?);
    config.region = text("aws.region");
    config.endpoint = text("aws.endpoint");
    if let Some(endpoint) = &config.endpoint {
        let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        if !is_url || url::Url::parse(endpoint).is_err() {
            return Err(options.error(format!("option 'aws.endpoint' = '{endpoint}': expected a URL of http or https")));
        }
    }
    let provider = options.required("aws.credentials.provider")?;
    config.credentials = match provider {
        "ASSUME_ROLE" => credentials(options, options.required("aws.credentials.role.provider")?)?,
        "WEB_IDENTITY_TOKEN" => CredentialsFrom::WebIdentity {
            token_file: options.required("aws.credentials.webIdentityToken.file")?.into(),
            role_arn: options.required("aws.credentials.role.arn")?.to_owned(),
            session_name: text("aws.credentials.role.sessionName"),
        },
        other => credentials(options, other)?,
    };
    config.role = match provider {
        "ASSUME_ROLE" => Some(AssumedRole {
            arn: options.required("aws.credentials.role.arn")?.to_owned(),
            session_name: text("aws.credentials.role.sessionName"),
            external_id: text("aws.credentials.role.externalId"),
            sts_endpoint: text("aws.credentials.role.stsEndpoint"),
        }),
        _ => None,
    };
    Ok(config)
}

fn credentials(options: &Options<'_>, provider: &str) -> Result<CredentialsFrom, ConnectorError> {
    let text = |key: &str| options.text(key).map(str::to_owned);
    Ok(match provider {
        "BASIC" => CredentialsFrom::Static(StaticKeys {
            access_key_id: options.required("aws.credentials.basic.accesskeyid")?.to_owned(),
            secret_access_key: options.required("aws.credentials.basic.secretkey")?.to_owned(),
            session_token: text("aws.credentials.basic.sessiontoken"),
        }),
        "ENV_VAR" => CredentialsFrom::Environment,
        "PROFILE" => CredentialsFrom::Profile {
            name: text("aws.credentials.profile.name"),
            file: options.text("aws.credentials.profile.path").map(Into::into),
        },
        _ => CredentialsFrom::Default,
    })
}

/// The stream that a table names.
fn stream_name(options: &Options<'_>) -> Result<StreamName, ConnectorError> {
    let wrong = |key: &str, given: &str, why: &str| options.error(format!("option '{key}' = '{given}': {why}"));
    match (options.text("stream.arn"), options.text("stream")) {
        (Some(arn), None) => {
            let parts: Vec<&str> = arn.splitn(6, ':').collect();
            let is_arn = matches!(parts[..], ["arn", partition, "kinesis", region, account, resource]
                if !partition.is_empty() && !region.is_empty() && !account.is_empty()
                    && resource.strip_prefix("stream/").is_some_and(is_stream));
            match is_arn {
                true => Ok(StreamName::Arn(arn.to_owned())),
                false => Err(wrong(
                    "stream.arn",
                    arn,
                    "expected an ARN such as 'arn:aws:kinesis:us-east-1:123456789012:stream/clicks'",
                )),
            }
        }
        (None, Some(name)) if is_stream(name) => Ok(StreamName::Name(name.to_owned())),
        (None, Some(name)) => Err(wrong("stream", name, "names have letters, digits, '.', '_' and '-', 128 at most")),
        (None, None) => Err(options.error("give it 'stream.arn' or 'stream'")),
        (Some(_), Some(_)) => Err(options.error("'stream.arn' and 'stream' cannot be set together")),
    }
}

fn is_stream(name: &str) -> bool {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    (1..=STREAM_CHARS_MAX).contains(&name.len()) && name.chars().all(is_legal)
}

#[cfg(test)]
mod tests;
