//! Java's regular expressions, as far as ours can express them.
//!
//! Syntax that means the same in both is passed on, other syntax is translated, and what only Java has (lookahead and
//! lookbehind, back references, possessive quantifiers) is refused. `$` is the end of the text only, not the place
//! before a last line feed.

use std::collections::HashMap;

use datafusion_common::DataFusionError;
use regex::{Captures, Match, Regex, RegexBuilder};
use thiserror::Error;

use crate::budget;

/// The most bytes that a compiled expression may take.
const SIZE_MAX: usize = 8 << 20;
/// The most compiled expressions that one call keeps, if they come from a column.
const KEPT_MAX: usize = 64;
/// When so many bytes may have been searched, it is asked whether anybody still waits.
const SEARCHED_BYTES: usize = 1 << 20;

/// Compiles a regular expression of Java.
///
/// # Errors
/// Why it has no counterpart, after the expression itself.
pub(crate) fn compile(java: &str) -> Result<Regex, String> {
    let translated = translate(java).map_err(|reason| format!("regular expression '{java}': {reason}"))?;
    build(&translated).map_err(|reason| format!("regular expression '{java}': {reason}"))
}

/// A regular expression of Java against which whole texts are held.
#[derive(Debug, Clone)]
pub struct WholePattern(Regex);

/// A regular expression of Java that cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("regular expression '{java}': {reason}")]
pub struct PatternError {
    java: String,
    reason: String,
}

impl WholePattern {
    /// Compiles a regular expression of Java.
    ///
    /// # Errors
    /// Why it has no counterpart, after the expression itself.
    pub fn new(java: &str) -> Result<Self, PatternError> {
        let failed = |reason| PatternError { java: java.to_owned(), reason };
        let translated = translate(java).map_err(failed)?;
        build(&format!(r"\A(?:{translated})\z")).map(Self).map_err(failed)
    }

    /// Whether the whole of a text is matched.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// Compiles an expression in our own notation.
pub(crate) fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(SIZE_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        // The last line gives the reason. Those before it draw the place.
        other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// Compiled expressions by their text. Nearly always one expression serves all rows.
pub(crate) struct Compiled {
    compile: fn(&str) -> Result<Regex, String>,
    kept: HashMap<String, Regex>,
}

impl Compiled {
    pub(crate) fn new(compile: fn(&str) -> Result<Regex, String>) -> Self {
        Self { compile, kept: HashMap::new() }
    }

    pub(crate) fn get(&mut self, pattern: &str) -> Result<&Regex, String> {
        if !self.kept.contains_key(pattern) {
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
            }
            self.kept.insert(pattern.to_owned(), (self.compile)(pattern)?);
        }
        self.kept.get(pattern).ok_or_else(|| "it was not kept".to_owned())
    }
}

/// The matches in a text as Java finds them, each with its groups: an empty one may follow at once on another. An error where nobody
/// waits for them any more: each may look at all that is left of the text.
pub(crate) fn matches<'a>(
    regex: &'a Regex,
    text: &'a str,
) -> impl Iterator<Item = Result<(Match<'a>, Captures<'a>), DataFusionError>> {
    let (mut from, mut searched) = (Some(0), 0usize);
    std::iter::from_fn(move || {
        let at = from?;
        searched = searched.saturating_add(text.len() - at);
        if searched >= SEARCHED_BYTES {
            searched = 0;
            if let Err(over) = budget::charge(0) {
                from = None;
                return Some(Err(over));
            }
        }
        let captures = regex.captures_at(text, at)?;
        let found = captures.get(0)?;
        from = match found.is_empty() {
            false => Some(found.end()),
            true => text[found.end()..].chars().next().map(|passed| found.end() + passed.len_utf8()),
        };
        Some(Ok((found, captures)))
    })
}

fn translate(java: &str) -> Result<String, String> {
    let mut reader = Reader { rest: java, made: String::new(), class_depth: 0, dot_matches_all: false };
    if let Some(flags) = leading_flags(java) {
        reader.dot_matches_all = flags.contains('s');
        reader.made.push_str(&format!("(?{flags})"));
        reader.rest = &java[flags.len() + 3..];
    }
    while let Some(character) = reader.next() {
        reader.character(character)?;
    }
    match reader.class_depth {
        0 => Ok(reader.made),
        _ => Err("a class is not closed by ]".to_owned()),
    }
}

/// The flags of `(?ims)` at the beginning.
fn leading_flags(java: &str) -> Option<&str> {
    let (flags, _) = java.strip_prefix("(?")?.split_once(')')?;
    (!flags.is_empty() && flags.chars().all(|flag| "ims".contains(flag))).then_some(flags)
}

struct Reader<'a> {
    rest: &'a str,
    made: String,
    /// How many classes, `[…]`, are open.
    class_depth: usize,
    dot_matches_all: bool,
}

const POSSESSIVE: &str = "possessive quantifiers are not supported";

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn takes(&mut self, expected: &str) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn character(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => self.escape(),
            '[' => self.open_class(),
            ']' if self.class_depth > 0 => {
                self.class_depth -= 1;
                self.made.push(']');
                Ok(())
            }
            _ if self.class_depth > 0 => self.in_class(character),
            '(' => self.open_group(),
            '.' if self.dot_matches_all => self.push("."),
            '.' => self.push(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            '*' | '+' | '?' => {
                self.made.push(character);
                self.end_quantifier()
            }
            '{' => self.repetition(),
            ']' => self.push(r"\]"),
            '}' => self.push(r"\}"),
            other => {
                self.made.push(other);
                Ok(())
            }
        }
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        self.made.push_str(text);
        Ok(())
    }

    /// A quantifier may be reluctant. Any other sign after it would be taken for a quantifier of the quantifier.
    fn end_quantifier(&mut self) -> Result<(), String> {
        if self.takes("?") {
            self.made.push('?');
        }
        match self.rest.chars().next() {
            Some('+') => Err(POSSESSIVE.to_owned()),
            Some('*' | '?') => Err("a quantifier follows another".to_owned()),
            _ => Ok(()),
        }
    }

    fn repetition(&mut self) -> Result<(), String> {
        let Some((counts, rest)) = self.rest.split_once('}') else {
            return Err("{ is not closed".to_owned());
        };
        let is_count = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = match counts.split_once(',') {
            Some((least, most)) => is_count(least) && (most.is_empty() || is_count(most)),
            None => is_count(counts),
        };
        if !fits {
            return Err(format!("{{{counts}}} is no number of times"));
        }
        self.made.push_str(&format!("{{{counts}}}"));
        self.rest = rest;
        self.end_quantifier()
    }

    fn open_group(&mut self) -> Result<(), String> {
        self.made.push('(');
        if !self.takes("?") {
            return Ok(());
        }
        for (start, what) in [("=", "ahead"), ("!", "ahead"), ("<=", "behind"), ("<!", "behind")] {
            if self.rest.starts_with(start) {
                return Err(format!("looking {what}, (?{start}…), is not supported"));
            }
        }
        if self.rest.starts_with('>') {
            return Err("atomic groups, (?>…), are not supported".to_owned());
        }
        let plain = ["<", ":", "i:", "i)", "-i:", "-i)"];
        match plain.iter().any(|start| self.rest.starts_with(start)) {
            true => self.push("?"),
            false => Err("of flags, (?i) is supported, and (?s) and (?m) at the beginning".to_owned()),
        }
    }

    fn open_class(&mut self) -> Result<(), String> {
        self.class_depth += 1;
        self.made.push('[');
        if self.class_depth > 64 {
            return Err("classes are nested too deeply".to_owned());
        }
        if self.takes("^") {
            self.made.push('^');
        }
        match self.rest.chars().next() {
            Some(']') => Err("a class is empty; a ] in it is written \\]".to_owned()),
            Some(':') if self.rest[1..].contains(":]") => {
                Err("[:…:] is not known to Java; \\p{Alpha} and the like are".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn in_class(&mut self, character: char) -> Result<(), String> {
        if character == '-' && self.rest.starts_with('-') || character == '~' && self.rest.starts_with('~') {
            return Err(format!("{character}{character} in a class is not supported; escape it"));
        }
        self.made.push(character);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(escaped) = self.next() else { return Err("it ends with a \\".to_owned()) };
        let inside = self.class_depth > 0;
        let text = match escaped {
            'd' if inside => "0-9",
            'w' if inside => "a-zA-Z_0-9",
            's' if inside => r" \t\n\x0B\f\r",
            'd' => "[0-9]",
            'w' => "[a-zA-Z_0-9]",
            's' => r"[ \t\n\x0B\f\r]",
            'D' => "[^0-9]",
            'W' => "[^a-zA-Z_0-9]",
            'S' => r"[^ \t\n\x0B\f\r]",
            'b' if !inside && !self.rest.starts_with('{') => r"(?-u:\b)",
            'A' if !inside => r"\A",
            'z' if !inside => r"\z",
            't' => r"\t",
            'n' => r"\n",
            'r' => r"\r",
            'f' => r"\f",
            'a' => r"\x07",
            'e' => r"\x1B",
            'x' => return self.hexadecimal(2),
            'u' => return self.hexadecimal(4),
            'p' | 'P' => return self.property(escaped == 'P'),
            'Q' => return self.quoted(),
            '1'..='9' | 'k' => return Err(format!("back references, \\{escaped}, are not supported")),
            other if other.is_ascii_alphanumeric() => return Err(format!("\\{other} is not supported")),
            other => return self.literal(other),
        };
        self.push(text)
    }

    /// Adds a character that stands for itself.
    fn literal(&mut self, character: char) -> Result<(), String> {
        match character.is_alphanumeric() {
            true => self.made.push(character),
            false => self.made.push_str(&format!(r"\x{{{:x}}}", u32::from(character))),
        }
        Ok(())
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<(), String> {
        let braced = digits == 2 && self.takes("{");
        let end = if braced { self.rest.find('}') } else { Some(digits) };
        let code = end.and_then(|end| Some((self.rest.get(..end)?, end)));
        let character =
            code.filter(|(text, _)| text.bytes().all(|byte| byte.is_ascii_hexdigit())).and_then(|(text, end)| {
                Some((u32::from_str_radix(text, 16).ok().and_then(char::from_u32)?, end + usize::from(braced)))
            });
        let Some((character, end)) = character else { return Err("a code of a character is wrong".to_owned()) };
        self.rest = &self.rest[end..];
        self.literal(character)
    }

    fn quoted(&mut self) -> Result<(), String> {
        let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
        self.rest = rest;
        text.chars().try_for_each(|character| self.literal(character))
    }

    fn property(&mut self, negated: bool) -> Result<(), String> {
        let name = match self.takes("{") {
            true => {
                let (name, rest) = self.rest.split_once('}').ok_or("\\p{ is not closed")?;
                self.rest = rest;
                name
            }
            false => {
                let end = self.rest.chars().next().map_or(0, char::len_utf8);
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                name
            }
        };
        let category = name.len() <= 2 && name.chars().all(|letter| letter.is_ascii_alphabetic());
        let class = match name {
            "Lower" => "a-z",
            "Upper" => "A-Z",
            "ASCII" => r"\x00-\x7F",
            "Alpha" => "a-zA-Z",
            "Digit" => "0-9",
            "Alnum" => "a-zA-Z0-9",
            "Punct" => r"!-/:-@\[-`{-\x7E",
            "Graph" => "!-\\x7E",
            "Print" => r" -\x7E",
            "Blank" => r" \t",
            "Cntrl" => r"\x00-\x1F\x7F",
            "XDigit" => "0-9a-fA-F",
            "Space" => r" \t\n\x0B\f\r",
            "IsAlphabetic" => r"\p{Alphabetic}",
            name if category && !name.is_empty() => {
                self.made.push_str(&format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' }));
                return Ok(());
            }
            other => return Err(format!("\\p{{{other}}} is not supported")),
        };
        self.made.push_str(&format!("[{}{class}]", if negated { "^" } else { "" }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_text_is_matched_or_not() {
        let matches = |pattern: &str, text: &str| WholePattern::new(pattern).expect("it compiles").matches(text);
        assert!(matches("orders-.*", "orders-eu") && !matches("orders-.*", "my-orders-eu"));
        assert!(matches("a|ab", "ab"), "whichever alternative fits the whole");
        assert!(!matches("orders", "orders\n"));
        assert!(matches("(?i)ORDERS", "orders"));
        assert!(WholePattern::new("(?=x)").is_err() && WholePattern::new("(").is_err());
    }

    #[test]
    fn what_both_know_is_matched_as_java_does() {
        for (pattern, text, expected) in [
            (r"\d+", "a12b", Some("12")),
            (r"\d", "٣", None),
            (r"\w+", "é_a1", Some("_a1")),
            (r"[\w.]+@", "x a.b@c", Some("a.b@")),
            (r"[^\s]+", "  ab c", Some("ab")),
            (r"[\D]+", "12ab", Some("ab")),
            (r"a.c", "a\nc", None),
            (r"(?s)a.c", "a\nc", Some("a\nc")),
            (r"(?i)ABC", "xabc", Some("abc")),
            (r"\Qa.b\E+", "a.bb", Some("a.bb")),
            (r"\<b\>", "<b>", Some("<b>")),
            (r"\u0041", "A", Some("A")),
            (r"\p{Upper}\p{Lower}", "aBc", Some("Bc")),
            (r"[a-z&&[^b]]+", "bca", Some("ca")),
            (r"\bHello\b", "Helloworld Hello!", Some("Hello")),
            (r"a{2,3}?", "aaa", Some("aa")),
            (r"x|xy", "xy", Some("x")),
        ] {
            let found = compile(pattern)
                .unwrap_or_else(|reason| panic!("{reason}"))
                .find(text)
                .map(|found| found.as_str().to_owned());
            assert_eq!(found.as_deref(), expected, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn what_java_alone_knows_is_refused() {
        for (pattern, reason) in [
            (r"a(?=b)", "looking ahead"),
            (r"(?<!a)b", "looking behind"),
            (r"(a)\1", "back references"),
            (r"a++", "possessive"),
            (r"a*+", "possessive"),
            (r"a{2}+", "possessive"),
            (r"(?>a)", "atomic"),
            (r"(?x)a", "flags"),
            (r"(?U)a", "flags"),
            (r"(?P<n>a)", "flags"),
            (r"\h", r"\h"),
            (r"[[:alpha:]]", "[:"),
            (r"[a--b]", "--"),
            (r"(", "unclosed"),
            (r"[a", "not closed"),
            (r"\p{javaLowerCase}", "javaLowerCase"),
        ] {
            let refused = compile(pattern).expect_err(pattern);
            assert!(refused.contains(reason), "{pattern}: {refused}");
        }
    }

    #[test]
    fn empty_matches_follow_others_at_once() {
        let regex = compile("x*").unwrap();
        let found: Vec<usize> = matches(&regex, "axb").map(|found| found.expect("one waits").0.start()).collect();
        assert_eq!(found, [0, 1, 2, 3]);
    }
}
