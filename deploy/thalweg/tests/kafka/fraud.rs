//! The example of fraud with cards: one command generates payments with a seed, finds the cards that look stolen, and prints them.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use super::super::{broker::installation, process::root};

/// What an alert of each rule looks like, and the cards that it is about: see generate.sql.
const RULES: [(&str, std::ops::Range<u64>); 3] =
    [("many payments", 900_000..900_060), ("tried before use", 910_000..910_040), ("two countries", 920_000..920_030)];

#[test]
fn one_command_finds_each_stolen_card_once() {
    let Some(installation) = installation() else { return };
    let mut command = Command::new(root().join("deploy/examples/fraud/run"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("THALWEG")) {
            command.env_remove(name);
        }
    }
    command.env("THALWEG", env!("CARGO_BIN_EXE_thalweg")).env("THALWEG_KAFKA", installation).stdin(Stdio::null());
    let outcome = command.output().expect("the script runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&outcome.stdout), text(&outcome.stderr));
    assert!(outcome.status.success(), "{stdout}{stderr}");
    let mut found: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for line in stdout.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [card, rule, ..] = cells[..] else { panic!("{line} is no alert: {stdout}{stderr}") };
        *found.entry((rule.to_owned(), card.parse().expect("a card"))).or_default() += 1;
    }
    let alerts = RULES.into_iter().flat_map(|(rule, cards)| cards.map(move |card| ((rule.to_owned(), card), 1)));
    assert_eq!(found, alerts.collect(), "{stderr}");
}
