//! The options of a stream that is written.

use std::time::Duration;

use thalweg_kinesis::{ClientConfig, PUT_RECORDS_MAX};

use super::options::{client_config, within};
use crate::{ConnectorError, options::Options};

/// Requests of a subtask that may be on their way.
const INFLIGHT_MAX: usize = 64;
const AGGREGATED_BYTES_MAX: u64 = 1 << 20;
/// Below it, an aggregated record would hold next to nothing.
const AGGREGATED_BYTES_MIN: u64 = 1 << 10;
const LINGER_MAX: Duration = Duration::from_secs(60);

/// What of a table's options says how records are written.
#[derive(Debug, Clone)]
pub(super) struct WriteOptions {
    /// The table's name.
    pub(super) table: String,
    /// The stream as the table names it.
    pub(super) stream_name: String,
    pub(super) config: ClientConfig,
    pub(super) keys: Keys,
    pub(super) delimiter: String,
    pub(super) sending: SendOptions,
    /// The field that tells each row from all others; with it, rows are staged.
    pub(super) id_field: Option<String>,
}

/// How records are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendOptions {
    pub(super) is_strict: bool,
    pub(super) batch_max: usize,
    pub(super) inflight_max: usize,
    /// How long a record waits for others.
    pub(super) linger: Duration,
    /// The most bytes of an aggregated record; `None`: records are not aggregated.
    pub(super) aggregated_bytes: Option<usize>,
}

/// The partition keys of rows that have none of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Random,
    /// One for each subtask.
    Fixed,
}

impl WriteOptions {
    pub(super) fn of(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let config = client_config(options)?;
        let linger = options.duration("sink.flush-buffer.timeout")?.unwrap_or_default();
        if linger > LINGER_MAX {
            let most = format!("option 'sink.flush-buffer.timeout' must be at most {} s", LINGER_MAX.as_secs());
            return Err(options.error(most));
        }
        let sending = SendOptions {
            is_strict: options.text("sink.ordering") == Some("strict"),
            batch_max: within(options, "sink.batch.max-size", 1..=PUT_RECORDS_MAX)?,
            inflight_max: within(options, "sink.requests.max-inflight", 1..=INFLIGHT_MAX)?,
            linger,
            aggregated_bytes: aggregated_bytes(options)?,
        };
        if sending.is_strict && sending.aggregated_bytes.is_some() {
            let reason = "'sink.ordering' = 'strict' cannot be kept with 'sink.aggregation.enabled' = 'true': when shards are \
                          split, parts of an aggregated record have to be sent again";
            return Err(options.error(reason));
        }
        Ok(Self {
            table: options.table().to_owned(),
            stream_name: config.stream.to_string(),
            config,
            keys: if options.text("sink.partitioner") == Some("fixed") { Keys::Fixed } else { Keys::Random },
            delimiter: options.text("sink.partitioner-field-delimiter").unwrap_or("|").to_owned(),
            sending,
            id_field: options.text("sink.record-id.field").map(str::to_owned),
        })
    }
}

fn aggregated_bytes(options: &Options<'_>) -> Result<Option<usize>, ConnectorError> {
    let key = "sink.aggregation.max-size";
    let bytes = options.bytes(key)?.unwrap_or(AGGREGATED_BYTES_MAX);
    if !(AGGREGATED_BYTES_MIN..=AGGREGATED_BYTES_MAX).contains(&bytes) {
        return Err(options.error(format!("option '{key}' must be from 1 KiB to 1 MiB")));
    }
    Ok(usize::try_from(bytes).ok().filter(|_| options.is_true("sink.aggregation.enabled")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::connector;

    fn write(more: &[(&str, &str)]) -> Result<WriteOptions, String> {
        let given: Vec<(&str, &str)> = [("stream", "clicks")].into_iter().chain(more.iter().copied()).collect();
        let table = connector("kinesis", &given);
        WriteOptions::of(&Options::new("t", &table)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_have_the_defaults_of_the_spec() {
        let options = write(&[]).expect("they are sound");
        let expected = SendOptions {
            is_strict: false,
            batch_max: 500,
            inflight_max: 16,
            linger: Duration::from_millis(100),
            aggregated_bytes: None,
        };
        assert_eq!(options.sending, expected);
        assert_eq!((options.keys, options.delimiter.as_str(), options.id_field), (Keys::Random, "|", None));
        let aggregated = write(&[("sink.aggregation.enabled", "true")]).expect("sound").sending.aggregated_bytes;
        assert_eq!(aggregated, Some(50 << 10));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (more, reason) in [
            (&[("sink.batch.max-size", "0")][..], "from 1 to 500"),
            (&[("sink.batch.max-size", "501")], "from 1 to 500"),
            (&[("sink.requests.max-inflight", "65")], "from 1 to 64"),
            (&[("sink.flush-buffer.timeout", "5 min")], "at most 60 s"),
            (&[("sink.aggregation.max-size", "2 MiB")], "from 1 KiB to 1 MiB"),
            (&[("sink.ordering", "strict"), ("sink.aggregation.enabled", "true")], "cannot be kept"),
        ] {
            let refused = write(more).map(drop).expect_err("it is refused");
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
