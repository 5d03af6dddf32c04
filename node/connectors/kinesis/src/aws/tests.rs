//! What the SDK says of failures, without anybody to ask.

use std::{fmt, time::Duration};

use tokio::time::timeout;

use super::failures::{About, Reached, chain};
use super::*;
use crate::{AssumedRole, CredentialsFrom, NewRecord, ShardId, StaticKeys, StreamName};

fn stream() -> StreamName {
    StreamName::Name("clicks".to_owned())
}

#[test]
fn codes_are_grouped_by_what_a_caller_does() {
    let (reached, shard) = (Reached::new(ClientConfig::new(stream())), ShardId::from("shardId-000000000007"));
    let about = About::shard(&reached, &shard);
    let error = |code| about.refusal(Some(code), Some("why"));
    let reason = |code: &str| format!("{code}: why");
    for code in ["ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"] {
        assert_eq!(error(code), KinesisError::Throttled { reason: reason(code) });
    }
    for code in
        ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "KMSNotFoundException"]
    {
        assert_eq!(error(code), KinesisError::Denied { reason: reason(code) });
    }
    for code in ["InternalFailureException", "InternalFailure", "ServiceUnavailable", "OfTomorrow"] {
        assert_eq!(error(code), KinesisError::Unavailable { reason: reason(code) });
    }
    assert_eq!(error("ExpiredIteratorException"), KinesisError::ExpiredIterator { shard: shard.clone() });
    let code = "ResourceInUseException";
    assert_eq!(error(code), KinesisError::Busy { reason: reason(code) });
    let code = "InvalidArgumentException";
    assert_eq!(error(code), KinesisError::Refused { reason: reason(code) });
    let about = About { has_position: true, ..about };
    assert_eq!(
        about.refusal(Some(code), Some("why")),
        KinesisError::BadPosition { shard: shard.clone(), reason: reason(code) }
    );
    assert!(matches!(about.refusal(None, None), KinesisError::Unavailable { .. }));
}

#[test]
fn what_is_not_found_is_told_apart() {
    let (reached, shard) = (Reached::new(ClientConfig::new(stream())), ShardId::from("shardId-000000000007"));
    let arn = "arn:aws:kinesis:eu-west-1:1:stream/clicks/consumer/thalweg:1";
    let about = About { consumer: Some(arn), ..About::shard(&reached, &shard) };
    let missing = |message: &str| about.refusal(Some("ResourceNotFoundException"), Some(message));
    assert_eq!(
        missing("Shard shardId-000000000007 in stream clicks under account 1 does not exist"),
        KinesisError::NoShard { shard: shard.clone() }
    );
    assert_eq!(missing(&format!("Consumer {arn} not found.")), KinesisError::NoConsumer { consumer: arn.to_owned() });
    assert_eq!(
        missing("Stream clicks under account 1 not found."),
        KinesisError::NoStream { stream: "clicks".to_owned() }
    );
}

/// A profile of the node, or a variable, may lead a client away without a table's saying so.
#[test]
fn whoever_was_asked_elsewhere_is_named() {
    let reached = Reached::new(ClientConfig::new(stream()));
    let told = |reached: &Reached| About::stream(reached).refusal(None, None).to_string();
    assert!(told(&reached).starts_with("Kinesis answered"), "{}", told(&reached));
    reached.led_to.get_or_init(|| "http://elsewhere (AWS_ENDPOINT_URL)".to_owned());
    assert!(
        told(&reached).starts_with("Kinesis at http://elsewhere (AWS_ENDPOINT_URL) answered"),
        "{}",
        told(&reached)
    );
}

#[test]
fn causes_are_said_once() {
    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);
    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }
    let cause = Layer("refused", None);
    let error = Layer("io", Some(Box::new(Layer("io", Some(Box::new(cause))))));
    assert_eq!(chain(&error), "io: refused");
}

/// A client of a port at which nobody listens.
fn nowhere() -> ClientConfig {
    let keys =
        StaticKeys { access_key_id: "AKID".to_owned(), secret_access_key: "secret".to_owned(), session_token: None };
    ClientConfig {
        region: Some("eu-west-1".to_owned()),
        // Port 1 is reserved, and nobody uses it.
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        credentials: CredentialsFrom::Static(keys),
        timeout_ms: 5_000,
        ..ClientConfig::new(stream())
    }
}

async fn failed(config: &ClientConfig) -> KinesisError {
    let client = Aws::new().stream(config).expect("the configuration fits");
    let asked = timeout(Duration::from_secs(60), client.describe()).await.expect("it has a limit");
    asked.expect_err("nobody is there")
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let error = failed(&nowhere()).await;
    let KinesisError::Unavailable { reason } = &error else { panic!("{error:?}") };
    assert!(reason.to_lowercase().contains("connection refused"), "{reason}");
}

#[tokio::test]
async fn a_role_that_cannot_be_asked_for_is_unavailable() {
    let role = AssumedRole {
        arn: "arn:aws:iam::1:role/reader".to_owned(),
        session_name: None,
        external_id: Some("other".to_owned()),
        sts_endpoint: Some("http://127.0.0.1:1".to_owned()),
    };
    let error = failed(&ClientConfig { role: Some(role), ..nowhere() }).await;
    let fits = |reason: &String| reason.contains("role/reader") && !reason.contains("secret");
    assert!(matches!(&error, KinesisError::Unavailable { reason } if fits(reason)), "{error:?}");
}

#[tokio::test]
async fn a_profile_that_is_missing_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let credentials = CredentialsFrom::Profile { name: Some("nobody".to_owned()), file: Some(file.path().into()) };
    let error = failed(&ClientConfig { credentials, ..nowhere() }).await;
    let (KinesisError::Denied { reason } | KinesisError::Config { reason }) = &error else { panic!("{error:?}") };
    assert!(reason.contains("'nobody'") && reason.contains(&file.path().display().to_string()), "{reason}");
}

#[tokio::test]
async fn a_token_file_that_is_missing_is_named() {
    let credentials = CredentialsFrom::WebIdentity {
        token_file: "/no/such/token".into(),
        role_arn: "arn:aws:iam::1:role/reader".to_owned(),
        session_name: None,
    };
    let error = failed(&ClientConfig { credentials, ..nowhere() }).await;
    let named = |reason: &String| reason.contains("/no/such/token");
    assert!(matches!(&error, KinesisError::Config { reason } if named(reason)), "{error:?}");
}

#[tokio::test]
async fn what_no_call_takes_is_refused_before_it_is_sent() {
    let client = Aws::new().stream(&nowhere()).expect("the configuration fits");
    let record = |key: &str, bytes: usize| NewRecord {
        partition_key: key.to_owned(),
        explicit_hash_key: None,
        data: vec![0; bytes].into(),
    };
    for records in [
        vec![],
        vec![record("k", 1); 501],
        vec![record("", 1)],
        vec![record(&"k".repeat(257), 1)],
        vec![record("k", 6 << 20); 2],
    ] {
        let refused = client.put_records(&records).await;
        assert!(matches!(refused, Err(KinesisError::Refused { .. })), "{refused:?}");
    }
}
