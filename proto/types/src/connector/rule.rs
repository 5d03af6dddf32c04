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
    /// Unless an option has a value, another one has one of these.
    Beside {
        /// The option.
        option: &'static str,
        /// Its value that goes with everything.
        unless: &'static str,
        /// The other one.
        other: &'static str,
        /// The values of the other one.
        values: &'static [&'static str],
    },
    /// If an option is set, another one has this value: else it would say nothing.
    Only {
        /// The option.
        option: &'static str,
        /// The other one.
        other: &'static str,
        /// Its value.
        value: &'static str,
    },
    /// What the connector says itself.
    Own(Check),
}

/// How a table does not fit its connector, in words for people; `None`: it does.
#[derive(Debug, Clone, Copy)]
pub struct Check(pub fn(&TableConnector) -> Option<String>);

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Check {}

impl TableConnector {
    /// Whether an option is written, as a value or as a secret.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.options.contains_key(key) || self.secrets.contains_key(key)
    }
}

impl Rule {
    /// How a table breaks it; `None`: it does not.
    pub(super) fn broken_by(self, table: &TableConnector) -> Option<String> {
        let is_set = |key: &str| table.is_set(key);
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
            Self::Beside { option, unless, other, values } => {
                let given = table.option(option).filter(|given| *given != unless)?;
                let fits = table.option(other).is_some_and(|other| values.contains(&other));
                (!fits).then(|| {
                    let values = values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(" or ");
                    format!("'{option}' = '{given}' needs '{other}' = {values}")
                })
            }
            Self::Only { option, other, value } => {
                let is_idle = is_set(option) && table.option(other) != Some(value);
                is_idle.then(|| format!("'{option}' needs '{other}' = '{value}'"))
            }
            Self::Own(check) => check.0(table),
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
        let beside = |values| Rule::Beside { option: "a", unless: "none", other: "b", values };
        assert_eq!(
            beside(&["y", "z"]).broken_by(&table(&["a", "b"])).as_deref(),
            Some("'a' = 'x' needs 'b' = 'y' or 'z'")
        );
        assert_eq!(beside(&["y"]).broken_by(&table(&["b"])), None);
        assert_eq!(beside(&["x"]).broken_by(&table(&["a", "b"])), None);
        let mut secret = table(&[]);
        secret.secrets.insert("properties.group.id".to_owned(), "x".to_owned());
        assert_eq!(group.broken_by(&secret), None);
        let end = Rule::Only { option: "scan.bounded.x", other: "scan.bounded.mode", value: "x" };
        let told = end.broken_by(&table(&["scan.bounded.x"]));
        assert_eq!(told.as_deref(), Some("'scan.bounded.x' needs 'scan.bounded.mode' = 'x'"), "the default is another");
        assert_eq!(end.broken_by(&table(&["scan.bounded.x", "scan.bounded.mode"])), None);
        assert_eq!(end.broken_by(&table(&[])), None);
        assert_eq!(Rule::Own(Check(|_| Some("no".to_owned()))).broken_by(&table(&[])).as_deref(), Some("no"));
    }
}
