//! Whether the properties that say who a client is go together. Clients ignore those whose protocol or mechanism another property does
//! not choose, and then connect in the open.

use crate::connector::TableConnector;

const PROTOCOL: &str = "properties.security.protocol";
const MECHANISM: &str = "properties.sasl.mechanism";
const USER: &str = "properties.sasl.username";
const PASSWORD: &str = "properties.sasl.password";
const TOKEN: &str = "properties.sasl.oauthbearer.token";
const REGION: &str = "properties.aws.region";
const MECHANISMS: &str =
    "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM; Kerberos (GSSAPI) is not built in";

/// How they do not; `None`: they do.
pub(super) fn fits(table: &TableConnector) -> Option<String> {
    let mechanism = table.option(MECHANISM);
    let given = table.option(PROTOCOL).map(str::to_ascii_uppercase);
    // The only one that brokers of MSK have for IAM, and the one that is taken without another.
    let is_iam = mechanism == Some("AWS_MSK_IAM");
    let protocol = given.as_deref().unwrap_or(if is_iam { "SASL_SSL" } else { "PLAINTEXT" });
    let keys = || table.options.keys().chain(table.secrets.keys()).map(String::as_str);
    let is_of_sasl = |key: &&str| key.starts_with("properties.sasl.") || *key == REGION;
    if let Some(key) = keys().find(is_of_sasl).filter(|_| !protocol.starts_with("SASL_")) {
        return Some(format!("'{key}' needs '{PROTOCOL}' = 'SASL_SSL', or 'SASL_PLAINTEXT' where nobody listens in"));
    }
    let is_of_tls =
        |key: &&str| key.starts_with("properties.ssl.") || *key == "properties.enable.ssl.certificate.verification";
    if let Some(key) = keys().find(is_of_tls).filter(|_| !protocol.ends_with("SSL")) {
        return Some(format!("'{key}' needs '{PROTOCOL}' = 'SSL' or 'SASL_SSL'"));
    }
    if !protocol.starts_with("SASL_") {
        return None;
    }
    match mechanism {
        None => Some(format!("'{PROTOCOL}' = '{protocol}' needs '{MECHANISM}': {MECHANISMS}")),
        Some(mechanism) => of_mechanism(table, mechanism),
    }
}

/// What a mechanism needs, and what is another's.
fn of_mechanism(table: &TableConnector, mechanism: &str) -> Option<String> {
    let (needed, example): (&[&str], &str) = match mechanism {
        "OAUTHBEARER" => (&[TOKEN], "secret('kafka-token')"),
        "AWS_MSK_IAM" => (&[], ""),
        _ => (&[USER, PASSWORD], "secret('kafka-password')"),
    };
    if let Some(missing) = needed.iter().find(|key| !table.is_set(key)) {
        return Some(format!("'{MECHANISM}' = '{mechanism}' needs '{missing}', which can be {example}"));
    }
    let of_others = [(USER, "PLAIN"), (PASSWORD, "PLAIN"), (TOKEN, "OAUTHBEARER"), (REGION, "AWS_MSK_IAM")];
    let is_others = |key: &str| !needed.contains(&key) && (key != REGION || mechanism != "AWS_MSK_IAM");
    let (key, its) = of_others.into_iter().find(|(key, _)| table.is_set(key) && is_others(key))?;
    Some(format!("'{key}' says nothing with '{MECHANISM}' = '{mechanism}': it is for '{its}', for example"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options of which those without a value are secrets.
    fn told(options: &[(&str, &str)]) -> Option<String> {
        let of = |is_secret: bool| {
            let given = options.iter().filter(move |(_, value)| value.is_empty() == is_secret);
            given.map(|(key, value)| (format!("properties.{key}"), (*value).to_owned())).collect()
        };
        fits(&TableConnector { name: "kafka".to_owned(), options: of(false), secrets: of(true) })
    }

    const USER: (&str, &str) = ("sasl.username", "u");
    const PASSWORD: (&str, &str) = ("sasl.password", "");

    fn protocol(name: &str) -> (&str, &str) {
        ("security.protocol", name)
    }

    fn mechanism(name: &str) -> (&str, &str) {
        ("sasl.mechanism", name)
    }

    #[test]
    fn what_goes_together_is_taken() {
        for options in [
            &[][..],
            &[("client.id", "x")],
            &[protocol("plaintext")],
            &[protocol("ssl"), ("ssl.ca.location", "/ca"), ("ssl.key.pem", "")],
            &[protocol("SASL_SSL"), mechanism("PLAIN"), USER, PASSWORD, ("ssl.ca.pem", "x")],
            &[protocol("sasl_plaintext"), mechanism("SCRAM-SHA-512"), USER, PASSWORD],
            &[protocol("SASL_SSL"), mechanism("OAUTHBEARER"), ("sasl.oauthbearer.token", "")],
            &[mechanism("AWS_MSK_IAM")],
            &[mechanism("AWS_MSK_IAM"), ("aws.region", "eu-west-1"), ("ssl.ca.location", "/ca")],
        ] {
            assert_eq!(told(options), None, "{options:?}");
        }
    }

    #[test]
    fn what_would_be_ignored_is_told_with_what_it_needs() {
        for (options, words) in [
            (&[USER][..], &["'properties.sasl.username' needs 'properties.security.protocol' = 'SASL_SSL'"][..]),
            (&[PASSWORD, protocol("SSL")], &["'properties.sasl.password' needs", "'SASL_SSL'"]),
            (&[mechanism("PLAIN")], &["'properties.sasl.mechanism' needs", "'SASL_SSL'"]),
            (&[("ssl.ca.location", "/ca")], &["'properties.ssl.ca.location' needs", "'SSL' or 'SASL_SSL'"]),
            (&[("ssl.key.pem", ""), protocol("SASL_PLAINTEXT")], &["'properties.ssl.key.pem' needs"]),
            (&[("enable.ssl.certificate.verification", "false")], &["needs 'properties.security.protocol' = 'SSL'"]),
            (
                &[protocol("SASL_SSL")],
                &["'SASL_SSL' needs 'properties.sasl.mechanism'", "Kerberos (GSSAPI) is not built in"],
            ),
            (
                &[protocol("SASL_SSL"), mechanism("PLAIN"), USER],
                &["'PLAIN' needs 'properties.sasl.password'", "secret("],
            ),
            (&[protocol("SASL_SSL"), mechanism("SCRAM-SHA-256"), PASSWORD], &["needs 'properties.sasl.username'"]),
            (
                &[protocol("SASL_SSL"), mechanism("OAUTHBEARER")],
                &["'OAUTHBEARER' needs 'properties.sasl.oauthbearer.token'", "secret('kafka-token')"],
            ),
            (
                &[protocol("SASL_SSL"), mechanism("OAUTHBEARER"), ("sasl.oauthbearer.token", ""), USER],
                &["'properties.sasl.username' says nothing with 'properties.sasl.mechanism' = 'OAUTHBEARER'"],
            ),
            (&[mechanism("AWS_MSK_IAM"), ("sasl.oauthbearer.token", "")], &["it is for 'OAUTHBEARER'"]),
            (
                &[protocol("SASL_SSL"), mechanism("PLAIN"), USER, PASSWORD, ("aws.region", "x")],
                &["'properties.aws.region' says nothing", "'AWS_MSK_IAM'"],
            ),
            (&[("aws.region", "x")], &["'properties.aws.region' needs 'properties.security.protocol'"]),
            (&[mechanism("AWS_MSK_IAM"), protocol("PLAINTEXT")], &["'properties.sasl.mechanism' needs"]),
        ] {
            let told = told(options).unwrap_or_else(|| panic!("{options:?} is taken"));
            words.iter().for_each(|word| assert!(told.contains(word), "{word} is not in {told}"));
        }
    }
}
