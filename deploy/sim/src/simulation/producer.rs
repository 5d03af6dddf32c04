//! A producer that POSTs records to a table. It repeats each request to any node until it is acknowledged.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::processes::{http_address, node_name};
use crate::input::Dice;

/// Requests with records for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posts {
    /// The table's path.
    pub path: String,
    /// The body of each request.
    pub bodies: Vec<String>,
    /// The time between two requests.
    pub pause: Duration,
}

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Posts {
    /// Sends all bodies in order, each with its own idempotency key, until they are acknowledged.
    ///
    /// # Errors
    /// If a request is refused for good.
    pub(super) async fn send(&self, nodes: u32, dice: &mut Dice) -> Result<()> {
        for (number, body) in self.bodies.iter().enumerate() {
            tokio::time::sleep(self.pause).await;
            loop {
                let node = 1 + u32::try_from(dice.below(u64::from(nodes))).context("few nodes")?;
                let answer = tokio::time::timeout(PATIENCE, self.post(node, number, body)).await;
                match answer {
                    Ok(Ok(200)) => break,
                    // A redirect, a missing table, a full buffer, a failing store or no answer: try again, at any
                    // node.
                    Ok(Ok(307 | 404 | 429 | 503) | Err(_)) | Err(_) => {}
                    Ok(Ok(status)) => bail!("a request was answered with {status}"),
                }
                tokio::time::sleep(Duration::from_millis(20 + dice.below(200))).await;
            }
        }
        Ok(())
    }

    /// Sends one request. Returns the status of the answer.
    async fn post(&self, node: u32, number: usize, body: &str) -> Result<u16> {
        let mut socket = turmoil::net::TcpStream::connect(http_address(&node_name(node))).await?;
        let head = format!(
            "POST /{} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nIdempotency-Key: request-{number}\r\nConnection: close\r\n\r\n",
            self.path,
            node_name(node),
            body.len()
        );
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("not an answer")?;
        Ok(status.parse()?)
    }
}
