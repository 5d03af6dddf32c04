//! A broker of Apache Kafka for a measurement, started by `deploy/kafka/apache-kafka`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kafka/apache-kafka");

/// Dropping it ends the broker, and removes what it holds.
pub(super) struct Broker {
    servers: String,
    directory: TempDir,
}

impl Broker {
    /// Starts a broker of an installation, and waits until it answers.
    pub(super) async fn start(installation: &Path) -> Result<Self> {
        let directory =
            TempDir::with_prefix("thalweg-bench-kafka-").context("could not create a temporary directory")?;
        let [port, controller] = free_ports()?;
        let mut broker = Self { servers: String::new(), directory };
        let mut command = Command::new(SCRIPT);
        command.arg("start").arg(installation).arg(broker.data()).args([port, controller]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("could not run {SCRIPT}"))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut broker.servers);
        Ok(broker)
    }

    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("broker")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Ok(process) = fs::read_to_string(self.data().join("pid")) else { return };
        // What it holds is removed with the directory, so it need not end in order.
        let killed = std::process::Command::new("kill").args(["-KILL", process.trim()]).status();
        if !killed.is_ok_and(|status| status.success()) {
            eprintln!("could not end the broker, process {}", process.trim());
        }
    }
}

/// Different ports that were free a moment ago.
fn free_ports() -> Result<[String; 2]> {
    #[allow(clippy::disallowed_methods, reason = "Java listens there, not this process")]
    let bind = || TcpListener::bind("127.0.0.1:0").context("no port is free");
    let listeners = [bind()?, bind()?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port().to_string());
    Ok([port(&listeners[0])?, port(&listeners[1])?])
}
