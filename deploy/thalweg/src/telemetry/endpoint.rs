//! Where spans go: the flag says it, else the environment as OpenTelemetry's specification has it, else nowhere.

use thiserror::Error;
use tonic::transport::Uri;

const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// An address for spans that is none, by the name of what gave it.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum EndpointError {
    #[error("{source_of}: expected a URL such as http://localhost:4317, got '{given}'")]
    NoUrl { source_of: String, given: String },
    /// It is not repeated: it may hold a password.
    #[error(
        "{source_of}: expected a URL without credentials and parameters; tokens go into OTEL_EXPORTER_OTLP_HEADERS"
    )]
    HasMore { source_of: String },
}

/// What there is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Spans go to this URL.
    At(String),
    /// The environment asks for another protocol.
    Unspoken(String),
    /// Nobody wants them.
    Nowhere,
}

/// Where the spans of a command go.
pub(super) fn find(command: &str, otlp: Option<&str>) -> Result<Found, EndpointError> {
    #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
    let variable = |name: &str| std::env::var(name).ok();
    find_in(command, otlp, variable)
}

fn find_in(
    command: &str,
    otlp: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Found, EndpointError> {
    // What is empty counts as unset.
    let variable = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if let Some(given) = otlp {
        return checked(&format!("configuration key {command}.otlp (--otlp, THALWEG_OTLP)"), given);
    }
    let is_off = variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_off || variable(TRACES_EXPORTER).is_some_and(|exporter| exporter == "none") {
        return Ok(Found::Nowhere);
    }
    let given = [TRACES_ENDPOINT, ENDPOINT].into_iter().find_map(|name| Some((name, variable(name)?)));
    let Some((name, given)) = given else { return Ok(Found::Nowhere) };
    match variable(TRACES_PROTOCOL).or_else(|| variable(PROTOCOL)) {
        Some(protocol) if protocol != "grpc" => Ok(Found::Unspoken(protocol)),
        Some(_) | None => checked(&format!("the environment variable {name}"), &given),
    }
}

fn checked(source_of: &str, given: &str) -> Result<Found, EndpointError> {
    let source_of = source_of.to_owned();
    // The log names the URL.
    if given.contains(['@', '?', '#']) {
        return Err(EndpointError::HasMore { source_of });
    }
    let refuse = || EndpointError::NoUrl { source_of: source_of.clone(), given: given.to_owned() };
    let uri: Uri = given.parse().map_err(|_| refuse())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(refuse)?;
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return Err(refuse()) };
    let port = authority.as_str().strip_prefix(host).unwrap_or_default();
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if host.is_empty() || !is_port {
        return Err(refuse());
    }
    // A scheme is the same in any case. Whoever looks at the URL after this finds it in lower case.
    let (_, rest) = given.split_once("://").ok_or_else(refuse)?;
    Ok(Found::At(format!("{scheme}://{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(otlp: Option<&str>, variables: &[(&str, &str)]) -> Result<Found, String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        find_in("node", otlp, variable).map_err(|error| error.to_string())
    }

    fn at(url: &str) -> Result<Found, String> {
        Ok(Found::At(url.to_owned()))
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_the_special_variable_over_the_general() {
        let (general, special) = ((ENDPOINT, "http://g:1"), (TRACES_ENDPOINT, "https://s:1"));
        assert_eq!(found(None, &[]), Ok(Found::Nowhere));
        assert_eq!(found(None, &[(ENDPOINT, " ")]), Ok(Found::Nowhere));
        assert_eq!(found(None, &[general]), at("http://g:1"));
        assert_eq!(found(None, &[general, special]), at("https://s:1"));
        assert_eq!(found(None, &[(ENDPOINT, "http://[::1]:4317/")]), at("http://[::1]:4317/"));
        assert_eq!(found(None, &[(ENDPOINT, "http://collector")]), at("http://collector"));
        assert_eq!(found(None, &[(ENDPOINT, "HTTPS://Collector:1/P")]), at("https://Collector:1/P"));
        assert_eq!(found(Some("Http://f"), &[]), at("http://f"));
        assert_eq!(found(Some("http://f:1"), &[general, special, (DISABLED, "true")]), at("http://f:1"));
    }

    #[test]
    fn the_environment_can_say_that_nothing_is_exported() {
        let endpoint = (ENDPOINT, "http://g:1");
        assert_eq!(found(None, &[endpoint, (DISABLED, "TRUE")]), Ok(Found::Nowhere));
        assert_eq!(found(None, &[endpoint, (TRACES_EXPORTER, "none")]), Ok(Found::Nowhere));
        assert_eq!(found(None, &[endpoint, (PROTOCOL, "grpc")]), at("http://g:1"));
        let other = Ok(Found::Unspoken("http/protobuf".to_owned()));
        assert_eq!(found(None, &[endpoint, (PROTOCOL, "http/protobuf")]), other);
        assert_eq!(found(None, &[endpoint, (PROTOCOL, "http/protobuf"), (TRACES_PROTOCOL, "grpc")]), at("http://g:1"));
    }

    #[test]
    fn what_is_no_url_is_refused_by_name() {
        let hosts = ["", "/p", ":1", "a b", "a:b", "a:99999", "[::1"].map(|rest| format!("http://{rest}"));
        for wrong in ["", "a:4317", "ftp://a"].into_iter().chain(hosts.iter().map(String::as_str)) {
            let error = found(Some(wrong), &[]).unwrap_err();
            assert!(error.contains("node.otlp (--otlp, THALWEG_OTLP)") && error.contains(wrong), "{error}");
        }
        let error = found(None, &[(TRACES_ENDPOINT, "x")]).unwrap_err();
        assert!(error.contains(TRACES_ENDPOINT), "{error}");
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for wrong in ["http://me:hunter2@a:1", "http://a:1?token=hunter2", "me:hunter2@a:1"] {
            let error = found(Some(wrong), &[]).unwrap_err();
            assert!(error.contains("node.otlp (--otlp, THALWEG_OTLP)") && !error.contains("hunter2"), "{error}");
        }
    }
}
