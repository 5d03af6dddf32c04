//! The example of a shop: one command puts a day's clicks into Kinesis, and makes visits, conversion and recommendations of them.
//! What is in S3 and what a site is answered are compared with what DuckDB makes of the clicks in one go (`shop/batch.py`).
//!
//! Skipped where kinesis-local (`THALWEG_KINESIS`), moto's server (`THALWEG_MOTO_SERVER`), the products (`THALWEG_SHOP`) or a Python with
//! DuckDB (`THALWEG_DUCKDB`) are not installed.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::process::{Command, Stdio};

use process::root;

/// Where what the example needs is installed.
const INSTALLED: [&str; 4] = ["THALWEG_KINESIS", "THALWEG_MOTO_SERVER", "THALWEG_SHOP", "THALWEG_DUCKDB"];

#[test]
fn one_command_answers_as_batch_does() {
    let mut command = Command::new(root().join("deploy/examples/shop/run"));
    for (name, _) in std::env::vars_os() {
        let is_ours = |name: &str| ["THALWEG", "OTEL_", "AWS_"].iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    let mut places = Vec::new();
    for variable in INSTALLED {
        let Some(place) = std::env::var_os(variable) else {
            return eprintln!("skipped: what {variable} names is not installed");
        };
        command.env(variable, &place);
        places.push(place);
    }
    let python = places.pop().expect("the last is Python with DuckDB");
    command.env("THALWEG", env!("CARGO_BIN_EXE_thalweg")).stdin(Stdio::null());
    command.arg("--then").arg(python).arg(root().join("deploy/thalweg/tests/shop/batch.py"));
    let outcome = command.output().expect("the script runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(outcome.status.success(), "{}{}", text(&outcome.stdout), text(&outcome.stderr));
}
