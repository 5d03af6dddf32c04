//! The overlays and the chart come to the same, and to what was written down.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    kubernetes::manifests::{Manifests, RENDERED, text},
    process::root,
};

/// The name of a generated map without what is made of its content.
fn without_hash(name: &str) -> String {
    let (rest, hash) = name.rsplit_once('-').expect("a generated name");
    assert!(hash.len() == 10 && hash.bytes().all(|c| c.is_ascii_alphanumeric()), "{name}");
    rest.to_owned()
}

/// An overlay's objects as a chart has them: with plain names, and without the namespace, which Helm makes.
fn of_overlay(name: &str) -> Vec<Value> {
    let mut objects = Manifests::read(name).0;
    objects.retain(|object| object["kind"] != "Namespace");
    for object in &mut objects {
        if object["kind"] == "ConfigMap" {
            object["metadata"]["name"] = without_hash(text(object, "/metadata/name")).into();
        }
        let variables = object.pointer_mut("/spec/template/spec/containers/0/envFrom").and_then(Value::as_array_mut);
        for from in variables.into_iter().flatten() {
            if let Some(map) = from.pointer_mut("/configMapRef/name") {
                *map = without_hash(text(map, "")).into();
            }
        }
    }
    objects.sort_by_key(|object| (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned()));
    objects
}

/// A chart's objects without what stands for the content of maps.
fn of_chart(name: &str) -> Vec<Value> {
    let mut objects = Manifests::read(name).0;
    for object in objects.iter_mut().filter(|object| object["kind"] == "StatefulSet") {
        let annotations = object.pointer_mut("/spec/template/metadata/annotations").and_then(Value::as_object_mut);
        annotations.and_then(|annotations| annotations.remove("checksum/variables")).expect("a checksum");
    }
    objects
}

#[test]
fn the_chart_is_the_overlay() {
    for name in ["dev", "production"] {
        let (overlay, chart) = (of_overlay(&format!("overlay-{name}")), of_chart(&format!("chart-{name}")));
        let names = |objects: &[Value]| -> Vec<String> {
            objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect()
        };
        assert_eq!(names(&overlay), names(&chart), "{name}");
        for (ours, theirs) in overlay.iter().zip(&chart) {
            assert_eq!(format!("{ours:#}"), format!("{theirs:#}"), "{name}");
        }
    }
}

/// Runs `deploy/k8s/render`, if its tools are installed.
fn render(arguments: &[&str]) -> Option<String> {
    let Some(python) = std::env::var_os("THALWEG_KUBERNETES").map(PathBuf::from) else {
        eprintln!("skipped: no Python with kubectl, Helm and Kubernetes' schemas (THALWEG_KUBERNETES)");
        return None;
    };
    let output =
        Command::new(python).arg(root().join("deploy/k8s/render")).args(arguments).output().expect("Python runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_was_written_down_is_what_they_come_to() {
    let folder = tempfile::tempdir().expect("a folder");
    if render(&[folder.path().to_str().expect("a path of text")]).is_none() {
        return;
    }
    let mut names: Vec<_> = fs::read_dir(root().join(RENDERED))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        let [old, new] = [root().join(RENDERED), folder.path().to_owned()]
            .map(|folder| fs::read_to_string(folder.join(&name)).unwrap_or_else(|error| panic!("{name:?}: {error}")));
        assert!(old == new, "{name:?} is not what it was: run deploy/k8s/render, and look at what has changed:\n{new}");
    }
}

#[test]
fn the_chart_refuses_what_cannot_work() {
    let bucket = r#""checkpoints": {"url": "s3://a/b"}"#;
    for (values, expected) in [
        ("{}".to_owned(), "name a place for checkpoints"),
        (format!(r#"{{{bucket}, "coordinator": {{"replicas": 4}}}}"#), "/coordinator/replicas"),
        (format!(r#"{{{bucket}, "nodes": 3}}"#), "'nodes' not allowed"),
        (format!(r#"{{{bucket}, "node": {{"memoryShare": "120%"}}}}"#), "/node/memoryShare"),
        (format!(r#"{{{bucket}, "node": {{"memory": "4 GB"}}}}"#), "/node/memory"),
    ] {
        let Some(refused) = render(&["--refused", &values]) else { return };
        assert!(refused.contains(expected), "{values}: {refused}");
    }
}
