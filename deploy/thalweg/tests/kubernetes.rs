//! The Kubernetes manifests and the chart: what they promise, that they are the same, and that their pods work as processes on this
//! machine.
//!
//! Most tests read what `deploy/k8s/render` wrote, and need no tools. Whether that is still what the manifests and the chart come to
//! is tested where `THALWEG_KUBERNETES` names a Python that has kubectl, Helm and the schemas of Kubernetes; `.ci/run` installs it.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

/// What lies in the folder of this name.
mod kubernetes {
    pub(crate) mod manifests;
    pub(crate) mod pods;
    mod promises;
    mod rendered;
}
mod process;

use std::{fs, path::Path};

use kubernetes::{manifests::Manifests, pods::Pods};
use process::{Background, lines_below, wait_until};

const ROWS: usize = 500;

/// A job over all slots that runs for a second or two.
fn script(out: &Path) -> String {
    format!(
        "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}', 'rows-per-second' = '300', \
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}');\n\
         CREATE TABLE out (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n\
         INSERT INTO out SELECT n FROM n;",
        out.display()
    )
}

/// Submits the job. Returns its number.
fn submit(pods: &Pods, out: &Path) -> String {
    pods.lines(&["submit", "-e", &script(out)])[0]["job"].to_string()
}

/// Waits for a job's end, and checks its output.
fn check_end(pods: &Pods, job: &str, out: &Path) {
    let ended = &pods.lines(&["job", "wait", job])[0];
    assert_eq!(ended["failures"], 0, "a node that leaves is no failure: {ended}");
    assert_eq!(lines_below(out).len(), ROWS);
}

fn end_all(pods: &Pods, running: Vec<(String, Background)>) {
    for (pod, process) in running.into_iter().rev() {
        let ended = pods.end(&pod, process);
        assert_eq!(ended.code, Some(0), "{pod}: {ended:?}");
    }
}

fn start_all(pods: &Pods, names: Vec<String>) -> Vec<(String, Background)> {
    names.into_iter().map(|pod| (pod.clone(), pods.start(&pod))).collect()
}

#[test]
fn on_a_laptop_one_of_each_takes_a_job_from_inside_a_pod() {
    let pods = Pods::of("overlay-dev");
    let running = start_all(&pods, [pods.names("coordinator"), pods.names("node")].concat());
    for pod in ["coordinator-0", "node-0"] {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            pods.wait_for_probe(pod, probe);
        }
    }
    let out = pods.shared("out");
    let submitted = pods.inside("coordinator-0", &["submit", "-e", &script(&out)]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    check_end(&pods, "1", &out);
    for http in pods.ingest() {
        assert_eq!(process::http_status(&http, "/readyz"), Some(200), "the port of the service is that of records");
    }
    let budget = running[1].1.log();
    let budget = budget.lines().find(|line| line.contains("budget of memory")).expect("it tells its budget");
    let bytes: u64 = budget.rsplit_once("memory_bytes=").expect("in bytes").1.trim().parse().expect("a number");
    assert!(bytes >= 64 << 20 && !bytes.is_multiple_of(100 << 20), "a share of what is here: {budget}");
    end_all(&pods, running);
}

#[test]
fn three_coordinators_become_ready_together_and_a_node_leaves_its_job_to_the_other() {
    let pods = Pods::of("overlay-production");
    let mut running = start_all(&pods, vec!["coordinator-0".to_owned(), "node-0".to_owned()]);
    for (pod, _) in &running {
        pods.wait_for_probe(pod, "startupProbe");
        assert_eq!(pods.probe(pod, "livenessProbe"), Some(200));
        assert_eq!(pods.probe(pod, "readinessProbe"), Some(503), "one of three coordinators leads nobody");
    }
    running.extend(start_all(&pods, ["coordinator-1", "coordinator-2", "node-1"].map(str::to_owned).to_vec()));
    for pod in [pods.names("coordinator"), pods.names("node")].concat() {
        pods.wait_for_probe(&pod, "readinessProbe");
    }
    wait_until("both nodes", || (pods.nodes_alive() == 2).then_some(()));

    let out = pods.shared("out");
    let job = submit(&pods, &out);
    wait_until("a running job", || pods.client(&["job", "show", &job]).stdout.contains("running").then_some(()));
    let (pod, leaving) = running.pop().expect("the second node");
    let ended = pods.end(&pod, leaving);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_until("one node less", || (pods.nodes_alive() == 1).then_some(()));
    check_end(&pods, &job, &out);
    let checkpoints = fs::read_dir(pods.shared("checkpoints")).expect("the place for checkpoints").count();
    assert!(checkpoints > 0, "checkpoints are taken by default");

    // A pod comes back with an empty volume. The manifests need nothing for that.
    let at = running.iter().position(|(pod, _)| pod == "coordinator-1").expect("it runs");
    let (pod, process) = running.remove(at);
    process.kill();
    fs::remove_dir_all(pods.volume(&pod, "/data")).expect("a volume");
    running.push((pod.clone(), pods.start(&pod)));
    wait_until("a vote for it under another number", || {
        let members = pods.lines(&["cluster"]);
        let is_new = |member: &serde_json::Value| member["member"] == 4 && member["role"] != "learner";
        (members.len() == 3 && members.iter().any(is_new)).then_some(())
    });
    pods.wait_for_probe(&pod, "readinessProbe");
    end_all(&pods, running);
}

#[test]
fn three_coordinators_become_five_and_three_again_while_nodes_run_on() {
    let mut pods = Pods::of("chart-production");
    let mut running = start_all(&pods, [pods.names("coordinator"), pods.names("node")].concat());
    wait_until("both nodes", || (pods.nodes_alive() == 2).then_some(()));
    let variables_of_nodes = |pods: &Pods| pods.manifests.variables("node", "node-0");

    let before = variables_of_nodes(&pods);
    pods.manifests = Manifests::read("chart-of-five");
    assert_eq!(variables_of_nodes(&pods), before, "nodes need not start anew");
    for (pod, expected) in [("coordinator-3", 4), ("coordinator-4", 5)] {
        running.push((pod.to_owned(), pods.start(pod)));
        pods.wait_for_probe(pod, "startupProbe");
        assert_eq!(pods.probe(pod, "readinessProbe"), Some(503), "nobody has added it");
        let members = pods.lines(&["cluster"]);
        let highest = members.iter().filter_map(|member| member["member"].as_u64()).max().expect("members");
        let added = pods.client(&["cluster", "add", &format!("{}={}", highest + 1, pods.coordinator(pod))]);
        assert_eq!(added.code, Some(0), "{added:?}");
        wait_until("its vote", || (pods.votes() == expected).then_some(()));
        pods.wait_for_probe(pod, "readinessProbe");
    }
    // The first ones get the longer list, too, one after the other.
    for pod in ["coordinator-2", "coordinator-1", "coordinator-0"] {
        let at = running.iter().position(|(running, _)| running == pod).expect("it runs");
        let ended = pods.end(pod, running.remove(at).1);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        running.push((pod.to_owned(), pods.start(pod)));
        pods.wait_for_probe(pod, "readinessProbe");
        assert_eq!(pods.votes(), 5);
    }
    let out = pods.shared("out");
    let job = submit(&pods, &out);
    check_end(&pods, &job, &out);

    for pod in ["coordinator-3", "coordinator-4"] {
        let members = pods.lines(&["cluster"]);
        let member = members.iter().find(|member| member["address"] == pods.coordinator(pod)).expect("it has a vote");
        let removed = pods.client(&["cluster", "remove", &member["member"].to_string()]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        let at = running.iter().position(|(running, _)| running == pod).expect("it runs");
        running.remove(at).1.kill();
    }
    pods.manifests = Manifests::read("chart-production");
    assert_eq!(pods.votes(), 3);
    end_all(&pods, running);
}
