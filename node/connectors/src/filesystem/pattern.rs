//! Paths with wildcards, component by component.
//!
//! `*`, `?` and `[a-z]` (`[!a-z]`) stand for characters of one name, `**` for any number of directories, and `{a,b}` for either
//! text (`thalweg_storage::expand_braces`). What a wildcard stands for is no hidden name, unless the component itself begins with `.` or `_`.

use std::collections::BTreeSet;

use glob::Pattern as NamePattern;
use thalweg_storage::percent_decoded;

use crate::location::is_hidden;

const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// One component of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Component {
    /// Exactly this name.
    Name(String),
    /// Names that match a pattern.
    Names {
        pattern: NamePattern,
        /// Whether it matches hidden names too.
        hidden: bool,
    },
    /// Any number of directories.
    Directories,
}

/// A path with wildcards, relative to its literal start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    pub(super) components: Vec<Component>,
    /// The path ends with a slash, so it matches only directories.
    pub(super) directories_only: bool,
}

/// How names are written in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Literally.
    Plain,
    /// Percent-encoded, as in URLs: `%20` is a space, and `%2A` is not a wildcard.
    Encoded,
}

/// Whether a path may match names other than itself.
pub(super) fn has_wildcards(path: &str) -> bool {
    path.contains(WILDCARDS)
}

/// Splits a path before the first component with a wildcard.
pub(super) fn split_at_wildcard(path: &str) -> (&str, &str) {
    let wildcard = path.find(WILDCARDS).unwrap_or(path.len());
    let folder = path[..wildcard].rfind('/').map_or(0, |slash| slash + 1);
    path.split_at(folder)
}

impl PathPattern {
    /// Parses a path. The error says what is wrong with it.
    pub(super) fn parse(path: &str, spelling: Spelling) -> Result<Self, String> {
        let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
        let components = names.map(|name| Component::parse(name, spelling)).collect::<Result<_, _>>()?;
        Ok(Self { components, directories_only: path.ends_with('/') })
    }

    /// Whether the pattern matches this file, or a directory above it.
    pub(super) fn is_of(&self, names: &[&str]) -> bool {
        fits(&self.components, names, self.directories_only)
    }
}

/// Looks at each component once, with all places in the path that those before it may lead to.
fn fits(components: &[Component], names: &[&str], directories_only: bool) -> bool {
    let (components, ends_in_any) = match components {
        [first @ .., Component::Directories] => (first, true),
        all => (all, false),
    };
    let mut reached = BTreeSet::from([0]);
    for component in components {
        reached = match component {
            Component::Directories => {
                let mut is_within = false;
                let is_passed = |at: &usize| {
                    let is_open = at.checked_sub(1).is_some_and(|before| !is_hidden(names[before])) && is_within;
                    is_within = is_open || reached.contains(at);
                    is_within
                };
                (0..=names.len()).filter(is_passed).collect()
            }
            component @ (Component::Name(_) | Component::Names { .. }) => {
                let is_next = |at: &usize| names.get(*at).is_some_and(|name| component.is(name));
                reached.into_iter().filter(is_next).map(|at| at + 1).collect()
            }
        };
    }
    reached.into_iter().any(|at| {
        let is_whole = at == names.len();
        !(is_whole && (directories_only || ends_in_any)) && names[at..].iter().all(|name| !is_hidden(name))
    })
}

impl Component {
    fn parse(text: &str, spelling: Spelling) -> Result<Self, String> {
        if text == "**" {
            return Ok(Self::Directories);
        }
        if !has_wildcards(text) {
            return Ok(Self::Name(decode(text, spelling, |byte| vec![byte])?));
        }
        let escaped = decode(text, spelling, |byte| NamePattern::escape(&char::from(byte).to_string()).into_bytes())?;
        // Braces that are not a choice are literal; the pattern library treats them alike.
        let pattern = NamePattern::new(&escaped).map_err(|error| error.to_string())?;
        Ok(Self::Names { pattern, hidden: is_hidden(text) })
    }

    /// Whether it matches this name.
    pub(super) fn is(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Names { pattern, hidden } => (*hidden || !is_hidden(name)) && pattern.matches(name),
            Self::Directories => false,
        }
    }
}

/// Decodes a component. `encoded` gives the text for each percent-encoded ASCII byte.
fn decode(text: &str, spelling: Spelling, encoded: impl Fn(u8) -> Vec<u8>) -> Result<String, String> {
    match spelling {
        Spelling::Plain => Ok(text.to_owned()),
        Spelling::Encoded => String::from_utf8(percent_decoded(text, encoded))
            .map_err(|_| format!("{text} does not stand for text in UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, spelling: Spelling, is_of: &[&str], is_not_of: &[&str]) {
        let parsed = PathPattern::parse(pattern, spelling).expect("a pattern");
        let fits = |path: &&&str| parsed.is_of(&path.split('/').collect::<Vec<_>>());
        assert_eq!(is_of.iter().filter(|path| !fits(path)).collect::<Vec<_>>(), Vec::<&&str>::new(), "{pattern}");
        assert_eq!(is_not_of.iter().filter(fits).collect::<Vec<_>>(), Vec::<&&str>::new(), "{pattern}");
    }

    #[test]
    fn a_wildcard_stands_for_names_that_are_not_hidden() {
        let plain = Spelling::Plain;
        check("*", plain, &["a", "a/b", "a/b/c.json"], &["_SUCCESS", ".x", "a/_tmp/b", "_tmp/a", "a/.x"]);
        check("*.json", plain, &["a.json", "a.json/b"], &["a.csv", "_a.json", "b/a.json", ".json"]);
        check("d/2024-*", plain, &["d/2024-01/x", "d/2024-02"], &["d/2023-01/x", "2024-01/x", "d/2024-01/_x"]);
        check("*/x", plain, &["a/x", "a/x/y"], &["x", "a/b/x", "_a/x"]);
        check("[ab]?.json", plain, &["a1.json", "bä.json"], &["c1.json", "a.json", "a12.json"]);
        check("[!ab].json", plain, &["c.json"], &["a.json"]);
        check("_t*", plain, &["_tmp", "_tmp/a"], &["_tmp/_a", "tmp", "x_t"]);
        check("_tmp/*", plain, &["_tmp/a"], &["_tmp/.a"]);
        check("d*/", plain, &["d1/x"], &["d1"]);
    }

    #[test]
    fn two_stars_stand_for_directories_that_are_not_hidden() {
        check("**", Spelling::Plain, &["a", "a/b/c"], &["_a", "a/_b/c", "a/.c"]);
        check("**/x.json", Spelling::Plain, &["x.json", "a/x.json", "a/b/x.json"], &["_a/x.json", "a/y.json"]);
        check("a/**/b/*.json", Spelling::Plain, &["a/b/1.json", "a/c/d/b/1.json"], &["b/1.json", "a/_c/b/1.json"]);
        let (many, deep) = ("**/a/".repeat(40) + "x", "a/".repeat(100));
        check(&many, Spelling::Plain, &[&format!("{deep}x")], &[&format!("{deep}y")]);
    }

    #[test]
    fn in_urls_names_are_encoded() {
        check("a%20b/*", Spelling::Encoded, &["a b/c"], &["a%20b/c"]);
        check("%2A*.json", Spelling::Encoded, &["*.json", "*1.json"], &["1.json"]);
        check("%5B1%5D-*", Spelling::Encoded, &["[1]-x"], &["1-x"]);
        check("100%-*", Spelling::Encoded, &["100%-a"], &[]);
        check("%C3%A4*", Spelling::Encoded, &["äx"], &["ax"]);
        check("a%20b*", Spelling::Plain, &["a%20bc"], &["a bc"]);
        assert!(PathPattern::parse("%FF*", Spelling::Encoded).is_err());
    }

    #[test]
    fn the_plain_beginning_of_a_path_is_told_from_the_rest() {
        assert_eq!(split_at_wildcard("/a/b/c*/d"), ("/a/b/", "c*/d"));
        assert_eq!(split_at_wildcard("a*"), ("", "a*"));
        assert_eq!(split_at_wildcard("s3://b/a/{x,y}"), ("s3://b/a/", "{x,y}"));
        assert_eq!(split_at_wildcard("/a"), ("/", "a"));
    }
}
