//! Coordinators that come back without their data directory, or with contradicting settings.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{fs, path::Path};

use process::{Background, Outcome, free_addresses, http_status, lines_below, thalweg, wait_until};
use serde_json::Value;

/// Three coordinators on this machine.
struct Three<'a> {
    addresses: [String; 3],
    health: [String; 3],
    directory: &'a Path,
}

impl<'a> Three<'a> {
    fn new(directory: &'a Path) -> Self {
        let [a, b, c, d, e, f] = free_addresses();
        Self { addresses: [a, b, c], health: [d, e, f], directory }
    }

    fn all(&self) -> String {
        self.addresses.join(",")
    }

    fn data(&self, number: usize) -> String {
        self.directory.join(format!("coordinator-{number}")).display().to_string()
    }

    fn arguments(&self, number: usize, members: &[usize]) -> Vec<String> {
        let members: Vec<String> = members.iter().map(|id| format!("{id}={}", self.addresses[id - 1])).collect();
        let checkpoints = self.directory.join("checkpoints").display().to_string();
        let flags = [
            ("--member", number.to_string()),
            ("--listen", self.addresses[number - 1].clone()),
            ("--health", self.health[number - 1].clone()),
            ("--cluster", "test".to_owned()),
            ("--members", members.join(",")),
            ("--data-dir", self.data(number)),
            ("--checkpoints", checkpoints),
            ("--checkpoint-interval", "300 ms".to_owned()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("coordinator".to_owned()).chain(flags).collect()
    }

    fn start(&self, number: usize) -> Background {
        Background::start(&texts(&self.arguments(number, &[1, 2, 3])))
    }

    fn start_all(&self) -> Vec<Background> {
        (1..=3).map(|number| self.start(number)).collect()
    }

    fn wipe(&self, number: usize) {
        fs::remove_dir_all(self.data(number)).expect("it was there");
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let outcome =
            thalweg(&[arguments, &["-o", "json", "--timeout", "40 s", "--coordinator", &self.all()]].concat());
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
        outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The numbers of the voting members.
    fn voters(&self) -> Vec<u64> {
        let members = self.json(&["cluster"]).into_iter().filter(|member| member["role"] != "learner");
        members.map(|member| member["member"].as_u64().expect("a number")).collect()
    }
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn copy_of_numbers(out: &Path, rows: u32) -> String {
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', \
           'rows-per-second' = '1000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{rows}');\n\
         CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n\
         INSERT INTO copies SELECT n FROM numbers;",
        out.display()
    )
}

fn refused(arguments: &[String], expected: &str) {
    let Outcome { code, stderr, .. } = thalweg(&texts(arguments));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn a_coordinator_that_has_lost_everything_while_all_were_down_finds_the_jobs_that_there_were() {
    let directory = tempfile::tempdir().expect("a directory");
    let three = Three::new(directory.path());
    let coordinators = three.start_all();
    let node = Background::start(&["node", "--node", "1", "--coordinator", &three.all(), "--slots", "2"]);
    let out = directory.path().join("out");
    let submitted = three.json(&["submit", "-e", &copy_of_numbers(&out, 6000)]);
    assert_eq!(submitted[0]["job"], 1);
    let has_published = || fs::read_dir(&out).is_ok_and(|_| !lines_below(&out).is_empty());
    wait_until("published rows", || has_published().then_some(()));
    assert_eq!(three.voters(), [1, 2, 3]);

    coordinators.into_iter().for_each(Background::kill);
    three.wipe(1);
    // The empty member comes first. It founds nothing, is alive, and says what it waits for.
    let first = three.start(1);
    wait_until("a coordinator that lives", || (http_status(&three.health[0], "/healthz") == Some(200)).then_some(()));
    wait_until("what it waits for", || first.log().contains("waiting for an answer of member-2").then_some(()));
    assert_eq!(http_status(&three.health[0], "/readyz"), Some(503));
    let others = [three.start(2), three.start(3)];
    wait_until("a new number for it", || (three.voters() == [2, 3, 4]).then_some(()));
    wait_until("all to be ready", || {
        three.health.iter().all(|health| http_status(health, "/readyz") == Some(200)).then_some(())
    });

    let ended = three.json(&["job", "wait", "job-1"]).remove(0);
    assert_eq!(ended["status"], "finished", "{ended}");
    let mut numbers: Vec<u32> = lines_below(&out).iter().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=6000).collect::<Vec<u32>>(), "each row once");
    let second = directory.path().join("second");
    assert_eq!(three.json(&["submit", "-e", &copy_of_numbers(&second, 10)])[0]["job"], 2, "no number twice");
    assert_eq!(three.json(&["job", "wait", "job-2"])[0]["status"], "finished");

    // It starts with the same arguments as before. Its log holds its new number.
    first.terminate();
    let first = three.start(1);
    wait_until("it to be ready", || (http_status(&three.health[0], "/readyz") == Some(200)).then_some(()));
    assert_eq!(three.voters(), [2, 3, 4]);
    // A dead member is shown as not heard from.
    let [second, third] = others;
    second.kill();
    wait_until("the silence of one", || {
        let members = three.json(&["cluster"]);
        let heard = |number: u64| members.iter().find(|member| member["member"] == number)?["heard_ms"].as_u64();
        (heard(2)? > 2000 && heard(3)? < 2000 && heard(4)? < 2000).then_some(())
    });
    drop((first, third, node));
}

#[test]
fn where_all_have_lost_everything_nothing_is_founded_over_their_checkpoints() {
    let directory = tempfile::tempdir().expect("a directory");
    let three = Three::new(directory.path());
    let coordinators = three.start_all();
    wait_until("the marker", || directory.path().join("checkpoints/thalweg-cluster.json").exists().then_some(()));
    coordinators.into_iter().for_each(Background::kill);
    (1..=3).for_each(|number| three.wipe(number));
    let mut again = three.start_all();
    let mut ended = || again.iter_mut().find_map(Background::ended);
    assert_eq!(wait_until("a refusal", &mut ended), Some(1));
    let told: String = again.iter().map(Background::log).collect();
    assert!(
        told.contains("belongs to another cluster") && told.contains("delete thalweg-cluster.json there"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let three = Three::new(directory.path());
    let alone = ["coordinator", "--member", "2", "--listen", "127.0.0.1:0", "--data-dir", &three.data(9)];
    refused(
        &alone.map(str::to_owned),
        "it was told of no other members: give it the first members of its group (--members)",
    );

    let first = three.start(1);
    first.wait_for("");
    refused(&three.arguments(2, &[1, 2]), "the lists of first members differ: this is member-2 and was told");
    drop(first);

    fs::create_dir_all(three.data(3)).expect("a directory");
    fs::write(Path::new(&three.data(3)).join("raft.redb"), [7; 5000]).expect("a file");
    refused(&three.arguments(3, &[1, 2, 3]), "Move its directory away and start the member with an empty one");
}

#[test]
fn silence_is_overridden_by_hand_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let three = Three::new(directory.path());
    let bootstrap = |number| {
        let arguments = [three.arguments(number, &[1, 2, 3]), vec!["--bootstrap".to_owned()]].concat();
        Background::start(&texts(&arguments))
    };
    let _founders = [bootstrap(1), bootstrap(2)];
    wait_until("a leader", || {
        let members = three.json(&["cluster"]);
        members.iter().any(|member| member["role"] == "leader").then_some(())
    });
    let late = three.start(3);
    wait_until("its admission", || (three.voters() == [1, 2, 4]).then_some(()));
    drop(late);
}
