//! Careless and hostile clients: idle connections, endless requests, huge scripts, two jobs on one path. The cluster
//! continues with the resources that it has.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use process::{Background, Place, free_addresses, lines_below, thalweg, wait_until};
use serde_json::Value;

/// A coordinator and numbered nodes that take records.
struct Cluster {
    address: String,
    http: Vec<String>,
    listen: Vec<String>,
    nodes: Vec<Option<Background>>,
    _coordinator: Background,
}

impl Cluster {
    /// `files` is the number of files that each process may have open.
    fn start<const NODES: usize>(directory: &Path, files: Option<u32>) -> Self {
        let [address]: [String; 1] = free_addresses();
        let (http, listen): ([String; NODES], [String; NODES]) = (free_addresses(), free_addresses());
        let place = Place { files, ..Place::default() };
        let data = directory.join("coordinator").display().to_string();
        let coordinator = ["coordinator", "--listen", &address, "--data-dir", &data, "--checkpoint-interval", "200 ms"];
        let coordinator = Background::start_at(&place, &coordinator);
        let node = |number: usize| {
            let (id, http, listen) = ((number + 1).to_string(), &http[number], &listen[number]);
            let identity = ["node", "--node", &id, "--coordinator", &address, "--slots", "2"];
            Some(Background::start_at(&place, &[&identity[..], &["--http", http, "--listen", listen]].concat()))
        };
        let nodes = (0..NODES).map(node).collect();
        let (http, listen) = (http.to_vec(), listen.to_vec());
        let cluster = Self { address, http, listen, nodes, _coordinator: coordinator };
        wait_until("all nodes", || (cluster.json(&["nodes"])?.len() == NODES).then_some(()));
        cluster
    }

    /// A command's answer as lines of JSON; `None` if it fails.
    fn json(&self, arguments: &[&str]) -> Option<Vec<Value>> {
        let outcome =
            thalweg(&[arguments, &["-o", "json", "--coordinator", &self.address, "--timeout", "20 s"]].concat());
        let line = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        (outcome.code == Some(0)).then(|| outcome.stdout.lines().map(line).collect())
    }

    /// Submits a job that copies what is POSTed to a path into a directory.
    fn submit(&self, path: &str, output: &Path) -> process::Outcome {
        let sql = format!(
            "CREATE TABLE t (a BIGINT) WITH ('connector' = 'http', 'format' = 'json', 'path' = '{path}'); \
             CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}'); \
             INSERT INTO o SELECT a FROM t;",
            output.display()
        );
        thalweg(&["submit", "--coordinator", &self.address, "-p", "1", "-e", &sql])
    }

    fn status(&self, job: &str) -> Option<String> {
        Some(self.json(&["job", "show", job])?[0]["status"].as_str()?.to_owned())
    }

    /// POSTs a record until some node takes it.
    fn post(&self, path: &str, number: u32) {
        wait_until("a record that is taken", || {
            let body = format!("{{\"a\":{number}}}");
            self.http.iter().any(|http| post(http, path, &body) == Some(200)).then_some(())
        });
    }
}

/// POSTs a body. Returns the status of the answer.
fn post(address: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .ok()?;
    status_of(&mut stream)
}

fn status_of(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Whether the other side closes a connection within `patience`.
fn is_closed_within(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

fn numbers(directory: &Path) -> Vec<u64> {
    let number = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["a"].as_u64().expect("a number");
    let lines = if directory.is_dir() { lines_below(directory) } else { Vec::new() };
    let mut numbers: Vec<u64> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn idle_connections_and_slow_requests_keep_nobody_out() {
    const FILES: u32 = 200;
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start::<1>(directory.path(), Some(FILES));
    let output = directory.path().join("out");
    let submitted = cluster.submit("/in", &output);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    cluster.post("/in", 1);

    let (http, exchange) = (&cluster.http[0], &cluster.listen[0]);
    let mut strangers = Vec::new();
    for _ in 0..200 {
        for address in [http, exchange, &cluster.address] {
            strangers.push(TcpStream::connect(address).expect("it listens"));
        }
    }
    cluster.post("/in", 2);
    assert_eq!(cluster.status("job-1").as_deref(), Some("running"));
    // One client announces a body and sends none. The others send a head and a body very slowly.
    let mut announcing = TcpStream::connect(http).expect("it listens");
    write!(announcing, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n").expect("sent");
    let mut slow = TcpStream::connect(http).expect("it listens");
    let mut trickling = TcpStream::connect(http).expect("it listens");
    write!(trickling, "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").expect("sent");
    let start = Instant::now();
    for _ in 0..15 {
        // The server may have closed both by now.
        slow.write_all(b"GET").and_then(|()| trickling.write_all(b" ")).ok();
        assert_eq!(post(http, "/in", "{\"a\":3}"), Some(200), "after {:?}: nobody holds the buffer", start.elapsed());
        thread::sleep(Duration::from_secs(1));
    }
    for stream in [&mut announcing, &mut slow, &mut trickling] {
        assert!(is_closed_within(stream, Duration::from_secs(15)), "it was given up");
    }
    let open =
        strangers.iter_mut().filter_map(|stream| (!is_closed_within(stream, Duration::from_millis(1))).then_some(()));
    assert_eq!(open.count(), 0, "strangers that asked for nothing in ten seconds");
    assert_eq!(cluster.status("job-1").as_deref(), Some("running"));
    let node = cluster.nodes[0].as_ref().expect("it runs");
    let lines = node.log().lines().count();
    assert!(lines < 60, "{lines} lines: {}", node.log());
    let stopped = thalweg(&["job", "stop", "job-1", "--coordinator", &cluster.address]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    wait_until("the job's end", || (cluster.status("job-1")? == "stopped").then_some(()));
    assert_eq!(numbers(&output)[..2], [1, 2]);
    assert_eq!(cluster.json(&["job", "show", "job-1"]).expect("it is there")[0]["attempt"], 1, "it never failed");
}

#[test]
fn a_script_without_measure_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start::<1>(directory.path(), None);
    let script = directory.path().join("large.sql");
    let text = format!("SELECT '{}' FROM t;", "x".repeat(40 << 20));
    fs::write(&script, text).expect("written");
    let start = Instant::now();
    let refused = thalweg(&["submit", script.to_str().expect("text"), "--coordinator", &cluster.address]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("and at most 1048576 are taken: make several jobs of it"), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(cluster.json(&["jobs"]).expect("it answers").len(), 0);
    assert_eq!(cluster.json(&["cluster"]).expect("it answers").len(), 1);
}

#[test]
fn a_path_belongs_to_one_job_and_to_the_next_when_that_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start::<2>(directory.path(), None);
    let output = |name: &str| directory.path().join(name);
    assert_eq!(cluster.submit("/in", &output("first")).code, Some(0));
    cluster.post("/in", 1);
    let refused = cluster.submit("in/", &output("second"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("records that are POSTed to /in go to job-1"), "{refused:?}");
    assert_eq!(thalweg(&["job", "cancel", "job-1", "--coordinator", &cluster.address]).code, Some(0));
    assert_eq!(cluster.submit("/in", &output("second")).code, Some(0), "at once");
    cluster.post("/in", 2);
    let job = cluster.json(&["jobs"]).expect("it answers").len();
    assert_eq!(job, 2, "the refused one was none");
    wait_until("its output", || (numbers(&output("second")) == [2]).then_some(()));
    let second = &cluster.json(&["job", "show", "job-2"]).expect("it is there")[0];
    assert_eq!((&second["status"], &second["attempt"]), (&Value::from("running"), &Value::from(1)), "{second}");
}

#[test]
fn two_jobs_that_take_records_outlive_a_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start::<2>(directory.path(), None);
    let output = |name: &str| directory.path().join(name);
    let jobs = ["a", "b"];
    for job in jobs {
        assert_eq!(cluster.submit(&format!("/{job}"), &output(job)).code, Some(0));
    }
    for number in 1..=5 {
        jobs.iter().for_each(|job| cluster.post(&format!("/{job}"), number));
    }
    cluster.nodes[0].take().expect("it runs").kill();
    for number in 6..=10 {
        jobs.iter().for_each(|job| cluster.post(&format!("/{job}"), number));
    }
    cluster.nodes[1].as_ref().expect("it runs");
    for (job, name) in ["job-1", "job-2"].into_iter().zip(jobs) {
        let stopped = thalweg(&["job", "stop", job, "--coordinator", &cluster.address]);
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        wait_until("the job's end", || (cluster.status(job)? == "stopped").then_some(()));
        let mut taken = numbers(&output(name));
        taken.dedup();
        assert_eq!(taken, (1..=10).collect::<Vec<u64>>(), "{name}: all that was acknowledged");
    }
}
