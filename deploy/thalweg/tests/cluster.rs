//! A cluster of real processes: three coordinators and two nodes, and what happens when the leader dies.

mod process;

use std::{fs, path::Path};

use process::{Background, thalweg, wait_until};
use serde_json::Value;

/// Ports that were free a moment ago, all different.
fn free_addresses<const N: usize>() -> [String; N] {
    let listeners: [std::net::TcpListener; N] =
        std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").to_string())
}

fn coordinator(number: usize, addresses: &[String], data: &Path) -> Background {
    let members: Vec<String> = addresses.iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
    let (member, listen) = (number.to_string(), addresses[number - 1].as_str());
    let data = data.join(format!("coordinator-{number}"));
    let arguments = ["coordinator", "--member", &member, "--listen", listen, "--cluster", "test", "--members"];
    let more = [&members.join(","), "--data-dir", data.to_str().expect("a path of text")];
    Background::start(&[&arguments[..], &more[..]].concat())
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let outcome = thalweg(&[arguments, &["-o", "json", "--timeout", "20 s"]].concat());
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_job_runs_on_when_the_leader_dies() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses: [String; 3] = free_addresses();
    let all = addresses.join(",");
    let mut coordinators: Vec<Option<Background>> =
        (1..=3).map(|number| Some(coordinator(number, &addresses, directory.path()))).collect();
    let nodes: Vec<Background> = (1..=2)
        .map(|number: u32| Background::start(&["node", "--node", &number.to_string(), "-c", &all, "--slots", "2"]))
        .collect();
    wait_until("both nodes", || {
        let alive = json(&["nodes", "-c", &all]).iter().filter(|node| node["state"] == "alive").count();
        (alive == 2).then_some(())
    });

    let out = directory.path().join("out");
    let sql = format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '8000', 'rows-per-second' = '1000', \
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '8000');\n\
         CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n\
         INSERT INTO copies SELECT n FROM numbers;",
        out.display()
    );
    let submitted = json(&["submit", "-c", &all, "-e", &sql, "--parallelism", "4"]);
    let job = format!("job-{}", submitted[0]["job"]);
    let show = || json(&["job", "show", &job, "-c", &all]).remove(0);
    wait_until("the job's start", || (show()["status"] == "running").then_some(()));

    let members = json(&["cluster", "-c", &all]);
    let leader = members.iter().find(|member| member["role"] == "leader").expect("there is a leader");
    let leader = usize::try_from(leader["member"].as_u64().expect("a number")).expect("a small one");
    coordinators[leader - 1].take().expect("it runs").kill();

    let ended = json(&["job", "wait", &job, "-c", &all]).remove(0);
    assert_eq!((&ended["status"], &ended["attempt"]), (&Value::from("finished"), &Value::from(1)), "{ended}");
    let mut numbers: Vec<u64> = Vec::new();
    for entry in fs::read_dir(&out).expect("there is output") {
        let path = entry.expect("it can be listed").path();
        let is_hidden =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(['.', '_']));
        if !is_hidden && path.is_file() {
            let text = fs::read_to_string(path).expect("it can be read");
            let number = |line| serde_json::from_str::<Value>(line).expect("JSON")["n"].as_u64().expect("a number");
            numbers.extend(text.lines().map(number));
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8000).collect::<Vec<u64>>());
    for node in nodes {
        let ended = node.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
