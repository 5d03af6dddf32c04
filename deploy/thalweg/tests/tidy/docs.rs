//! What is public says what it is for. Fields of enums' variants need not: the variant's text and their names do.
//!
//! (rustc's `missing_docs` knows no such exception.)

use syn::{
    Attribute, Fields, ImplItem, ImplItemFn, ItemConst, ItemEnum, ItemFn, ItemImpl, ItemMod, ItemStatic, ItemStruct,
    ItemTrait, ItemType, TraitItem, Visibility,
    visit::{self, Visit},
};

use super::{files, is_test, only_for_tests, read, root, shown};

#[test]
fn what_is_public_is_documented() {
    let mut violations = Vec::new();
    for file in files(&root(), "rs") {
        let name = shown(&file);
        if !is_test(&name) && !name.starts_with("deploy/") {
            let syntax = syn::parse_file(&read(&file)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut undocumented = Undocumented(Vec::new());
            if !is_a_table(&syntax.attrs) {
                undocumented.visit_file(&syntax);
            }
            violations.extend(undocumented.0.into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    assert!(violations.is_empty(), "public and without a comment that says what for:\n{}", violations.join("\n"));
}

#[test]
fn fields_of_variants_need_no_comment() {
    let source = "
        pub struct A { pub a: u8, b: u8 }
        /// A text.
        pub enum B { C { d: u8 },
            /// A text.
            E(u8) }
        impl A { pub fn f() {} fn g() {} }
        #[cfg(test)] mod tests { pub fn h() {} }";
    let mut undocumented = Undocumented(Vec::new());
    undocumented.visit_file(&syn::parse_file(source).unwrap());
    assert_eq!(undocumented.0, ["A", "a", "C", "f"]);
}

/// Names.
struct Undocumented(Vec<String>);

impl Undocumented {
    fn check(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &syn::Ident) {
        if matches!(visibility, Visibility::Public(_)) && !is_documented(attributes) {
            self.0.push(name.to_string());
        }
    }
}

/// Of a file that holds a table, whose rows say themselves what they are for.
fn is_a_table(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("allow")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().starts_with("missing_docs"))
    })
}

fn is_documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("doc"))
}

impl<'ast> Visit<'ast> for Undocumented {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !only_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.check(&item.vis, &item.attrs, &item.ident);
        if let (Visibility::Public(_), Fields::Named(fields)) = (&item.vis, &item.fields) {
            for field in &fields.named {
                if let Some(name) = &field.ident {
                    self.check(&field.vis, &field.attrs, name);
                }
            }
        }
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.check(&item.vis, &item.attrs, &item.ident);
        for variant in &item.variants {
            self.check(&item.vis, &variant.attrs, &variant.ident);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.check(&item.vis, &item.attrs, &item.sig.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.check(&item.vis, &item.attrs, &item.ident);
        for member in &item.items {
            match member {
                TraitItem::Fn(member) => self.check(&item.vis, &member.attrs, &member.sig.ident),
                TraitItem::Const(member) => self.check(&item.vis, &member.attrs, &member.ident),
                TraitItem::Type(member) => self.check(&item.vis, &member.attrs, &member.ident),
                _ => {}
            }
        }
    }

    /// Methods of traits are documented at the trait.
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        for member in item.items.iter().filter(|_| item.trait_.is_none() && !only_for_tests(&item.attrs)) {
            if let ImplItem::Fn(ImplItemFn { vis, attrs, sig, .. }) = member
                && !only_for_tests(attrs)
            {
                self.check(vis, attrs, &sig.ident);
            }
        }
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.check(&item.vis, &item.attrs, &item.ident);
    }
}
