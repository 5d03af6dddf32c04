//! Brokers of Apache Kafka, as processes of this machine.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
};

use thalweg_kafka::testing::apache::{self, Listener, Setup};

use crate::process::root;

/// Who is let in by `servers_with_passwords`.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "s3cr3t-0f-4l1ce";
/// The same user's bearer token, a JWT without a signature: it says who she is, and that it holds until 2100.
pub(crate) const TOKEN: &str =
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.";

/// Listeners: the first asks nothing, the others ask clients who they are.
const PLAIN: &str = "PLAINTEXT";
const LOGIN: &str = "LOGIN";
const TLS: &str = "TLS";

/// One broker, or several of one cluster, each with its data in a directory of its own. Dropping it ends them.
pub(crate) struct Broker {
    processes: Vec<Arc<Mutex<apache::Broker>>>,
    /// Which one is killed next, or was.
    victim: usize,
    /// For clients that do not say who they are, that have a password, and that have a certificate.
    addresses: [String; 3],
    /// Waits until the broker that was killed answers again.
    starting: Option<JoinHandle<()>>,
}

/// One broker for the tests of this process that run at the same time.
pub(crate) fn shared() -> Option<Arc<Broker>> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(broker) = shared.upgrade() {
        return Some(broker);
    }
    let broker = Arc::new(Broker::start()?);
    *shared = Arc::downgrade(&broker);
    Some(broker)
}

/// Where Apache Kafka is installed, for other programs that start it. If it is not, says so and returns `None`.
pub(crate) fn installation() -> Option<PathBuf> {
    let installation = std::env::var_os("THALWEG_KAFKA").map(PathBuf::from);
    if installation.is_none() {
        eprintln!("skipped: Apache Kafka is not installed (THALWEG_KAFKA)");
    }
    installation
}

/// Certificates for tests.
pub(crate) fn certificate(name: &str) -> PathBuf {
    root().join("deploy/thalweg/tests/tls").join(name)
}

impl Broker {
    /// Starts a broker, and waits until it answers. If Apache Kafka is not installed, says so and returns `None`.
    pub(crate) fn start() -> Option<Self> {
        Self::start_several(1)
    }

    /// As `start`, for several brokers that hold the same. Each kill hits the next one.
    pub(crate) fn start_several(count: usize) -> Option<Self> {
        // A store of keys in PEM is one file, which the broker can read as long as it runs.
        let keys = std::env::temp_dir().join(format!("thalweg-kafka-test-{}.pem", std::process::id()));
        let of = |name: &str| fs::read_to_string(certificate(name)).expect("a certificate");
        fs::write(&keys, of("server.key") + &of("server.pem")).expect("a file");
        let setup = Setup {
            listeners: vec![Listener::plain(), login(), tls(&keys.display().to_string())],
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            ..Setup::default()
        };
        let brokers = apache::Broker::start_several(&setup, count)?;
        let all_of = |listener| brokers.iter().map(|one| one.address_of(listener)).collect::<Vec<_>>().join(",");
        let addresses = [all_of(PLAIN), all_of(LOGIN), all_of(TLS)];
        let processes = brokers.into_iter().map(|one| Arc::new(Mutex::new(one))).collect();
        Some(Self { processes, victim: 0, addresses, starting: None })
    }

    /// Where clients are let in that do not say who they are.
    pub(crate) fn servers(&self) -> &str {
        &self.addresses[0]
    }

    /// Where clients need a password or a bearer token (SASL), without TLS.
    pub(crate) fn servers_with_passwords(&self) -> &str {
        &self.addresses[1]
    }

    /// Where clients need TLS and a certificate.
    pub(crate) fn servers_with_tls(&self) -> &str {
        &self.addresses[2]
    }

    /// Kills it, or the next one of several (SIGKILL), once it has started.
    pub(crate) fn kill(&mut self) {
        self.wait();
        self.victim = (self.victim + 1) % self.processes.len();
        lock(&self.processes[self.victim]).kill();
    }

    /// Starts the one again that was killed. Does not wait until it answers.
    pub(crate) fn revive(&mut self) {
        self.wait();
        let process = self.processes[self.victim].clone();
        #[allow(clippy::disallowed_methods, reason = "a test of real processes waits beside what it does")]
        let starting = std::thread::spawn(move || lock(&process).run());
        self.starting = Some(starting);
    }

    /// Waits until it answers.
    pub(crate) fn wait(&mut self) {
        if let Some(starting) = self.starting.take() {
            starting.join().expect("the broker starts");
        }
    }
}

fn lock(process: &Mutex<apache::Broker>) -> MutexGuard<'_, apache::Broker> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn login() -> Listener {
    let module = "org.apache.kafka.common.security";
    let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
    let scram = format!("{module}.scram.ScramLoginModule required;");
    let bearer =
        format!("{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";");
    let validator = format!("{module}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler");
    Listener {
        name: LOGIN,
        protocol: "SASL_PLAINTEXT",
        settings: settings(&[
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"),
            ("plain.sasl.jaas.config", &plain),
            ("scram-sha-256.sasl.jaas.config", &scram),
            ("scram-sha-512.sasl.jaas.config", &scram),
            ("oauthbearer.sasl.jaas.config", &bearer),
            ("oauthbearer.sasl.server.callback.handler.class", &validator),
        ]),
    }
}

fn tls(keys: &str) -> Listener {
    let authority = certificate("authority.pem").display().to_string();
    Listener {
        name: TLS,
        protocol: "SSL",
        settings: settings(&[
            ("ssl.client.auth", "required"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", keys),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &authority),
        ]),
    }
}
