//! The options of a table of topics, for reading and for the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thalweg_functions::WholePattern;
use thalweg_kafka::{Isolation, OffsetAt, Wanted};
use thalweg_types::connector::{is_topic_name, parse_partition_offsets};

use crate::{ConnectorError, options::Options};

/// Options that are ours, though they look like the client's: it is told of them by other ways.
const NOT_THE_CLIENTS: &[&str] = &["group.id", "auto.offset.reset", "isolation.level"];

/// The property that has a token, and the one that names the secret that it is. Both are taken away before clients see them.
pub(super) const TOKEN: &str = "sasl.oauthbearer.token";
pub(super) const TOKEN_SECRET: &str = "sasl.oauthbearer.token.secret";

/// What of a table's options says which records are read.
#[derive(Debug)]
pub(super) struct ReadOptions {
    pub(super) topics: Topics,
    pub(super) startup: Place,
    /// `None`: the table has no end.
    pub(super) bounded: Option<Place>,
    /// How long after one look for topics the next one follows; `None`: there is one only.
    pub(super) discovery: Option<Duration>,
    pub(super) group: Option<String>,
    /// Where `Place::Group` begins without an offset of the group.
    pub(super) reset: Option<OffsetAt>,
    pub(super) isolation: Isolation,
    pub(super) on_loss: OnLoss,
}

/// The topics that a table names.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    Named(BTreeSet<String>),
    Pattern(WholePattern),
}

/// A place in each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    At(OffsetAt),
    /// What a group has committed.
    Group,
    /// An offset for each partition of the topic.
    Offsets(BTreeMap<i32, i64>),
}

/// What follows when records are gone before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLoss {
    Fail,
    Skip,
}

impl ReadOptions {
    pub(super) fn of(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let topics = topics(options)?;
        let startup = place(options, "scan.startup", &topics)?;
        let startup = startup.ok_or_else(|| options.error("option 'scan.startup.mode' is missing"))?;
        let bounded = place(options, "scan.bounded", &topics)?;
        let group = options.text("properties.group.id").map(str::to_owned);
        if group.is_none() && (startup == Place::Group || bounded == Some(Place::Group)) {
            return Err(options.error("offsets of a group need 'properties.group.id'"));
        }
        let reset = match options.text("properties.auto.offset.reset") {
            Some("earliest") => Some(OffsetAt::Earliest),
            Some("latest") => Some(OffsetAt::Latest),
            _ => None,
        };
        let isolation = match options.text("properties.isolation.level") {
            Some("read_uncommitted") => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        };
        let on_loss = if options.text("scan.on-data-loss") == Some("skip") { OnLoss::Skip } else { OnLoss::Fail };
        let discovery = options.duration("scan.topic-partition-discovery.interval")?;
        let discovery = discovery.filter(|interval| !interval.is_zero() && bounded.is_none());
        Ok(Self { topics, startup, bounded, discovery, group, reset, isolation, on_loss })
    }
}

impl Topics {
    /// What a client is asked for.
    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::Named(names) => Wanted::Named(names.iter().cloned().collect()),
            Self::Pattern(_) => Wanted::All,
        }
    }

    /// Whether the table reads a topic.
    pub(super) fn has(&self, topic: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(topic),
            Self::Pattern(pattern) => pattern.matches(topic),
        }
    }
}

/// The properties of the table's clients, `bootstrap.servers` among them. A token that is a secret is there by the secret's name too, so
/// that it can be read anew while a client lives (`tokens.rs`).
pub(super) fn client_properties(options: &Options<'_>) -> Result<BTreeMap<String, String>, ConnectorError> {
    options.required("properties.bootstrap.servers")?;
    let given = options.below("properties.").filter(|(key, _)| !NOT_THE_CLIENTS.contains(key));
    let token = options.connector().secrets.get(&format!("properties.{TOKEN}"));
    let token = token.map(|name| (TOKEN_SECRET.to_owned(), name.clone()));
    Ok(given.map(|(key, value)| (key.to_owned(), value.to_owned())).chain(token).collect())
}

fn topics(options: &Options<'_>) -> Result<Topics, ConnectorError> {
    match (options.text("topic"), options.text("topic-pattern")) {
        (Some(names), None) => {
            let names: BTreeSet<String> =
                names.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            match names.iter().find(|name| !is_topic_name(name)) {
                Some(name) => Err(options.error(format!(
                    "option 'topic': '{name}' cannot be a topic: names have letters, digits, '.', '_' and '-', 249 at most"
                ))),
                None if names.is_empty() => Err(options.error("option 'topic' names none")),
                None => Ok(Topics::Named(names)),
            }
        }
        (None, Some(pattern)) => WholePattern::new(pattern)
            .map(Topics::Pattern)
            .map_err(|reason| options.error(format!("option 'topic-pattern': {reason}"))),
        (None, None) => Err(options.error("give it 'topic' or 'topic-pattern'")),
        (Some(_), Some(_)) => Err(options.error("'topic' and 'topic-pattern' cannot be set together")),
    }
}

/// The place that `PREFIX.mode` says; `None`: there is no end.
fn place(options: &Options<'_>, prefix: &str, topics: &Topics) -> Result<Option<Place>, ConnectorError> {
    let mode = format!("{prefix}.mode");
    Ok(Some(match options.required(&mode)? {
        "unbounded" => return Ok(None),
        "earliest-offset" => Place::At(OffsetAt::Earliest),
        "latest-offset" => Place::At(OffsetAt::Latest),
        "group-offsets" => Place::Group,
        "timestamp" => {
            let key = format!("{prefix}.timestamp-millis");
            let millis = options.parsed(&key, |text| text.parse::<i64>().ok(), "milliseconds since 1970")?;
            let millis = millis.ok_or_else(|| options.error(format!("option '{key}' is missing")))?;
            Place::At(OffsetAt::Timestamp(millis))
        }
        "specific-offsets" => {
            let key = format!("{prefix}.specific-offsets");
            let offsets = options.parsed(&key, parse_partition_offsets, "offsets such as 'partition:0,offset:42'")?;
            let offsets = offsets.ok_or_else(|| options.error(format!("option '{key}' is missing")))?;
            match topics {
                Topics::Named(names) if names.len() == 1 => Place::Offsets(offsets),
                Topics::Named(_) | Topics::Pattern(_) => {
                    return Err(options.error(format!("option '{key}' needs one 'topic', whose partitions it names")));
                }
            }
        }
        other => return Err(options.error(format!("option '{mode}': there is no '{other}'"))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::connector;

    fn read(more: &[(&str, &str)]) -> Result<ReadOptions, String> {
        let given = [("properties.bootstrap.servers", "a:1"), ("scan.startup.mode", "earliest-offset")];
        let mut table = connector("kafka", &given);
        table.options.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        ReadOptions::of(&Options::new("t", &table)).map_err(|error| error.to_string())
    }

    #[test]
    fn topics_are_a_list_or_a_pattern() {
        let named = read(&[("topic", "a; b.c_d-e;a;")]).expect("it is sound").topics;
        assert_eq!(named.wanted(), Wanted::Named(vec!["a".to_owned(), "b.c_d-e".to_owned()]));
        assert!(named.has("a") && !named.has("c"));
        let pattern = read(&[("topic-pattern", "orders-(eu|us)")]).expect("it is sound").topics;
        assert_eq!(pattern.wanted(), Wanted::All);
        assert!(pattern.has("orders-eu") && !pattern.has("x-orders-eu"));
        for (options, reason) in [
            (&[][..], "'topic' or 'topic-pattern'"),
            (&[("topic", "a"), ("topic-pattern", "a")], "together"),
            (&[("topic", "; ;")], "names none"),
            (&[("topic", "a b")], "'a b' cannot be a topic"),
            (&[("topic", "..")], "cannot be a topic"),
            (&[("topic-pattern", "(")], "option 'topic-pattern'"),
        ] {
            let refused = read(options).map(drop).expect_err("it is refused");
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn modes_become_places() {
        let place = |more: &[(&str, &str)]| {
            let options: Vec<(&str, &str)> = [("topic", "a")].into_iter().chain(more.iter().copied()).collect();
            read(&options).map(|read| (read.startup, read.bounded))
        };
        assert_eq!(place(&[]), Ok((Place::At(OffsetAt::Earliest), None)));
        let at = |mode| [("scan.startup.mode", mode), ("scan.startup.timestamp-millis", "7")];
        assert_eq!(place(&at("timestamp")), Ok((Place::At(OffsetAt::Timestamp(7)), None)));
        assert_eq!(place(&at("latest-offset")), Ok((Place::At(OffsetAt::Latest), None)));
        let offsets =
            [("scan.bounded.mode", "specific-offsets"), ("scan.bounded.specific-offsets", "partition:1,offset:5")];
        assert_eq!(place(&offsets), Ok((Place::At(OffsetAt::Earliest), Some(Place::Offsets([(1, 5)].into())))));
        let many: Vec<_> = offsets.into_iter().chain([("topic", "a;b")]).collect();
        assert!(place(&many).expect_err("it is refused").contains("needs one 'topic'"));
        assert!(place(&[("scan.bounded.mode", "group-offsets")]).expect_err("it is refused").contains("group.id"));
    }

    #[test]
    fn a_table_that_ends_is_looked_at_once() {
        let discovery = |more: &[(&str, &str)]| {
            let options: Vec<(&str, &str)> = [("topic", "a")].into_iter().chain(more.iter().copied()).collect();
            read(&options).expect("it is sound").discovery
        };
        assert_eq!(discovery(&[]), Some(Duration::from_secs(300)));
        assert_eq!(discovery(&[("scan.bounded.mode", "latest-offset")]), None);
        assert_eq!(discovery(&[("scan.topic-partition-discovery.interval", "0 s")]), None);
    }

    #[test]
    fn the_client_gets_its_own_properties_only() {
        let table = connector(
            "kafka",
            &[
                ("properties.bootstrap.servers", "a:1"),
                ("properties.group.id", "g"),
                ("properties.isolation.level", "read_committed"),
                ("properties.sasl.password", "p"),
                ("topic", "t"),
            ],
        );
        let properties = client_properties(&Options::new("t", &table)).expect("it is sound");
        assert_eq!(properties.keys().collect::<Vec<_>>(), ["bootstrap.servers", "sasl.password"]);
        let mut table =
            connector("kafka", &[("properties.bootstrap.servers", "a:1"), ("properties.sasl.oauthbearer.token", "x")]);
        table.secrets.insert("properties.sasl.oauthbearer.token".to_owned(), "its-name".to_owned());
        let properties = client_properties(&Options::new("t", &table)).expect("it is sound");
        assert_eq!((properties[TOKEN].as_str(), properties[TOKEN_SECRET].as_str()), ("x", "its-name"));
    }
}
