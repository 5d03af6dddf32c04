//! The one binary: sets the process up, runs the given command, and turns its result into an exit code.
//!
//! 0: done. 1: an error, in one line on standard error. 2: the command line is wrong. 130: interrupted.

use std::process::ExitCode;

use thalweg::{
    args::Cli,
    commands,
    follow::JobError,
    layers,
    output::{OutputError, say},
    seams,
    telemetry::Telemetry,
};
use thalweg_types::text::with_causes;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INTERRUPTED: u8 = 130;
/// Even with few cores, so that a slow task does not delay heartbeats.
const IO_THREADS_MIN: usize = 4;

fn main() -> ExitCode {
    let cli = match layers::command_line(std::env::args_os()) {
        Ok(cli) => cli,
        Err(layers::LayerError::Usage(error)) => error.exit(),
        Err(error) => return fail(&error.into()),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(seams::cores().max(IO_THREADS_MIN)).thread_name("thalweg-io").enable_all();
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("could not start threads")),
    };
    let prepared = {
        let _within = runtime.enter();
        prepare(&cli)
    };
    let telemetry = match prepared {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error),
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it.
        Err(error) if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_unwanted) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    telemetry.end();
    // A pending read of the standard input must not keep the process alive.
    runtime.shutdown_background();
    code
}

fn prepare(cli: &Cli) -> anyhow::Result<Telemetry> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("could not install the TLS provider"))?;
    Telemetry::start(cli)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {}", with_causes(error.as_ref())));
    match error.downcast_ref::<JobError>() {
        Some(JobError::Interrupted { .. }) => ExitCode::from(INTERRUPTED),
        Some(JobError::Failed { .. } | JobError::Ended { .. }) | None => ExitCode::FAILURE,
    }
}
