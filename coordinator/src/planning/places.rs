//! Checks what a job reads and writes in file systems and object stores. Only nodes see the files, so this judges the
//! text of paths.

use std::collections::BTreeSet;

use glob::Pattern;
use thalweg_storage::{expand_braces, local_path};
use thalweg_types::{JobGraph, graph::SinkOperator};

const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];
/// So many steps are taken to hold the paths that are read against those that are written: they take a second or two.
const STEPS_MAX: usize = 50_000_000;

/// A path: its root, and the names from there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    root: String,
    names: Vec<String>,
}

/// A directory that the job writes to.
struct Written<'a> {
    what: String,
    path: &'a str,
    place: Place,
    /// What lies in it: directories of partitions, then a file of such a name.
    levels: usize,
    file: String,
    is_table: bool,
}

/// Refuses a job that would read its own files, or write side outputs among a table's files.
pub(super) fn check_written(graph: &JobGraph) -> Result<(), String> {
    let written = written_by(graph);
    if let Some((what, path)) = all_paths(graph, &written).find(|(_, path)| path.contains('\0')) {
        return Err(format!("{what}: {path:?} cannot be used: no path holds a zero byte"));
    }
    check_read(graph, &written)?;
    let (tables, side_outputs): (Vec<&Written<'_>>, Vec<_>) = written.iter().partition(|written| written.is_table);
    for side_output in side_outputs {
        if let Some(table) = tables.iter().find(|table| table.place == side_output.place) {
            return Err(format!(
                "{}: '{}' cannot be used: {} is written there; give each a directory of its own",
                side_output.what, side_output.path, table.what
            ));
        }
    }
    Ok(())
}

/// Refuses tables and side outputs in the place for checkpoints, as far as that can be seen from here: nodes look at it
/// again.
pub(super) fn check_outside(graph: &JobGraph, checkpoints: &str) -> Result<(), String> {
    let (written, checkpoints) = (written_by(graph), Place::of(checkpoints));
    match all_paths(graph, &written).find(|(_, path)| Place::of(path).is_in(&checkpoints)) {
        Some((what, path)) => {
            Err(format!("{what}: '{path}' cannot be used: checkpoints are there, and no table can be"))
        }
        None => Ok(()),
    }
}

fn all_paths<'a>(graph: &'a JobGraph, written: &'a [Written<'_>]) -> impl Iterator<Item = (String, &'a str)> {
    let read = read_by(graph).map(|(table, path)| (format!("table {table}"), path));
    read.chain(written.iter().map(|written| (written.what.clone(), written.path)))
}

fn check_read(graph: &JobGraph, written: &[Written<'_>]) -> Result<(), String> {
    let (mut left, names) = (STEPS_MAX, written.iter().map(|written| written.names().count()).sum::<usize>());
    for (table, pattern) in read_by(graph) {
        let refused = |reason: String| format!("table {table}: '{pattern}' cannot be used: {reason}");
        for read in
            expand_braces(pattern).map_err(|error| refused(error.to_string()))?.iter().map(|path| Place::of(path))
        {
            let steps = if read.has_any_directories() { read.names.len().saturating_mul(names) } else { written.len() };
            left = left.checked_sub(steps).ok_or_else(|| {
                refused(
                    "it stands for too much to be held against what the job writes: make several jobs of it".to_owned(),
                )
            })?;
            if let Some(Written { what, path, .. }) = written.iter().find(|written| read.may_be_of(written)) {
                return Err(format!(
                    "{what}: '{path}' cannot be used: table {table} reads '{pattern}', so the job would read what it writes; \
                     take a directory elsewhere, or one whose name begins with _"
                ));
            }
        }
    }
    Ok(())
}

/// The tables that a job reads from files, with their paths.
fn read_by(graph: &JobGraph) -> impl Iterator<Item = (&str, &str)> {
    graph.sources().filter_map(|(_, source)| Some((source.table.as_str(), source.connector.read_path()?)))
}

fn written_by(graph: &JobGraph) -> Vec<Written<'_>> {
    let of_sinks = graph.sinks().filter_map(|(_, sink)| Written::of_sink(sink));
    let of_sources = graph.sources().filter_map(|(_, source)| {
        let path = source.connector.dead_letter_path()?;
        Some(Written::side_output(format!("table {}: dead-letter.path", source.table), path, "dead-letter"))
    });
    let of_settings = [("late.path", "late"), ("error.path", "error")].into_iter().filter_map(|(key, stem)| {
        let path = graph.settings.get(key).map(|path| path.trim()).filter(|path| !path.is_empty())?;
        Some(Written::side_output(format!("setting {key}"), path, stem))
    });
    of_sources.chain(of_sinks).chain(of_settings).collect()
}

impl<'a> Written<'a> {
    fn side_output(what: String, path: &'a str, stem: &str) -> Self {
        Self { what, path, place: Place::of(path), levels: 0, file: format!("{stem}-.json"), is_table: false }
    }

    fn of_sink(sink: &'a SinkOperator) -> Option<Self> {
        let path = sink.connector.written_path()?;
        let file = format!("part-.{}", sink.connector.written_extension());
        let (what, levels) =
            (format!("table {}", sink.table), sink.connector.partition_levels(sink.partition_by.len()));
        Some(Self { what, path, place: Place::of(path), levels, file, is_table: true })
    }

    /// The names of a file of it; `None` is a partition's, of any value.
    fn names(&self) -> impl Iterator<Item = Option<&str>> {
        let partitions = std::iter::repeat_n(None, self.levels);
        self.place.names.iter().map(|name| Some(name.as_str())).chain(partitions).chain([Some(self.file.as_str())])
    }
}

/// Whether a pattern stands for a file of these names, itself or by a directory above it. Looks at each component once, with all
/// places among the names that those before it may lead to.
fn fits(pattern: &[String], names: &[Option<&str>]) -> bool {
    let mut reached = BTreeSet::from([0]);
    for component in pattern {
        reached = match component.as_str() {
            "**" => {
                let mut is_within = false;
                let is_passed = |at: &usize| {
                    let is_open = at.checked_sub(1).is_some_and(|before| is_shown(names[before])) && is_within;
                    is_within = is_open || reached.contains(at);
                    is_within
                };
                (0..=names.len()).filter(is_passed).collect()
            }
            component => {
                let is_next = |at: &usize| names.get(*at).is_some_and(|name| may_be(component, *name));
                reached.into_iter().filter(is_next).map(|at| at + 1).collect()
            }
        };
        if reached.is_empty() {
            return false;
        }
    }
    reached.into_iter().any(|at| names[at..].iter().all(|name| is_shown(*name)))
}

fn is_shown(name: Option<&str>) -> bool {
    !name.is_some_and(|name| name.starts_with(['.', '_']))
}

/// Whether a component of a pattern stands for a name.
fn may_be(component: &str, name: Option<&str>) -> bool {
    match name {
        None => component.contains(WILDCARDS),
        Some(name) if !component.contains(WILDCARDS) => component == name,
        Some(own) => {
            let is_meant = component.starts_with(['.', '_']) || is_shown(name);
            is_meant && Pattern::new(component).is_ok_and(|pattern| pattern.matches(own))
        }
    }
}

impl Place {
    fn of(path: &str) -> Self {
        let (root, rest) = match (local_path(path), path.split_once("://")) {
            (Some(local), _) => {
                let local = local.to_string_lossy().into_owned();
                (if local.starts_with('/') { "/" } else { "" }.to_owned(), local)
            }
            (None, Some((scheme, rest))) => (format!("{scheme}://"), rest.to_owned()),
            (None, None) => (String::new(), path.to_owned()),
        };
        let mut names: Vec<String> = Vec::new();
        for name in rest.split('/').filter(|name| !name.is_empty() && *name != ".") {
            match name {
                ".." if names.last().is_some_and(|last| last != "..") => _ = names.pop(),
                name => names.push(name.to_owned()),
            }
        }
        Self { root, names }
    }

    /// Whether it is a place or lies in it.
    fn is_in(&self, place: &Self) -> bool {
        self.root == place.root && self.names.starts_with(&place.names)
    }

    /// Whether, read as a pattern, it may stand for a file of a directory that is written.
    fn may_be_of(&self, written: &Written<'_>) -> bool {
        if self.root != written.place.root {
            return false;
        }
        fits(&self.names, &written.names().collect::<Vec<_>>())
    }

    fn has_any_directories(&self) -> bool {
        self.names.iter().any(|name| name == "**")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Planner as _, SqlPlanner};

    fn table(name: &str, path: &str, more: &str) -> String {
        format!(
            "CREATE TABLE {name} (a INT, b INT) {} WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{path}'{});",
            if more == "partitioned" { "PARTITIONED BY (b)" } else { "" },
            if more == "partitioned" { "" } else { more }
        )
    }

    fn plan(script: &str) -> Result<(), String> {
        let planned = SqlPlanner::default().plan(script, &BTreeMap::new());
        planned.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_does_not_read_what_it_writes() {
        let dead = |path: &str, dead: &str| {
            plan(&format!("{} SELECT a FROM t;", table("t", path, &format!(", 'dead-letter.path' = '{dead}'"))))
        };
        let refused = "table t: dead-letter.path: 'dl/dead' cannot be used: table t reads 'dl', so the job would read what it \
                       writes; take a directory elsewhere, or one whose name begins with _";
        assert_eq!(dead("dl", "dl/dead"), Err(refused.to_owned()));
        for (read, written) in [
            ("./dl/", "dl/x/../dead"),
            ("/d", "file:///d"),
            ("s3://b/d", "s3://b/d/e"),
            ("d/**", "d/e"),
            ("d/*.json", "d"),
            ("d/{a,b}", "d/b/c"),
            (".", "d"),
        ] {
            assert!(dead(read, written).is_err(), "{read} {written}");
        }
        for (read, written) in [
            ("d", "d/_dead"),
            ("d/in", "d"),
            ("d/*.csv", "d"),
            ("d/*.json", "d/dead"),
            ("d/{a,b}", "d/c"),
            (".", "/d"),
            ("dl", "dl2"),
            ("s3://b/d", "d/e"),
        ] {
            assert_eq!(dead(read, written), Ok(()), "{read} {written}");
        }
    }

    #[test]
    fn paths_that_stand_for_very_many_are_told_from_others_soon() {
        let dead = |path: &str, dead: &str| {
            plan(&format!("{} SELECT a FROM t;", table("t", path, &format!(", 'dead-letter.path' = '{dead}'"))))
        };
        let deep = "a/".repeat(200);
        assert_eq!(dead(&format!("{}x", "**/a/".repeat(60)), &deep), Ok(()));
        assert!(dead(&format!("{}*", "**/a/".repeat(60)), &deep).is_err(), "a file of it");
        let refused = dead(&"{a,b}".repeat(20), "d").expect_err("a million paths");
        assert!(refused.contains("cannot be used: its braces stand for more than 1000 paths"), "{refused}");
    }

    #[test]
    fn no_path_holds_a_zero_byte() {
        let refused = "table t: \"a\\0b\" cannot be used: no path holds a zero byte";
        assert_eq!(plan(&format!("{} SELECT a FROM t;", table("t", "a\0b", ""))), Err(refused.to_owned()));
    }

    #[test]
    fn what_is_set_aside_is_not_among_a_tables_files() {
        let tables = |sink: &str, more: &str| format!("{} {}", table("t", "in", ""), table("o", sink, more));
        let insert = "INSERT INTO o SELECT a, b FROM t;";
        assert!(plan(&format!("{} {insert}", tables("in", ""))).is_err());
        assert!(plan(&format!("{} {insert}", tables("in/out", ""))).is_err());
        assert_eq!(plan(&format!("{} {insert}", tables("out", ""))), Ok(()));
        let watched = table("t", "out/b=*", "") + &table("o", "out", "partitioned");
        assert!(plan(&format!("{watched} {insert}")).is_err());
        let twice = format!("BEGIN STATEMENT SET; {insert} {insert} END;");
        assert_eq!(plan(&format!("{} {twice}", tables("out", ""))), Ok(()));
        let refused =
            "setting error.path: 'out/' cannot be used: table o is written there; give each a directory of its own";
        let script = format!("SET 'error.path' = 'out/'; {} {insert}", tables("out", ""));
        assert_eq!(plan(&script), Err(refused.to_owned()));
        let script = format!("SET 'error.path' = 'in/e'; {} {insert}", tables("out", ""));
        assert!(plan(&script).is_err());
    }
}
