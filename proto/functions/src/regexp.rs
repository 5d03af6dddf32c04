//! Pattern functions: Java's regular expressions, `LIKE` and `SIMILAR TO`.
//!
//! Planning refuses a constant pattern that cannot be parsed. One from a column fails its row: our syntax lacks parts
//! of Java's, so it is unknown whether Flink would give NULL.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, ListBuilder, MapBuilder, MapFieldNames, StringViewBuilder},
    datatypes::{DataType, Field},
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use regex::Regex;

use crate::{
    budget,
    java_regex::{Compiled, build, compile, matches},
    native::{
        Arguments, Constants, Gives,
        Kind::{Int, Text},
        Native, TEXT_BYTES_MAX, booleans, check_bytes, count, ints, texts, these, up_to,
    },
    text::characters,
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("regexp", "REGEXP(text, pattern)", these(&[Text, Text]), Gives::Boolean, regexp)
        .also(&["regexp_like"])
        .checked(check_second),
    Native::new(
        "regexp_replace",
        "REGEXP_REPLACE(text, pattern, replacement)",
        these(&[Text, Text, Text]),
        Gives::Text,
        regexp_replace,
    )
    .checked(check_second),
    Native::new(
        "regexp_extract",
        "REGEXP_EXTRACT(text, pattern [, group])",
        up_to(&[Text, Text, Int], 1),
        Gives::Text,
        regexp_extract,
    )
    .checked(check_second),
    Native::new(
        "regexp_extract_all",
        "REGEXP_EXTRACT_ALL(text, pattern [, group])",
        up_to(&[Text, Text, Int], 1),
        Gives::By(|_| text_list()),
        regexp_extract_all,
    )
    .checked(check_second),
    Native::new("regexp_count", "REGEXP_COUNT(text, pattern)", these(&[Text, Text]), Gives::Int, regexp_count)
        .checked(check_second),
    Native::new("regexp_instr", "REGEXP_INSTR(text, pattern)", these(&[Text, Text]), Gives::Int, regexp_instr)
        .checked(check_second),
    Native::new("regexp_substr", "REGEXP_SUBSTR(text, pattern)", these(&[Text, Text]), Gives::Text, regexp_substr)
        .checked(check_second),
    Native::new("like", "text LIKE pattern [ESCAPE character]", up_to(&[Text, Text, Text], 1), Gives::Boolean, like)
        .checked(check_like),
    Native::new(
        "similar_to",
        "text SIMILAR TO pattern [ESCAPE character]",
        up_to(&[Text, Text, Text], 1),
        Gives::Boolean,
        similar_to,
    )
    .checked(check_similar),
    Native::new(
        "str_to_map",
        "STR_TO_MAP(text [, separator of pairs, separator of key and value])",
        up_to(&[Text, Text, Text], 2),
        Gives::By(|_| text_map()),
        str_to_map,
    )
    .checked(check_separators),
    Native::new("split", "SPLIT(text, separator)", these(&[Text, Text]), Gives::By(|_| text_list()), split),
];

/// An expression takes as long to search a byte as to copy so many.
const SEARCH_COST: usize = 4;
/// The most parts of one text. Each takes the bytes of a view, however short it is.
const PARTS_MAX: usize = TEXT_BYTES_MAX / size_of::<u128>();

fn check_parts(parts: usize) -> Result<()> {
    budget::charge(parts * size_of::<u128>())?;
    if parts > PARTS_MAX { exec_err!("a text has more than {PARTS_MAX} parts") } else { Ok(()) }
}

pub(crate) fn text_list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
}

fn text_map() -> DataType {
    let (key, value) = (Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Utf8View, true));
    let entries = Field::new("entries", DataType::Struct(vec![key, value].into()), false);
    DataType::Map(Arc::new(entries), false)
}

fn check_second(constants: &Constants) -> std::result::Result<(), String> {
    constants.text(1).map_or(Ok(()), |pattern| compile(pattern).map(|_| ()))
}

/// Gives the text and the compiled pattern of a row; `None` if either is NULL.
struct Patterns {
    texts: crate::native::Texts,
    patterns: crate::native::Texts,
    compiled: Compiled,
}

impl Patterns {
    fn of(arguments: &Arguments) -> Result<Self> {
        Ok(Self { texts: arguments.texts(0)?, patterns: arguments.texts(1)?, compiled: Compiled::new(compile) })
    }

    fn get(&mut self, row: usize) -> Result<Option<(&str, &Regex)>> {
        match (self.texts.get(row), self.patterns.get(row)) {
            (Some(text), Some(pattern)) => {
                budget::charge(text.len().saturating_mul(SEARCH_COST))?;
                let regex = self.compiled.get(pattern).map_err(|reason| exec_datafusion_err!("{reason}"))?;
                Ok(Some((text, regex)))
            }
            _ => Ok(None),
        }
    }
}

fn regexp(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    booleans(arguments.rows, |row| Ok(patterns.get(row)?.map(|(text, regex)| regex.is_match(text))))
}

/// Replaces all matches by the replacement as it is written.
fn regexp_replace(arguments: &Arguments) -> Result<ArrayRef> {
    let (mut patterns, replacements) = (Patterns::of(arguments)?, arguments.texts(2)?);
    texts(arguments.rows, |row| {
        let (Some((text, regex)), Some(replacement)) = (patterns.get(row)?, replacements.get(row)) else {
            return Ok(None);
        };
        let (mut made, mut kept) = (String::new(), 0);
        for found in matches(regex, text) {
            let (found, _) = found?;
            made.push_str(&text[kept..found.start()]);
            made.push_str(replacement);
            check_bytes(Some(made.len()))?;
            kept = found.end();
        }
        made.push_str(&text[kept..]);
        Ok(Some(made))
    })
}

/// The group of the first match; NULL if there is no match, or no such group.
fn regexp_extract(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    let groups = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    texts(arguments.rows, |row| {
        let Some((text, regex)) = patterns.get(row)? else { return Ok(None) };
        let group = groups.as_ref().map_or(Some(0), |groups| groups.get(row));
        let group = group.and_then(|group| usize::try_from(group).ok());
        let found = group.and_then(|group| regex.captures(text)?.get(group));
        Ok(found.map(|found| found.as_str().to_owned()))
    })
}

/// The group of each match; NULL if the pattern has no such group.
fn regexp_extract_all(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    let groups = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    let mut builder = ListBuilder::new(StringViewBuilder::new());
    for row in 0..arguments.rows {
        let group = groups.as_ref().map_or(Some(1), |groups| groups.get(row));
        let group = group.and_then(|group| usize::try_from(group).ok());
        let found = patterns.get(row)?.zip(group).filter(|((_, regex), group)| *group < regex.captures_len());
        let Some(((text, regex), group)) = found else {
            builder.append_null();
            continue;
        };
        let found = matches(regex, text).take(PARTS_MAX + 1);
        let found = found.map(|found| Ok(found?.1.get(group).map(|found| found.as_str())));
        let found = found.collect::<Result<Vec<Option<&str>>>>()?;
        check_parts(found.len())?;
        found.into_iter().for_each(|found| builder.values().append_option(found));
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn regexp_count(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    ints(arguments.rows, |row| {
        let Some((text, regex)) = patterns.get(row)? else { return Ok(None) };
        let found = matches(regex, text).try_fold(0, |found, next| next.map(|_| found + 1))?;
        count(found).map(Some)
    })
}

fn regexp_instr(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    ints(arguments.rows, |row| {
        let Some((text, regex)) = patterns.get(row)? else { return Ok(None) };
        regex.find(text).map_or(Ok(0), |found| count(characters(&text[..found.start()]) + 1)).map(Some)
    })
}

fn regexp_substr(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments)?;
    texts(arguments.rows, |row| {
        Ok(patterns.get(row)?.and_then(|(text, regex)| regex.find(text)).map(|found| found.as_str().to_owned()))
    })
}

/// Translates a pattern of SQL, with its escape character, to one of ours.
type Translation = fn(&str, Option<char>) -> std::result::Result<String, String>;

fn escape_character(text: &str) -> std::result::Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(format!("ESCAPE '{text}': expected one character")),
    }
}

fn check_sql(constants: &Constants, translation: Translation) -> std::result::Result<(), String> {
    let escape = constants.text(2).map(escape_character).transpose()?;
    let known = constants.len() < 3 || escape.is_some();
    match constants.text(1).filter(|_| known) {
        Some(pattern) => translation(pattern, escape).and_then(|translated| build(&translated)).map(|_| ()),
        None => Ok(()),
    }
}

/// Checks what planning knows of the pattern of `like` or `similar_to`.
///
/// # Errors
/// Why it cannot be parsed.
pub fn check_pattern(name: &str, pattern: Option<&str>, escape: Option<&str>) -> std::result::Result<(), String> {
    let escape = escape.map(escape_character).transpose()?;
    let translation: Translation = if name == "like" { of_like } else { of_similar };
    pattern.map_or(Ok(()), |pattern| translation(pattern, escape).and_then(|made| build(&made)).map(|_| ()))
}

fn match_sql(arguments: &Arguments, translation: Translation) -> Result<ArrayRef> {
    let (wholes, patterns) = (arguments.texts(0)?, arguments.texts(1)?);
    let escapes = (arguments.len() > 2).then(|| arguments.texts(2)).transpose()?;
    let mut last: Option<(String, Option<char>, Regex)> = None;
    booleans(arguments.rows, |row| {
        let (Some(whole), Some(pattern)) = (wholes.get(row), patterns.get(row)) else { return Ok(None) };
        budget::charge(whole.len().saturating_mul(SEARCH_COST))?;
        let escape = match &escapes {
            None => None,
            Some(escapes) => match escapes.get(row) {
                Some(text) => Some(escape_character(text).map_err(|reason| exec_datafusion_err!("{reason}"))?),
                None => return Ok(None),
            },
        };
        let kept = last.take().filter(|(text, character, _)| text == pattern && *character == escape);
        let (_, _, regex) = match kept {
            Some(kept) => last.insert(kept),
            None => {
                let compiled = translation(pattern, escape).and_then(|translated| build(&translated));
                let regex = compiled.map_err(|reason| exec_datafusion_err!("{reason}"))?;
                last.insert((pattern.to_owned(), escape, regex))
            }
        };
        Ok(Some(regex.is_match(whole)))
    })
}

fn check_like(constants: &Constants) -> std::result::Result<(), String> {
    check_sql(constants, of_like)
}

fn like(arguments: &Arguments) -> Result<ArrayRef> {
    match_sql(arguments, of_like)
}

fn check_similar(constants: &Constants) -> std::result::Result<(), String> {
    check_sql(constants, of_similar)
}

fn similar_to(arguments: &Arguments) -> Result<ArrayRef> {
    match_sql(arguments, of_similar)
}

/// `%` is any text, `_` any character. The escape character stands before either of them or before itself.
fn of_like(pattern: &str, escape: Option<char>) -> std::result::Result<String, String> {
    let mut made = String::from(r"\A(?s:");
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            match rest.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => push_literal(&mut made, next),
                _ => return Err(format!("LIKE '{pattern}': {character} escapes only %, _ and itself")),
            }
            continue;
        }
        match character {
            '%' => made.push_str(".*"),
            '_' => made.push('.'),
            other => push_literal(&mut made, other),
        }
    }
    made.push_str(r")\z");
    Ok(made)
}

fn push_literal(made: &mut String, character: char) {
    match character.is_alphanumeric() {
        true => made.push(character),
        false => made.push_str(&format!(r"\x{{{:x}}}", u32::from(character))),
    }
}

/// SQL's regular expressions: `%`, `_`, `|`, `*`, `+`, `?`, `{m,n}`, groups and classes. All else stands for itself.
fn of_similar(pattern: &str, escape: Option<char>) -> std::result::Result<String, String> {
    let mut made = String::from(r"\A(?s:");
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            match rest.next() {
                Some(next) => push_literal(&mut made, next),
                None => return Err(format!("SIMILAR TO '{pattern}': nothing follows {character}")),
            }
            continue;
        }
        match character {
            '%' => made.push_str(".*"),
            '_' => made.push('.'),
            '(' => made.push_str("(?:"),
            '|' | '*' | '+' | '?' | ')' => made.push(character),
            '{' => repetition(&mut made, &mut rest)
                .ok_or(format!("SIMILAR TO '{pattern}': {{ needs {{m}}, {{m,}} or {{m,n}}"))?,
            '[' => class(&mut made, &mut rest, escape).map_err(|reason| format!("SIMILAR TO '{pattern}': {reason}"))?,
            other => push_literal(&mut made, other),
        }
        if matches!(character, '*' | '+' | '?' | '{') {
            // `a+?` is a reluctant quantifier in our syntax, and an error in SQL.
            if matches!(rest.clone().next(), Some('*' | '+' | '?' | '{')) {
                return Err(format!("SIMILAR TO '{pattern}': a quantifier follows another"));
            }
        }
    }
    made.push_str(r")\z");
    Ok(made)
}

fn repetition(made: &mut String, rest: &mut std::str::Chars) -> Option<()> {
    let (counts, following) = rest.as_str().split_once('}')?;
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = match counts.split_once(',') {
        Some((least, most)) => is_count(least) && (most.is_empty() || is_count(most)),
        None => is_count(counts),
    };
    *rest = following.chars();
    fits.then(|| made.push_str(&format!("{{{counts}}}")))
}

/// A class behind its `[`: characters, ranges and `[:DIGIT:]`, negated by a leading `^`.
fn class(made: &mut String, rest: &mut std::str::Chars, escape: Option<char>) -> std::result::Result<(), String> {
    made.push('[');
    if let Some(following) = rest.as_str().strip_prefix('^') {
        made.push('^');
        *rest = following.chars();
    }
    let mut empty = true;
    loop {
        let named = CLASSES.iter().find_map(|(name, class)| Some((rest.as_str().strip_prefix(name)?, class)));
        if let Some((following, class)) = named {
            made.push_str(class);
            *rest = following.chars();
            empty = false;
            continue;
        }
        let Some(character) = rest.next() else { return Err("a class is not closed by ]".to_owned()) };
        match character {
            ']' if empty => return Err("a class is empty".to_owned()),
            ']' => break,
            '[' => return Err("[ in a class begins [:ALPHA:] and the like".to_owned()),
            '-' if !empty && !rest.as_str().starts_with(']') => made.push('-'),
            escaped if Some(escaped) == escape => match rest.next() {
                Some(next) => push_literal(made, next),
                None => return Err("a class is not closed by ]".to_owned()),
            },
            other => push_literal(made, other),
        }
        empty = false;
    }
    made.push(']');
    Ok(())
}

const CLASSES: &[(&str, &str)] = &[
    ("[:ALPHA:]", "a-zA-Z"),
    ("[:alpha:]", "a-zA-Z"),
    ("[:UPPER:]", "A-Z"),
    ("[:upper:]", "A-Z"),
    ("[:LOWER:]", "a-z"),
    ("[:lower:]", "a-z"),
    ("[:DIGIT:]", "0-9"),
    ("[:digit:]", "0-9"),
    ("[:SPACE:]", " "),
    ("[:space:]", " "),
    ("[:WHITESPACE:]", r" \t\n\x0B\f\r"),
    ("[:whitespace:]", r" \t\n\x0B\f\r"),
    ("[:ALNUM:]", "a-zA-Z0-9"),
    ("[:alnum:]", "a-zA-Z0-9"),
];

fn check_separators(constants: &Constants) -> std::result::Result<(), String> {
    check_second(constants)?;
    constants.text(2).map_or(Ok(()), |pattern| compile(pattern).map(|_| ()))
}

/// The parts between matches, less the empty ones at the end, as Java splits; `limit` is 0 for all.
fn split_by<'a>(regex: &Regex, text: &'a str, limit: usize) -> Result<Vec<&'a str>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for found in matches(regex, text) {
        let (found, _) = found?;
        if limit > 0 && parts.len() + 1 == limit {
            break;
        }
        // An empty match at the beginning or at the end splits off nothing.
        if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
            continue;
        }
        parts.push(&text[from..found.start()]);
        from = found.end();
        if parts.len() > PARTS_MAX {
            break;
        }
    }
    parts.push(&text[from..]);
    check_parts(parts.len())?;
    if limit == 0 {
        while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    Ok(parts)
}

/// Both separators are regular expressions. Of equal keys, the last one counts.
fn str_to_map(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let (outer, inner) = match arguments.len() {
        1 => (None, None),
        2 => (Some(arguments.texts(1)?), None),
        _ => (Some(arguments.texts(1)?), Some(arguments.texts(2)?)),
    };
    let mut compiled = Compiled::new(compile);
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringViewBuilder::new(), StringViewBuilder::new());
    for row in 0..arguments.rows {
        let outer = outer.as_ref().map_or(Some(","), |outer| outer.get(row));
        let inner = inner.as_ref().map_or(Some("="), |inner| inner.get(row));
        let (Some(whole), Some(outer), Some(inner)) = (wholes.get(row), outer, inner) else {
            builder.append(false)?;
            continue;
        };
        let mut compile = |pattern| compiled.get(pattern).cloned().map_err(|reason| exec_datafusion_err!("{reason}"));
        let (outer, inner) = (compile(outer)?, compile(inner)?);
        let (mut pairs, mut places) = (Vec::<(&str, Option<&str>)>::new(), HashMap::new());
        budget::charge(whole.len().saturating_mul(2 * SEARCH_COST))?;
        let parts = if whole.is_empty() { Vec::new() } else { split_by(&outer, whole, 0)? };
        for pair in parts {
            let (key, value) = match split_by(&inner, pair, 2)?.as_slice() {
                [key, value] => (*key, Some(*value)),
                _ => (pair, None),
            };
            let place = *places.entry(key).or_insert(pairs.len());
            match pairs.get_mut(place) {
                Some(earlier) => earlier.1 = value,
                None => pairs.push((key, value)),
            }
        }
        for (key, value) in pairs {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// Splits by the separator as it is written. An empty one splits off every character.
fn split(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, separators) = (arguments.texts(0)?, arguments.texts(1)?);
    let mut builder = ListBuilder::new(StringViewBuilder::new());
    for row in 0..arguments.rows {
        let Some((whole, separator)) = wholes.get(row).zip(separators.get(row)) else {
            builder.append_null();
            continue;
        };
        let parts = if separator.is_empty() { characters(whole) } else { whole.matches(separator).count() + 1 };
        budget::charge(whole.len())?;
        check_parts(parts)?;
        match separator {
            "" => whole.char_indices().for_each(|(at, c)| builder.values().append_value(&whole[at..at + c.len_utf8()])),
            separator => whole.split(separator).for_each(|part| builder.values().append_value(part)),
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
