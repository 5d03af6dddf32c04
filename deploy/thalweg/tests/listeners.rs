//! A coordinator's address for clients alone: clients do their work there, and a node is not let in.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use process::{Background, free_addresses, thalweg, wait_until};

#[test]
fn clients_are_answered_where_nodes_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let [all, clients] = free_addresses();
    let data = directory.path().to_str().expect("a path of text");
    let arguments = ["coordinator", "--listen", &all, "--client-listen", &clients, "--data-dir", data];
    let coordinator = Background::start(&arguments);
    let _node = Background::start(&["node", "--node", "1", "--coordinator", &all, "--slots", "1"]);
    let stranger = Background::start(&["node", "--node", "2", "--coordinator", &clients, "--slots", "1"]);
    wait_until("the node, as clients see it", || {
        let nodes = thalweg(&["nodes", "--coordinator", &clients, "-o", "json"]).stdout;
        nodes.contains("\"state\":\"alive\"").then_some(())
    });
    let script = "SELECT n + 1 AS m FROM (VALUES (1), (2)) AS t (n)";
    let rows = thalweg(&["preview", "--coordinator", &clients, "-e", script, "-o", "json"]);
    assert_eq!(rows.code, Some(0), "{rows:?}");
    assert!(rows.stdout.contains("{\"m\":3}"), "{rows:?}");
    let nodes = thalweg(&["nodes", "--coordinator", &all, "-o", "json"]).stdout;
    assert_eq!(nodes.matches("\"state\"").count(), 1, "{nodes}");
    wait_until("the reason why the other node is not let in", || {
        stranger.log().contains("only clients are answered at this address").then_some(())
    });
    assert_eq!(coordinator.terminate().code, Some(0));
}
