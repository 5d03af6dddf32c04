//! Rules of the workspace that lints cannot check: dependencies between crates, and the form of source files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

mod docs;
mod errors;
mod links;
mod modules;
mod wildcards;

/// Lines of code that one can hold in the head; tests are not counted.
const FILE_LINES_MAX: usize = 600;
/// Crates that may depend on all others, since nothing depends on them.
const FREE: &[&str] = &["thalweg", "thalweg-sim", "thalweg-bench", "thalweg-dependencies"];
/// The allowed dependencies of all other crates.
const ARROWS: &[(&str, &[&str])] = &[
    ("thalweg-types", &[]),
    ("thalweg-proto", &["types"]),
    ("thalweg-trace", &["types"]),
    ("thalweg-client", &["types", "proto", "trace"]),
    ("thalweg-expr", &["types"]),
    ("thalweg-functions", &["types"]),
    ("thalweg-storage", &["types"]),
    ("thalweg-ingest-log", &["types", "storage"]),
    ("thalweg-metrics", &[]),
    ("thalweg-sql", &["types", "expr", "functions"]),
    ("thalweg-cluster-state", &["types"]),
    ("thalweg-control", &["types", "cluster-state"]),
    ("thalweg-consensus", &["types", "proto", "metrics"]),
    (
        "thalweg-coordinator",
        &[
            "types",
            "proto",
            "cluster-state",
            "control",
            "consensus",
            "sql",
            "storage",
            "ingest-log",
            "metrics",
            "trace",
        ],
    ),
    ("thalweg-flow", &["types"]),
    ("thalweg-keyed-state", &["types"]),
    ("thalweg-operators", &["types", "expr", "functions", "flow", "keyed-state"]),
    ("thalweg-kafka", &["types"]),
    ("thalweg-kinesis", &["types"]),
    ("thalweg-connectors", &["types", "functions", "storage", "ingest-log", "kafka", "kinesis"]),
    ("thalweg-exchange", &["types", "flow", "proto"]),
    (
        "thalweg-runtime",
        &["types", "flow", "keyed-state", "operators", "connectors", "exchange", "storage", "metrics", "trace"],
    ),
    (
        "thalweg-node",
        &["types", "proto", "keyed-state", "connectors", "exchange", "runtime", "storage", "metrics", "trace"],
    ),
];
/// Pure crates: they may not depend on anything with clocks, sockets, tasks or randomness.
const PURE: &[&str] = &["thalweg-types", "thalweg-flow", "thalweg-cluster-state", "thalweg-control"];
const IMPURE_DEPENDENCIES: &[&str] =
    &["tokio", "tokio-util", "tokio-stream", "tonic", "prost", "futures", "rand", "object_store"];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies two folders below the top").to_owned()
}

/// The normal dependencies of each crate in the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages are a list");
    let name_of = |value: &serde_json::Value| value["name"].as_str().expect("a name is text").to_owned();
    let ordinary = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().expect("dependencies are a list");
        all.iter().filter(|dependency| dependency["kind"].is_null()).map(name_of).collect()
    };
    packages.iter().map(|package| (name_of(package), ordinary(package))).collect()
}

#[test]
fn dependencies_follow_the_arrows() {
    let mut violations = Vec::new();
    let found = dependencies();
    for (name, dependencies) in found.iter().filter(|(name, _)| !FREE.contains(&name.as_str())) {
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| crate_name == name) else {
            violations.push(format!("{name} has no arrows yet: say here what it may depend on"));
            continue;
        };
        let ours = dependencies.iter().filter_map(|dependency| dependency.strip_prefix("thalweg-"));
        violations.extend(
            ours.filter(|ours| !allowed.contains(ours)).map(|ours| format!("{name} must not depend on thalweg-{ours}")),
        );
        if PURE.contains(&name.as_str()) {
            let impure = dependencies.iter().filter(|dependency| IMPURE_DEPENDENCIES.contains(&dependency.as_str()));
            violations.extend(impure.map(|impure| format!("{name} is pure and must not depend on {impure}")));
        }
    }
    assert!(found.len() > ARROWS.len(), "the workspace was not found");
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn versions_of_dependencies_stand_in_one_place() {
    let mut violations = Vec::new();
    for file in files(&root(), "toml").into_iter().filter(|file| file.ends_with("Cargo.toml")) {
        if file == root().join("Cargo.toml") {
            continue;
        }
        let manifest: toml::Table = read(&file).parse().expect("a manifest is TOML");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            let is_local = |value: &toml::Value| value.get("workspace").is_none();
            violations.extend(
                dependencies
                    .iter()
                    .filter(|(_, value)| is_local(value))
                    .map(|(name, _)| format!("{}: {name} is not taken from the workspace", shown(&file))),
            );
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_library_stands_among_the_dependencies_of_all_with_its_features() {
    let asked = |manifest: &toml::Table, sections: &[&str]| -> BTreeMap<String, BTreeSet<String>> {
        let tables = sections.iter().filter_map(|section| manifest.get(*section).and_then(toml::Value::as_table));
        let features = |value: &toml::Value| {
            let features = value.get("features").and_then(toml::Value::as_array).into_iter().flatten();
            features.filter_map(toml::Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, value) in tables.flatten().filter(|(name, _)| !name.starts_with("thalweg")) {
            asked.entry(name.clone()).or_default().extend(features(value));
        }
        asked
    };
    let manifest = |file: &Path| read(file).parse::<toml::Table>().expect("a manifest is TOML");
    let all = asked(&manifest(&root().join("deploy/dependencies/Cargo.toml")), &["dependencies", "build-dependencies"]);
    let mut violations = Vec::new();
    for file in files(&root(), "toml").into_iter().filter(|file| file.ends_with("Cargo.toml")) {
        for (name, features) in asked(&manifest(&file), &["dependencies", "dev-dependencies", "build-dependencies"]) {
            if !all.get(&name).is_some_and(|known| known.is_superset(&features)) {
                violations.push(format!("deploy/dependencies lacks {name} with {features:?}, as {}", shown(&file)));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn source_files_keep_their_shape() {
    let mut violations = Vec::new();
    let sources = files(&root(), "rs");
    assert!(sources.len() > 50, "the sources were not found");
    for file in &sources {
        let (text, name) = (read(file), shown(file));
        let is_test = is_test(&name);
        if !text.starts_with("//!") && !is_test {
            violations.push(format!("{name} does not begin with what it is for (//!)"));
        }
        let lines = code_lines(&text);
        if lines > FILE_LINES_MAX && !is_test {
            violations.push(format!("{name} has {lines} lines of code: more than {FILE_LINES_MAX}"));
        }
        for banned in ["unbounded_channel(", "mpsc::unbounded(", "#[path ="] {
            if text.contains(banned) && !name.ends_with("tests/tidy/main.rs") {
                violations.push(format!("{name} has {banned}"));
            }
        }
        if speaks_protobuf(&text) && !may_speak_protobuf(&name) {
            violations
                .push(format!("{name} uses protobuf types: they stop at proto, service.rs, rpc.rs and *_codec.rs"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

fn only_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn speaks_protobuf(text: &str) -> bool {
    text.lines().any(|line| {
        let code = line.trim_start();
        !code.starts_with("//")
            && (code.contains("thalweg_proto::v1") || code.contains("prost::") || code.contains("proto::v1::"))
    })
}

fn may_speak_protobuf(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let folder_of = |part: &str| name.contains(&format!("/{part}/"));
    name.starts_with("proto/")
        || ["service.rs", "rpc.rs", "tests.rs", "build.rs"].contains(&file)
        || file.ends_with("_codec.rs")
        || ["service", "rpc", "tests"].into_iter().any(folder_of)
        || name.split('/').any(|part| part.ends_with("_codec"))
}

/// The lines before the test module.
fn code_lines(text: &str) -> usize {
    text.lines().position(|line| line.starts_with("mod tests {")).unwrap_or_else(|| text.lines().count())
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found
}
