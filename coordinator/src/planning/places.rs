//! Checks what a job reads and writes in file systems and object stores. Only nodes see the files, so this judges the
//! text of paths.

use glob::Pattern;
use thalweg_storage::local_path;
use thalweg_types::{JobGraph, graph::SinkOperator};

const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];
/// The most paths that a path with braces is expanded to here. Its node refuses more.
const EXPANDED_MAX: usize = 1000;

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
    /// The levels of partition directories in it, above its files.
    levels: usize,
    file: String,
    is_table: bool,
}

/// Refuses a job that would read its own files, or write side outputs among a table's files.
pub(super) fn check_written(graph: &JobGraph) -> Result<(), String> {
    let written = written_by(graph);
    let read = read_by(graph).map(|(table, path)| (format!("table {table}"), path));
    let mut all = read.chain(written.iter().map(|written| (written.what.clone(), written.path)));
    if let Some((what, path)) = all.find(|(_, path)| path.contains('\0')) {
        return Err(format!("{what}: {path:?} cannot be used: no path holds a zero byte"));
    }
    for (table, pattern) in read_by(graph) {
        if let Some(Written { what, path, .. }) = written.iter().find(|written| reads(pattern, written)) {
            return Err(format!(
                "{what}: '{path}' cannot be used: table {table} reads '{pattern}', so the job would read what it writes; \
                 take a directory elsewhere, or one whose name begins with _"
            ));
        }
    }
    let (tables, asides): (Vec<&Written<'_>>, Vec<_>) = written.iter().partition(|written| written.is_table);
    for aside in asides {
        if let Some(table) = tables.iter().find(|table| Place::of(table.path) == Place::of(aside.path)) {
            return Err(format!(
                "{}: '{}' cannot be used: {} is written there; give each a directory of its own",
                aside.what, aside.path, table.what
            ));
        }
    }
    Ok(())
}

/// The tables that the job reads from files, with their paths.
fn read_by(graph: &JobGraph) -> impl Iterator<Item = (&str, &str)> {
    graph.sources().filter_map(|(_, source)| Some((source.table.as_str(), source.connector.read_path()?)))
}

fn written_by(graph: &JobGraph) -> Vec<Written<'_>> {
    let aside =
        |what, path, stem: &str| Written { what, path, levels: 0, file: format!("{stem}-.json"), is_table: false };
    let of_sinks = graph.sinks().filter_map(|(_, sink)| of_sink(sink));
    let of_sources = graph.sources().filter_map(|(_, source)| {
        let path = source.connector.dead_letter_path()?;
        Some(aside(format!("table {}: dead-letter.path", source.table), path, "dead-letter"))
    });
    let of_settings = [("late.path", "late"), ("error.path", "error")].into_iter().filter_map(|(key, stem)| {
        let path = graph.settings.get(key)?;
        Some(aside(format!("setting {key}"), path.as_str(), stem))
    });
    of_sources.chain(of_sinks).chain(of_settings).collect()
}

fn of_sink(sink: &SinkOperator) -> Option<Written<'_>> {
    let path = sink.connector.written_path()?;
    let file = format!("part-.{}", sink.connector.option("format").unwrap_or_default());
    Some(Written { what: format!("table {}", sink.table), path, levels: sink.partition_by.len(), file, is_table: true })
}

/// Whether a path that is read may match a file of a directory that is written.
fn reads(path: &str, written: &Written<'_>) -> bool {
    let place = Place::of(written.path);
    let file = Some(written.file.clone());
    let names: Vec<Option<String>> =
        place.names.into_iter().map(Some).chain(std::iter::repeat_n(None, written.levels)).chain([file]).collect();
    expanded(path).iter().map(|path| Place::of(path)).any(|read| read.root == place.root && fits(&read.names, &names))
}

/// Whether a pattern matches a file of these names, or a directory above it. `None` is a partition's directory, of any
/// name.
fn fits(pattern: &[String], names: &[Option<String>]) -> bool {
    let is_shown = |name: &&Option<String>| !name.as_ref().is_some_and(|name| name.starts_with(['.', '_']));
    match pattern.split_first() {
        None => names.iter().all(|name| is_shown(&name)),
        Some((any, rest)) if any == "**" => {
            let passed = names.iter().take_while(is_shown).count();
            (0..=passed).any(|passed| fits(rest, &names[passed..]))
        }
        Some((component, rest)) => {
            let may_be = |name: &Option<String>| match name {
                Some(name) if !component.contains(WILDCARDS) => component == name,
                Some(name) => {
                    (component.starts_with(['.', '_']) || is_shown(&&Some(name.clone())))
                        && Pattern::new(component).is_ok_and(|pattern| pattern.matches(name))
                }
                None => component.contains(WILDCARDS),
            };
            names.split_first().is_some_and(|(name, below)| may_be(name) && fits(rest, below))
        }
    }
}

/// The paths that a path with braces stands for.
fn expanded(path: &str) -> Vec<String> {
    let (mut done, mut open) = (Vec::new(), vec![path.to_owned()]);
    while let Some(path) = open.pop() {
        let choice = path.find('}').and_then(|end| Some((path[..end].rfind('{')?, end)));
        match choice.filter(|_| done.len() + open.len() < EXPANDED_MAX) {
            Some((start, end)) => {
                let choices = path[start + 1..end].split(',');
                open.extend(choices.map(|choice| format!("{}{choice}{}", &path[..start], &path[end + 1..])));
            }
            None => done.push(path),
        }
    }
    done
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
