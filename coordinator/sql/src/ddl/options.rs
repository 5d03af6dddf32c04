//! Checks the `WITH` clause against the specs of connectors and formats.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Location;
use thalweg_functions::WholePattern;
use thalweg_types::connector::{
    CONNECTORS, ConnectorSpec, FORMAT, FormatSpec, KEY_FORMAT, KEY_PREFIX, KEYED_OPTIONS, OptionSpec, OptionType,
    TableConnector, VALUE_FORMAT, VALUE_PREFIX, find_format, is_secret,
};

use super::written::Written;
use crate::errors::{Result, SqlError};

const CONNECTOR: &str = "connector";

/// Checks the options of a table. `at` is the place of the table's name.
pub(super) fn check_connector(
    options: &[Written],
    table: &str,
    at: Location,
) -> Result<(&'static ConnectorSpec, TableConnector)> {
    let spec = connector_of(options, table, at)?;
    let known = Known::of(options, spec, at);
    if known.is_err() {
        // A misspelt key may be the reason why a required one is missing, so report it first.
        let alone = Known { spec, value: None, key: None };
        options.iter().filter(|option| !is_of_formats(&option.key)).try_for_each(|option| alone.check(option))?;
    }
    let known = known?;
    options.iter().try_for_each(|option| known.check(option))?;
    check_repeated(options, spec)?;
    known.check_required(options, at)?;
    let given = |is_secret: bool| {
        let rest = options.iter().filter(move |option| option.key != CONNECTOR && option.is_secret == is_secret);
        rest.map(|option| (option.key.clone(), option.value.clone())).collect::<BTreeMap<String, String>>()
    };
    Ok((spec, TableConnector { name: spec.name.to_owned(), options: given(false), secrets: given(true) }))
}

fn connector_of(options: &[Written], table: &str, at: Location) -> Result<&'static ConnectorSpec> {
    let names = || CONNECTORS.iter().map(|spec| spec.name);
    let hint = || format!("one of {}", names().collect::<Vec<_>>().join(", "));
    let Some(named) = options.iter().find(|option| option.key == CONNECTOR) else {
        return Err(SqlError::at(at, format!("table '{table}' has no 'connector' option")).with_hint(hint()));
    };
    if named.is_secret {
        return Err(SqlError::at(named.value_at, format!("option '{CONNECTOR}' cannot be a secret")));
    }
    CONNECTORS.iter().find(|spec| spec.name == named.value).ok_or_else(|| {
        let error = SqlError::at(named.value_at, format!("unknown connector '{}'", named.value)).with_hint(hint());
        error.with_suggestion(&named.value, names())
    })
}

/// Whether an option chooses or configures a format.
fn is_of_formats(key: &str) -> bool {
    let prefix = without_part(key).split_once('.').map(|(prefix, _)| prefix);
    [FORMAT, VALUE_FORMAT, KEY_FORMAT].contains(&key) || prefix.and_then(find_format).is_some()
}

/// The key of an option of a format, as it is in the format's spec.
fn without_part(key: &str) -> &str {
    key.strip_prefix(KEY_PREFIX).or_else(|| key.strip_prefix(VALUE_PREFIX)).unwrap_or(key)
}

/// The options that a table may have.
struct Known {
    spec: &'static ConnectorSpec,
    /// The format of its records, of their values if they have keys.
    value: Option<&'static FormatSpec>,
    key: Option<&'static FormatSpec>,
}

impl Known {
    fn of(options: &[Written], spec: &'static ConnectorSpec, at: Location) -> Result<Self> {
        let given = |key: &str| options.iter().find(|option| option.key == key);
        if !spec.keys {
            return Ok(Self { spec, value: needed_format(given(FORMAT), spec, at)?, key: None });
        }
        if let (Some(_), Some(twice)) = (given(FORMAT), given(VALUE_FORMAT)) {
            let message = format!("options '{FORMAT}' and '{VALUE_FORMAT}' are the same: give one of them");
            return Err(SqlError::at(twice.key_at, message));
        }
        let value = needed_format(given(FORMAT).or_else(|| given(VALUE_FORMAT)), spec, at)?;
        let key = given(KEY_FORMAT).map(|given| format_of(given, spec)).transpose()?;
        Ok(Self { spec, value, key })
    }

    /// The connector's own options.
    fn own(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.spec.options.iter().chain(if self.spec.keys { KEYED_OPTIONS } else { &[][..] })
    }

    fn find(&self, key: &str) -> Option<&'static OptionSpec> {
        let of = |format: Option<&'static FormatSpec>, key: &str| format?.options.iter().find(|spec| spec.covers(key));
        self.own().find_map(|spec| spec.of(key)).or_else(|| match self.spec.keys {
            true => match key.strip_prefix(KEY_PREFIX) {
                Some(key) => of(self.key, key),
                None => of(self.value, key.strip_prefix(VALUE_PREFIX).unwrap_or(key)),
            },
            false => of(self.value, key),
        })
    }

    /// All keys that there are, and whether their values can be secrets.
    fn keys(&self) -> Vec<(String, bool)> {
        let of = |format: Option<&'static FormatSpec>, prefix: &'static str| {
            let options = format.into_iter().flat_map(|format| format.options);
            options.map(move |option| (format!("{prefix}{}", option.key), option.secret))
        };
        let own = self.own().map(|option| (option.key.to_owned(), option.secret));
        let mut keys: Vec<(String, bool)> = own.chain(of(self.value, "")).chain(of(self.key, KEY_PREFIX)).collect();
        keys.extend((!self.spec.formats.is_empty()).then(|| (FORMAT.to_owned(), false)));
        keys
    }

    fn check(&self, option: &Written) -> Result<()> {
        let key = option.key.as_str();
        let chooses = key == CONNECTOR || key == FORMAT && !self.spec.formats.is_empty();
        let spec = match self.find(key) {
            Some(spec) => spec,
            None if chooses => return if option.is_secret { Err(self.no_secret(option)) } else { Ok(()) },
            None => return Err(self.unknown(option)),
        };
        if option.is_secret {
            return if spec.takes_secret(key) { Ok(()) } else { Err(self.no_secret(option)) };
        }
        if (key == "path" || key.ends_with(".path") || key == "error-prefix") && option.value.trim().is_empty() {
            return Err(SqlError::at(option.value_at, format!("option '{key}' is empty")));
        }
        let pattern = || {
            let failed = |value: &str| WholePattern::new(value).err().map(|error| error.to_string());
            if spec.kind == OptionType::Pattern { failed(&option.value) } else { None }
        };
        let Some(reason) = spec.refuses(&option.value).or_else(pattern) else { return Ok(()) };
        let shown = if is_secret(Some(self.spec), key, &option.value) {
            String::new()
        } else {
            format!(" = '{}'", option.value)
        };
        Err(SqlError::at(option.value_at, format!("option '{key}'{shown}: {reason}")))
    }

    fn unknown(&self, option: &Written) -> SqlError {
        let key = option.key.as_str();
        let prefix = if self.spec.keys { without_part(key) } else { key }.split_once('.').map(|(prefix, _)| prefix);
        if self.spec.keys && self.key.is_none() && key.starts_with(KEY_PREFIX) && is_of_formats(key) {
            return SqlError::at(option.key_at, format!("option '{key}' needs '{KEY_FORMAT}'"));
        }
        if let Some(why) = self.spec.refuses_key(key) {
            return SqlError::at(option.key_at, format!("option '{key}' {why}"));
        }
        if let Some(all) = self.own().find(|spec| spec.covers(key)).and_then(OptionSpec::named) {
            let message = format!("unknown option '{key}' of connector '{}'", self.spec.name);
            let known = || self.own().map(|spec| spec.key).chain(all.known.iter().map(|spec| spec.key));
            let hint = format!("what can be set is {}", alike(key, all.known).join(", "));
            return SqlError::at(option.key_at, message).with_hint(hint).with_suggestion(key, known());
        }
        let format = if key.starts_with(KEY_PREFIX) { self.key } else { self.value };
        let other = prefix.filter(|prefix| self.spec.formats.contains(prefix)).and_then(find_format);
        if let (Some(own), Some(other)) = (format, other.filter(|other| Some(other.name) != format.map(|own| own.name)))
        {
            let what =
                if key.starts_with(KEY_PREFIX) && self.spec.keys { "this table's key has" } else { "this table has" };
            let message = format!("option '{key}' is of format '{}', and {what} format '{}'", other.name, own.name);
            return SqlError::at(option.key_at, message);
        }
        let what = match format.filter(|format| Some(format.name) == prefix) {
            Some(format) => format!("format '{}'", format.name),
            None => format!("connector '{}'", self.spec.name),
        };
        let keys = self.keys();
        let keys: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
        let error = SqlError::at(option.key_at, format!("unknown option '{key}' of {what}"));
        let error = error.with_hint(format!("it has {}", keys.join(", "))).with_suggestion(key, keys.iter().copied());
        match key.strip_prefix(VALUE_PREFIX).filter(|_| self.spec.keys) {
            Some(key) => error.with_suggestion(key, keys),
            None => error,
        }
    }

    fn no_secret(&self, option: &Written) -> SqlError {
        let error = SqlError::at(option.value_at, format!("option '{}' cannot be a secret", option.key));
        let keys: Vec<String> = self.keys().into_iter().filter_map(|(key, secret)| secret.then_some(key)).collect();
        let all = self.own().find(|spec| spec.covers(&option.key)).filter(|spec| spec.named().is_some());
        match (all, keys.is_empty()) {
            (Some(all), _) => {
                error.with_hint(format!("of {} passwords, keys, certificates, tokens and names of users can", all.key))
            }
            (None, true) => error.with_hint(format!("connector '{}' has no option that can", self.spec.name)),
            (None, false) => error.with_hint(format!("what can is {}", keys.join(", "))),
        }
    }

    fn check_required(&self, options: &[Written], at: Location) -> Result<()> {
        let is_given = |key: &str| options.iter().any(|option| option.key == key);
        let required = |specs: &'static [OptionSpec]| specs.iter().filter(|spec| spec.required);
        let own = required(self.spec.options).find(|spec| !is_given(spec.key));
        let of_value = required(self.value.map_or(&[][..], |format| format.options)).find(|spec| {
            let by_part = self.spec.keys && is_given(&format!("{VALUE_PREFIX}{}", spec.key));
            !by_part && !is_given(spec.key)
        });
        let of_key = required(self.key.map_or(&[][..], |format| format.options))
            .find(|spec| !is_given(&format!("{KEY_PREFIX}{}", spec.key)));
        let missing = own.or(of_value).map(|spec| (spec.key.to_owned(), spec));
        let missing = missing.or_else(|| of_key.map(|spec| (format!("{KEY_PREFIX}{}", spec.key), spec)));
        match missing {
            Some((key, spec)) => {
                let message = format!("connector '{}' needs option '{key}'", self.spec.name);
                Err(SqlError::at(at, message).with_hint(spec.doc))
            }
            None => Ok(()),
        }
    }
}

/// The keys of options that begin like this one, up to their second dot; all, if there are none.
fn alike(key: &str, options: &'static [OptionSpec]) -> Vec<&'static str> {
    let beginning = |key: &str| key.split('.').take(2).map(str::to_owned).collect::<Vec<String>>();
    let keys = || options.iter().map(|spec| spec.key);
    let alike: Vec<&str> = keys().filter(|known| beginning(known) == beginning(key)).collect();
    if alike.is_empty() { keys().collect() } else { alike }
}

/// The format of a table's records, which the connector may need.
fn needed_format(given: Option<&Written>, spec: &ConnectorSpec, at: Location) -> Result<Option<&'static FormatSpec>> {
    match given {
        None if spec.formats.is_empty() => Ok(None),
        None => Err(SqlError::at(at, format!("connector '{}' needs option '{FORMAT}'", spec.name))
            .with_hint(format!("one of {}", spec.formats.join(", ")))),
        Some(given) => format_of(given, spec).map(Some),
    }
}

fn format_of(given: &Written, spec: &ConnectorSpec) -> Result<&'static FormatSpec> {
    if spec.formats.is_empty() {
        return Err(SqlError::at(given.key_at, format!("connector '{}' has no '{}'", spec.name, given.key)));
    }
    let name = given.value.as_str();
    let known = spec.formats.contains(&name).then(|| find_format(name)).flatten();
    known.ok_or_else(|| {
        SqlError::at(given.value_at, format!("connector '{}' has no format '{name}'", spec.name))
            .with_hint(format!("one of {}", spec.formats.join(", ")))
            .with_suggestion(name, spec.formats.iter().copied())
    })
}

/// Refuses an option of the value's format that stands with the prefix and without.
fn check_repeated(options: &[Written], spec: &ConnectorSpec) -> Result<()> {
    for option in options.iter().filter(|_| spec.keys) {
        let Some(plain) = option.key.strip_prefix(VALUE_PREFIX) else { continue };
        if options.iter().any(|other| other.key == plain) {
            let message = format!("options '{plain}' and '{}' are the same: give one of them", option.key);
            return Err(SqlError::at(option.key_at, message));
        }
    }
    Ok(())
}
