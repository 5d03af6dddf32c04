//! A broker of Apache Kafka, as a process of this machine, by `deploy/kafka/apache-kafka`.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tempfile::TempDir;

use crate::process::{free_addresses, root, wait_until};

/// Who is let in by `servers_with_passwords`.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "s3cr3t-0f-4l1ce";

/// Where Apache Kafka is installed. If it is not, says so and returns `None`.
pub(crate) fn installation() -> Option<PathBuf> {
    let installation = std::env::var_os("THALWEG_KAFKA").map(PathBuf::from);
    if installation.is_none() {
        eprintln!("skipped: Apache Kafka is not installed (THALWEG_KAFKA; deploy/kafka/apache-kafka installs it)");
    }
    installation
}

/// The broker, with its data in a directory of its own. Dropping it ends it.
pub(crate) struct Broker {
    installation: PathBuf,
    directory: TempDir,
    /// For clients without authentication, with passwords, and over TLS.
    addresses: [String; 3],
    controller: String,
    /// The script that waits until it has started.
    starting: Option<Child>,
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

fn port(address: &str) -> &str {
    address.rsplit(':').next().expect("an address has a port")
}

/// Certificates for tests.
pub(crate) fn certificate(name: &str) -> PathBuf {
    root().join("deploy/thalweg/tests/tls").join(name)
}

impl Broker {
    /// Starts a broker, and waits until it answers. `None`: it is not installed here.
    pub(crate) fn start() -> Option<Self> {
        let installation = installation()?;
        let directory = tempfile::tempdir().expect("a directory");
        let [open, passwords, tls, controller]: [String; 4] = free_addresses();
        let addresses = [open, passwords, tls];
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a directory");
        fs::write(data.join("more.properties"), listeners(&data, &addresses, &controller)).expect("a file");
        let mut broker = Self { installation, directory, addresses, controller, starting: None };
        broker.revive();
        broker.wait();
        Some(broker)
    }

    /// Where clients are let in that do not say who they are.
    pub(crate) fn servers(&self) -> &str {
        &self.addresses[0]
    }

    /// Where clients need a password (SASL), without TLS.
    pub(crate) fn servers_with_passwords(&self) -> &str {
        &self.addresses[1]
    }

    /// Where clients need TLS and a certificate.
    pub(crate) fn servers_with_tls(&self) -> &str {
        &self.addresses[2]
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn pid(&self) -> PathBuf {
        self.data().join("pid")
    }

    /// Starts it again after it was killed. Does not wait until it answers.
    pub(crate) fn revive(&mut self) {
        let ports = [port(self.servers()), port(&self.controller)];
        let mut command = Command::new(root().join("deploy/kafka/apache-kafka"));
        command.arg("start").arg(&self.installation).arg(self.data()).args(ports);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.starting = Some(command.spawn().expect("the script runs"));
        wait_until("the broker's process", || fs::read_to_string(self.pid()).ok().filter(|pid| pid.ends_with('\n')));
    }

    /// Waits until it answers.
    pub(crate) fn wait(&mut self) {
        let Some(starting) = self.starting.take() else { return };
        let ended = starting.wait_with_output().expect("the script ends");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "the broker does not start: {told}\n{}", self.log());
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let process = fs::read_to_string(self.pid()).expect("it was started");
        let status = Command::new("kill").args(["-KILL", process.trim()]).stderr(Stdio::null()).status();
        assert!(status.expect("kill runs").success(), "the broker has ended by itself:\n{}", self.log());
        // Its ports are free, and its directory is nobody's, only when it is gone.
        wait_until("the broker's end", || is_gone(process.trim()).then_some(()));
        fs::remove_file(self.pid()).expect("its number can be removed");
        if let Some(starting) = self.starting.take() {
            starting.wait_with_output().expect("the script ends");
        }
    }

    /// Lets the user in by the mechanisms whose passwords brokers keep themselves.
    pub(crate) fn add_user(&self) {
        let passwords = format!("SCRAM-SHA-256=[password={PASSWORD}],SCRAM-SHA-512=[password={PASSWORD}]");
        let mut command = Command::new("java");
        command.arg("-cp").arg(self.installation.join("*")).arg("kafka.admin.ConfigCommand");
        command.args(["--bootstrap-server", self.servers(), "--alter", "--add-config", &passwords]);
        command.args(["--entity-type", "users", "--entity-name", USER]);
        let outcome = command.stdin(Stdio::null()).output().expect("java runs");
        assert!(outcome.status.success(), "{outcome:?}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.data().join("broker.log")).unwrap_or_default()
    }
}

/// Whether a process is no more: one that only waits to be waited for (a zombie) holds nothing.
fn is_gone(process: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(process).join("stat"))
        .map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(process) = fs::read_to_string(self.pid()) {
            Command::new("kill").args(["-KILL", process.trim()]).stderr(Stdio::null()).status().ok();
        }
        if let Some(mut starting) = self.starting.take() {
            starting.wait().ok();
        }
    }
}

/// What the broker listens to, in the place of what the script says.
fn listeners(data: &Path, [open, passwords, tls]: &[String; 3], controller: &str) -> String {
    let of = |name: &str| fs::read_to_string(certificate(name)).expect("a certificate");
    // A store in PEM is one file.
    let own = data.join("server.pem");
    fs::write(&own, of("server.key") + &of("server.pem")).expect("a file");
    let (own, authority) = (own.display(), certificate("authority.pem"));
    let (authority, login) = (authority.display(), "org.apache.kafka.common.security");
    format!(
        "listeners=PLAINTEXT://{open},LOGIN://{passwords},TLS://{tls},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{open},LOGIN://{passwords},TLS://{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.login.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.tls.ssl.client.auth=required
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={own}
listener.name.tls.ssl.truststore.type=PEM
listener.name.tls.ssl.truststore.location={authority}
"
    )
}
