//! No `match` on an enum of ours has an arm for the rest: whoever adds a variant is told by the compiler where it counts.
//!
//! Looked at is the code without its tests, as syntax. An arm for the rest is `_` or a name; the enum is what stands before a variant
//! in another arm, if it is declared in the workspace, also below references, `Some`, `Ok` and `Err`. Arms over several values at once
//! (tuples, slices) are left alone: there the rest is no variant.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Arm, ExprMatch, ImplItemFn, Item, ItemEnum, ItemFn, ItemImpl, ItemMod, ItemUse, Pat, Path, Type, UseTree,
    visit::{self, Visit},
};

use super::{files, is_test, only_for_tests, read, root, shown};

#[test]
fn a_match_on_an_enum_of_ours_names_every_variant() {
    let sources = files(&root(), "rs").into_iter().filter(|file| !is_test(&shown(file)));
    let parsed: Vec<(String, syn::File)> = sources
        .map(|file| {
            let name = shown(&file);
            let syntax = syn::parse_file(&read(&file)).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, syntax)
        })
        .collect();
    let mut enums = Enums::default();
    parsed.iter().for_each(|(_, syntax)| enums.visit_file(syntax));
    assert!(enums.0.len() > 100, "the enums were not found");
    let mut violations = Vec::new();
    for (name, syntax) in &parsed {
        let mut matches = Matches {
            enums: &enums.0,
            imports: imports(syntax),
            own: Vec::new(),
            within: String::new(),
            found: Vec::new(),
        };
        matches.visit_file(syntax);
        violations.extend(
            matches.found.into_iter().map(|(line, of)| format!("{name}:{line} has an arm for the rest of {of}")),
        );
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn an_arm_for_the_rest_is_found() {
    let source = "
        enum Ours { A, B(u8), C }
        impl Ours { fn a(&self) -> bool { match self { Self::A => true, _ => false } } }
        fn b(x: Option<Ours>) { match x { Some(Ours::B(_)) => (), other => drop(other) } }
        fn c(x: (Ours, u8)) { match x { (Ours::A, 1) => (), _ => () } }
        fn d(x: std::cmp::Ordering) { match x { std::cmp::Ordering::Less => (), _ => () } }
        fn e(x: &Ours) { match x { Ours::A | Ours::B(_) => (), Ours::C => () } }
        #[cfg(test)] mod tests { fn f(x: &super::Ours) { match x { super::Ours::A => (), _ => () } } }";
    let syntax = syn::parse_file(source).unwrap();
    let mut enums = Enums::default();
    enums.visit_file(&syntax);
    let mut matches = Matches {
        enums: &enums.0,
        imports: imports(&syntax),
        own: Vec::new(),
        within: String::new(),
        found: Vec::new(),
    };
    matches.visit_file(&syntax);
    let found: Vec<(&str, &str)> = matches.found.iter().map(|(within, of)| (within.as_str(), of.as_str())).collect();
    assert_eq!(found, [("a", "Ours"), ("b", "Ours")]);
}

/// The names of all enums.
#[derive(Default)]
struct Enums(BTreeSet<String>);

impl<'ast> Visit<'ast> for Enums {
    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.0.insert(item.ident.to_string());
    }
}

struct Matches<'a> {
    enums: &'a BTreeSet<String>,
    /// Where an imported name comes from: the first word of its path.
    imports: BTreeMap<String, String>,
    /// What `Self` is, innermost last.
    own: Vec<String>,
    /// The function that is being looked at.
    within: String,
    /// Function, and enum.
    found: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for Matches<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !only_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !only_for_tests(&item.attrs) {
            self.within = item.sig.ident.to_string();
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !only_for_tests(&item.attrs) {
            self.within = item.sig.ident.to_string();
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if only_for_tests(&item.attrs) {
            return;
        }
        let own = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        self.own.push(own.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.own.pop();
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        let of = expr.arms.iter().find_map(|arm| self.enum_of(&arm.pat));
        if let Some(of) = of.filter(|_| expr.arms.iter().any(is_rest)) {
            self.found.push((self.within.clone(), of));
        }
        visit::visit_expr_match(self, expr);
    }
}

impl Matches<'_> {
    /// The enum of ours of which a pattern names a variant.
    fn enum_of(&self, pattern: &Pat) -> Option<String> {
        match pattern {
            Pat::Reference(inner) => self.enum_of(&inner.pat),
            Pat::Paren(inner) => self.enum_of(&inner.pat),
            Pat::Or(any) => any.cases.iter().find_map(|case| self.enum_of(case)),
            Pat::Ident(bound) => bound.subpat.as_ref().and_then(|(_, inner)| self.enum_of(inner)),
            Pat::TupleStruct(variant) => self.enum_of_path(&variant.path).or_else(|| {
                let is_wrapper = ["Some", "Ok", "Err"].iter().any(|name| variant.path.is_ident(name));
                variant.elems.first().filter(|_| is_wrapper).and_then(|inner| self.enum_of(inner))
            }),
            Pat::Struct(variant) => self.enum_of_path(&variant.path),
            Pat::Path(variant) => self.enum_of_path(&variant.path),
            _ => None,
        }
    }

    fn enum_of_path(&self, path: &Path) -> Option<String> {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let [before @ .., name, _variant] = names.as_slice() else { return None };
        if name == "Self" {
            return self.own.last().filter(|own| self.enums.contains(*own)).cloned();
        }
        let origin = before.first().unwrap_or(name);
        let origin = self.imports.get(origin).unwrap_or(origin);
        let is_foreign = (origin != name || self.imports.contains_key(name)) && !is_ours(origin);
        (self.enums.contains(name) && !is_foreign).then(|| name.clone())
    }
}

fn is_ours(origin: &str) -> bool {
    origin.starts_with("thalweg") || ["crate", "super", "self"].contains(&origin)
}

fn is_rest(arm: &Arm) -> bool {
    let is_any = |pattern: &Pat| match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(bound) => {
            bound.subpat.is_none() && bound.ident.to_string().starts_with(|first: char| first.is_lowercase())
        }
        _ => false,
    };
    arm.guard.is_none() && is_any(&arm.pat)
}

fn imports(syntax: &syn::File) -> BTreeMap<String, String> {
    fn names(tree: &UseTree, first: Option<&str>, found: &mut BTreeMap<String, String>) {
        match tree {
            UseTree::Path(path) => {
                let ident = path.ident.to_string();
                names(&path.tree, Some(first.unwrap_or(&ident)), found);
            }
            UseTree::Name(name) => _ = found.insert(name.ident.to_string(), first.unwrap_or_default().to_owned()),
            UseTree::Rename(name) => _ = found.insert(name.rename.to_string(), first.unwrap_or_default().to_owned()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, first, found)),
            UseTree::Glob(_) => {}
        }
    }
    let mut found = BTreeMap::new();
    for item in &syntax.items {
        if let Item::Use(ItemUse { tree, .. }) = item {
            names(tree, None, &mut found);
        }
    }
    found
}
