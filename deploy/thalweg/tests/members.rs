//! A coordinator that is lost for good is replaced by commands alone, while the cluster runs.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::path::Path;

use process::{Background, free_addresses, lines_below, thalweg, wait_until};
use serde_json::Value;

fn coordinator(number: usize, addresses: &[String; 4], data: &Path) -> Background {
    let first: Vec<String> = addresses[..3].iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
    let (member, first, listen) = (number.to_string(), first.join(","), addresses[number - 1].as_str());
    let (data, checkpoints) = (data.join(format!("coordinator-{number}")), data.join("checkpoints"));
    let mut arguments = vec!["coordinator", "--member", &member, "--listen", listen, "--cluster", "test"];
    arguments.extend(["--data-dir", data.to_str().expect("a path of text")]);
    arguments.extend(["--checkpoints", checkpoints.to_str().expect("a path of text")]);
    match number {
        4 => arguments.push("--join"),
        _ => arguments.extend(["--members", &first]),
    }
    Background::start(&arguments)
}

fn ok(arguments: &[&str], coordinators: &str) -> String {
    let outcome = thalweg(&[arguments, &["--coordinator", coordinators, "--timeout", "30 s"]].concat());
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    outcome.stdout
}

fn member(line: &str) -> (u64, String) {
    let member: Value = serde_json::from_str(line).expect("a line of JSON");
    (member["member"].as_u64().expect("a number"), member["role"].as_str().expect("a word").to_owned())
}

/// The number and role of each member.
fn members(coordinators: &str) -> Vec<(u64, String)> {
    ok(&["cluster", "-o", "json"], coordinators).lines().map(member).collect()
}

fn leader(coordinators: &str) -> usize {
    wait_until("a leader", || {
        let (leader, _) = members(coordinators).into_iter().find(|(_, role)| role == "leader")?;
        usize::try_from(leader).ok()
    })
}

#[test]
fn a_coordinator_that_is_gone_is_replaced_by_commands() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses: [String; 4] = free_addresses();
    let all = addresses.join(",");
    let mut running: Vec<Option<Background>> =
        (1..=3).map(|number| Some(coordinator(number, &addresses, directory.path()))).collect();
    let node = Background::start(&["node", "--node", "1", "--coordinator", &all, "--slots", "2"]);

    let gone = leader(&all);
    running[gone - 1].take().expect("it runs").kill();
    let left = ok(&["cluster", "remove", &gone.to_string(), "-o", "json"], &all);
    assert!(
        left.lines().map(member).count() == 2
            && left.lines().map(member).all(|(number, _)| usize::try_from(number) != Ok(gone)),
        "{left}"
    );
    assert_eq!(members(&all).len(), 2);

    running.push(Some(coordinator(4, &addresses, directory.path())));
    let added = ok(&["cluster", "add", &format!("4={}", addresses[3]), "-o", "json"], &all);
    assert!(added.lines().map(member).any(|(number, _)| number == 4), "{added}");
    wait_until("a third vote", || {
        let members = members(&all);
        (members.len() == 3 && members.iter().all(|(_, role)| role != "learner")).then_some(())
    });

    // Only one of the first three members is left, so every decision needs the vote of the fourth.
    let other = (1..=3).find(|number| *number != gone).expect("there are three");
    running[other - 1].take().expect("it runs").kill();
    let out = directory.path().join("out");
    let sql = format!(
        "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '100', \
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100');\n\
         CREATE TABLE out (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n\
         INSERT INTO out SELECT n FROM n;",
        out.display()
    );
    ok(&["submit", "-e", &sql, "--wait"], &all);
    assert_eq!(lines_below(&out).len(), 100);
    let ended = node.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_member_needs_a_number_and_an_address() {
    let refused = thalweg(&["cluster", "add", "127.0.0.1:1", "--coordinator", "127.0.0.1:9"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("expected N=HOST:PORT"), "{refused:?}");
}
