//! The commands in README.md.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;

use crate::process::root;

/// The fenced blocks of a language (`sh` for commands), in order.
pub(crate) fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().expect("a split has a first part").to_owned()).collect()
}

/// The commands of a block, each as a list of words. Quotes may span lines.
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

/// The binary's arguments in a command, whether it runs the installed binary or cargo.
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
