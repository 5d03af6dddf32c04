//! The pages at the top of the repository and below `docs`: what they tell people to type, and what they name.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;

use crate::process::root;

/// Where the reader's broker of Kafka is, in commands. Blocks that name it are run by `kafka.rs`.
pub(crate) const KAFKA: &str = "127.0.0.1:9092";
/// Where the emulator of Kinesis is that a page starts. Blocks that name it are run by `kinesis.rs`.
pub(crate) const KINESIS: &str = "127.0.0.1:4567";

/// The pages: README.md first, then the others by name.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = ["", "docs", "docs/design"].into_iter().flat_map(pages_in).collect();
    names.sort_by_key(|name| (name != "README.md", name.clone()));
    names
}

fn pages_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name of text"));
    let pages = names.filter(|name| name.ends_with(".md"));
    pages.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect()
}

/// The text of a page.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced blocks of a page with their languages, and what lies outside of them.
pub(crate) fn parts(name: &str) -> (Vec<(String, String)>, String) {
    let (mut blocks, mut outside, mut open) = (Vec::new(), String::new(), None::<(String, String)>);
    for line in text(name).lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((language, block))) => open = Some((language, block + line + "\n")),
            (None, None) => outside = outside + line + "\n",
        }
    }
    assert!(open.is_none(), "a block of {name} does not end");
    (blocks, outside)
}

/// The fenced blocks of a language (`sh` for commands) of all pages, in their order.
pub(crate) fn blocks(language: &str) -> Vec<String> {
    let all = names().into_iter().flat_map(|name| parts(&name).0);
    all.filter(|(of, _)| of == language).map(|(_, block)| block).collect()
}

/// The fenced blocks of a language of one page.
pub(crate) fn blocks_of(name: &str, language: &str) -> Vec<String> {
    parts(name).0.into_iter().filter(|(of, _)| of == language).map(|(_, block)| block).collect()
}

/// What stands between single backquotes on a page.
pub(crate) fn code(name: &str) -> Vec<String> {
    let (_, outside) = parts(name);
    outside.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")).collect()
}

/// The commands of a block, each as its words. Quotes may span lines.
pub(crate) fn commands(block: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
    for character in block.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => {
                words.extend(word.take());
                if character == '\n' && !words.is_empty() {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    assert!(quote.is_none() && words.is_empty() && word.is_none(), "a block ends with a whole line: {block}");
    commands
}

/// What the binary is told by a command that runs it, installed or not.
pub(crate) fn arguments(command: &[String]) -> Option<&[String]> {
    match command {
        [binary, rest @ ..] if binary == "thalweg" => Some(rest),
        [cargo, run, release, dashes, rest @ ..]
            if [cargo, run, release, dashes] == ["cargo", "run", "--release", "--"] =>
        {
            Some(rest)
        }
        _ => None,
    }
}
