//! The client's configuration, and what it submits. Answers use the types of `thalweg_types::client` and `job`.

use std::{collections::BTreeMap, time::Duration};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use thalweg_types::JobId;

/// How a client reaches its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// The coordinators, as `host:port`. One that can be reached is enough.
    pub coordinators: Vec<String>,
    /// How long a call is repeated, in milliseconds, before it fails as `Unreachable`. Default 30 seconds: longer than
    /// any election.
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
    /// SQL statements, separated by semicolons.
    pub sql: String,
    /// The job's name. Empty: the name that the script sets, or one that the cluster chooses.
    pub name: String,
    /// Settings as by `SET`; they override those of the script.
    pub settings: BTreeMap<String, String>,
    /// The number of slices. `None`: the script's setting, or half of the free slots.
    pub parallelism: Option<u32>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedJob {
    /// The new job.
    pub job: JobId,
    /// Its bare `SELECT`s, whose rows can be fetched.
    pub queries: Vec<Query>,
    /// One text for each `EXPLAIN`, `SHOW TABLES` and `DESCRIBE`, in the script's order.
    pub answers: Vec<String>,
}

/// A bare `SELECT` of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The query's index among the job's bare `SELECT`s, from 0.
    pub query: u32,
    /// The schema of its rows.
    pub schema: SchemaRef,
}
