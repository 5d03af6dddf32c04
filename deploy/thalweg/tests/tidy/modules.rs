//! Modules form layers, as crates do: of two that lie in the same module, at most one uses the other, directly or through others.
//!
//! What a module uses is read from its syntax, tests left out: `use` and all paths that begin with `crate`, `super` or `self`.
//! A name that a module hands on (`use a::Name` there) counts as the module's that has it. A module and those within it may use
//! one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use syn::{
    Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

use super::{files, is_test, read, root, shown};

/// Names from the crate's root down.
type ModulePath = Vec<String>;

/// Siblings that use one another: the module that they lie in, and for each those that it uses.
type Arrows = BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>>;

/// Nodes of compiled expressions ask one another whether they can fail: the tree is their subject, and has no layers.
const RECURSIVE: (&str, &[&str]) = ("proto/functions/src", &["physical"]);

#[test]
fn modules_form_layers() {
    let mut violations = Vec::new();
    let crates: Vec<_> = files(&root(), "toml").into_iter().filter(|file| file.ends_with("Cargo.toml")).collect();
    for manifest in &crates {
        let folder = manifest.parent().expect("a manifest lies in a folder").join("src");
        if folder.is_dir() {
            let modules = modules_of(&folder);
            let is_layered = |parent: &ModulePath| shown(&folder) != RECURSIVE.0 || parent != RECURSIVE.1;
            for (parent, arrows) in arrows(&modules).into_iter().filter(|(parent, _)| is_layered(parent)) {
                let of = format!("{} {}", shown(&folder), parent.join("::"));
                violations.extend(circles(&arrows).into_iter().map(|circle| format!("{of}: {}", circle.join(", "))));
            }
        }
    }
    assert!(crates.len() > 15, "the crates were not found");
    assert!(violations.is_empty(), "modules that use one another:\n{}", violations.join("\n"));
}

#[test]
fn a_circle_is_found_whatever_it_goes_through() {
    let sources = [
        ("", "mod a; mod b; mod c; pub use c::Handed;"),
        ("a", "use crate::b::B; mod inner;"),
        ("a::inner", "fn f() -> super::super::Handed { todo!() }"),
        ("b", "pub struct B; fn g() {}"),
        ("c", "pub struct Handed; fn f() { crate::a::go() } #[cfg(test)] mod tests { use crate::b::B; }"),
    ];
    let split = |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let modules = sources.map(|(name, text)| (split(name), syn::parse_file(text).unwrap()));
    let arrows = arrows(&modules.into_iter().collect());
    assert_eq!(circles(&arrows[&Vec::new()]), [["a", "c"]]);
}

/// The syntax of all modules that are files, less those of tests.
fn modules_of(folder: &Path) -> BTreeMap<ModulePath, syn::File> {
    let mut modules = BTreeMap::new();
    for file in files(folder, "rs") {
        let name = shown(&file);
        let relative = file.strip_prefix(folder).expect("it lies there").with_extension("");
        let mut path: ModulePath = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
            path.pop();
        }
        if !is_test(&name) && !path.iter().any(|part| ["tests", "testing"].contains(&part.as_str())) {
            let syntax = syn::parse_file(&read(&file)).unwrap_or_else(|error| panic!("{name}: {error}"));
            modules.insert(path, syntax);
        }
    }
    modules
}

fn arrows(modules: &BTreeMap<ModulePath, syn::File>) -> Arrows {
    let known: BTreeSet<&ModulePath> = modules.keys().collect();
    let handed: BTreeMap<(ModulePath, String), ModulePath> =
        modules.iter().flat_map(|(module, syntax)| handed_on(module, syntax, &known)).collect();
    let mut arrows = Arrows::new();
    for (module, syntax) in modules {
        let mut uses = Uses { module, found: Vec::new() };
        uses.visit_file(syntax);
        for used in uses.found {
            let used = resolve(used, &known, &handed);
            let shared = module.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(shared), used.get(shared)) {
                let of_parent = arrows.entry(module[..shared].to_vec()).or_default();
                of_parent.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    arrows
}

/// The module that has what a path names.
fn resolve(
    mut path: ModulePath,
    known: &BTreeSet<&ModulePath>,
    handed: &BTreeMap<(ModulePath, String), ModulePath>,
) -> ModulePath {
    // A name may be handed on several times, never in a circle.
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|depth| known.contains(&path[..*depth].to_vec())).unwrap_or(0);
        let Some(name) = path.get(depth) else { return path };
        let Some(instead) = handed.get(&(path[..depth].to_vec(), name.clone())) else {
            path.truncate(depth);
            return path;
        };
        path = instead.iter().cloned().chain(path[depth + 1..].iter().cloned()).collect();
    }
    path
}

/// The names that a module has from those within it, with where they are.
fn handed_on(
    module: &ModulePath,
    syntax: &syn::File,
    known: &BTreeSet<&ModulePath>,
) -> Vec<((ModulePath, String), ModulePath)> {
    let uses = syntax.items.iter().filter_map(|item| match item {
        Item::Use(item) => Some(item),
        _ => None,
    });
    let mut found = Vec::new();
    for ItemUse { tree, .. } in uses {
        for (path, name) in leaves(tree) {
            let absolute = absolute(module, &path).unwrap_or_else(|| [module.clone(), path].concat());
            if known.contains(&absolute[..absolute.len().saturating_sub(1)].to_vec()) && absolute.len() > module.len() {
                found.push(((module.clone(), name), absolute));
            }
        }
    }
    found
}

/// The paths of a `use`, each with the name that it gets.
fn leaves(tree: &UseTree) -> Vec<(ModulePath, String)> {
    let below = |name: String, tree: &UseTree| {
        leaves(tree).into_iter().map(|(path, as_name)| ([vec![name.clone()], path].concat(), as_name)).collect()
    };
    match tree {
        UseTree::Path(path) => below(path.ident.to_string(), &path.tree),
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// A path from the crate's root, where it is one of this crate.
fn absolute(module: &ModulePath, path: &[String]) -> Option<ModulePath> {
    let (first, mut rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    while let Some((next, after)) = rest.split_first().filter(|(next, _)| *next == "super") {
        debug_assert_eq!(next, "super");
        base.pop()?;
        rest = after;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// What a module uses of its crate.
struct Uses<'a> {
    module: &'a ModulePath,
    found: Vec<ModulePath>,
}

impl<'ast> Visit<'ast> for Uses<'_> {
    /// Modules within a file are those of tests.
    fn visit_item_mod(&mut self, _item: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let paths = leaves(&item.tree).into_iter().map(|(path, _)| path);
        self.found.extend(paths.filter_map(|path| absolute(self.module, &path)));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: ModulePath = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.extend(absolute(self.module, &names));
        visit::visit_path(self, path);
    }
}

/// Groups of siblings of which each uses each, through others or not.
fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let (mut seen, mut pending) = (BTreeSet::new(), vec![from]);
        while let Some(next) = pending.pop() {
            pending.extend(arrows.get(next).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|name| (name, reach(name))).collect();
    let mut found = BTreeSet::new();
    for (name, all) in reached.iter().filter(|(name, all)| all.contains(**name)) {
        let circle = all.iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(*name)));
        found.insert(circle.cloned().collect::<Vec<String>>());
    }
    found.into_iter().collect()
}
