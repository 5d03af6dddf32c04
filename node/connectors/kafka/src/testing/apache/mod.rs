//! Brokers of Apache Kafka as processes of a test.
//!
//! `THALWEG_KAFKA` names the folder with its libraries, which `deploy/kafka/apache-kafka install FOLDER` fills. Without it, tests say that they
//! are skipped.

mod certificates;

use std::{
    env, fmt, fs,
    io::{Seek as _, SeekFrom, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

pub use self::certificates::Certificates;
use crate::TopicPartition;

/// Names the folder with the libraries.
const VARIABLE: &str = "THALWEG_KAFKA";
/// A broker starts in five seconds on a machine that has nothing else to do.
const START_LIMIT: Duration = Duration::from_secs(180);
const LOOK_EACH: Duration = Duration::from_millis(100);
/// What suits tests: internal topics are small, and what has a time limit is looked after often.
const SETTINGS: &str = "\
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=500
log.retention.ms=-1
offsets.topic.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=200
transaction.state.log.num.partitions=4
";
/// On how many brokers each record is, if there are so many.
const REPLICAS_MAX: usize = 3;

/// Where a broker listens, and how it is spoken to there.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: &'static str,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: &'static str,
    /// Its settings, without `listener.name.NAME.`.
    pub settings: Vec<(String, String)>,
}

impl Listener {
    /// One that asks for nothing.
    #[must_use]
    pub fn plain() -> Self {
        Self { name: "PLAINTEXT", protocol: "PLAINTEXT", settings: Vec::new() }
    }
}

/// How a broker is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// At least one. The first is also the broker's own.
    pub listeners: Vec<Listener>,
    /// Settings beside those that suit tests.
    pub settings: Vec<(String, String)>,
    /// Names and passwords for `SCRAM-SHA-256` and `SCRAM-SHA-512`.
    pub users: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { listeners: vec![Listener::plain()], settings: Vec::new(), users: Vec::new() }
    }
}

/// A running broker. Dropping it ends it, and removes what it held.
pub struct Broker {
    id: i32,
    libraries: PathBuf,
    directory: TempDir,
    process: Option<Child>,
    ports: Vec<u16>,
    names: Vec<&'static str>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts a broker that asks its clients for nothing. If Apache Kafka is not there, says so and returns `None`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&Setup::default())
    }

    /// As `start`, set up in another way.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(setup: &Setup) -> Option<Self> {
        Self::start_several(setup, 1)?.pop()
    }

    /// Starts brokers of one cluster. Records are on up to three of them, and on two before they are acknowledged.
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start_several(setup: &Setup, count: usize) -> Option<Vec<Self>> {
        let libraries = libraries()?;
        // All ports are taken before one is given back, so they differ.
        let ports = free_ports(count * (setup.listeners.len() + 1));
        let names: Vec<_> = setup.listeners.iter().map(|listener| listener.name).collect();
        let mut brokers: Vec<Self> = ports
            .chunks(setup.listeners.len() + 1)
            .zip(1..)
            .map(|(ports, id)| {
                let directory = TempDir::new().expect("a temporary directory");
                Self {
                    id,
                    libraries: libraries.clone(),
                    directory,
                    process: None,
                    ports: ports.to_vec(),
                    names: names.clone(),
                }
            })
            .collect();
        let controllers: Vec<u16> = brokers.iter().map(|broker| broker.controller_and_ports().0).collect();
        for broker in &brokers {
            let properties = broker.properties(setup, &controllers);
            fs::write(broker.path("server.properties"), properties).expect("the settings are written");
            broker.format(&setup.users);
        }
        // None answers before a majority of the controllers runs.
        brokers.iter_mut().for_each(Self::spawn);
        brokers.iter_mut().for_each(Self::wait);
        Some(brokers)
    }

    /// The address of the first listener, for `bootstrap.servers`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address_of(self.names[0])
    }

    /// The address of a listener. It is `localhost`, as in certificates.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn address_of(&self, listener: &str) -> String {
        let index = self.names.iter().position(|name| *name == listener).expect("a listener of this name");
        format!("localhost:{}", self.ports[index])
    }

    /// Ends the broker as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Starts a broker that was killed, at the same address and with what it held.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run(&mut self) {
        self.spawn();
        self.wait();
    }

    fn spawn(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("broker.log")).expect("a log");
        let process = self
            .java()
            .arg(format!("-Dlog4j2.configurationFile={}", self.libraries.join("log4j2.properties").display()))
            .args(["kafka.Kafka", &self.path("server.properties").to_string_lossy()])
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("java runs");
        self.process = Some(process);
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        let mut waited = Duration::ZERO;
        while !self.answers() {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!ended && waited < START_LIMIT, "the broker does not answer:\n{}", self.log());
            thread::sleep(LOOK_EACH);
            waited += LOOK_EACH;
        }
    }

    /// What the broker is called by others of its cluster.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Lets another broker of the cluster have a partition, alone.
    ///
    /// # Panics
    /// If that is refused.
    pub fn move_partition(&self, of: &TopicPartition, to: i32) {
        let plan = self.path("moves.json");
        let (topic, partition) = (&of.topic, of.partition);
        let moves = format!(
            r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":{partition},"replicas":[{to}]}}]}}"#
        );
        fs::write(&plan, moves).expect("the plan is written");
        let mut command = self.java();
        command.args(["org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "--execute"]);
        command.args(["--bootstrap-server", &self.address(), "--reassignment-json-file"]).arg(plan);
        let moved = command.output().expect("java runs");
        let told = [moved.stdout, moved.stderr].concat();
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&told));
    }

    /// Changes a byte of what a partition has on disk, in the first place where these bytes stand. A running broker gives what is on disk
    /// without a look at it; one that was killed cuts the log there when it starts again.
    ///
    /// # Panics
    /// If they stand nowhere in its first segment.
    pub fn damage(&self, of: &TopicPartition, bytes: &[u8]) {
        let segment = self.path("log").join(of.to_string()).join("00000000000000000000.log");
        let log = fs::read(&segment).expect("the partition has a segment");
        let at = log.windows(bytes.len()).position(|window| window == bytes).expect("the bytes stand there");
        let mut file = fs::File::options().write(true).open(&segment).expect("the segment can be changed");
        file.seek(SeekFrom::Start(at as u64)).expect("there is such a place");
        file.write_all(&[!bytes[0]]).expect("the segment can be changed");
    }

    /// What the broker has logged: warnings and errors.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("broker.log")).unwrap_or_default()
    }

    fn controller_and_ports(&self) -> (u16, &[u16]) {
        let (controller, ports) = self.ports.split_last().expect("there is a port for the controller");
        (*controller, ports)
    }

    fn properties(&self, setup: &Setup, controllers: &[u16]) -> String {
        let (controller, ports) = self.controller_and_ports();
        let voter = |(index, port): (usize, &u16)| format!("{}@127.0.0.1:{port}", index + 1);
        let voters = controllers.iter().enumerate().map(voter).collect::<Vec<_>>().join(",");
        let at = |host: &str| {
            let listeners = setup.listeners.iter().zip(ports);
            listeners.map(|(listener, port)| format!("{}://{host}:{port}", listener.name)).collect::<Vec<_>>().join(",")
        };
        let protocols: Vec<String> =
            setup.listeners.iter().map(|listener| format!("{}:{}", listener.name, listener.protocol)).collect();
        let mut properties = format!(
            "{SETTINGS}{}process.roles=broker,controller\nnode.id={}\n\
             controller.quorum.voters={voters}\ncontroller.listener.names=CONTROLLER\n\
             listeners={},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={}\n\
             listener.security.protocol.map={},CONTROLLER:PLAINTEXT\ninter.broker.listener.name={}\nlog.dirs={}\n",
            replication(controllers.len()),
            self.id,
            at("127.0.0.1"),
            at("localhost"),
            protocols.join(","),
            setup.listeners[0].name,
            self.path("log").display()
        );
        let of_listeners = setup.listeners.iter().flat_map(|listener| {
            let prefix = format!("listener.name.{}.", listener.name.to_lowercase());
            listener.settings.iter().map(move |(key, value)| (format!("{prefix}{key}"), value.clone()))
        });
        for (key, value) in of_listeners.chain(setup.settings.iter().cloned()) {
            properties += &format!("{key}={value}\n");
        }
        properties
    }

    fn format(&self, users: &[(String, String)]) {
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "--cluster-id", "thalweg-kafka-for-tests", "--config"]);
        command.arg(self.path("server.properties"));
        for (name, password) in users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.args(["--add-scram", &format!("{mechanism}=[name={name},password={password}]")]);
            }
        }
        let formatted = command.output().expect("java runs");
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
    }

    /// Java, in little memory, with the libraries.
    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-cp", &format!("{}/*", self.libraries.display())]).stdin(Stdio::null());
        command
    }

    /// Whether all listeners take connections.
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn answers(&self) -> bool {
        let connects = |port: &u16| TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok();
        self.ports[..self.names.len()].iter().all(connects)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if thread::panicking() {
            // Why the test failed may stand there.
            eprintln!("the broker's log:\n{}", self.log());
        }
        self.kill();
    }
}

fn replication(brokers: usize) -> String {
    let replicas = brokers.min(REPLICAS_MAX);
    let in_sync = replicas.min(2);
    format!(
        "default.replication.factor={replicas}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr={in_sync}\nshare.coordinator.state.topic.replication.factor={replicas}\n\
         transaction.state.log.min.isr={in_sync}\ntransaction.state.log.replication.factor={replicas}\n"
    )
}

/// The folder with the libraries, if there is one.
#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
fn libraries() -> Option<PathBuf> {
    let Some(folder) = env::var_os(VARIABLE).map(PathBuf::from) else {
        eprintln!("skipped: Apache Kafka is not installed ({VARIABLE})");
        return None;
    };
    let is_there = Path::new(&folder).join("version").is_file();
    assert!(is_there, "{VARIABLE}: there is no Apache Kafka in {}", folder.display());
    Some(folder)
}

#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it has an address").port()).collect()
}
