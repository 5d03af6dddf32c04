//! A local server of the S3 protocol: moto's, which keeps all in memory, or ministack's, whose objects outlive it; if installed.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use futures::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use crate::process::{Place, free_addresses, wait_until};

const BUCKET: &str = "thalweg";

/// The server with one bucket. Dropping it stops it.
pub(crate) struct S3 {
    server: Child,
    launch: Launch,
    address: String,
    variables: BTreeMap<String, String>,
    store: AmazonS3,
}

impl S3 {
    /// Starts the server. If it is not installed, says so and returns `None`.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server that denies all access after its bucket was created.
    pub(crate) fn start_closed() -> Option<Self> {
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    /// Starts a server that keeps its objects in a directory, so that it can be killed and started again. If it is not
    /// installed, says so and returns `None`.
    pub(crate) fn start_lasting(directory: &std::path::Path) -> Option<Self> {
        let [address] = free_addresses();
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let directory = directory.to_str().expect("a path of text");
        let place = [("MINISTACK_HOST", host), ("BIND_HOST", host), ("GATEWAY_PORT", port), ("SERVICES", "s3")];
        let variables = place.into_iter().chain([("S3_PERSIST", "1"), ("S3_DATA_DIR", directory)]);
        Self::launch(address.clone(), Launch::of(("THALWEG_MINISTACK", "ministack"), &[], variables))
    }

    fn start_with(own_variables: &[(&str, &str)]) -> Option<Self> {
        let [address] = free_addresses();
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let program = ("THALWEG_MOTO_SERVER", "moto_server");
        let launch = Launch::of(program, &["-H", host, "-p", port], own_variables.iter().copied());
        Self::launch(address.clone(), launch)
    }

    fn launch(address: String, launch: Launch) -> Option<Self> {
        let Ok(server) = launch.spawn() else {
            eprintln!("skipped: {} is not installed ({})", launch.name, launch.variable);
            return None;
        };
        let variables = [
            ("AWS_ACCESS_KEY_ID", "nobody"),
            ("AWS_SECRET_ACCESS_KEY", "nothing"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ENDPOINT_URL", &format!("http://{address}")),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(format!("http://{address}"))
            .with_allow_http(true)
            .with_access_key_id("nobody")
            .with_secret_access_key("nothing")
            .with_region("us-east-1")
            .build()
            .expect("it is configured");
        let started = Self { server, launch, address, variables, store };
        wait_until("the bucket", || create_bucket(&started.address));
        Some(started)
    }

    /// Kills the server (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.server.kill().expect("it can be killed");
        self.server.wait().expect("it can be waited for");
    }

    /// Starts it again, at the same address.
    pub(crate) fn revive(&mut self) {
        self.server = self.launch.spawn().expect("it could be started before");
    }

    /// Waits until it answers.
    pub(crate) fn wait_until_up(&self) {
        wait_until("the server of objects", || TcpStream::connect(&self.address).ok());
    }

    /// An environment with the server's address and credentials.
    pub(crate) fn place(&self) -> Place {
        Place { variables: self.variables.clone(), ..Place::default() }
    }

    /// The URL of a path in the bucket.
    pub(crate) fn url(path: &str) -> String {
        format!("s3://{BUCKET}/{path}")
    }

    /// The names of all objects below a path.
    pub(crate) fn names_below(&self, path: &str) -> Vec<String> {
        let objects: Vec<_> =
            block_on(self.store.list(Some(&Path::from(path))).try_collect()).expect("they are listed");
        objects.into_iter().map(|object: object_store::ObjectMeta| object.location.to_string()).collect()
    }

    /// The content of an object.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        // A name as it is listed: it must not be escaped again.
        let name = Path::parse(name).expect("a name");
        block_on(async { self.store.get(&name).await?.bytes().await }).expect("it can be read").to_vec()
    }

    /// Deletes objects, as somebody else might.
    pub(crate) fn delete(&self, names: &[String]) {
        for name in names {
            block_on(self.store.delete(&Path::from(name.as_str()))).expect("it is deleted");
        }
    }

    /// The lines of all visible objects below a path, sorted.
    pub(crate) fn lines_below(&self, path: &str) -> Vec<String> {
        let names = self.names_below(path).into_iter().map(Path::from);
        let mut lines: Vec<String> = Vec::new();
        for name in names.filter(|name| name.filename().is_some_and(|name| !name.starts_with(['.', '_']))) {
            let bytes = block_on(async { self.store.get(&name).await?.bytes().await }).expect("it can be read");
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
        lines.sort_unstable();
        lines
    }
}

/// How a server is started.
struct Launch {
    variable: &'static str,
    name: &'static str,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// By the program that a variable names, or the one of this name on the path.
    fn of<'a>(
        (variable, name): (&'static str, &'static str),
        arguments: &[&str],
        variables: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variable, name, arguments, variables }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let program = std::env::var(self.variable).unwrap_or_else(|_| self.name.to_owned());
        let mut command = Command::new(program);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// Creates the bucket; `None` if the server does not listen yet.
fn create_bucket(address: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request =
        format!("PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).filter(|status| *status == "200").map(|_| ())
}
