//! Secrets of tables: their names, which options' values are secret, and how options are shown to people.
//!
//! ```text
//! 'password' = secret('db')   the graph has the name; the node that opens the table reads the content
//! 'password' = 'hunter2'      stands in the graph, and is shown as '***'
//! ```

use std::{collections::BTreeMap, fmt};

use super::{ConnectorSpec, OptionSpec, OptionType, TableConnector, find};

/// What is shown in place of a secret.
pub const HIDDEN: &str = "***";

/// The most bytes of a secret's name: it is a file's name, and part of a variable's.
pub const SECRET_NAME_BYTES_MAX: usize = 200;

/// What a key has in it if its value is a secret, with `-` for `.` and `_`. Rather too much: what is hidden by mistake can
/// still be read in the script.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "jaas",
    "credential",
    "private-key",
    "access-key",
    "api-key",
    "key-pem",
    "keystore-key",
    "user-info",
    "oauthbearer-config",
];

/// What else a key has in it if its value can be given as a secret, though people may see it.
const GIVEN_AS_SECRET: &[&str] = &["username", "pem"];

/// Whether this can be the name of a secret: letters, digits, `-`, `_` and `.`, no dot first. So it names a file of one
/// directory, and none that is hidden there.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=SECRET_NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_part)
}

/// Whether the value of an option is nothing to show, if it stands in the script. `connector`: the table's; `None` if it is
/// not known.
#[must_use]
pub fn is_secret(connector: Option<&ConnectorSpec>, key: &str, value: &str) -> bool {
    has_password(value) || is_secret_option(connector, key)
}

/// Whether any value of an option is nothing to show.
#[must_use]
pub fn is_secret_option(connector: Option<&ConnectorSpec>, key: &str) -> bool {
    match connector.and_then(|connector| connector.option(key)) {
        Some(option) if option.is_choice() => false,
        // It covers options of all kinds, so that only their keys can tell.
        Some(OptionSpec { secret, key: covered, .. }) if covered.ends_with('*') => *secret && looks_secret(key),
        Some(OptionSpec { secret, .. }) => looks_secret(key) || *secret && !is_given_as_secret(key),
        None => looks_secret(key),
    }
}

impl OptionSpec {
    /// Whether its value is one of a few words or the name of a file, which is no secret whatever the key looks like.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self.kind, OptionType::OneOf(_) | OptionType::File)
    }

    /// Whether the value of this key can be `secret('name')`. One that covers options of all kinds takes secrets for those that
    /// are by their keys: other values may be quoted by whoever uses them.
    #[must_use]
    pub fn takes_secret(&self, key: &str) -> bool {
        self.secret && (!self.key.ends_with('*') || looks_secret(key) || is_given_as_secret(key))
    }
}

fn is_given_as_secret(key: &str) -> bool {
    GIVEN_AS_SECRET.iter().any(|word| key.split(['.', '-', '_']).any(|part| part == *word))
}

/// Whether a key says that its value is a secret.
pub(super) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['.', '_'], "-");
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a text has an address with a password in it: `http://user:password@host`.
fn has_password(text: &str) -> bool {
    let addresses = text.match_indices("://").map(|(at, slashes)| &text[at + slashes.len()..]);
    addresses.into_iter().any(|address| {
        // What follows the last @ before the path is the host: passwords are found that should have been encoded, too.
        let server = address.split([',', ' ', '\n']).next().unwrap_or_default();
        server.rsplit_once('@').is_some_and(|(user, _)| user.contains(':') && !user.contains("://"))
    })
}

impl TableConnector {
    /// Whether the value of an option is nothing to show.
    #[must_use]
    pub fn hides(&self, key: &str) -> bool {
        let value = self.options.get(key).map_or("", String::as_str);
        self.secrets.contains_key(key) || is_secret(find(&self.name), key, value)
    }

    /// The value of an option as it is shown to people, in SQL: `'x'`, `'***'` or `secret('x')`.
    fn shown_value(&self, key: &str, value: &str) -> String {
        let text = if self.hides(key) { HIDDEN } else { value };
        self.secrets.get(key).map_or_else(|| format!("'{text}'"), |name| format!("secret('{name}')"))
    }

    /// All options as they are shown to people: key, and value in SQL.
    #[must_use]
    pub fn shown_options(&self) -> BTreeMap<&str, String> {
        let options = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let secrets = self.secrets.keys().map(|key| (key.as_str(), ""));
        secrets.chain(options).map(|(key, value)| (key, self.shown_value(key, value))).collect()
    }

    /// Those of the shown options whose values are secrets.
    pub fn shown_secrets(&self) -> impl Iterator<Item = (&str, String)> {
        self.shown_options().into_iter().filter(|(key, _)| self.hides(key))
    }
}

/// Shows no secret, also where a node has put it in place.
impl fmt::Debug for TableConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableConnector").field("name", &self.name).field("options", &self.shown_options()).finish()
    }
}

#[cfg(test)]
mod tests;
