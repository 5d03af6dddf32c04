//! What is wrong with the topics of a table, as far as it can be told without asking anybody.

use std::time::Duration;

use crate::{connector::TableConnector, settings::parse_duration};

/// Brokers that abort a transaction sooner would abort most of them.
pub const SINK_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Transactional ids are longer by the ids of cluster, job and sink.
pub const TRANSACTIONAL_PREFIX_BYTES_MAX: usize = 1024;

const NAMES: &str = "names have letters, digits, '.', '_' and '-', 249 at most";

/// Whether a topic can have this name.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.chars().all(is_legal)
}

/// What keeps a table from being read.
pub(super) fn to_read(table: &TableConnector) -> Option<String> {
    topics(table).or_else(|| offsets(table)).or_else(|| avro(table))
}

/// What keeps a table from being written.
pub(super) fn to_write(table: &TableConnector) -> Option<String> {
    for key in ["topic", "sink.progress-topic"] {
        let name = table.option(key).unwrap_or_default();
        if !is_topic_name(name) {
            return Some(format!("option '{key}': '{name}' cannot be a topic: {NAMES}; a sink writes one"));
        }
    }
    if table.option("topic") == table.option("sink.progress-topic") {
        return Some("option 'sink.progress-topic' must be another topic than 'topic'".to_owned());
    }
    let timeout = table.option("sink.transaction-timeout").and_then(parse_duration);
    if timeout.is_some_and(|timeout| timeout < SINK_TIMEOUT_MIN) {
        return Some(format!("option 'sink.transaction-timeout' must be at least {} s", SINK_TIMEOUT_MIN.as_secs()));
    }
    let prefix = table.option("sink.transactional-id-prefix").unwrap_or_default();
    (prefix.len() > TRANSACTIONAL_PREFIX_BYTES_MAX).then(|| {
        format!("option 'sink.transactional-id-prefix' must have at most {TRANSACTIONAL_PREFIX_BYTES_MAX} bytes")
    })
}

/// The names of the topics that are read.
fn names(table: &TableConnector) -> impl Iterator<Item = &str> {
    let topic = table.option("topic").unwrap_or_default();
    topic.split(';').map(str::trim).filter(|name| !name.is_empty())
}

fn topics(table: &TableConnector) -> Option<String> {
    if !table.is_set("topic") {
        return None;
    }
    if names(table).next().is_none() {
        return Some("option 'topic' names none".to_owned());
    }
    let wrong = names(table).find(|name| !is_topic_name(name))?;
    let several = if wrong.contains(',') { "; several have ; between them" } else { "" };
    Some(format!("option 'topic': '{wrong}' cannot be a topic: {NAMES}{several}"))
}

/// Offsets are those of one topic's partitions.
fn offsets(table: &TableConnector) -> Option<String> {
    let key =
        ["scan.startup.specific-offsets", "scan.bounded.specific-offsets"].into_iter().find(|key| table.is_set(key))?;
    let mut others = names(table).skip_while(|name| names(table).next() == Some(*name));
    let is_one = table.is_set("topic") && others.next().is_none();
    (!is_one).then(|| format!("option '{key}' needs one 'topic', whose partitions it names"))
}

/// A datum does not tell its schema.
fn avro(table: &TableConnector) -> Option<String> {
    let lacks = |schema: Option<&str>| schema.is_none_or(str::is_empty);
    let needs = |prefix: &str| {
        let reason = "messages of format 'avro' are read with the schema that they were written with";
        Some(format!("{reason}: set '{prefix}avro.schema'"))
    };
    if table.value_format().is_some_and(|format| format.name == "avro") && lacks(table.value_option("avro.schema")) {
        return needs("");
    }
    if table.key_format().is_some_and(|format| format.name == "avro") && lacks(table.key_option("avro.schema")) {
        return needs("key.");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn table(options: &[(&str, &str)]) -> TableConnector {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TableConnector { name: "kafka".to_owned(), options, secrets: BTreeMap::new() }
    }

    #[test]
    fn topics_are_named_as_topics_can_be() {
        let told = |options: &[(&str, &str)]| to_read(&table(options));
        for fit in ["t", "a;b", " a ; b ;", "a.b_c-D", &"x".repeat(249)] {
            assert_eq!(told(&[("topic", fit)]), None, "{fit}");
        }
        assert_eq!(told(&[("topic-pattern", "x")]), None);
        for (wrong, why) in [
            ("", "names none"),
            ("; ;", "names none"),
            ("a,b", "several have ; between them"),
            ("a b", "'a b' cannot be a topic"),
            ("..", "cannot be a topic"),
            (&"x".repeat(250), "249 at most"),
        ] {
            assert!(told(&[("topic", wrong)]).is_some_and(|told| told.contains(why)), "{wrong}");
        }
    }

    #[test]
    fn offsets_are_of_one_topic() {
        let key = "scan.startup.specific-offsets";
        let told = |name, topic| to_read(&table(&[(name, topic), (key, "partition:0,offset:1")]));
        assert_eq!([told("topic", "a"), told("topic", "a;a")], [None, None]);
        for (name, topic) in [("topic", "a;b"), ("topic-pattern", "a")] {
            assert!(told(name, topic).is_some_and(|told| told.contains("needs one 'topic'")), "{topic}");
        }
    }

    #[test]
    fn a_sink_has_one_topic_and_time_for_its_transactions() {
        let long = "x".repeat(TRANSACTIONAL_PREFIX_BYTES_MAX + 1);
        assert_eq!(to_write(&table(&[("topic", "t"), ("sink.transaction-timeout", "1 s")])), None);
        for (key, value, why) in [
            ("topic", "a,b", "a sink writes one"),
            ("topic", "", "'' cannot be a topic"),
            ("topic", "thalweg-sink-progress", "another topic"),
            ("sink.transaction-timeout", "10 ms", "at least 1 s"),
            ("sink.transactional-id-prefix", &long, "at most 1024 bytes"),
        ] {
            let told = to_write(&table(&[("topic", "t"), (key, value)]));
            assert!(told.as_ref().is_some_and(|told| told.contains(why)), "{key}: {told:?}");
        }
    }

    #[test]
    fn data_of_avro_are_read_with_a_schema() {
        let told = |options: &[(&str, &str)]| to_read(&table(&[&[("topic", "t")], options].concat()));
        assert!(told(&[("format", "avro")]).is_some_and(|told| told.ends_with("set 'avro.schema'")));
        assert_eq!(told(&[("format", "avro"), ("avro.schema", "\"long\"")]), None);
        assert_eq!(told(&[("format", "avro"), ("value.avro.schema", "\"long\"")]), None);
        let key = [("format", "json"), ("key.format", "avro")];
        assert!(told(&key).is_some_and(|told| told.ends_with("set 'key.avro.schema'")));
        assert_eq!(told(&[&key[..], &[("key.avro.schema", "\"long\"")]].concat()), None);
    }
}
