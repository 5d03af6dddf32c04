//! `thalweg checkpoint verify`: checks by the store alone that a checkpoint is complete, and shows whose state it holds and
//! what the parts of its subtasks cost.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use thalweg_storage::{ObjectStores, StorageError, Verified, VerifiedCost, VerifiedOperator, verify};
use thalweg_types::checkpoint::{RecordedColumn, SnapshotCost};

use crate::{
    args::{CheckpointCommand, OutputFormat},
    output::{grouped, millis_text, print, print_list, say},
    streams,
};

/// The subtasks that a table shows unless all are wanted: there may be thousands, and the largest tell most.
const COSTS_SHOWN: usize = 20;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    operators: Vec<OperatorLine>,
    /// The part of each subtask, the one that took longest first.
    costs: Vec<CostLine>,
}

/// What a subtask's part cost.
#[derive(Serialize)]
struct CostLine {
    subtask: String,
    operators: Option<Arc<str>>,
    #[serde(flatten)]
    cost: SnapshotCost,
}

/// An operator that has state. A manifest of the first format tells only its index.
#[derive(Serialize)]
struct OperatorLine {
    operator: u32,
    identity: Option<String>,
    kind: Option<String>,
    state_version: Option<u32>,
    rows: u64,
    name: Option<String>,
    /// The columns that it gives.
    columns: Vec<String>,
}

pub(super) async fn run(command: CheckpointCommand, format: OutputFormat) -> Result<()> {
    let CheckpointCommand::Verify { url, all } = command;
    let stores = ObjectStores::new(streams::store_options());
    let verified = verify(&url, &stores).await;
    let is_missing = matches!(verified, Err(StorageError::NoCheckpoint { .. }));
    let verified = if is_missing {
        verified?
    } else {
        verified.with_context(|| format!("the checkpoint at {url} is not sound"))?
    };
    let head = ["checkpoint", "job", "attempt", "subtasks", "objects", "bytes", "segments", "rows"];
    let line = line_of(&verified);
    print_list(format, &head, std::slice::from_ref(&line), |line| {
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
    })?;
    match format {
        // The operators and costs are part of the line.
        OutputFormat::Json => Ok(()),
        OutputFormat::Table | OutputFormat::Csv => {
            print_operators(format, &line.operators)?;
            print_costs(format, first(&line.costs, format, all))
        }
    }
}

/// The parts that are shown, and how many others there are.
fn first<T>(costs: &[T], format: OutputFormat, all: bool) -> (&[T], usize) {
    let shown = match format {
        OutputFormat::Table if !all => costs.len().min(COSTS_SHOWN),
        // Programs read these.
        OutputFormat::Table | OutputFormat::Csv | OutputFormat::Json => costs.len(),
    };
    (&costs[..shown], costs.len() - shown)
}

fn print_costs(format: OutputFormat, (shown, more): (&[CostLine], usize)) -> Result<()> {
    if shown.is_empty() {
        return Ok(());
    }
    print("\n")?;
    let head = ["subtask", "alignment", "freeze", "upload", "uploaded", "state bytes", "unaligned", "operators"];
    print_list(format, &head, shown, |CostLine { subtask, operators, cost }| {
        vec![
            subtask.clone(),
            millis_text(cost.alignment_micros),
            millis_text(cost.freeze_micros),
            millis_text(cost.upload_micros),
            grouped(cost.uploaded_bytes),
            grouped(cost.state_bytes),
            if cost.is_unaligned { "yes" } else { "no" }.to_owned(),
            operators.as_deref().unwrap_or("-").to_owned(),
        ]
    })?;
    if more > 0 {
        say(&format!("note: {more} more subtask(s) took no longer; --all shows them"));
    }
    Ok(())
}

fn print_operators(format: OutputFormat, operators: &[OperatorLine]) -> Result<()> {
    if operators.is_empty() {
        return Ok(());
    }
    print("\n")?;
    let head = ["operator", "kind", "identity", "version", "rows", "name", "columns"];
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    print_list(format, &head, operators, |line| {
        vec![
            line.operator.to_string(),
            told(&line.kind),
            told(&line.identity),
            told(&line.state_version.map(|version| version.to_string())),
            grouped(line.rows),
            told(&line.name),
            line.columns.join(", "),
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
        release: verified.release.clone(),
        operators: verified.operators.iter().map(operator_line).collect(),
        costs: verified.costs.iter().map(cost_line).collect(),
    }
}

fn cost_line(VerifiedCost { subtask, name, cost }: &VerifiedCost) -> CostLine {
    CostLine { subtask: subtask.to_string(), operators: name.clone(), cost: *cost }
}

fn operator_line(VerifiedOperator { operator, recorded, rows }: &VerifiedOperator) -> OperatorLine {
    let told = recorded.as_ref();
    let column = |column: &RecordedColumn| {
        let null = if column.nullable { "" } else { " not null" };
        format!("{} {}{null}", column.name, column.data_type)
    };
    OperatorLine {
        operator: operator.0,
        identity: told.map(|recorded| recorded.identity.to_string()),
        kind: told.map(|recorded| recorded.kind.clone()),
        state_version: told.map(|recorded| recorded.state_version),
        rows: *rows,
        name: told.map(|recorded| recorded.name.clone()),
        columns: told.into_iter().flat_map(|recorded| &recorded.output).map(column).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_parts_are_shown_unless_all_are_wanted() {
        let parts = [0; 1000];
        assert_eq!(first(&parts, OutputFormat::Table, false), (&parts[..COSTS_SHOWN], 1000 - COSTS_SHOWN));
        assert_eq!(first(&parts, OutputFormat::Table, true), (&parts[..], 0));
        assert_eq!(first(&parts, OutputFormat::Csv, false), (&parts[..], 0));
        assert_eq!(first(&parts[..3], OutputFormat::Table, false), (&parts[..3], 0));
    }
}
