//! How a client is set up, and what it submits. What it sees are the words of `thalweg_types::client` and `job`.

use std::{collections::BTreeMap, time::Duration};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use thalweg_types::JobId;

/// How a client reaches its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// The coordinators, as `host:port`. Any one that lives is enough.
    pub coordinators: Vec<String>,
    /// How long a call is repeated, in milliseconds, before it fails because no coordinator could be reached. Default 30
    /// seconds: longer than any election.
    pub deadline_ms: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { coordinators: Vec::new(), deadline_ms: 30_000 }
    }
}

impl ClientConfig {
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

/// A script to be run or explained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmitOptions {
    /// The script.
    pub sql: String,
    /// The job's name; empty: the script's, or one that the cluster chooses.
    pub name: String,
    /// As `SET` in the script; these win.
    pub settings: BTreeMap<String, String>,
    /// How many slices the job has; `None`: the script's, or half of the free slots.
    pub parallelism: Option<u32>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedJob {
    /// Its id.
    pub job: JobId,
    /// Its bare `SELECT`s, whose rows can be fetched.
    pub queries: Vec<Query>,
    /// What the script asked without running anything, in its order: a text for each `EXPLAIN`, `SHOW TABLES` and `DESCRIBE`.
    pub answers: Vec<String>,
}

/// A bare `SELECT` of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its place among them, from 0.
    pub query: u32,
    /// The schema of its rows.
    pub schema: SchemaRef,
}
