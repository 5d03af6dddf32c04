//! What the manifests promise, read off what they come to.

use std::{collections::BTreeSet, fs};

use clap::CommandFactory as _;
use serde_json::Value;
use thalweg::args::Cli;
use thalweg_types::settings::parse_duration;

use crate::{
    kubernetes::manifests::{Manifests, list, number, text},
    process::root,
};

const ALL: [&str; 5] = ["overlay-dev", "overlay-production", "chart-dev", "chart-production", "chart-of-five"];
const PRODUCTION: [&str; 3] = ["overlay-production", "chart-production", "chart-of-five"];
const SETS: [&str; 2] = ["coordinator", "node"];
/// By default a cancelled attempt may take so long to end.
const STOP_TIMEOUT_SECONDS: u64 = 30;

/// Whether labels are among those of a set's pods.
fn selects(manifests: &Manifests, set: &str, labels: &Value) -> bool {
    let of_pods = &manifests.pod(set)["metadata"]["labels"];
    labels.as_object().is_some_and(|labels| labels.iter().all(|(name, value)| of_pods[name] == *value))
}

/// The set whose pods have these labels.
fn selected<'a>(manifests: &Manifests, labels: &Value) -> &'a str {
    let found: Vec<&str> = SETS.into_iter().filter(|set| selects(manifests, set, labels)).collect();
    let [set] = found[..] else { panic!("{labels} selects {found:?}") };
    set
}

#[test]
fn services_select_pods_and_ports_that_there_are() {
    for name in ALL {
        let manifests = Manifests::read(name);
        let mut services = BTreeSet::new();
        for service in manifests.of_kind("Service") {
            let set = selected(&manifests, &service["spec"]["selector"]);
            for port in list(service, "/spec/ports") {
                let target = manifests.target(set, port);
                assert!(manifests.ports(set).values().any(|port| *port == target), "{name}: {service:#}");
            }
            services.insert(text(service, "/metadata/name"));
        }
        assert_eq!(services, BTreeSet::from(["coordinator", "ingest", "node", "thalweg"]), "{name}");
        for set in SETS {
            assert_eq!(text(manifests.the("StatefulSet", set), "/spec/serviceName"), set);
            assert_eq!(manifests.the("StatefulSet", set)["spec"]["selector"]["matchLabels"], {
                manifests.pod(set)["metadata"]["labels"].clone()
            });
        }
    }
}

#[test]
fn in_production_each_port_is_open_to_those_who_need_it_and_to_nobody_else() {
    for name in PRODUCTION {
        let manifests = Manifests::read(name);
        for set in SETS {
            let policy = manifests.the("NetworkPolicy", set);
            assert_eq!(selected(&manifests, &policy["spec"]["podSelector"]["matchLabels"]), set);
            let mut open = BTreeSet::new();
            for rule in list(policy, "/spec/ingress") {
                assert!(!list(rule, "/from").is_empty(), "{rule:#}");
                open.extend(list(rule, "/ports").iter().map(|port| number(port, "/port")));
            }
            assert_eq!(open, manifests.ports(set).into_values().collect(), "{name}: {set}");
            let [own, clients, monitoring] = list(policy, "/spec/ingress") else { panic!("{policy:#}") };
            assert_eq!(list(own, "/from/0/podSelector/matchExpressions/0/values"), SETS.map(Value::from));
            assert_eq!(clients["from"][0]["podSelector"]["matchLabels"]["thalweg-client"], "true");
            let port = |rule: &Value| number(rule, "/ports/0/port");
            let expected = if set == "node" { [7072, 7080, 7081] } else { [7070, 7071, 7081] };
            assert_eq!([own, clients, monitoring].map(port), expected);
        }
    }
}

#[test]
fn in_production_one_pod_of_a_set_is_away_at_a_time_and_pods_are_spread() {
    for name in PRODUCTION {
        let manifests = Manifests::read(name);
        for set in SETS {
            let budget = manifests.the("PodDisruptionBudget", set);
            assert_eq!(number(budget, "/spec/maxUnavailable"), 1);
            assert_eq!(selected(&manifests, &budget["spec"]["selector"]["matchLabels"]), set);
            let pod = &manifests.pod(set)["spec"];
            let zones = &pod["topologySpreadConstraints"][0];
            assert_eq!(text(zones, "/topologyKey"), "topology.kubernetes.io/zone");
            assert_eq!(selected(&manifests, &zones["labelSelector"]["matchLabels"]), set);
            let apart = &pod["affinity"]["podAntiAffinity"];
            let apart = match set {
                "coordinator" => &apart["requiredDuringSchedulingIgnoredDuringExecution"][0],
                _ => &apart["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"],
            };
            assert_eq!(text(apart, "/topologyKey"), "kubernetes.io/hostname");
            assert_eq!(selected(&manifests, &apart["labelSelector"]["matchLabels"]), set);
        }
        let [volume] = list(manifests.the("StatefulSet", "coordinator"), "/spec/volumeClaimTemplates") else {
            panic!("{name}: coordinators have a volume")
        };
        assert_eq!(text(volume, "/metadata/name"), "data");
    }
}

#[test]
fn pods_have_no_token_and_few_rights() {
    for name in ALL {
        let manifests = Manifests::read(name);
        assert_eq!(manifests.the("ServiceAccount", "thalweg")["automountServiceAccountToken"], false);
        for set in SETS {
            let pod = &manifests.pod(set)["spec"];
            assert_eq!(pod["serviceAccountName"], "thalweg");
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["enableServiceLinks"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            let container = &manifests.container(set)["securityContext"];
            assert_eq!(container["readOnlyRootFilesystem"], true);
            assert_eq!(container["allowPrivilegeEscalation"], false);
        }
    }
}

#[test]
fn a_nodes_budget_is_a_share_of_its_limit_and_its_grace_is_long_enough() {
    for name in ALL {
        let manifests = Manifests::read(name);
        let variables = manifests.variables("node", "node-0");
        let resources = &manifests.container("node")["resources"];
        assert_eq!(resources["requests"]["memory"], resources["limits"]["memory"], "{name}");
        assert!(resources["limits"]["memory"].is_string(), "{name}");
        assert_eq!(variables["THALWEG_MEMORY"], "50%", "{name}");

        let leave = parse_duration(&variables["THALWEG_LEAVE_GRACE"]).expect("a duration").as_secs();
        assert!(leave > STOP_TIMEOUT_SECONDS, "an attempt that is cancelled ends within it");
        let before = list(manifests.container("node"), "/lifecycle/preStop/exec/command");
        let before: u64 = text(&before[1], "").parse().expect("seconds");
        let grace = number(manifests.pod("node"), "/spec/terminationGracePeriodSeconds");
        assert_eq!(grace, before + leave + STOP_TIMEOUT_SECONDS, "{name}");
    }
}

#[test]
fn the_list_of_members_is_odd_and_as_long_as_there_are_replicas() {
    for name in ALL {
        let manifests = Manifests::read(name);
        let replicas = manifests.replicas("coordinator");
        assert_eq!(replicas % 2, 1, "{name}");
        let addresses: Vec<String> =
            (0..replicas).map(|ordinal| format!("coordinator-{ordinal}.coordinator:7070")).collect();
        let members: Vec<String> =
            addresses.iter().zip(1..).map(|(address, number)| format!("{number}={address}")).collect();
        assert_eq!(manifests.variables("coordinator", "coordinator-0")["THALWEG_MEMBERS"], members.join(","), "{name}");
        let known = manifests.variables("node", "node-0")["THALWEG_COORDINATOR"].clone();
        // Of five, too: without any of these three there is no majority.
        assert_eq!(known, addresses[..addresses.len().min(3)].join(","), "{name}");
    }
}

#[test]
fn what_coordinators_alone_read_does_not_start_nodes_anew() {
    let (three, five) = (Manifests::read("chart-production"), Manifests::read("chart-of-five"));
    assert_eq!(three.the("StatefulSet", "node"), five.the("StatefulSet", "node"));
    assert_ne!(three.pod("coordinator"), five.pod("coordinator"), "a changed list reaches its readers");
    let (dev, production) = (Manifests::read("overlay-dev"), Manifests::read("overlay-production"));
    let map = |manifests: &Manifests, set, at| {
        text(manifests.container(set), &format!("/envFrom/{at}/configMapRef/name")).to_owned()
    };
    for (set, at, is_equal) in
        [("coordinator", 0, false), ("node", 0, false), ("coordinator", 1, true), ("node", 1, true)]
    {
        assert_eq!(map(&dev, set, at) == map(&production, set, at), is_equal, "a map's name is made of what is in it");
    }
    assert_ne!(map(&production, "coordinator", 0), map(&production, "node", 0));
}

#[test]
fn each_variable_is_one_of_its_command_and_the_image_is_of_this_version() {
    let cli = Cli::command();
    for name in ALL {
        let manifests = Manifests::read(name);
        for set in SETS {
            let command = cli.find_subcommand(set).expect("a command");
            let flags: BTreeSet<String> = command
                .get_arguments()
                .filter_map(|argument| argument.get_long())
                .map(|flag| format!("THALWEG_{}", flag.replace('-', "_").to_uppercase()))
                .collect();
            let variables = manifests.variables(set, &format!("{set}-0"));
            let ours: Vec<&String> = variables.keys().filter(|name| name.starts_with("THALWEG_")).collect();
            assert!(ours.len() >= 3, "{ours:?}");
            assert!(ours.iter().all(|name| flags.contains(*name)), "{name}: {ours:?}");
            let image = format!("thalweg:{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(text(manifests.container(set), "/image"), image, "{name}");
        }
    }
}

#[test]
fn the_bucket_is_named_in_one_place_and_checkpoints_are_on() {
    const BUCKET: &str = "s3://NAME-OF-YOUR-BUCKET/thalweg";
    for name in PRODUCTION {
        let manifests = Manifests::read(name);
        let variables = manifests.variables("coordinator", "coordinator-0");
        assert_eq!((&*variables["THALWEG_CHECKPOINTS"], &*variables["THALWEG_CHECKPOINT_INTERVAL"]), (BUCKET, "10 s"));
        let maps: Vec<&Value> = manifests.0.iter().filter(|object| object.to_string().contains(BUCKET)).collect();
        assert_eq!(maps.len(), 1, "{name}");
    }
    let folder = root().join("deploy/k8s/overlays/production");
    let files = fs::read_dir(folder).expect("the overlay").map(|entry| entry.expect("an entry").path());
    let texts: String = files.map(|file| fs::read_to_string(file).expect("text")).collect();
    assert_eq!(texts.matches(BUCKET).count(), 1);
}
