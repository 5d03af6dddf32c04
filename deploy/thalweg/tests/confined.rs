//! The paths that tables may name on a node: its working directory if only this machine reaches the node, no local
//! path otherwise, and everything that is allowed explicitly.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use process::{Background, Place, free_addresses, lines_below, thalweg, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// A coordinator, and a node in a directory of its own beside a directory with a secret.
struct Cluster {
    address: String,
    root: PathBuf,
    _directory: TempDir,
    _processes: [Background; 2],
}

impl Cluster {
    fn start(listen: &[&str], allowed: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("it is there");
        for folder in ["work", "secret", "data/checkpoints"] {
            fs::create_dir_all(root.join(folder)).expect("created");
        }
        fs::write(root.join("work/in.json"), "{\"a\":1}\n").expect("written");
        fs::write(root.join("secret/in.json"), "{\"a\":2}\n").expect("written");
        symlink("../secret", root.join("work/leak")).expect("a link");
        let [address]: [String; 1] = free_addresses();
        let (data, checkpoints) = (root.join("data"), root.join("data/checkpoints"));
        let coordinator = ["coordinator", "--listen", &address, "--data-dir", data.to_str().expect("text")];
        let coordinator =
            Background::start(&[&coordinator[..], &["--checkpoints", checkpoints.to_str().expect("text")]].concat());
        let place = Place { directory: Some(root.join("work")), ..Place::default() };
        let node = ["node", "--node", "7", "--coordinator", &address, "--slots", "2"];
        let node = Background::start_at(&place, &[&node[..], listen, allowed].concat());
        wait_until("the node", || {
            let nodes = thalweg(&["nodes", "--coordinator", &address, "-o", "json"]).stdout;
            nodes.contains("\"state\":\"alive\"").then_some(())
        });
        Self { address, root, _directory: directory, _processes: [coordinator, node] }
    }

    /// Copies a file into a directory. Returns why it failed, or `None`.
    fn copy(&self, from: &str, to: &str, more: &str) -> Option<String> {
        let sql = format!(
            "CREATE TABLE i (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{from}'{more}); \
             CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{to}'); \
             INSERT INTO o SELECT a FROM i;"
        );
        let submitted = thalweg(&["submit", "--coordinator", &self.address, "-p", "1", "-e", &sql, "-o", "json"]);
        if submitted.code != Some(0) {
            return Some(submitted.stderr);
        }
        let line: Value = serde_json::from_str(&submitted.stdout).expect("a line of JSON");
        let job = line["job"].to_string();
        let ended = thalweg(&["job", "wait", &job, "--coordinator", &self.address, "-o", "json"]);
        let shown = thalweg(&["job", "show", &job, "--coordinator", &self.address, "-o", "json"]).stdout;
        let shown: Value = serde_json::from_str(&shown).expect("a line of JSON");
        assert_eq!(shown["attempt"], 1, "at once: {shown}");
        (ended.code != Some(0)).then(|| shown["failure"].to_string())
    }

    #[track_caller]
    fn check_refused(&self, from: &str, to: &str, more: &str) {
        let reason = self.copy(from, to, more).expect("it is refused");
        assert!(reason.contains("node-7") && reason.contains("--allow-path"), "{reason}");
    }

    fn text(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }
}

#[test]
fn a_node_on_loopback_uses_its_working_directory_and_nothing_else() {
    let cluster = Cluster::start(&[], &[]);
    assert_eq!(cluster.copy("in.json", "out", ""), None);
    assert_eq!(cluster.copy(&cluster.text("work/in.json"), &cluster.text("work/deep/er"), ""), None);
    for out in ["work/out", "work/deep/er"] {
        assert_eq!(lines_below(&cluster.root.join(out)), ["{\"a\":1}"]);
    }
    let secret = cluster.text("secret/in.json");
    for from in [&secret, "../secret/in.json", "leak/in.json", "leak", "*/in.json", "/etc/passwd"] {
        cluster.check_refused(from, "out2", "");
    }
    for to in [&cluster.text("elsewhere"), "../elsewhere", "leak/new"] {
        cluster.check_refused("in.json", to, "");
    }
    cluster.check_refused("in.json", "out2", ", 'dead-letter.path' = '../letters'");
    let reason = cluster.copy("in.json", &cluster.text("data/checkpoints/x"), "").expect("it is refused");
    assert!(reason.contains("are there, and no table can be"), "{reason}");
    let untouched = |path: &str| fs::read_dir(cluster.root.join(path)).map_or(0, Iterator::count);
    assert_eq!([untouched("elsewhere"), untouched("letters"), untouched("secret")], [0, 0, 1]);
}

#[test]
fn a_node_that_others_reach_uses_what_it_is_told_to() {
    // A spelling of loopback that is not recognised, so that the node believes that others reach it.
    let others = ["--listen", "127.1:0"];
    let cluster = Cluster::start(&others, &[]);
    cluster.check_refused("in.json", "out", "");
    let reason = cluster.copy("in.json", "out", "").expect("it is refused");
    assert!(reason.contains("no local path may be used there"), "{reason}");
    drop(cluster);

    let cluster = Cluster::start(&others, &["--allow-path", "../secret,s3://bucket/tables"]);
    assert_eq!(cluster.copy("../secret/in.json", &cluster.text("secret/out"), ""), None);
    assert_eq!(lines_below(Path::new(&cluster.text("secret/out"))), ["{\"a\":2}"]);
    cluster.check_refused("in.json", "../secret/out", "");
    cluster.check_refused("s3://bucket/others/in.json", "../secret/out", "");
}
