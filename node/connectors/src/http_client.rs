//! The seam to foreign HTTP servers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A POST request of the sink.
#[derive(Debug, Clone)]
pub struct HttpPost {
    /// The server's URL.
    pub url: String,
    /// JSON lines.
    pub body: Bytes,
    /// How long the server may take to answer.
    pub timeout: Duration,
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The server's `Retry-After`, if it gave one in seconds.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, for error messages.
    pub body: String,
}

/// Sends HTTP requests.
#[async_trait]
pub trait HttpClient: Send + Sync + std::fmt::Debug {
    /// Sends one request and waits for its answer. An answer of any status is `Ok`.
    ///
    /// # Errors
    /// If there is no answer: no connection, or no answer in time.
    async fn post(&self, request: HttpPost) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>>;
}

/// Sends requests over the network.
#[derive(Debug, Clone, Default)]
pub struct ReqwestClient {
    client: reqwest::Client,
}

const SHOWN_CHARS: usize = 200;

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn post(&self, request: HttpPost) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let answer = self
            .client
            .post(request.url)
            .header("content-type", "application/x-ndjson")
            .timeout(request.timeout)
            .body(request.body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let body = answer.text().await?.chars().take(SHOWN_CHARS).collect();
        Ok(HttpAnswer { status, retry_after, body })
    }
}
