//! The types of options' values, and why a value does not fit.

use super::{
    OptionSpec, addresses,
    offsets::{parse_partition_offsets, repeated_partition},
};
use crate::settings::{parse_bytes, parse_duration};

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0.
    Integer,
    /// A whole number from one to another.
    Between(i64, i64),
    /// A number.
    Number,
    /// A duration such as `10 s`.
    Duration,
    /// A duration from one to another, as texts; empty: there is no such bound.
    DurationWithin(&'static str, &'static str),
    /// A size such as `64 MiB`.
    Bytes,
    /// A size from one to another, as texts.
    BytesWithin(&'static str, &'static str),
    /// Offsets such as `partition:0,offset:42;partition:1,offset:300`.
    PartitionOffsets,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in capitals or not.
    AnyCase(&'static [&'static str]),
    /// One of these words, and why none of the others.
    Only(&'static [&'static str], &'static str),
    /// The path of a file of the node that opens the table.
    File,
    /// Brokers: `HOST:PORT`, with commas between them.
    Brokers,
    /// Servers of HTTP: `http://HOST:PORT`, with commas between them.
    HttpServers,
    /// JSON.
    Json,
    /// A regular expression, which planning checks.
    Pattern,
    /// Any of the options of these names: that of a key that ends in `.*`.
    Named(&'static NamedOptions),
}

/// The options that a key with `.*` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedOptions {
    /// Those that there are.
    pub known: &'static [OptionSpec],
    /// Keys that people may try, and why they cannot be set; said behind the key.
    pub refused: &'static [(&'static str, &'static str)],
}

impl OptionSpec {
    /// Whether this spec covers a key.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix) && key.len() > prefix.len(),
            None => self.key == key,
        }
    }

    /// The options that it stands for, if these have names.
    #[must_use]
    pub fn named(&self) -> Option<&'static NamedOptions> {
        if let OptionType::Named(named) = self.kind { Some(named) } else { None }
    }

    /// The spec of a key: this one, or the one among those that it stands for. `None`: there is no such option.
    #[must_use]
    pub fn of(&'static self, key: &str) -> Option<&'static Self> {
        let spec = Some(self).filter(|spec| spec.covers(key))?;
        match spec.named() {
            Some(named) => named.known.iter().find(|known| known.covers(key)),
            None => Some(spec),
        }
    }

    /// Why a key that it covers cannot be set, for people who try it nonetheless.
    #[must_use]
    pub fn refuses_key(&self, key: &str) -> Option<&'static str> {
        let mut refused = self.named()?.refused.iter();
        refused.find(|(refused, _)| *refused == key).map(|(_, why)| *why)
    }

    /// Why a value is refused; `None` if it fits.
    #[must_use]
    pub fn refuses(&self, value: &str) -> Option<String> {
        let unless = |fits: bool, expected: &str| (!fits).then(|| format!("expected {expected}"));
        match self.kind {
            OptionType::Text | OptionType::Pattern | OptionType::Named(_) => None,
            OptionType::Boolean => unless(matches!(value, "true" | "false"), "true or false"),
            OptionType::Integer => unless(value.parse::<u64>().is_ok(), "a whole number from 0"),
            OptionType::Between(least, most) => {
                let fits = value.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
                unless(fits, &format!("a whole number from {least} to {most}"))
            }
            OptionType::Number => unless(value.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
            OptionType::Duration => unless(parse_duration(value).is_some(), "a duration such as '10 s'"),
            OptionType::DurationWithin(least, most) => no_duration(value, least, most),
            OptionType::BytesWithin(least, most) => {
                let bounds = parse_bytes(least).zip(parse_bytes(most));
                let fits = |bytes| bounds.is_some_and(|(least, most)| (least..=most).contains(&bytes));
                unless(parse_bytes(value).is_some_and(fits), &format!("a size from {least} to {most}"))
            }
            OptionType::Bytes => unless(parse_bytes(value).is_some(), "a size such as '64 MiB'"),
            OptionType::PartitionOffsets => match repeated_partition(value) {
                Some(partition) => Some(format!("partition {partition} is named twice")),
                None => unless(
                    parse_partition_offsets(value).is_some(),
                    "offsets such as 'partition:0,offset:42;partition:1,offset:300'",
                ),
            },
            OptionType::OneOf(words) => unless(words.contains(&value), &format!("one of {}", words.join(", "))),
            OptionType::AnyCase(words) => {
                let fits = words.iter().any(|word| word.eq_ignore_ascii_case(value));
                unless(fits, &format!("one of {}", words.join(", ")))
            }
            OptionType::Only(words, why) => unless(words.contains(&value), &format!("{}: {why}", words.join(" or "))),
            OptionType::File => unless(!value.trim().is_empty(), "the path of a file on the nodes"),
            OptionType::HttpServers => addresses::no_http(value),
            OptionType::Json => {
                let parsed = serde_json::from_str::<serde::de::IgnoredAny>(value);
                parsed.err().map(|error| format!("expected JSON: {error}"))
            }
            OptionType::Brokers => addresses::no_brokers(value),
        }
    }
}

/// Why a text is no duration from one to another; `None`: it is one.
fn no_duration(value: &str, least: &str, most: &str) -> Option<String> {
    let Some(given) = parse_duration(value) else { return Some("expected a duration such as '10 s'".to_owned()) };
    let is_below = parse_duration(least).is_some_and(|least| given < least);
    let is_above = parse_duration(most).is_some_and(|most| given > most);
    (is_below || is_above).then(|| match (least, most) {
        (least, "") => format!("expected a duration of {least} or longer"),
        ("", most) => format!("expected a duration of {most} or shorter"),
        (least, most) => format!("expected a duration from {least} to {most}"),
    })
}
