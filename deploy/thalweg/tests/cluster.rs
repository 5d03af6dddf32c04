//! Clusters of real processes, some of which die.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{fs, path::Path};

use process::{Background, free_addresses, lines_below, thalweg, wait_until};
use serde_json::Value;

fn coordinator(number: usize, addresses: &[String], data: &Path) -> Background {
    let members: Vec<String> = addresses.iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
    let (member, listen) = (number.to_string(), addresses[number - 1].as_str());
    let (data, checkpoints) = (data.join(format!("coordinator-{number}")), data.join("checkpoints"));
    let checkpoints = ["--checkpoints", checkpoints.to_str().expect("a path of text")];
    let arguments = ["coordinator", "--member", &member, "--listen", listen, "--cluster", "test", "--members"];
    let more = [&members.join(","), "--data-dir", data.to_str().expect("a path of text")];
    Background::start(&[&arguments[..], &more[..], &checkpoints[..]].concat())
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
        .map(|number: u32| {
            Background::start(&["node", "--node", &number.to_string(), "--coordinator", &all, "--slots", "2"])
        })
        .collect();
    wait_until("both nodes", || {
        let alive = json(&["nodes", "--coordinator", &all]).iter().filter(|node| node["state"] == "alive").count();
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
    let submitted = json(&["submit", "--coordinator", &all, "-e", &sql, "--parallelism", "4"]);
    let job = format!("job-{}", submitted[0]["job"]);
    let show = || json(&["job", "show", &job, "--coordinator", &all]).remove(0);
    wait_until("the job's start", || (show()["status"] == "running").then_some(()));

    let members = json(&["cluster", "--coordinator", &all]);
    let leader = members.iter().find(|member| member["role"] == "leader").expect("there is a leader");
    let leader = usize::try_from(leader["member"].as_u64().expect("a number")).expect("a small one");
    coordinators[leader - 1].take().expect("it runs").kill();

    let ended = json(&["job", "wait", &job, "--coordinator", &all]).remove(0);
    assert_eq!((&ended["status"], &ended["attempt"]), (&Value::from("finished"), &Value::from(1)), "{ended}");
    let number = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["n"].as_u64().expect("a number");
    let mut numbers: Vec<u64> = lines_below(&out).iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8000).collect::<Vec<u64>>());
    for node in nodes {
        let ended = node.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_cancelled_job_leaves_no_hidden_files_not_even_those_of_a_killed_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses: [String; 1] = free_addresses();
    let [address] = &addresses;
    let _coordinator = coordinator(1, &addresses, directory.path());
    let mut nodes: Vec<Background> = (1..=2)
        .map(|number: u32| {
            Background::start(&["node", "--node", &number.to_string(), "--coordinator", address, "--slots", "2"])
        })
        .collect();
    wait_until("both nodes", || {
        let alive = json(&["nodes", "--coordinator", address]).iter().filter(|node| node["state"] == "alive").count();
        (alive == 2).then_some(())
    });
    let out = directory.path().join("out");
    let sql = format!(
        "CREATE TABLE letters (w STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '100000', 'fields.w.length' = '100');\n\
         CREATE TABLE copies (w STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n\
         INSERT INTO copies SELECT w FROM letters;",
        out.display()
    );
    let submitted = json(&["submit", "--coordinator", address, "-e", &sql, "--parallelism", "4"]);
    let job = format!("job-{}", submitted[0]["job"]);
    let hidden = || fs::read_dir(&out).map_or(0, |entries| entries.filter(Result::is_ok).count());
    wait_until("files of all subtasks", || (hidden() == 4).then_some(()));
    nodes.remove(1).kill();
    let cancelled = thalweg(&["job", "cancel", &job, "--coordinator", address]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    wait_until("an empty directory", || (hidden() == 0).then_some(()));
    assert_eq!(json(&["job", "show", &job, "--coordinator", address])[0]["status"], "cancelled");
}

/// Who wants to know why a checkpoint is slow gets an answer, while it is open and afterwards.
#[test]
fn a_checkpoint_that_a_node_holds_up_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let [address] = free_addresses();
    let data = directory.path().join("data").display().to_string();
    let coordinator =
        Background::start(&["coordinator", "--listen", &address, "--data-dir", &data, "--lease", "2 min"]);
    let nodes = [1, 2].map(|number: u32| {
        Background::start(&["node", "--node", &number.to_string(), "--coordinator", &address, "--slots", "1"])
    });
    wait_until("both nodes", || {
        let alive = json(&["nodes", "--coordinator", &address]).iter().filter(|node| node["state"] == "alive").count();
        (alive == 2).then_some(())
    });
    let sql = "SET 'checkpoint.interval' = '200 ms'; SET 'checkpoint.timeout' = '10 s';
               CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
               CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
               INSERT INTO nowhere SELECT n FROM numbers;";
    let submitted = json(&["submit", "--coordinator", &address, "-e", sql, "--parallelism", "2"]);
    let job = format!("job-{}", submitted[0]["job"]);
    let arguments = ["job", "checkpoints", &job, "--coordinator", &address];
    let state = |wanted: &str| json(&arguments).into_iter().rev().find(|checkpoint| checkpoint["state"] == wanted);
    let complete = wait_until("a complete checkpoint", || state("complete"));
    assert!(complete.get("waits").is_none(), "{complete}");

    nodes[1].signal("STOP");
    let is_held_up = |checkpoint: &Value| {
        let waits_for_one = checkpoint["waits"]["subtasks"].as_array().map(Vec::len) == Some(1);
        // What the node told before may still be on its way.
        waits_for_one && checkpoint["duration_micros"].as_u64() > Some(1_000_000)
    };
    let open = wait_until("a checkpoint that waits for one node", || state("in_progress").filter(is_held_up));
    let waits = &open["waits"];
    let awaited = &waits["subtasks"][0];
    assert_eq!((&awaited["node"], &waits["more"]), (&2.into(), &0.into()), "{open}");
    assert!(awaited["name"].as_str().is_some_and(|name| name.contains("numbers")), "{open}");
    let shown = thalweg(&arguments).stdout;
    assert!(shown.contains("for 1 subtask(s):\n") && shown.contains(" on node 2  "), "{shown}");

    // On a busy machine others may be slow or fail before.
    let number = format!("checkpoint=checkpoint-{} ", open["checkpoint"]);
    let line = |what: &str| {
        let log = coordinator.log();
        log.lines().find(|line| line.contains(what) && line.contains(&number)).map(str::to_owned)
    };
    let whom = format!("waits_for=chain-{}/{} on node-2 (", awaited["chain"], awaited["index"]);
    let given_up = wait_until("a checkpoint that is given up", || line("checkpoint given up"));
    assert!(given_up.contains(&whom), "{given_up}");
    // One in a minute is told, so this may be another.
    let slow = wait_until("a slow checkpoint", || {
        coordinator.log().lines().find(|line| line.contains("checkpoint is slow")).map(str::to_owned)
    });
    assert!(slow.contains("waits_for=") && (slow.contains(&whom) || !slow.contains(&number)), "{slow}");
    let failed = wait_until("it has failed", || {
        json(&arguments).into_iter().find(|it| it["checkpoint"] == open["checkpoint"] && it["state"] == "failed")
    });
    assert_eq!(&failed["waits"], waits, "{failed}");
    nodes[1].signal("CONT");
    assert_eq!(thalweg(&["job", "cancel", &job, "--coordinator", &address]).code, Some(0));
}
