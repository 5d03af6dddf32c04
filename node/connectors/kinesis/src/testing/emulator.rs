//! Emulators of Kinesis as processes: each has its own port, on loopback, and keeps nothing.
//!
//! | | installed by | named by | |
//! |---|---|---|---|
//! | kinesis-local | `deploy/kinesis/kinesis-local` | `THALWEG_KINESIS` | has fan-out |
//! | kinesalite | `deploy/kinesis/kinesalite/install` | `THALWEG_KINESALITE` | is quick |
//!
//! The variables name folders. Without one, its tests are skipped, and say so.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{ClientConfig, CredentialsFrom, StaticKeys, StreamName};

/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(100);
/// How long it takes to create, to split and so on.
const CHANGE_MS: u32 = 200;
/// More shards than one page of a list has.
const SHARDS_MAX: u32 = 5000;

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// kinesis-local.
    KinesisLocal,
    /// kinesalite.
    Kinesalite,
}

/// A running emulator. It ends when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    kind: Kind,
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::KinesisLocal => "kinesis-local",
            Self::Kinesalite => "kinesalite",
        }
    }

    /// Names the folder with the emulator.
    fn variable(self) -> &'static str {
        match self {
            Self::KinesisLocal => "THALWEG_KINESIS",
            Self::Kinesalite => "THALWEG_KINESALITE",
        }
    }

    /// The folder with the emulator, if there is one.
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn folder(self) -> Option<PathBuf> {
        let (name, variable) = (self.name(), self.variable());
        let Some(folder) = env::var_os(variable).map(PathBuf::from) else {
            eprintln!("skipped: {name} is not installed ({variable})");
            return None;
        };
        let is_there = Path::new(&folder).join("version").is_file();
        assert!(is_there, "{variable}: there is no {name} in {}", folder.display());
        Some(folder)
    }

    fn command(self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new("node");
        match self {
            Self::KinesisLocal => {
                // Nobody uses it.
                let tls = std::iter::repeat_with(free_port).find(|tls| *tls != port).expect("there are many");
                command
                    .arg("main.js")
                    // It finds its certificate beside itself.
                    .current_dir(folder.join("node_modules/kinesis-local"))
                    .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
                    .env("KINESIS_MOCK_TLS_PORT", tls.to_string())
                    .env("SHARD_LIMIT", SHARDS_MAX.to_string())
                    .env("LOG_LEVEL", "ERROR")
                    .envs(CHANGES.map(|change| (change, format!("{CHANGE_MS}ms"))));
            }
            Self::Kinesalite => {
                // Its own command would listen to all networks.
                let options = ["createStreamMs", "deleteStreamMs", "updateStreamMs"]
                    .map(|change| format!("{change}: {CHANGE_MS}"))
                    .join(", ");
                let start = format!(
                    "require('kinesalite')({{{options}, shardLimit: {SHARDS_MAX}}}).listen({port}, '127.0.0.1')"
                );
                command.args(["-e", &start]).current_dir(folder);
            }
        }
        command
    }
}

/// What takes a while, as in Kinesis.
const CHANGES: [&str; 6] = [
    "CREATE_STREAM_DURATION",
    "DELETE_STREAM_DURATION",
    "REGISTER_STREAM_CONSUMER_DURATION",
    "DEREGISTER_STREAM_CONSUMER_DURATION",
    "SPLIT_SHARD_DURATION",
    "MERGE_SHARDS_DURATION",
];

impl Emulator {
    /// Starts one; `None`: it is not installed, and the test is skipped.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(kind: Kind) -> Option<Self> {
        let folder = kind.folder()?;
        let directory = tempfile::tempdir().expect("a directory");
        let mut emulator = Self { kind, directory, port: free_port(), process: None };
        emulator.run(&folder);
        Some(emulator)
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How to reach a stream of it.
    #[must_use]
    pub fn config(&self, stream: &str) -> ClientConfig {
        // Any will do.
        let keys = StaticKeys {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        };
        ClientConfig {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint()),
            credentials: CredentialsFrom::Static(keys),
            ..ClientConfig::new(StreamName::Name(stream.to_owned()))
        }
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn run(&mut self, folder: &Path) {
        let log = fs::File::create(self.directory.path().join("log")).expect("a log");
        let mut command = self.kind.command(folder, self.port);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.process = Some(command.spawn().expect("node runs"));
        let mut waited = Duration::ZERO;
        while !self.answers() {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            let is_in_vain = ended || waited >= START_LIMIT;
            assert!(!is_in_vain, "{} does not answer:\n{}", self.kind.name(), self.log());
            thread::sleep(LOOK_EACH);
            waited += LOOK_EACH;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn answers(&self) -> bool {
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).is_ok()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if thread::panicking() {
            // Why the test failed may stand there.
            eprintln!("{}'s log:\n{}", self.kind.name(), self.log());
        }
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("it has an address").port()
}
