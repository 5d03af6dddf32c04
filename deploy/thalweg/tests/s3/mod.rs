//! A local server of the S3 protocol: moto's, if it is installed.
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

    fn start_with(own_variables: &[(&str, &str)]) -> Option<Self> {
        let [address] = free_addresses();
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let program = std::env::var("THALWEG_MOTO_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
        let mut command = Command::new(program);
        command.args(["-H", host, "-p", port]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(own_variables.iter().copied());
        let Ok(server) = command.spawn() else {
            eprintln!("skipped: moto_server is not installed (THALWEG_MOTO_SERVER)");
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
        let started = Self { server, variables, store };
        wait_until("the bucket", || create_bucket(&address));
        Some(started)
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
