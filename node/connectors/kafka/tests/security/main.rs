//! Who may speak to a broker of Apache Kafka, and what somebody is told who may not. One broker listens in all ways.

mod proxy;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use thalweg_kafka::{
    ClientConfig, Fetched, Isolation, Kafka as _, KafkaError, NewRecord, NewTopic, Token, TokenError, TokenSource,
    TopicPartition, Transactions, Wanted,
    librdkafka::RdKafka,
    testing::{
        apache::{Broker, Certificates, Listener, Setup},
        seams::seams,
    },
};

use self::proxy::Proxy;

/// The name and the password that the broker knows.
const USER: (&str, &str) = ("alice", "correct horse");
const SASL: &str = "org.apache.kafka.common.security";

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn setup(certificates: &Certificates) -> Setup {
    let (name, password) = USER;
    let plain = format!("{SASL}.plain.PlainLoginModule required user_{name}=\"{password}\";");
    let scram = format!("{SASL}.scram.ScramLoginModule required;");
    let bearer =
        format!("{SASL}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";");
    let validator = format!("{SASL}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler");
    let sasl_plain = owned(&[("sasl.enabled.mechanisms", "PLAIN"), ("plain.sasl.jaas.config", &plain)]);
    let mut sasl_scram =
        owned(&[("sasl.enabled.mechanisms", "SCRAM-SHA-512"), ("scram-sha-512.sasl.jaas.config", &scram)]);
    sasl_scram.extend(certificates.listener_settings(false));
    let sasl_bearer = owned(&[
        ("sasl.enabled.mechanisms", "OAUTHBEARER"),
        ("oauthbearer.sasl.jaas.config", &bearer),
        ("oauthbearer.sasl.server.callback.handler.class", &validator),
    ]);
    Setup {
        listeners: vec![
            Listener::plain(),
            Listener { name: "SASLPLAIN", protocol: "SASL_PLAINTEXT", settings: sasl_plain },
            Listener { name: "SCRAM", protocol: "SASL_SSL", settings: sasl_scram },
            Listener { name: "BEARER", protocol: "SASL_PLAINTEXT", settings: sasl_bearer },
            Listener { name: "MUTUAL", protocol: "SSL", settings: certificates.listener_settings(true) },
        ],
        settings: owned(&[
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            // The broker's own listener and the controller's ask nobody who they are.
            ("super.users", "User:ANONYMOUS;User:alice;User:CN=client"),
        ]),
        users: owned(&[USER]),
    }
}

/// A way to reach the broker.
struct Way<'a> {
    broker: &'a Broker,
    listener: &'a str,
    properties: Vec<(&'a str, String)>,
    token: Option<Arc<dyn TokenSource>>,
}

impl<'a> Way<'a> {
    fn new(broker: &'a Broker, listener: &'a str, properties: &[(&'a str, &str)]) -> Self {
        let properties = properties.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { broker, listener, properties, token: None }
    }

    fn config(&self) -> ClientConfig {
        let own =
            [("bootstrap.servers", self.broker.address_of(self.listener)), ("socket.timeout.ms", "4000".to_owned())];
        let all = own.into_iter().chain(self.properties.iter().cloned());
        ClientConfig {
            properties: all.map(|(key, value)| (key.to_owned(), value)).collect(),
            queue_bytes: 1 << 20,
            token: self.token.clone(),
        }
    }

    /// Creates a topic, writes to it in a transaction, and reads it.
    async fn works(&self, topic: &str) {
        let (kafka, config) = (RdKafka::new(&seams()), self.config());
        let new = NewTopic { name: topic.to_owned(), partitions: 1, replication: None, config: [].into() };
        let created = kafka.admin(&config).expect("a client").create_topic(&new).await;
        assert_eq!(created, Ok(true), "{}", self.listener);
        let transactions = Transactions { id: topic.to_owned(), timeout_ms: 30_000 };
        let mut producer = kafka.transactional(&config, &transactions).expect("a client");
        producer.init().await.expect("it takes its id");
        producer.begin().await.expect("it begins");
        let record = NewRecord {
            topic: topic.into(),
            partition: Some(0),
            key: None,
            value: Some(Bytes::from_static(b"x")),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        producer.send(vec![record]).await.expect("it is handed over");
        producer.commit().await.expect("it commits");
        let consumer = kafka.consumer(&config, Isolation::ReadCommitted).expect("a client");
        let of = TopicPartition { topic: topic.into(), partition: 0 };
        let mut reader = consumer.read(&of, 0).await.expect("a reader");
        let read = async {
            loop {
                if let Fetched::Records(records) = reader.next(1).await.expect("it can be read") {
                    return records.len();
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), read).await, Ok(1), "{}", self.listener);
    }

    /// What each kind of client is told that the broker does not let in.
    async fn refusals(&self) -> Vec<KafkaError> {
        let (kafka, config) = (RdKafka::new(&seams()), self.config());
        let admin = kafka.admin(&config).expect("a client");
        let consumer = kafka.consumer(&config, Isolation::ReadCommitted).expect("a client");
        let read = async {
            let of = TopicPartition { topic: "t".into(), partition: 0 };
            let mut reader = consumer.read(&of, 0).await.expect("a reader");
            let read = tokio::time::timeout(Duration::from_secs(4), reader.next(1)).await;
            // Brokers that cannot be reached are waited for.
            read.unwrap_or_else(|_| Err(KafkaError::Unavailable { reason: reader.trouble().unwrap_or_default() }))
        };
        let transactions = Transactions { id: "t".to_owned(), timeout_ms: 3_000 };
        let mut producer = kafka.transactional(&config, &transactions).expect("a client");
        let (asked, read, init) = tokio::join!(admin.topics(&Wanted::All), read, producer.init());
        vec![
            asked.expect_err("the broker does not let it in"),
            read.expect_err("the broker does not let it in"),
            init.expect_err("the broker does not let it in"),
        ]
    }

    async fn is_denied(&self, says: &str) {
        for refusal in self.refusals().await {
            let names_it = |reason: &String| reason.contains(says) && reason.contains("localhost:");
            assert!(matches!(&refusal, KafkaError::Denied { reason } if names_it(reason)), "{refusal:?}");
            assert!(!refusal.to_string().contains("wrong horse"), "{refusal}");
        }
    }

    async fn is_unavailable(&self, says: &str) {
        for refusal in self.refusals().await {
            let names_it = |reason: &String| reason.contains(says) && reason.contains("localhost:");
            assert!(matches!(&refusal, KafkaError::Unavailable { reason } if names_it(reason)), "{refusal:?}");
        }
    }
}

/// Tokens that nobody has signed, as a broker of a test takes them.
#[derive(Debug)]
struct Unsigned {
    principal: &'static str,
    is_away: bool,
}

#[async_trait]
impl TokenSource for Unsigned {
    async fn token(&self) -> Result<Token, TokenError> {
        if self.is_away {
            return Err(TokenError::Unavailable { reason: "who gives tokens is away".to_owned() });
        }
        // The clock of the broker counts, not that of the test.
        #[expect(clippy::disallowed_methods, reason = "a broker is a process of its own")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        let expires = now + Duration::from_secs(60);
        let claims = format!(
            "{{\"sub\":\"{}\",\"iat\":{},\"exp\":{}}}",
            self.principal,
            now.as_secs().saturating_sub(5),
            expires.as_secs()
        );
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let value = format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims));
        Ok(Token { value, expires, principal: self.principal.to_owned() })
    }
}

#[tokio::test]
async fn brokers_let_in_who_they_know_and_say_why_not() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(broker) = Broker::start_with(&setup(&certificates)) else { return };
    let authority = certificates.authority_file();
    let other_authority = certificates.other_authority_file();
    let (name, password) = USER;

    let plain = |password: &str| {
        Way::new(
            &broker,
            "SASLPLAIN",
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", name),
                ("sasl.password", password),
            ],
        )
    };
    plain(password).works("plain").await;
    plain("wrong horse").is_denied("Authentication failed").await;
    let proxy = Proxy::start(broker.address_of("SASLPLAIN"));
    let mut cut = plain(password);
    cut.properties.push(("bootstrap.servers", proxy.address()));
    cut.works("cut").await;
    assert!(proxy.cut() >= 3, "each of three clients lost a connection");

    let scram = |password: &str, authority: &str| {
        Way::new(
            &broker,
            "SCRAM",
            &[
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", name),
                ("sasl.password", password),
                ("ssl.ca.location", authority),
            ],
        )
    };
    scram(password, &authority).works("scram").await;
    scram("wrong horse", &authority).is_denied("Authentication failed").await;
    scram(password, &other_authority).is_unavailable("SSL handshake failed").await;

    let mutual = |files: &[(&'static str, &str)]| {
        let properties = [&[("security.protocol", "SSL"), ("ssl.ca.location", &authority)], files].concat();
        Way::new(&broker, "MUTUAL", &properties)
    };
    let (certificate, key) = (certificates.client_file(), certificates.client_key_file());
    mutual(&[("ssl.certificate.location", &certificate), ("ssl.key.location", &key)]).works("mutual").await;
    mutual(&[]).is_unavailable("SSL").await;

    let bearer = |principal, is_away| Way {
        token: Some(Arc::new(Unsigned { principal, is_away })),
        ..Way::new(&broker, "BEARER", &[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "OAUTHBEARER")])
    };
    bearer("alice", false).works("bearer").await;
    for refusal in bearer("alice", true).refusals().await {
        let names_it = |reason: &String| reason.contains("who gives tokens is away");
        assert!(matches!(&refusal, KafkaError::Unavailable { reason } if names_it(reason)), "{refusal:?}");
    }
    may_do_nothing(&bearer("mallory", false)).await;
}

/// The broker knows who mallory is, but not that she may do anything.
async fn may_do_nothing(mallory: &Way<'_>) {
    let admin = RdKafka::new(&seams()).admin(&mallory.config()).expect("a client");
    let new = NewTopic { name: "mallory".to_owned(), partitions: 1, replication: None, config: [].into() };
    let refused = admin.create_topic(&new).await;
    assert!(matches!(&refused, Err(KafkaError::Denied { .. })), "{refused:?}");
    let asked = admin.topics(&Wanted::Named(vec!["plain".to_owned()])).await;
    assert!(matches!(&asked, Err(KafkaError::Denied { reason }) if reason.contains("plain")), "{asked:?}");
    let consumer = RdKafka::new(&seams()).consumer(&mallory.config(), Isolation::ReadCommitted).expect("a client");
    let mut reader = consumer.read(&TopicPartition { topic: "plain".into(), partition: 0 }, 0).await.expect("a reader");
    let read = tokio::time::timeout(Duration::from_secs(30), reader.next(1)).await.expect("it is told");
    assert!(matches!(&read, Err(KafkaError::Denied { reason }) if reason.contains("plain")), "{read:?}");
    let transactions = Transactions { id: "mallory".to_owned(), timeout_ms: 10_000 };
    let init = RdKafka::new(&seams()).transactional(&mallory.config(), &transactions).expect("a client").init().await;
    assert!(matches!(&init, Err(KafkaError::Denied { .. })), "{init:?}");
}
