//! What the overlays and the chart come to, as `deploy/k8s/render` wrote it, and the pods in it.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::process::root;

/// Where `deploy/k8s/render` wrote to.
pub(crate) const RENDERED: &str = "deploy/thalweg/tests/kubernetes/rendered";

/// The objects of an overlay or a chart.
pub(crate) struct Manifests(pub(crate) Vec<Value>);

/// Text at a path such as `/metadata/name`.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {path} of {object:#}"))
}

/// A number at a path.
pub(crate) fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {path} of {object:#}"))
}

/// What is listed at a path; nothing if there is no such path.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).map_or(&[], |list| list.as_array().unwrap_or_else(|| panic!("no list at {path}: {list:#}")))
}

fn the_one<T>(mut all: impl Iterator<Item = T>, what: &str) -> T {
    let first = all.next().unwrap_or_else(|| panic!("there is no {what}"));
    assert!(all.next().is_none(), "there are several: {what}");
    first
}

impl Manifests {
    pub(crate) fn read(name: &str) -> Self {
        let path = root().join(RENDERED).join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let list: Value = serde_json::from_str(&text).expect("JSON");
        Self(list["items"].as_array().expect("a list").clone())
    }

    pub(crate) fn of_kind<'a, 'k>(&'a self, kind: &'k str) -> impl Iterator<Item = &'a Value> + use<'a, 'k> {
        self.0.iter().filter(move |object| object["kind"] == *kind)
    }

    pub(crate) fn the(&self, kind: &str, name: &str) -> &Value {
        let named: Vec<&Value> = self.of_kind(kind).filter(|object| text(object, "/metadata/name") == name).collect();
        the_one(named.into_iter(), &format!("{kind} {name}"))
    }

    pub(crate) fn replicas(&self, set: &str) -> u64 {
        number(self.the("StatefulSet", set), "/spec/replicas")
    }

    pub(crate) fn pod(&self, set: &str) -> &Value {
        &self.the("StatefulSet", set)["spec"]["template"]
    }

    pub(crate) fn container(&self, set: &str) -> &Value {
        the_one(list(self.pod(set), "/spec/containers").iter(), "container")
    }

    /// The ports of a container, by their names.
    pub(crate) fn ports(&self, set: &str) -> BTreeMap<String, u64> {
        let ports = list(self.container(set), "/ports").iter();
        ports.map(|port| (text(port, "/name").to_owned(), number(port, "/containerPort"))).collect()
    }

    /// The variables of a container. Secrets may be missing, and are.
    pub(crate) fn variables(&self, set: &str, pod: &str) -> BTreeMap<String, String> {
        let container = self.container(set);
        let mut variables = BTreeMap::new();
        for from in list(container, "/envFrom") {
            let Some(map) = from.get("configMapRef") else {
                assert_eq!(from["secretRef"]["optional"], true, "{from:#}");
                continue;
            };
            let data = self.the("ConfigMap", text(map, "/name"))["data"].as_object().expect("variables").clone();
            variables.extend(data.into_iter().map(|(name, value)| (name, text(&value, "").to_owned())));
        }
        for variable in list(container, "/env") {
            let value = match text(variable, "/valueFrom/fieldRef/fieldPath") {
                "metadata.name" => pod,
                "metadata.namespace" => text(self.the("StatefulSet", set), "/metadata/namespace"),
                other => panic!("nobody knows {other}"),
            };
            variables.insert(text(variable, "/name").to_owned(), value.to_owned());
        }
        variables
    }

    /// The command line of a container, with the variables that it names.
    pub(crate) fn arguments(&self, set: &str, pod: &str) -> Vec<String> {
        let variables = self.variables(set, pod);
        let expand = |argument: &Value| {
            variables
                .iter()
                .fold(text(argument, "").to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
        };
        list(self.container(set), "/args").iter().map(expand).collect()
    }

    /// Which path of which port a probe of a container asks.
    pub(crate) fn probe(&self, set: &str, probe: &str) -> (u64, String) {
        let get = &self.container(set)[probe]["httpGet"];
        (self.ports(set)[text(get, "/port")], text(get, "/path").to_owned())
    }

    /// The port of the pods behind a port of a service.
    pub(crate) fn target(&self, set: &str, port: &Value) -> u64 {
        match port.get("targetPort") {
            Some(Value::String(name)) => self.ports(set)[name],
            Some(target) => target.as_u64().expect("a number"),
            None => number(port, "/port"),
        }
    }
}
