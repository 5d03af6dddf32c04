//! `thalweg run`: runs a script to its end in this process.

use anyhow::Result;

use super::answers;
use crate::{
    args::{OutputFormat, RunArgs},
    config,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions},
    output::OutputError,
    script::{self, Offers},
    seams::cores,
};

/// More than any job needs: slots are no limit within one process.
const SLOTS: u32 = 256;

pub(super) async fn run(args: RunArgs, format: OutputFormat) -> Result<()> {
    let submit = script::read(&args.script, None)?;
    let offers = Offers { http: false, standard_input: !script::is_standard_input(&args.script) };
    script::check_sources(&submit, "run", offers)?;
    let script = submit.sql.clone();
    // By default one slice per core; the script or a setting may override it.
    let parallelism = Some(u32::try_from(cores()).unwrap_or(SLOTS).min(SLOTS));
    let mut options = EmbeddedOptions { nodes: args.nodes, slots: SLOTS, parallelism, ..EmbeddedOptions::default() };
    options.secrets = config::secrets("run", args.secrets, &options.allowed)?;
    let cluster = EmbeddedCluster::start(options).await?;
    let followed = async {
        if !answers::print(cluster.client(), &submit, format).await? {
            return Ok(());
        }
        let submitted = cluster.client().submit(submit).await?;
        let options = FollowOptions { format, is_quiet: args.quiet };
        follow::follow(cluster.client(), &submitted, options, cluster.seams().clock.as_ref()).await.map(|_| ())
    };
    let result = tokio::select! {
        biased;
        // The reader of the job's output has closed it, so the rest is not wanted.
        () = cluster.output().unwanted() => Err(OutputError::unwanted().into()),
        result = followed => result,
    };
    cluster.shutdown_after(&result).await;
    follow::forgive_enough(result, &script)
}
