//! What pages name is there: other pages and their headings, files, and the tests that hold the invariants.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{files, read, root, shown};

/// A page without its fenced blocks.
fn prose(page: &Path) -> String {
    read(page).split("```").step_by(2).collect()
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

/// The targets of a page's links into this repository.
fn links(page: &Path) -> Vec<String> {
    let text = prose(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let (mut violations, mut reached) = (Vec::new(), BTreeSet::new());
    let pages = files(&root(), "md");
    for page in &pages {
        for link in links(page) {
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a page lies in a folder").join(path),
            };
            let Ok(target) = target.canonicalize() else {
                violations.push(format!("{}: {link} does not exist", shown(page)));
                continue;
            };
            let has_anchor = || {
                prose(&target)
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == fragment)
            };
            if !fragment.is_empty() && !has_anchor() {
                violations.push(format!("{}: there is no such heading: {link}", shown(page)));
            }
            reached.insert(target);
        }
    }
    let docs = pages.iter().filter(|page| page.starts_with(root().join("docs")));
    let lost = docs.filter(|page| !reached.contains(&page.canonicalize().expect("it was listed")));
    violations.extend(lost.map(|page| format!("no page leads to {}", shown(page))));
    assert!(reached.len() >= 20, "only {} links were found", reached.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn files_that_pages_and_sources_name_exist() {
    let is_path = |code: &str| code.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let folders = ["proto/", "client/", "coordinator/", "node/", "deploy/", "docs/", ".ci/"];
    let mut named: Vec<(PathBuf, String)> = Vec::new();
    for page in files(&root(), "md") {
        let text = prose(&page);
        let code = text.split('`').skip(1).step_by(2).map(|code| code.split("::").next().unwrap_or_default());
        let paths = code.filter(|code| folders.iter().any(|folder| code.starts_with(folder)) && is_path(code));
        named.extend(paths.map(|path| (page.clone(), path.to_owned())));
    }
    for source in files(&root(), "rs") {
        let text = read(&source);
        let places = text.match_indices("docs/").map(|(at, _)| &text[at..]);
        let paths = places.map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && !"._-/".contains(c)).next().unwrap_or_default()
        });
        named.extend(paths.filter(|path| path.ends_with(".md")).map(|path| (source.clone(), path.to_owned())));
    }
    assert!(named.len() >= 50, "only {} names of files were found", named.len());
    let missing = named.iter().filter(|(_, path)| !root().join(path).exists());
    let missing: Vec<String> = missing.map(|(by, path)| format!("{} names {path}", shown(by))).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whether a source file has a test of this name.
fn has_test(file: &Path, name: &str) -> bool {
    let text = read(file);
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let begins = |line: &str| line.trim_start_matches("async ").starts_with(&format!("fn {name}("));
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    lines.iter().position(|line| begins(line)).is_some_and(|at| lines[at.saturating_sub(3)..at].iter().any(is_test))
}

#[test]
fn every_invariant_is_held_by_a_test_that_exists() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let section = text.split_once("\n## Invariants\n").expect("there is such a section").1;
    let rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| **")?.strip_suffix(" |")).collect();
    assert!(rows.len() >= 25, "only {} invariants were found", rows.len());
    let mut violations = Vec::new();
    for row in rows {
        let (invariant, tests) = row.split_once(" | ").expect("an invariant and its tests");
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            violations.push(format!("no test holds that {invariant}"));
        }
        let is_there = |test: &&str| {
            let file_and_name = test.split_once("::").map(|(file, name)| (root().join(file), name));
            file_and_name.is_some_and(|(file, name)| file.exists() && has_test(&file, name))
        };
        violations.extend(named.iter().filter(|test| !is_there(test)).map(|test| format!("there is no test {test}")));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
