//! The command lines of the Kubernetes manifests, as processes on this machine, with only host names, ports and
//! volumes replaced.
//!
//! The manifests are read line by line, since no maintained parser of YAML is at hand: `args` is a JSON list, which
//! is valid YAML too, and literals are `- NAME=VALUE`. `.ci/run` checks that the manifests are valid as a whole.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{collections::BTreeMap, fs, path::Path};

use process::{Background, Place, free_addresses, http_status, lines_below, root, thalweg, wait_until};

const COORDINATORS: usize = 3;
const NODES: usize = 2;

fn manifest(name: &str) -> String {
    fs::read_to_string(root().join("deploy/k8s/base").join(name)).expect("there is such a manifest")
}

/// The rest of the only line with this beginning.
fn the_line<'a>(text: &'a str, beginning: &str) -> &'a str {
    let lines: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix(beginning)).collect();
    assert_eq!(lines.len(), 1, "lines that begin with '{beginning}'");
    lines[0].trim()
}

fn arguments(manifest: &str) -> Vec<String> {
    serde_json::from_str(the_line(manifest, "args:")).expect("args is a list of JSON")
}

/// The variables of the generated ConfigMap, which all containers get.
fn variables() -> BTreeMap<String, String> {
    for name in ["coordinator.yaml", "node.yaml"] {
        assert_eq!(the_line(&manifest(name), "- configMapRef:"), "", "{name} takes its variables from the map");
    }
    let text = manifest("kustomization.yaml");
    let literals = text.lines().filter_map(|line| line.trim().strip_prefix("- THALWEG_"));
    let pair =
        |literal: &str| literal.split_once('=').map(|(name, value)| (format!("THALWEG_{name}"), value.to_owned()));
    literals.map(|literal| pair(literal).expect("a literal is NAME=VALUE")).collect()
}

/// Local addresses in place of the pods' names.
struct Addresses {
    coordinators: [String; COORDINATORS],
    health: [String; COORDINATORS + NODES],
    exchange: [String; NODES],
}

impl Addresses {
    fn coordinators_in(&self, text: &str) -> String {
        (0..COORDINATORS).fold(text.to_owned(), |text, ordinal| {
            text.replace(&format!("coordinator-{ordinal}.coordinator:7070"), &self.coordinators[ordinal])
        })
    }

    fn is_ready(&self, at: usize) -> bool {
        http_status(&self.health[at], "/readyz") == Some(200)
    }
}

fn place(pod: &str, addresses: &Addresses) -> Place {
    let mut variables = variables();
    variables.values_mut().for_each(|value| *value = addresses.coordinators_in(value));
    variables.insert("HOSTNAME".to_owned(), pod.to_owned());
    Place { variables, ..Place::default() }
}

fn start(arguments: &[String], place: &Place) -> Background {
    assert!(
        arguments.iter().all(|argument| !argument.contains("0.0.0.0") && !argument.contains("$(")),
        "{arguments:?}"
    );
    Background::start_at(place, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn coordinator(ordinal: usize, addresses: &Addresses, data: &Path) -> Background {
    let pod = format!("coordinator-{ordinal}");
    let volume = data.join(&pod).to_str().expect("a path of text").to_owned();
    let replace = |argument: String| match argument.as_str() {
        "0.0.0.0:7070" => addresses.coordinators[ordinal].clone(),
        "0.0.0.0:7081" => addresses.health[ordinal].clone(),
        "/data" => volume.clone(),
        _ => argument,
    };
    let arguments: Vec<String> = arguments(&manifest("coordinator.yaml")).into_iter().map(replace).collect();
    start(&arguments, &place(&pod, addresses))
}

fn node(ordinal: usize, addresses: &Addresses, data: &Path) -> Background {
    // Without the Secret an empty directory is mounted.
    let secrets = data.join("secrets");
    fs::create_dir_all(&secrets).expect("a directory");
    let replace = |argument: String| match argument.as_str() {
        "0.0.0.0:7072" | "$(POD_NAME).node:7072" => addresses.exchange[ordinal].clone(),
        "0.0.0.0:7080" | "$(POD_NAME).node:7080" => "127.0.0.1:0".to_owned(),
        "0.0.0.0:7081" => addresses.health[COORDINATORS + ordinal].clone(),
        "/secrets" => secrets.display().to_string(),
        _ => argument,
    };
    let manifest = manifest("node.yaml");
    assert_eq!(the_line(&manifest, "- name: POD_NAME"), "", "the name that its address is made of is a variable");
    let arguments: Vec<String> = arguments(&manifest).into_iter().map(replace).collect();
    start(&arguments, &place(&format!("node-{ordinal}"), addresses))
}

/// Submits a job over all slots that runs for a second or two. Returns its id.
fn submit(coordinators: &str, out: &Path) -> String {
    let sql = format!(
        "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '500', 'rows-per-second' = '300', \
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '500');\n\
         CREATE TABLE out (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n\
         INSERT INTO out SELECT n FROM n;",
        out.display()
    );
    let submitted = thalweg(&["submit", "--coordinator", coordinators, "-e", &sql, "-o", "json"]);
    let line: serde_json::Value = serde_json::from_str(&submitted.stdout).expect("a line of JSON");
    line["job"].to_string()
}

/// Waits for a job's end, and checks its output.
fn check_end(coordinators: &str, job: &str, out: &Path) {
    let ended = thalweg(&["job", "wait", job, "--coordinator", coordinators, "-o", "json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a line of JSON");
    assert_eq!(line["failures"], 0, "a node that leaves is no failure: {line}");
    assert_eq!(lines_below(out).len(), 500);
}

fn nodes_alive(coordinators: &str) -> usize {
    thalweg(&["nodes", "--coordinator", coordinators, "-o", "json"]).stdout.matches("\"state\":\"alive\"").count()
}

#[test]
fn the_manifests_start_a_cluster_that_becomes_ready_works_and_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses = Addresses { coordinators: free_addresses(), health: free_addresses(), exchange: free_addresses() };
    let mut coordinators = vec![coordinator(0, &addresses, directory.path())];
    let mut nodes = vec![node(0, &addresses, directory.path())];
    for at in [0, COORDINATORS] {
        wait_until("a process that lives", || {
            (http_status(&addresses.health[at], "/healthz") == Some(200)).then_some(())
        });
        let status = http_status(&addresses.health[at], "/readyz");
        assert_eq!(status, Some(503), "one of three coordinators leads nobody");
    }
    coordinators.extend((1..COORDINATORS).map(|ordinal| coordinator(ordinal, &addresses, directory.path())));
    nodes.extend((1..NODES).map(|ordinal| node(ordinal, &addresses, directory.path())));
    for at in 0..COORDINATORS + NODES {
        wait_until("a process that is ready", || addresses.is_ready(at).then_some(()));
    }
    let all = addresses.coordinators_in(&variables()["THALWEG_COORDINATOR"]);
    wait_until("both nodes", || (nodes_alive(&all) == NODES).then_some(()));

    let out = directory.path().join("out");
    let job = submit(&all, &out);
    let is_running = || thalweg(&["job", "show", &job, "--coordinator", &all, "-o", "json"]).stdout.contains("running");
    wait_until("a running job", || is_running().then_some(()));
    let ended = nodes.pop().expect("there are two").terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_until("one node less", || (nodes_alive(&all) == NODES - 1).then_some(()));
    check_end(&all, &job, &out);

    // A pod comes back with an empty volume. The manifests need nothing for that.
    coordinators.remove(1).kill();
    fs::remove_dir_all(directory.path().join("coordinator-1")).expect("a volume");
    coordinators.push(coordinator(1, &addresses, directory.path()));
    let members = || thalweg(&["cluster", "--coordinator", &all, "-o", "json"]).stdout;
    let has_vote = |line: &str| line.contains("\"member\":4,") && !line.contains("learner");
    wait_until("a vote for it under another number", || {
        let members = members();
        (members.lines().count() == COORDINATORS && members.lines().any(has_vote)).then_some(())
    });
    wait_until("its readiness", || addresses.is_ready(1).then_some(()));
    for process in nodes.into_iter().chain(coordinators) {
        let ended = process.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn the_overlay_names_the_variables_of_the_base() {
    let overlay = fs::read_to_string(root().join("deploy/k8s/overlays/single/kustomization.yaml")).expect("an overlay");
    let base = variables();
    let names: Vec<&str> =
        overlay.lines().filter_map(|line| line.trim().strip_prefix("- THALWEG_")?.split('=').next()).collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(base.contains_key(&format!("THALWEG_{name}")), "{name}");
    }
}
