//! The image's default command, as a process on this machine, with only ports and the volume replaced.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::fs;

use process::{Background, free_addresses, root, thalweg, wait_until};
use serde_json::Value;

fn default_command() -> Vec<String> {
    let dockerfile = fs::read_to_string(root().join("deploy/docker/Dockerfile")).expect("there is a Dockerfile");
    let commands: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("CMD ")).collect();
    let [command] = commands[..] else { panic!("there is one command: {commands:?}") };
    serde_json::from_str(command).expect("the command is a list of JSON")
}

#[test]
fn the_image_runs_a_cluster_that_is_reached_from_outside() {
    let directory = tempfile::tempdir().expect("a directory");
    let [coordinator, http]: [String; 2] = free_addresses();
    let on_every_interface = |address: &str| address.replace("127.0.0.1", "0.0.0.0");
    let replace = |argument: String| match argument.as_str() {
        "0.0.0.0:7070" => on_every_interface(&coordinator),
        "0.0.0.0:7080" => on_every_interface(&http),
        "/data" => directory.path().to_str().expect("a path of text").to_owned(),
        _ => argument,
    };
    let command: Vec<String> = default_command().into_iter().map(replace).collect();
    assert_eq!(command.iter().filter(|argument| argument.starts_with("0.0.0.0:")).count(), 2, "{command:?}");
    let image = Background::start(&command.iter().map(String::as_str).collect::<Vec<_>>());

    let nodes = || thalweg(&["nodes", "--coordinator", &coordinator, "-o", "json"]);
    let node: Value = wait_until("a node", || {
        let nodes = nodes();
        nodes.stdout.lines().find_map(|line| serde_json::from_str(line).ok())
    });
    assert_eq!(node["http_address"], Value::from(http), "where records are POSTed to is somewhere");
    let sql = "-- Its first line is no flag.\nCREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '2', \
                 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '2'); SELECT n FROM t;";
    let ran = thalweg(&["submit", "--coordinator", &coordinator, "-e", sql, "-p", "1", "--wait", "-o", "csv"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "n\n1\n2\n"), "{ran:?}");
    let shown = thalweg(&["job", "show", "1", "--coordinator", &coordinator, "-o", "csv"]);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(lines[0].starts_with("job,name,status,") && lines[1].starts_with("job-1,"), "{shown:?}");
    assert!(lines[2].is_empty() && lines[3].starts_with("subtask,operators,"), "{shown:?}");
    let ended = image.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn where_http_is_can_be_told_to_clients() {
    let [coordinator, http]: [String; 2] = free_addresses();
    let _coordinator = {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().to_str().expect("a path of text");
        (Background::start(&["coordinator", "--listen", &coordinator, "--data-dir", data]), directory)
    };
    let every = http.replace("127.0.0.1", "0.0.0.0");
    let port = http.rsplit(':').next().expect("there is a port");
    let node = ["node", "--coordinator", &coordinator, "--http", &every, "--http-advertise", "records.example"];
    let _node = Background::start(&node);
    wait_until("the node's address", || {
        let nodes = thalweg(&["nodes", "--coordinator", &coordinator, "-o", "json"]);
        nodes.stdout.contains(&format!("\"http_address\":\"records.example:{port}\"")).then_some(())
    });
}
