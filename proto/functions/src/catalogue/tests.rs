//! Every name has one meaning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::*;
use crate::{aggregate, instant, natives, scalar, unnamed, window};

/// Every name under which DataFusion registers a function.
fn of_datafusion() -> Vec<String> {
    let nested = datafusion_functions_nested::all_default_nested_functions();
    let scalar = datafusion_functions::all_default_functions().into_iter().chain(nested);
    let mut names: Vec<String> = Vec::new();
    for function in scalar {
        names.extend(
            std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)).map(str::to_owned),
        );
    }
    for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
        names.extend(
            std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)).map(str::to_owned),
        );
    }
    for function in datafusion_functions_window::all_default_window_functions() {
        names.extend(
            std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)).map(str::to_owned),
        );
    }
    names
}

/// Every name of a function of ours, except those of functions that a listed name means: `SUM` calls `exact_sum`, and `MIN`
/// calls another `min`.
fn own() -> Vec<String> {
    let named = natives().flat_map(|native| std::iter::once(native.name).chain(native.aliases.iter().copied()));
    let mut own: Vec<String> = named.map(str::to_owned).collect();
    let (scalar, aggregate) = unnamed();
    own.extend(scalar.iter().chain([&instant()]).map(|function| function.name().to_owned()));
    let aggregate: BTreeSet<&str> = aggregate.iter().map(|function| function.name()).collect();
    own.extend(aggregate.into_iter().filter(|name| !is_kept(name)).map(str::to_owned));
    own
}

#[test]
fn every_name_stands_in_one_list() {
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let refused = REFUSED.iter().map(|(name, _)| *name);
    let own = own();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    for (list, names) in [
        ("same", SAME.to_vec()),
        ("extension", EXTENSIONS.to_vec()),
        ("refused", refused.collect()),
        ("own", own.clone()),
    ] {
        for name in names {
            lists.entry(name).or_default().push(list);
        }
    }
    let twice: Vec<_> = lists.iter().filter(|(_, lists)| lists.len() > 1).collect();
    assert!(twice.is_empty(), "in several lists: {twice:?}");
    let of_datafusion = of_datafusion();
    let unknown: Vec<_> = of_datafusion.iter().filter(|name| !lists.contains_key(name.as_str())).collect();
    assert!(unknown.is_empty(), "look at what these do: {unknown:?}");
    let gone: Vec<_> =
        SAME.iter().chain(EXTENSIONS).filter(|name| !of_datafusion.iter().any(|known| known == *name)).collect();
    assert!(gone.is_empty(), "DataFusion has no more: {gone:?}");
    let listed = |name: &&&str| !own.contains(*name);
    let not_own: Vec<_> = OWN_EXTENSIONS.iter().chain(SYNTAX).filter(listed).collect();
    assert!(not_own.is_empty(), "not ours: {not_own:?}");
}

/// So a query that calls an aggregate of ours calls what the lists say, and a job graph names no other one by its name.
#[test]
fn our_aggregates_stand_behind_listed_names() {
    let of_datafusion = of_datafusion();
    for (name, function) in aggregate::functions() {
        assert!(is_kept(name), "{name} stands in no list");
        let is_known = of_datafusion.iter().any(|known| known == function.name());
        assert!(function.name() == name || !is_known, "{name} is DataFusion's {} in job graphs", function.name());
    }
}

/// A call is encoded by its function's own name, so all names of a function must find the same one.
#[test]
fn names_and_aliases_find_one_function() {
    let mut found = BTreeMap::new();
    for function in scalar() {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            found.insert(name.to_owned(), function.clone());
        }
    }
    for (name, function) in &found {
        let by_own_name = found.get(function.name()).expect("every function has its own name");
        assert_eq!(by_own_name, function, "{name} is {} by another name", function.name());
    }
    for (name, _) in REFUSED.iter().filter(|(name, _)| !["proctime"].contains(name)) {
        let known = found.get(*name).is_some_and(|function| function.name() == *name);
        assert!(!known, "{name} is refused and there");
    }
    assert!(!aggregate().is_empty() && !window().is_empty());
}

/// The page of deviations lists the same functions.
#[test]
fn the_page_lists_them() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flink.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let section = |title: &str| {
        let after = page.split_once(&format!("### {title}\n")).unwrap_or_else(|| panic!("no section {title}")).1;
        let text = after.split_once("\n#").map_or(after, |(section, _)| section);
        let mut names: Vec<String> =
            text.split('`').skip(1).step_by(2).map(str::to_lowercase).filter(|name| !name.contains(' ')).collect();
        names.sort();
        names.dedup();
        names
    };
    let sorted = |names: Vec<&str>| {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    let extensions = EXTENSIONS.iter().chain(OWN_EXTENSIONS).copied().collect();
    assert_eq!(section("Functions that Flink does not have"), sorted(extensions));
    let refused = REFUSED.iter().map(|(name, _)| *name).collect();
    assert_eq!(section("Functions that are refused"), sorted(refused));
}
