//! No function that other crates may call gives a text as its error: they could not decide by it, and its sources are lost.

use syn::{
    FnArg, GenericArgument, ImplItemFn, ItemFn, ItemMod, ItemTrait, PathArguments, ReturnType, Signature, TraitItem,
    Type, Visibility,
    visit::{self, Visit},
};

use super::{files, is_test, only_for_tests, read, root, shown};

/// Those whose callers pass the text on, in an error of their own or to people.
const REASONS: &[&str] = &["check_invariants", "check_pattern", "check"];

#[test]
fn public_functions_have_errors_of_a_type() {
    let mut violations = Vec::new();
    for file in files(&root(), "rs").into_iter().filter(|file| !is_test(&shown(file))) {
        let name = shown(&file);
        let syntax = syn::parse_file(&read(&file)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = found_in(&syntax);
        violations.extend(found.into_iter().map(|function| format!("{name}: {function} has a text as its error")));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_text_as_an_error_is_found() {
    let source = "
        pub fn a() -> Result<u8, String> { Ok(1) }
        pub async fn b() -> std::result::Result<Vec<u8>, String> { Ok(vec![]) }
        pub(crate) fn c() -> Result<u8, String> { Ok(1) }
        pub fn d() -> Result<String, Failure> { Err(Failure) }
        pub trait E { fn e(&self) -> Result<(), String>; fn f(&self) -> Result<String, ()>; }
        impl X { pub fn g(&self) -> Result<(), String> { Ok(()) } }
        #[cfg(test)] mod tests { pub fn h() -> Result<u8, String> { Ok(1) } }";
    assert_eq!(found_in(&syn::parse_file(source).unwrap()), ["a", "b", "e", "g"]);
}

fn found_in(syntax: &syn::File) -> Vec<String> {
    let mut functions = Functions(Vec::new());
    functions.visit_file(syntax);
    functions.0
}

/// The names of public functions whose error is a text.
struct Functions(Vec<String>);

impl Functions {
    fn look(&mut self, is_public: bool, signature: &Signature) {
        let name = signature.ident.to_string();
        // What clap calls must give texts, and takes one text alone.
        let is_parser = name.starts_with("parse_") && matches!(signature.inputs.first(), Some(FnArg::Typed(_)));
        if is_public && !is_parser && !REASONS.contains(&name.as_str()) && has_text_as_error(&signature.output) {
            self.0.push(name);
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.look(matches!(item.vis, Visibility::Public(_)), &item.sig);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.look(matches!(item.vis, Visibility::Public(_)), &item.sig);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let is_public = matches!(item.vis, Visibility::Public(_));
        for inner in &item.items {
            if let TraitItem::Fn(function) = inner {
                self.look(is_public, &function.sig);
            }
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !only_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}

fn has_text_as_error(output: &ReturnType) -> bool {
    let ReturnType::Type(_, output) = output else { return false };
    let Type::Path(path) = output.as_ref() else { return false };
    let Some(last) = path.path.segments.last().filter(|last| last.ident == "Result") else { return false };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return false };
    match arguments.args.iter().nth(1) {
        Some(GenericArgument::Type(Type::Path(error))) => error.path.is_ident("String"),
        _ => false,
    }
}
