//! A proxy before an emulator of Kinesis that never throttles: while it is told to, it refuses requests for records and to put them as
//! Kinesis does whose limits are passed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

const REFUSAL: &str = r#"{"__type":"ProvisionedThroughputExceededException","message":"Rate exceeded for shard"}"#;
/// What Kinesis has limits for per shard.
const LIMITED: [&str; 2] = ["GetRecords", "PutRecords"];

/// The proxy, for as long as the test's process lives.
#[derive(Clone)]
pub(crate) struct Throttle {
    endpoint: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_on: AtomicBool,
    refused: AtomicU64,
}

impl Throttle {
    /// Starts it before this endpoint.
    pub(crate) fn before(endpoint: &str) -> Self {
        let emulator = endpoint.strip_prefix("http://").expect("an address by HTTP").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<State>::default();
        let shared = state.clone();
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (emulator, state) = (emulator.clone(), shared.clone());
                // A connection that breaks is its client's concern, which asks again.
                spawn(move || drop(serve(&client, &emulator, &state)));
            }
        });
        Self { endpoint, state }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether requests are refused from now on.
    pub(crate) fn set(&self, is_on: bool) {
        self.state.is_on.store(is_on, Ordering::Relaxed);
    }

    /// How many requests were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    #[allow(clippy::disallowed_methods, reason = "a test's proxy has threads of its own")]
    std::thread::spawn(work);
}

/// The head of a message with its empty line, and its body.
struct Message {
    head: String,
    body: Vec<u8>,
}

/// Answers the requests of one connection, one after the other.
fn serve(client: &TcpStream, emulator: &str, state: &State) -> std::io::Result<()> {
    let emulator = TcpStream::connect(emulator)?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(&emulator));
    while let Some(request) = read(&mut requests)? {
        let operation = header(&request.head, "x-amz-target").and_then(|target| target.rsplit_once('.'));
        let is_limited = operation.is_some_and(|(_, operation)| LIMITED.contains(&operation));
        let mut to_client = client;
        if is_limited && state.is_on.load(Ordering::Relaxed) {
            state.refused.fetch_add(1, Ordering::Relaxed);
            let length = REFUSAL.len();
            write!(
                to_client,
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {length}\r\n\r\n{REFUSAL}"
            )?;
            continue;
        }
        let mut to_emulator = &emulator;
        to_emulator.write_all(&[request.head.as_bytes(), &request.body].concat())?;
        let Some(answer) = read(&mut answers)? else { return Ok(()) };
        to_client.write_all(&[answer.head.as_bytes(), &answer.body].concat())?;
    }
    Ok(())
}

/// The next message; `None` at the end of the connection.
fn read(from: &mut impl BufRead) -> std::io::Result<Option<Message>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    let is_chunked = header(&head, "transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
    let mut body = Vec::new();
    if is_chunked {
        while read_chunk(from, &mut body)? > 0 {}
    } else {
        let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        from.take(length).read_to_end(&mut body)?;
    }
    Ok(Some(Message { head, body }))
}

/// Adds a chunk to a body as it comes, with its length before it. Gives its length: that of the last is 0.
fn read_chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> std::io::Result<u64> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let length = u64::from_str_radix(line.trim(), 16).expect("the length of a chunk");
    body.extend(line.as_bytes());
    // With the end of its line.
    from.take(length + 2).read_to_end(body)?;
    Ok(length)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
