//! Pods as processes on this machine: with the command line, the variables and the probes of their manifests. Only host names,
//! ports, volumes and the bucket are replaced.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    kubernetes::manifests::{Manifests, list, text},
    process::{Background, Outcome, Place, free_addresses, http_status, thalweg, wait_until},
};

/// How many pods may be in a set.
const PODS: [(&str, usize); 2] = [("coordinator", 5), ("node", 2)];
const PORTS: usize = 3 * (5 + 2);

/// The pods of a cluster, and what lasts when one of them ends.
pub(crate) struct Pods {
    pub(crate) manifests: Manifests,
    directory: tempfile::TempDir,
    /// Local addresses of the ports of pods.
    addresses: BTreeMap<(String, u64), String>,
}

fn set_of(pod: &str) -> &str {
    pod.rsplit_once('-').expect("a set and an ordinal").0
}

impl Pods {
    pub(crate) fn of(rendered: &str) -> Self {
        let manifests = Manifests::read(rendered);
        let mut free = free_addresses::<PORTS>().into_iter();
        let mut addresses = BTreeMap::new();
        for (set, pods) in PODS {
            for pod in (0..pods).map(|ordinal| format!("{set}-{ordinal}")) {
                let ports = manifests.ports(set).into_values();
                addresses.extend(ports.map(|port| ((pod.clone(), port), free.next().expect("there are enough"))));
            }
        }
        Self { manifests, directory: tempfile::tempdir().expect("a directory"), addresses }
    }

    pub(crate) fn names(&self, set: &str) -> Vec<String> {
        (0..self.manifests.replicas(set)).map(|ordinal| format!("{set}-{ordinal}")).collect()
    }

    /// A place on this machine that all pods reach.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn address(&self, pod: &str, port: u64) -> &str {
        &self.addresses[&(pod.to_owned(), port)]
    }

    /// Where a pod's volume is.
    pub(crate) fn volume(&self, pod: &str, mounted_at: &str) -> PathBuf {
        self.directory.path().join(pod).join(mounted_at.trim_start_matches('/'))
    }

    /// Text of a pod's manifest, with what is on this machine in place of other pods and of the pod's own listeners.
    fn local(&self, pod: &str, text: &str) -> String {
        let namespace =
            crate::kubernetes::manifests::text(self.manifests.the("StatefulSet", set_of(pod)), "/metadata/namespace");
        let mut local = text.to_owned();
        for ((of, port), address) in &self.addresses {
            let service = set_of(of);
            for host in [format!("{of}.{service}"), format!("{of}.{service}.{namespace}.svc")] {
                local = local.replace(&format!("{host}:{port}"), address);
            }
            if of == pod {
                local = local.replace(&format!("0.0.0.0:{port}"), address);
            }
        }
        let mounts = list(self.manifests.container(set_of(pod)), "/volumeMounts").iter();
        let mounted =
            mounts.map(|mount| crate::kubernetes::manifests::text(mount, "/mountPath")).find(|path| *path == text);
        let local = mounted.map_or(local, |path| self.volume(pod, path).display().to_string());
        assert!(!local.contains("0.0.0.0") && !local.contains("$("), "{local}");
        local
    }

    /// What a process in a pod's container finds.
    fn place(&self, pod: &str) -> Place {
        let mut variables = self.manifests.variables(set_of(pod), pod);
        variables.values_mut().for_each(|value| *value = self.local(pod, value));
        if let Some(bucket) = variables.get_mut("THALWEG_CHECKPOINTS") {
            *bucket = self.shared("checkpoints").display().to_string();
        }
        variables.insert("HOSTNAME".to_owned(), pod.to_owned());
        Place { variables, ..Place::default() }
    }

    pub(crate) fn start(&self, pod: &str) -> Background {
        for mount in list(self.manifests.container(set_of(pod)), "/volumeMounts") {
            fs::create_dir_all(self.volume(pod, text(mount, "/mountPath"))).expect("a directory");
        }
        let arguments = self.manifests.arguments(set_of(pod), pod);
        let arguments: Vec<String> = arguments.iter().map(|argument| self.local(pod, argument)).collect();
        Background::start_at(&self.place(pod), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Ends a pod as Kubernetes does: what stands before the signal, then the signal.
    pub(crate) fn end(&self, pod: &str, process: Background) -> Outcome {
        let before = list(self.manifests.container(set_of(pod)), "/lifecycle/preStop/exec/command");
        let before: Vec<&str> = before.iter().map(|word| text(word, "")).collect();
        let [program, seconds] = before[..] else { panic!("{before:?}") };
        assert!(seconds.parse::<u64>().is_ok(), "{before:?}");
        assert!(Command::new(program).arg("0").status().expect("there is such a program").success());
        process.terminate()
    }

    /// The status that a probe sees; `None` if nobody listens.
    pub(crate) fn probe(&self, pod: &str, probe: &str) -> Option<u16> {
        let (port, path) = self.manifests.probe(set_of(pod), probe);
        http_status(self.address(pod, port), &path)
    }

    pub(crate) fn wait_for_probe(&self, pod: &str, probe: &str) {
        wait_until(&format!("the {probe} of {pod}"), || (self.probe(pod, probe) == Some(200)).then_some(()));
    }

    /// The addresses behind the only port of a service.
    fn behind(&self, service: &str, set: &str) -> Vec<String> {
        let [port] = list(self.manifests.the("Service", service), "/spec/ports") else { panic!("one port") };
        let port = self.manifests.target(set, port);
        self.names(set).iter().map(|pod| self.address(pod, port).to_owned()).collect()
    }

    /// Runs a command as a client of the service.
    pub(crate) fn client(&self, arguments: &[&str]) -> Outcome {
        let coordinators = self.behind("thalweg", "coordinator").join(",");
        thalweg(&[arguments, &["--coordinator", &coordinators, "-o", "json"]].concat())
    }

    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let outcome = self.client(arguments);
        outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Runs a command inside of a coordinator's pod, where the address is the default one.
    pub(crate) fn inside(&self, pod: &str, arguments: &[&str]) -> Outcome {
        self.place(pod).thalweg(&[arguments, &["--coordinator", self.coordinator(pod), "-o", "json"]].concat())
    }

    /// Where clients POST.
    pub(crate) fn ingest(&self) -> Vec<String> {
        self.behind("ingest", "node")
    }

    pub(crate) fn nodes_alive(&self) -> usize {
        self.lines(&["nodes"]).iter().filter(|node| node["state"] == "alive").count()
    }

    /// Where a coordinator's pod is reached by others.
    pub(crate) fn coordinator(&self, pod: &str) -> &str {
        self.address(pod, 7070)
    }

    /// How many coordinators have a vote.
    pub(crate) fn votes(&self) -> usize {
        self.lines(&["cluster"]).iter().filter(|member| member["role"] != "learner").count()
    }
}
