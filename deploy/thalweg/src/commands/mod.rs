//! The commands, one file each, and code that they share.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::CommandFactory;
use thalweg_client::{Client, ClientConfig};
use thalweg_proto::network::Network;

use crate::{
    args::{Cli, CliCommand, ClusterArgs},
    config, output,
    seams::Surroundings,
    tcp::TcpNetwork,
};

mod answers;
mod checkpoint;
mod coordinator;
mod demo;
mod dev;
mod job;
mod lists;
mod node;
mod preview;
mod run;
mod sql;
mod submit;

/// Runs the given command.
///
/// # Errors
/// Any failure of the command, with its causes.
pub async fn run(cli: Cli) -> Result<()> {
    let remote = Remote { timeout: cli.timeout };
    let format = cli.output;
    match cli.command {
        CliCommand::Demo(args) => demo::run(args, format).await,
        CliCommand::Run(args) => run::run(args, format).await,
        CliCommand::Dev(args) => dev::run(args).await,
        CliCommand::Coordinator(args) => coordinator::run(args).await,
        CliCommand::Node(args) => node::run(args).await,
        CliCommand::Submit(args) => submit::run(args, format, &remote).await,
        CliCommand::Explain(args) => submit::explain(args, format, &remote).await,
        CliCommand::Jobs(args) => lists::jobs(&args, format, &remote).await,
        CliCommand::Nodes(args) => lists::nodes(&args, format, &remote).await,
        CliCommand::Cluster(args) => lists::cluster(args, format, &remote).await,
        CliCommand::Job(command) => job::run(command, format, &remote).await,
        CliCommand::Checkpoint(command) => checkpoint::run(command, format).await,
        CliCommand::Preview(args) => preview::run(args, format, &remote).await,
        CliCommand::Sql(args) => sql::run(args, format, &remote).await,
        CliCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "thalweg", &mut script);
            Ok(output::print(&String::from_utf8(script)?)?)
        }
    }
}

/// How to reach a remote cluster.
struct Remote {
    timeout: Duration,
}

impl Remote {
    /// Connects a client to the cluster in `args`.
    async fn connect(&self, args: &ClusterArgs) -> Result<(Client, Surroundings)> {
        let surroundings = Surroundings::of_system(1).context("could not start threads")?;
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let deadline_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let config = ClientConfig { coordinators: config::coordinators(args)?, deadline_ms };
        let client = Client::connect(config, network, surroundings.seams().entropy).await?;
        Ok((client, surroundings))
    }
}

/// The name of this machine or pod. Containers get theirs in `HOSTNAME`.
fn host_name() -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
    let told = std::env::var_os("HOSTNAME").and_then(|name| name.into_string().ok());
    let name = told.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
