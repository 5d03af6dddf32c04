use super::*;
use crate::testing::connector;

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks";

fn given(more: &[(&str, &str)]) -> thalweg_types::connector::TableConnector {
    let mut table = connector("kinesis", &[("stream", "clicks")]);
    if more.iter().any(|(key, _)| *key == "stream.arn") {
        table.options.clear();
    }
    table.options.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    table
}

fn read(more: &[(&str, &str)]) -> Result<ReadOptions, String> {
    ReadOptions::of(&Options::new("t", &given(more))).map_err(|error| error.to_string())
}

fn client(more: &[(&str, &str)]) -> Result<ClientConfig, String> {
    client_config(&Options::new("t", &given(more))).map_err(|error| error.to_string())
}

#[test]
fn options_have_the_defaults_of_the_spec() {
    let expected = ReadOptions {
        init: Init::Latest,
        discovery: Duration::from_secs(10),
        reader: ReaderType::Polling { records_max: 10_000, empty_interval: Duration::from_millis(250) },
        foreign: Foreign::Drop,
        on_loss: OnLoss::Fail,
    };
    assert_eq!(read(&[]), Ok(expected));
}

#[test]
fn beginnings_are_a_place_or_a_time() {
    let init = |position: &str, at: &str| {
        read(&[("source.init.position", position), ("source.init.timestamp", at)]).map(|read| read.init)
    };
    assert_eq!(init("TRIM_HORIZON", ""), Ok(Init::TrimHorizon));
    for at in
        ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00.000+01:00", "2026-01-01 00:00:00", "1767225600", "1767225600.000"]
    {
        assert_eq!(init("AT_TIMESTAMP", at), Ok(Init::At(1_767_225_600_000)), "{at}");
    }
    assert_eq!(init("AT_TIMESTAMP", "1767225600.5"), Ok(Init::At(1_767_225_600_500)));
    for at in ["", "yesterday", "-1", "1960-01-01T00:00:00Z", "NaN", "1e300"] {
        assert!(init("AT_TIMESTAMP", at).is_err(), "{at}");
    }
}

#[test]
fn fan_out_has_a_consumer() {
    let options =
        [("source.reader.type", "EFO"), ("source.efo.consumer.name", "shop"), ("source.efo.lifecycle", "SELF_MANAGED")];
    let expected = FanOut { consumer: "shop".to_owned(), is_managed: false, silence: Duration::from_secs(60) };
    assert_eq!(read(&options).map(|read| read.reader), Ok(ReaderType::FanOut(expected)));
    assert!(read(&[options[0]]).is_err());
    assert!(read(&[options[0], ("source.efo.consumer.name", "a b")]).expect_err("refused").contains("'a b'"));
}

#[test]
fn what_does_not_fit_is_refused() {
    for (key, value, reason) in [
        ("source.shard.discovery.interval", "0 s", "at least 1000 ms"),
        ("source.shard.get-records.max-record-count", "0", "from 1 to 10000"),
        ("source.shard.get-records.max-record-count", "10001", "from 1 to 10000"),
        ("source.reader.empty-records-fetch-interval", "10 ms", "at least 200 ms"),
    ] {
        let refused = read(&[(key, value)]).map(drop).expect_err("it is refused");
        assert!(refused.contains(reason), "{refused}");
    }
    for (key, value, reason) in [
        ("stream", "a b", "'a b'"),
        ("stream.arn", "arn:aws:sqs:a:1:queue", "expected an ARN"),
        ("stream.arn", "arn:aws:kinesis:a:1:stream/", "expected an ARN"),
        ("aws.endpoint", "localhost:4567", "a URL"),
        ("aws.endpoint", "http://", "a URL"),
    ] {
        let refused = client(&[(key, value)]).map(drop).expect_err("it is refused");
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_stream_is_named_and_reached() {
    assert_eq!(client(&[]), Ok(ClientConfig::new(StreamName::Name("clicks".to_owned()))));
    let config = client(&[("stream.arn", ARN), ("aws.region", "eu-west-1"), ("aws.endpoint", "http://localhost:4567")]);
    let expected = ClientConfig {
        region: Some("eu-west-1".to_owned()),
        endpoint: Some("http://localhost:4567".to_owned()),
        ..ClientConfig::new(StreamName::Arn(ARN.to_owned()))
    };
    assert_eq!(config, Ok(expected));
}

#[test]
fn credentials_come_from_where_the_table_says() {
    let of = |more: &[(&str, &str)]| client(more).map(|config| (config.credentials, config.role));
    let provider = |name| ("aws.credentials.provider", name);
    let keys = [("aws.credentials.basic.accesskeyid", "AKIA"), ("aws.credentials.basic.secretkey", "hunter2")];
    let basic = CredentialsFrom::Static(StaticKeys {
        access_key_id: "AKIA".to_owned(),
        secret_access_key: "hunter2".to_owned(),
        session_token: None,
    });
    assert_eq!(of(&[]), Ok((CredentialsFrom::Default, None)));
    assert_eq!(of(&[provider("ENV_VAR")]), Ok((CredentialsFrom::Environment, None)));
    assert_eq!(of(&[provider("BASIC"), keys[0], keys[1]]), Ok((basic.clone(), None)));
    let profile = CredentialsFrom::Profile { name: Some("dev".to_owned()), file: None };
    assert_eq!(of(&[provider("PROFILE"), ("aws.credentials.profile.name", "dev")]), Ok((profile, None)));
    let role = [
        provider("ASSUME_ROLE"),
        ("aws.credentials.role.arn", "arn:aws:iam::1:role/r"),
        ("aws.credentials.role.externalId", "x"),
        ("aws.credentials.role.provider", "BASIC"),
        keys[0],
        keys[1],
    ];
    let assumed = AssumedRole {
        arn: "arn:aws:iam::1:role/r".to_owned(),
        session_name: None,
        external_id: Some("x".to_owned()),
        sts_endpoint: None,
    };
    assert_eq!(of(&role), Ok((basic, Some(assumed))));
    let web = [
        provider("WEB_IDENTITY_TOKEN"),
        ("aws.credentials.role.arn", "arn:aws:iam::1:role/r"),
        ("aws.credentials.webIdentityToken.file", "/token"),
    ];
    let token = CredentialsFrom::WebIdentity {
        token_file: "/token".into(),
        role_arn: "arn:aws:iam::1:role/r".to_owned(),
        session_name: None,
    };
    assert_eq!(of(&web), Ok((token, None)));
    let shown = format!("{:?}", client(&[provider("BASIC"), keys[0], keys[1]]));
    assert!(!shown.contains("hunter2"), "{shown}");
}
