//! Options that say nothing beside the others: whoever gives one means something by it.

use super::super::TableConnector;
use super::{ACCESS_KEY, PROVIDER, ROLE_PROVIDER, SECRET_KEY};

/// The credentials that some options are of, by `aws.credentials.provider`, or by whom a role is assumed with.
const OF_CREDENTIALS: &[(&str, &[&str])] = &[
    ("BASIC", &[ACCESS_KEY, SECRET_KEY, "aws.credentials.basic.sessiontoken"]),
    ("PROFILE", &["aws.credentials.profile.name", "aws.credentials.profile.path"]),
];
/// Those of roles, and with which providers they go.
const OF_ROLES: &[(&str, &[&str])] = &[
    ("aws.credentials.role.arn", &["ASSUME_ROLE", "WEB_IDENTITY_TOKEN"]),
    ("aws.credentials.role.sessionName", &["ASSUME_ROLE", "WEB_IDENTITY_TOKEN"]),
    ("aws.credentials.role.externalId", &["ASSUME_ROLE"]),
    ("aws.credentials.role.stsEndpoint", &["ASSUME_ROLE"]),
    (ROLE_PROVIDER, &["ASSUME_ROLE"]),
    ("aws.credentials.webIdentityToken.file", &["WEB_IDENTITY_TOKEN"]),
];
/// Options, and the other one with the value by which they count.
const OF_OTHERS: &[(&str, &str, &str)] = &[
    ("source.init.timestamp", "source.init.position", "AT_TIMESTAMP"),
    ("source.shard.get-records.max-record-count", READER, "POLLING"),
    ("source.reader.empty-records-fetch-interval", READER, "POLLING"),
    ("source.efo.consumer.name", READER, "EFO"),
    ("source.efo.lifecycle", READER, "EFO"),
    ("source.efo.subscription.timeout", READER, "EFO"),
    ("sink.aggregation.max-size", AGGREGATION, "true"),
];
const READER: &str = "source.reader.type";
const AGGREGATION: &str = "sink.aggregation.enabled";

/// Whether all that is given counts, and goes together, whether the table is read or written: one table may be both.
pub(super) fn fits(table: &TableConnector) -> Option<String> {
    credentials(table).or_else(|| roles(table)).or_else(|| others(table)).or_else(|| ordering(table))
}

fn credentials(table: &TableConnector) -> Option<String> {
    let provider = table.option(PROVIDER);
    let assumed_by = (provider == Some("ASSUME_ROLE")).then(|| table.option(ROLE_PROVIDER)).flatten();
    if assumed_by == Some("BASIC") {
        let missing = [ACCESS_KEY, SECRET_KEY].into_iter().find(|key| !table.is_set(key));
        if let Some(missing) = missing {
            return Some(format!("'{ROLE_PROVIDER}' = 'BASIC' needs '{missing}'"));
        }
    }
    OF_CREDENTIALS.iter().find_map(|(of, keys)| {
        let counts = provider == Some(of) || assumed_by == Some(of);
        let idle = keys.iter().find(|key| !counts && table.is_set(key))?;
        Some(format!("'{idle}' needs '{PROVIDER}' = '{of}', or 'ASSUME_ROLE' with '{ROLE_PROVIDER}' = '{of}'"))
    })
}

fn roles(table: &TableConnector) -> Option<String> {
    let provider = table.option(PROVIDER);
    OF_ROLES.iter().find_map(|(key, providers)| {
        let is_idle = table.is_set(key) && !providers.iter().any(|of| provider == Some(of));
        let providers = || providers.iter().map(|of| format!("'{of}'")).collect::<Vec<_>>().join(" or ");
        is_idle.then(|| format!("'{key}' needs '{PROVIDER}' = {}", providers()))
    })
}

fn others(table: &TableConnector) -> Option<String> {
    OF_OTHERS.iter().find_map(|(key, other, value)| {
        let is_idle = table.is_set(key) && table.option(other) != Some(value);
        is_idle.then(|| format!("'{key}' needs '{other}' = '{value}'"))
    })
}

fn ordering(table: &TableConnector) -> Option<String> {
    let is_both = table.option("sink.ordering") == Some("strict") && table.option(AGGREGATION) == Some("true");
    is_both.then(|| {
        format!(
            "'sink.ordering' = 'strict' cannot be kept with '{AGGREGATION}' = 'true': when shards are split, parts of an \
             aggregated record have to be sent again"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::SPEC;
    use super::*;

    fn table(options: &[(&str, &str)]) -> TableConnector {
        let stream = [("stream", "s")];
        let options = stream.iter().chain(options).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        TableConnector { name: "kinesis".to_owned(), options: options.collect(), secrets: BTreeMap::new() }
    }

    #[test]
    fn what_does_not_count_is_refused_with_what_it_goes_with() {
        let provider = |of| (PROVIDER, of);
        for (options, told) in [
            (&[(ACCESS_KEY, "AKIA")][..], "'aws.credentials.provider' = 'BASIC', or 'ASSUME_ROLE' with"),
            (&[provider("ENV_VAR"), (SECRET_KEY, "x")], "'aws.credentials.role.provider' = 'BASIC'"),
            (&[("aws.credentials.profile.name", "p")], "'aws.credentials.provider' = 'PROFILE'"),
            (&[provider("AUTO"), ("aws.credentials.profile.path", "/p")], "'aws.credentials.provider' = 'PROFILE'"),
            (&[("aws.credentials.role.arn", "r")], "= 'ASSUME_ROLE' or 'WEB_IDENTITY_TOKEN'"),
            (&[("aws.credentials.role.sessionName", "r")], "= 'ASSUME_ROLE' or 'WEB_IDENTITY_TOKEN'"),
            (&[("aws.credentials.role.externalId", "r")], "'aws.credentials.provider' = 'ASSUME_ROLE'"),
            (&[("aws.credentials.role.stsEndpoint", "http://s")], "'aws.credentials.provider' = 'ASSUME_ROLE'"),
            (&[(ROLE_PROVIDER, "AUTO")], "'aws.credentials.provider' = 'ASSUME_ROLE'"),
            (&[("aws.credentials.webIdentityToken.file", "/t")], "= 'WEB_IDENTITY_TOKEN'"),
            (&[("source.init.timestamp", "0")], "'source.init.position' = 'AT_TIMESTAMP'"),
            (&[("source.efo.consumer.name", "c")], "'source.reader.type' = 'EFO'"),
            (&[("source.efo.lifecycle", "SELF_MANAGED")], "'source.reader.type' = 'EFO'"),
            (&[("source.efo.subscription.timeout", "1 min")], "'source.reader.type' = 'EFO'"),
            (
                &[
                    (READER, "EFO"),
                    ("source.efo.consumer.name", "c"),
                    ("source.shard.get-records.max-record-count", "5"),
                ],
                "'source.reader.type' = 'POLLING'",
            ),
            (
                &[
                    (READER, "EFO"),
                    ("source.efo.consumer.name", "c"),
                    ("source.reader.empty-records-fetch-interval", "1 s"),
                ],
                "'source.reader.type' = 'POLLING'",
            ),
            (&[("sink.aggregation.max-size", "1 KiB")], "'sink.aggregation.enabled' = 'true'"),
            (&[("sink.ordering", "strict"), (AGGREGATION, "true")], "cannot be kept"),
            (
                &[provider("ASSUME_ROLE"), ("aws.credentials.role.arn", "r"), (ROLE_PROVIDER, "BASIC")],
                "'aws.credentials.role.provider' = 'BASIC' needs 'aws.credentials.basic.accesskeyid'",
            ),
        ] {
            let table = table(options);
            let last = options.last().map(|(key, _)| *key).unwrap_or_default();
            for refused in [table.unfit_to_read(), table.unfit_to_write()] {
                let refused = refused.unwrap_or_default();
                assert!(refused.contains(told) && refused.contains(last), "{options:?}: {refused}");
            }
        }
    }

    #[test]
    fn what_goes_together_is_taken() {
        let provider = |of| (PROVIDER, of);
        let keys = [(ACCESS_KEY, "AKIA"), (SECRET_KEY, "x"), ("aws.credentials.basic.sessiontoken", "t")];
        let role = [("aws.credentials.role.arn", "r"), ("aws.credentials.role.sessionName", "n")];
        let assumed = [("aws.credentials.role.externalId", "e"), ("aws.credentials.role.stsEndpoint", "http://s")];
        let profile = [("aws.credentials.profile.name", "p"), ("aws.credentials.profile.path", "/p")];
        let efo = [
            (READER, "EFO"),
            ("source.efo.consumer.name", "c"),
            ("source.efo.lifecycle", "SELF_MANAGED"),
            ("source.efo.subscription.timeout", "1 min"),
        ];
        for options in [
            [&[provider("BASIC")][..], &keys].concat(),
            [&[provider("PROFILE")][..], &profile].concat(),
            [&[provider("ASSUME_ROLE"), (ROLE_PROVIDER, "BASIC")][..], &keys, &role, &assumed].concat(),
            [&[provider("ASSUME_ROLE"), (ROLE_PROVIDER, "PROFILE")][..], &profile, &role].concat(),
            [&[provider("WEB_IDENTITY_TOKEN"), ("aws.credentials.webIdentityToken.file", "/t")][..], &role].concat(),
            vec![("source.init.position", "AT_TIMESTAMP"), ("source.init.timestamp", "0")],
            vec![
                ("source.shard.get-records.max-record-count", "5"),
                ("source.reader.empty-records-fetch-interval", "1 s"),
            ],
            efo.to_vec(),
            vec![(AGGREGATION, "true"), ("sink.aggregation.max-size", "1 KiB")],
        ] {
            let table = table(&options);
            assert_eq!((table.unfit_to_read(), table.unfit_to_write()), (None, None), "{options:?}");
        }
    }

    /// A secret is an option like others.
    #[test]
    fn secrets_count() {
        let mut table = table(&[]);
        table.secrets.insert(SECRET_KEY.to_owned(), "key".to_owned());
        assert!(table.unfit_to_read().is_some_and(|why| why.contains(SECRET_KEY)));
    }

    #[test]
    fn all_of_them_are_options() {
        let of_credentials = OF_CREDENTIALS.iter().flat_map(|(_, keys)| keys.iter());
        let of_roles = OF_ROLES.iter().map(|(key, _)| key);
        let of_others = OF_OTHERS.iter().flat_map(|(key, other, _)| [key, other]);
        for key in of_credentials.chain(of_roles).chain(of_others) {
            assert!(SPEC.options.iter().any(|option| option.key == *key), "{key}");
        }
    }
}
