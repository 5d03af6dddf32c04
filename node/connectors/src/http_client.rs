//! The seam to foreign HTTP servers.
//!
//! Requests and answers may hold credentials and people's data: `Debug` shows of either what they are, not what is in them.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::redirect::Policy;
use url::Url;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// Asks for something, and changes nothing.
    Get,
    /// Hands something over.
    Post,
}

/// A request.
#[derive(Clone)]
pub struct HttpRequest {
    /// Its method.
    pub method: HttpMethod,
    /// The server's URL.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body; empty: it has none.
    pub body: Bytes,
    /// How long the server may take to answer.
    pub timeout: Duration,
    /// How much of the answer's body is read.
    pub answer_bytes_max: usize,
}

/// A server's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The server's `Retry-After`, if it gave one in seconds.
    pub retry_after: Option<Duration>,
    /// The body, as far as the request wanted it.
    pub body: Bytes,
    /// Whether the server's body is longer than that.
    pub is_cut: bool,
}

/// How many characters of an answer an error shows.
const SHOWN_CHARS: usize = 200;

impl HttpAnswer {
    /// The beginning of the body, for error messages.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(SHOWN_CHARS).collect()
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &shown_url(&self.url))
            .field("headers", &headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A URL without user, password, query and fragment, all of which may be secret.
fn shown_url(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "no URL".to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    // A URL that cannot have them has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Sends HTTP requests.
#[async_trait]
pub trait HttpClient: Send + Sync + std::fmt::Debug {
    /// Sends one request and waits for its answer. An answer of any status is `Ok`.
    ///
    /// # Errors
    /// If there is no answer: no connection, or no answer in time.
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>>;
}

/// How many redirects of a request are followed.
const REDIRECTS_MAX: usize = 5;

/// Sends requests over the network. Redirects are followed within a server only, and not for ever: elsewhere, a request would take
/// credentials and rows to a server that no table names, and may reach what only this node can. The answer is then the redirect.
#[derive(Debug, Clone)]
pub struct ReqwestClient {
    client: reqwest::Client,
}

impl Default for ReqwestClient {
    fn default() -> Self {
        let policy = Policy::custom(|attempt| {
            let is_same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
            if is_same && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
        });
        // It fails only where the system has no source of randomness, as `reqwest::Client::default` does too.
        let client = reqwest::Client::builder().redirect(policy).build().expect("a client of TLS can be made");
        Self { client }
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let method = match request.method {
            HttpMethod::Get => reqwest::Method::GET,
            HttpMethod::Post => reqwest::Method::POST,
        };
        let mut sent = self.client.request(method, request.url).timeout(request.timeout);
        for (name, value) in request.headers {
            sent = sent.header(name, value);
        }
        if !request.body.is_empty() {
            sent = sent.body(request.body);
        }
        // What was asked is named by the caller, who knows what of the URL may be shown.
        let mut answer = sent.send().await.map_err(reqwest::Error::without_url)?;
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let (mut body, mut is_cut) = (Vec::new(), false);
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            let room = request.answer_bytes_max - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                is_cut = true;
                break;
            }
        }
        Ok(HttpAnswer { status, retry_after, body: body.into(), is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request with these bytes, and gives the request.
    async fn served(answer: Vec<u8>, request: impl FnOnce(String) -> HttpRequest) -> (HttpAnswer, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        #[allow(clippy::disallowed_methods, reason = "a test serves on the loopback")]
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let asked = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut asked = Vec::new();
            while !asked.ends_with(b"the end") {
                assert!(stream.read_buf(&mut asked).await.expect("a request") > 0);
            }
            // Whoever has read enough hangs up.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(asked).expect("text")
        };
        let client = ReqwestClient::default();
        let (answer, asked) = tokio::join!(client.send(request(format!("http://{address}/x?y"))), asked);
        (answer.expect("an answer"), asked)
    }

    #[tokio::test]
    async fn requests_have_headers_and_answers_a_bound() {
        let request = |url| HttpRequest {
            method: HttpMethod::Post,
            url,
            headers: vec![("content-type", "text/x".to_owned()), ("authorization", "Basic x".to_owned())],
            body: Bytes::from_static(b"the end"),
            timeout: Duration::from_secs(30),
            answer_bytes_max: 100,
        };
        let head = "HTTP/1.1 404 Not Found\r\nretry-after: 7\r\ncontent-length: ";
        let (answer, asked) = served(format!("{head}3\r\n\r\nabc").into_bytes(), request).await;
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(answer, HttpAnswer { status: 404, retry_after, body: "abc".into(), is_cut: false });
        assert!(asked.starts_with("POST /x?y HTTP/1.1\r\n") && asked.ends_with("\r\n\r\nthe end"), "{asked}");
        let lower = asked.to_lowercase();
        assert!(lower.contains("content-type: text/x\r\n") && lower.contains("authorization: basic x\r\n"), "{asked}");
        for (length, is_cut) in [(100, false), (101, true), (1 << 20, true)] {
            let body = "z".repeat(length);
            let (answer, _) = served(format!("{head}{length}\r\n\r\n{body}").into_bytes(), request).await;
            assert_eq!((answer.body.len(), answer.is_cut), (100, is_cut), "{length}");
        }
    }

    /// Answers each request of one client with a redirect, or with `done` at the path `/done`. Gives the answer, and how many were asked.
    async fn redirected(to: impl Fn(&str) -> String) -> (HttpAnswer, usize) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        #[allow(clippy::disallowed_methods, reason = "a test serves on the loopback")]
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let to = to(&address);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    assert!(stream.read_buf(&mut asked).await.expect("a request") > 0);
                }
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let head = match asked.starts_with(b"GET /done ") {
                    true => "200 OK".to_owned(),
                    false => format!("307 Temporary Redirect\r\nlocation: {to}"),
                };
                let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("an answer");
            }
        };
        let request = HttpRequest {
            method: HttpMethod::Get,
            url: format!("http://{address}/x"),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(30),
            answer_bytes_max: 100,
        };
        let client = ReqwestClient::default();
        let answer = tokio::select! {
            answer = client.send(request) => answer.expect("an answer"),
            () = serve => unreachable!("it serves for ever"),
        };
        (answer, count.into_inner())
    }

    #[tokio::test]
    async fn redirects_are_followed_within_a_server_and_not_for_ever() {
        let (answer, asked) = redirected(|_| "/done".to_owned()).await;
        assert_eq!((answer.status, asked), (200, 2));
        let (answer, asked) = redirected(|_| "/again".to_owned()).await;
        assert_eq!((answer.status, asked), (307, 1 + REDIRECTS_MAX));
        for elsewhere in ["http://localhost:1/done", "https://127.0.0.1/done", "file:///etc/passwd"] {
            let (answer, asked) = redirected(|_| elsewhere.to_owned()).await;
            assert_eq!((answer.status, asked), (307, 1), "{elsewhere}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let request = HttpRequest {
            method: HttpMethod::Post,
            url: "https://me:hush@registry:8081/subjects?token=hush#hush".to_owned(),
            headers: vec![("authorization", "Basic hush".to_owned())],
            body: Bytes::from_static(b"hush"),
            timeout: Duration::from_secs(1),
            answer_bytes_max: 1,
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains("hush") && shown.contains("https://registry:8081/subjects"), "{shown}");
        let answer = HttpAnswer { status: 200, retry_after: None, body: "hush".into(), is_cut: false };
        assert!(!format!("{answer:?}").contains("hush"));
        assert_eq!(shown_url("hush"), "no URL");
    }
}
