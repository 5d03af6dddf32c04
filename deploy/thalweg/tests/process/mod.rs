//! Processes of the built binary.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The longest time of any step of a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The output and exit code of a process.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The environment of a process: its directory, and variables besides those of the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) directory: Option<PathBuf>,
    /// The number of files that it may have open.
    pub(crate) files: Option<u32>,
    pub(crate) variables: BTreeMap<String, String>,
}

impl Place {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.files {
            None => command(arguments),
            Some(files) => {
                let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
                prepared(Command::new("sh"), &[&["-c", &limited, env!("CARGO_BIN_EXE_thalweg")], arguments].concat())
            }
        };
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
            command.env_remove(ALLOW_PATH);
        }
        command.envs(&self.variables);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn thalweg(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().expect("the binary runs");
        outcome(output.status.code(), &output.stdout, &output.stderr)
    }
}

/// Tests have their tables in temporary directories, which a process may not use by default.
const ALLOW_PATH: &str = "THALWEG_ALLOW_PATH";

fn command(arguments: &[&str]) -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_thalweg")), arguments)
}

fn prepared(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ["THALWEG_", "OTEL_", "AWS_"].iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command.env(ALLOW_PATH, std::env::temp_dir());
    command
}

/// Runs the binary to its end.
pub(crate) fn thalweg(arguments: &[&str]) -> Outcome {
    let output = command(arguments).output().expect("the binary runs");
    outcome(output.status.code(), &output.stdout, &output.stderr)
}

/// Runs the binary to its end, with `input` as its standard input.
pub(crate) fn thalweg_with_input(arguments: &[&str], input: &str) -> Outcome {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("the binary reads its input");
    let output = child.wait_with_output().expect("the binary ends");
    outcome(output.status.code(), &output.stdout, &output.stderr)
}

/// Runs the binary to its end, with nobody to read its standard output.
pub(crate) fn thalweg_without_reader(arguments: &[&str]) -> Outcome {
    let mut child = command(arguments).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the binary ends");
    outcome(output.status.code(), &output.stdout, &output.stderr)
}

fn outcome(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code, stdout: text(stdout), stderr: text(stderr) }
}

/// A process that serves until it is stopped. Dropping it kills it.
pub(crate) struct Background {
    child: Child,
    stderr: Arc<Mutex<String>>,
    stdout: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at(&Place::default(), arguments)
    }

    pub(crate) fn start_at(place: &Place, arguments: &[&str]) -> Self {
        let mut child = place.command(arguments).spawn().expect("the binary runs");
        let (stderr, stdout) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stderr.take().expect("it is piped"), &stderr),
            gather(child.stdout.take().expect("it is piped"), &stdout),
        ];
        Self { child, stderr, stdout, readers }
    }

    /// Waits for a line on standard error with this beginning. Returns the rest of the line.
    pub(crate) fn wait_for(&self, beginning: &str) -> String {
        wait_until(&format!("'{beginning}' on standard error"), || {
            let text = self.stderr.lock().expect("no reader has panicked").clone();
            text.lines().find_map(|line| line.strip_prefix(beginning)).map(|rest| rest.trim().to_owned())
        })
    }

    /// Asks the process to end, and waits for that.
    pub(crate) fn terminate(self) -> Outcome {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(status.success());
        self.wait()
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(mut self) -> Outcome {
        let code = wait_until("the process's end", || self.child.try_wait().expect("it can be waited for")).code();
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader ends with the process");
        }
        let text = |text: &Mutex<String>| text.lock().expect("no reader has panicked").clone();
        Outcome { code, stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "{name} reaches the process");
    }

    /// The exit code if the process has ended. The inner value is `None` after a signal.
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("it can be waited for").map(|status| status.code())
    }

    /// Its standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().expect("no reader has panicked").clone()
    }

    /// Its standard output so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.lock().expect("no reader has panicked").clone()
    }

    /// Kills the process, like a crash.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn gather(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = into.clone();
    #[allow(clippy::disallowed_methods, reason = "a test reads pipes of real processes")]
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut text = into.lock().expect("nobody panics with it");
            text.push_str(&line);
            text.push('\n');
        }
    })
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies two folders below the top")
}

/// Different addresses whose ports were free a moment ago.
pub(crate) fn free_addresses<const N: usize>() -> [String; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").to_string())
}

/// The status of a GET; `None` if nobody listens.
pub(crate) fn http_status(address: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// The body of the answer to a GET; `None` if nobody listens.
pub(crate) fn http_text(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The lines of all visible files below a directory, sorted.
pub(crate) fn lines_below(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory).expect("there is output") {
        let path = entry.expect("it can be listed").path();
        let is_hidden =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(['.', '_']));
        if !is_hidden && path.is_file() {
            lines.extend(std::fs::read_to_string(path).expect("it can be read").lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// Calls `look` again and again until it finds something.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    #[allow(clippy::disallowed_methods, reason = "a test of real processes has real time")]
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
