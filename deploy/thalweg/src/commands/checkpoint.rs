//! `thalweg checkpoint verify`: checks by the store alone that a checkpoint is complete.

use anyhow::{Context, Result};
use serde::Serialize;
use thalweg_storage::{ObjectStores, StorageError, Verified, verify};

use crate::{
    args::{CheckpointCommand, Format},
    output::{grouped, print_list},
    streams,
};

#[derive(Serialize)]
struct Line {
    checkpoint: u64,
    job: u64,
    attempt: u32,
    subtasks: u64,
    objects: u64,
    bytes: u64,
    segments: u64,
    rows: u64,
}

pub(super) async fn run(command: CheckpointCommand, format: Format) -> Result<()> {
    let CheckpointCommand::Verify { url } = command;
    let stores = ObjectStores::new(streams::store_options());
    let verified = verify(&url, &stores).await;
    let is_missing = matches!(verified, Err(StorageError::NoCheckpoint { .. }));
    let verified = if is_missing {
        verified?
    } else {
        verified.with_context(|| format!("the checkpoint at {url} is not sound"))?
    };
    let head = ["checkpoint", "job", "attempt", "subtasks", "objects", "bytes", "segments", "rows"];
    print_list(format, &head, &[line_of(&verified)], |line| {
        vec![
            line.checkpoint.to_string(),
            line.job.to_string(),
            line.attempt.to_string(),
            line.subtasks.to_string(),
            line.objects.to_string(),
            grouped(line.bytes),
            line.segments.to_string(),
            grouped(line.rows),
        ]
    })
}

fn line_of(verified: &Verified) -> Line {
    Line {
        checkpoint: verified.checkpoint.0,
        job: verified.job.0,
        attempt: verified.attempt.0,
        subtasks: verified.subtasks,
        objects: verified.objects,
        bytes: verified.bytes,
        segments: verified.segments,
        rows: verified.rows,
    }
}
