//! What the options of a table must be like beside each other, when it is read or when it is written.

use super::TableConnector;

/// A rule for several options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Exactly one of these is set.
    OneOf(&'static [&'static str]),
    /// If an option has a value, another one is set.
    Needs {
        /// The option.
        option: &'static str,
        /// The value.
        value: &'static str,
        /// The other one.
        other: &'static str,
    },
}

impl Rule {
    /// How a table breaks it; `None`: it does not.
    pub(super) fn broken_by(self, table: &TableConnector) -> Option<String> {
        let is_set = |key: &str| table.options.contains_key(key) || table.secrets.contains_key(key);
        match self {
            Self::OneOf(keys) => {
                let set: Vec<&str> = keys.iter().copied().filter(|key| is_set(key)).collect();
                match set[..] {
                    [] => Some(format!("give it {}", listed(keys, "or"))),
                    [_] => None,
                    _ => Some(format!("{} cannot be set together", listed(&set, "and"))),
                }
            }
            Self::Needs { option, value, other } => {
                if is_set(other) || table.option(option) != Some(value) {
                    return None;
                }
                let by_default = if is_set(option) { "" } else { ", the default," };
                Some(format!("'{option}' = '{value}'{by_default} needs '{other}'"))
            }
        }
    }
}

fn listed(keys: &[&str], conjunction: &str) -> String {
    keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(&format!(" {conjunction} "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_broken_rule_says_what_to_do() {
        let table = |options: &[&str]| TableConnector {
            name: "kafka".to_owned(),
            options: options.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect(),
            secrets: BTreeMap::new(),
        };
        let topics = Rule::OneOf(&["topic", "topic-pattern"]);
        assert_eq!(topics.broken_by(&table(&[])).as_deref(), Some("give it 'topic' or 'topic-pattern'"));
        assert_eq!(topics.broken_by(&table(&["topic"])), None);
        let both = topics.broken_by(&table(&["topic", "topic-pattern"]));
        assert_eq!(both.as_deref(), Some("'topic' and 'topic-pattern' cannot be set together"));
        let group = Rule::Needs { option: "scan.startup.mode", value: "group-offsets", other: "properties.group.id" };
        assert_eq!(
            group.broken_by(&table(&[])).as_deref(),
            Some("'scan.startup.mode' = 'group-offsets', the default, needs 'properties.group.id'")
        );
        assert_eq!(group.broken_by(&table(&["properties.group.id"])), None);
        assert_eq!(group.broken_by(&table(&["scan.startup.mode"])), None);
        let mut secret = table(&[]);
        secret.secrets.insert("properties.group.id".to_owned(), "x".to_owned());
        assert_eq!(group.broken_by(&secret), None);
    }
}
