//! How spans get to where they go: who is trusted, who one is, and whether they are compressed, by the variables of
//! OpenTelemetry's specification. Headers and the timeout are the exporter's own; here they are only checked.
//!
//! A variable of traces alone wins over the general one. Whom to trust and who to be is never guessed: what is wrong with it
//! ends the process. Anything else that is set and not honoured is told once, and spans go without it.

use std::io;

use opentelemetry_otlp::{
    Compression,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};
use thiserror::Error;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
/// The most bytes of a file of certificates or of a key: many times as many as the system's own certificates have.
const PEM_BYTES_MAX: usize = 4 << 20;

/// A variable that spans cannot go without.
#[derive(Debug, Error)]
pub(super) enum TransportError {
    #[error("the environment variable {variable}: could not read {path}")]
    Unreadable {
        variable: String,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("the environment variable {variable}: {path} holds no {wanted} in PEM")]
    NoPem { variable: String, path: String, wanted: &'static str },
    #[error("the environment variable {given} is of no use without {lacking}")]
    Half { given: String, lacking: String },
}

/// How spans get there.
#[derive(Debug, Default)]
pub(super) struct Transport {
    /// Of an `https` URL.
    pub(super) tls: Option<ClientTlsConfig>,
    pub(super) compression: Option<Compression>,
    /// What is set and not honoured.
    pub(super) notes: Vec<String>,
}

/// How spans get to a URL.
pub(super) fn find(endpoint: &str) -> Result<Transport, TransportError> {
    #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
    let variable = |name: &str| std::env::var(name).ok();
    find_in(endpoint, variable, |path| std::fs::read(path))
}

fn find_in(
    endpoint: &str,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Transport, TransportError> {
    let environment = Environment { variable, read };
    let mut notes = Vec::new();
    let tls = match endpoint.starts_with("https://") {
        true => Some(environment.tls()?),
        false => {
            let names = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"];
            let unused = names.into_iter().filter_map(|name| environment.get(name));
            notes.extend(unused.map(|(name, _)| format!("{name} is not used: spans go to an http:// URL")));
            None
        }
    };
    let compression = environment.first("COMPRESSION", |name, given| match given.to_ascii_lowercase().as_str() {
        "none" => Some(None),
        "gzip" => Some(Some(Compression::Gzip)),
        _ => {
            notes.push(format!("{name} is not used: only gzip and none are known here, and not '{given}'"));
            None
        }
    });
    environment.first("TIMEOUT", |name, given| {
        let millis = given.parse::<u64>().ok();
        if millis.is_none() {
            notes.push(format!("{name} is not used: expected a number of milliseconds, got '{given}'"));
        }
        millis
    });
    if let Some((name, given)) = environment.get("HEADERS") {
        let wrong = given.split(',').map(str::trim).filter(|header| !header.is_empty() && !is_header(header)).count();
        if wrong > 0 {
            // They are not repeated: they may hold a password.
            notes.push(format!(
                "{name}: {wrong} of its headers are left out, because they are not of the form name=value"
            ));
        }
    }
    Ok(Transport { tls, compression: compression.flatten(), notes })
}

/// Whether the exporter takes a header. It leaves out what no header can be.
fn is_header(header: &str) -> bool {
    let Some((name, value)) = header.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return false;
    };
    let is_name = !name.is_empty() && AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes()).is_ok();
    is_name && !value.is_empty() && AsciiMetadataValue::try_from(decoded(value).as_deref().unwrap_or(value)).is_ok()
}

/// A value with `%20` for a space; `None` if it is not encoded so.
fn decoded(value: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(behind.get(..2)?, 16).ok()?);
        rest = behind.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

struct Environment<V, R> {
    variable: V,
    read: R,
}

impl<V: Fn(&str) -> Option<String>, R: Fn(&str) -> io::Result<Vec<u8>>> Environment<V, R> {
    /// The value of a variable, and its whole name.
    fn get(&self, name: &str) -> Option<(String, String)> {
        self.first(name, |name, value| Some((name.to_owned(), value.to_owned())))
    }

    /// What a variable says, of the two that there are of a name the first that can be used. What is empty counts as unset.
    fn first<T>(&self, name: &str, mut parse: impl FnMut(&str, &str) -> Option<T>) -> Option<T> {
        [format!("{PREFIX}TRACES_{name}"), format!("{PREFIX}{name}")].into_iter().find_map(|name| {
            let value = (self.variable)(&name)?;
            let value = value.trim();
            if value.is_empty() { None } else { parse(&name, value) }
        })
    }

    fn tls(&self) -> Result<ClientTlsConfig, TransportError> {
        let mut tls = ClientTlsConfig::new();
        tls = match self.pem("CERTIFICATE", "certificate")? {
            Some((_, trusted)) => tls.ca_certificate(Certificate::from_pem(trusted)),
            // By default the exporter trusts nobody.
            None => tls.with_enabled_roots(),
        };
        let (certificate, key) = (self.pem("CLIENT_CERTIFICATE", "certificate")?, self.pem("CLIENT_KEY", "key")?);
        match (certificate, key) {
            (Some((_, certificate)), Some((_, key))) => Ok(tls.identity(Identity::from_pem(certificate, key))),
            (None, None) => Ok(tls),
            (Some((given, _)), None) => Err(TransportError::Half { given, lacking: format!("{PREFIX}CLIENT_KEY") }),
            (None, Some((given, _))) => {
                Err(TransportError::Half { given, lacking: format!("{PREFIX}CLIENT_CERTIFICATE") })
            }
        }
    }

    /// The file that a variable names, if it holds what it should.
    fn pem(&self, name: &str, wanted: &'static str) -> Result<Option<(String, Vec<u8>)>, TransportError> {
        let Some((variable, path)) = self.get(name) else { return Ok(None) };
        let bytes = match (self.read)(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(TransportError::Unreadable { variable, path, source }),
        };
        let mark = match wanted {
            "certificate" => "-----BEGIN CERTIFICATE-----",
            _ => "PRIVATE KEY-----",
        };
        let is_pem = bytes.len() <= PEM_BYTES_MAX && std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(mark));
        if is_pem { Ok(Some((variable, bytes))) } else { Err(TransportError::NoPem { variable, path, wanted }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";

    fn found(endpoint: &str, variables: &[(&str, &str)]) -> Result<Transport, String> {
        let variable = |name: &str| {
            let known = variables.iter().find(|(known, _)| name.strip_prefix(PREFIX) == Some(*known));
            known.map(|(_, value)| (*value).to_owned())
        };
        let read = |path: &str| match path {
            "/ca" => Ok(CERTIFICATE.into()),
            "/key" => Ok(KEY.into()),
            "/text" => Ok("no certificate".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        find_in(endpoint, variable, read).map_err(|error| error.to_string())
    }

    fn notes(variables: &[(&str, &str)]) -> Vec<String> {
        found("https://a:1", variables).unwrap().notes
    }

    #[test]
    fn compression_is_gzip_or_none_and_anything_else_is_told() {
        let compression = |variables: &[(&str, &str)]| found("http://a:1", variables).unwrap().compression;
        assert_eq!(compression(&[]), None);
        assert_eq!(compression(&[("COMPRESSION", "GZIP")]), Some(Compression::Gzip));
        assert_eq!(compression(&[("COMPRESSION", "gzip"), ("TRACES_COMPRESSION", "none")]), None);
        assert_eq!(compression(&[("COMPRESSION", "zstd"), ("TRACES_COMPRESSION", "gzip")]), Some(Compression::Gzip));
        let other = found("http://a:1", &[("COMPRESSION", "zstd")]).unwrap();
        assert_eq!(other.compression, None);
        let told = "OTEL_EXPORTER_OTLP_COMPRESSION is not used: only gzip and none are known here, and not 'zstd'";
        assert_eq!(other.notes, [told]);
        let both = found("http://a:1", &[("COMPRESSION", "gzip"), ("TRACES_COMPRESSION", "zstd")]).unwrap();
        assert_eq!((both.compression, both.notes.len()), (Some(Compression::Gzip), 1), "as the exporter has it");
    }

    #[test]
    fn certificates_are_read_where_the_url_is_https() {
        let debug = |variables: &[(&str, &str)]| format!("{:?}", found("https://a:1", variables).unwrap().tls.unwrap());
        let plain = debug(&[]);
        let client = [("CLIENT_CERTIFICATE", "/ca"), ("CLIENT_KEY", "/key")];
        let whole = [&client[..], &[("TRACES_CERTIFICATE", "/ca"), ("CERTIFICATE", "/none")]].concat();
        assert!(debug(&client) != plain && debug(&[("CERTIFICATE", "/ca")]) != plain && debug(&whole) != plain);
        let of_http = found("http://a:1", &whole).unwrap();
        assert!(of_http.tls.is_none() && of_http.notes.len() == 3, "{of_http:?}");
        assert!(of_http.notes[0].starts_with("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE is not used"), "{of_http:?}");
    }

    #[test]
    fn whom_to_trust_and_who_to_be_is_never_guessed() {
        let refused = |variables: &[(&str, &str)]| found("https://a:1", variables).unwrap_err();
        let told = refused(&[("CERTIFICATE", "/none")]);
        assert_eq!(told, "the environment variable OTEL_EXPORTER_OTLP_CERTIFICATE: could not read /none");
        for (variable, wanted) in
            [("CERTIFICATE", "certificate"), ("TRACES_CLIENT_CERTIFICATE", "certificate"), ("CLIENT_KEY", "key")]
        {
            let told = refused(&[(variable, "/text")]);
            let expected = format!("the environment variable {PREFIX}{variable}: /text holds no {wanted} in PEM");
            assert_eq!(told, expected);
        }
        let half = refused(&[("CLIENT_KEY", "/key")]);
        assert!(half.ends_with("CLIENT_KEY is of no use without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), "{half}");
        let half = refused(&[("TRACES_CLIENT_CERTIFICATE", "/ca")]);
        assert!(half.ends_with("CLIENT_CERTIFICATE is of no use without OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{half}");
    }

    #[test]
    fn what_the_exporter_would_leave_out_is_told_and_not_quoted() {
        assert_eq!(notes(&[("TIMEOUT", "5000"), ("HEADERS", "a=b, X-Token=s%20e ,")]), [""; 0]);
        let told = notes(&[("TRACES_TIMEOUT", "5s")]);
        assert_eq!(
            told,
            ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is not used: expected a number of milliseconds, got '5s'"]
        );
        let told = notes(&[("HEADERS", "ok=1,hunter2,=hunter2,a b=hunter2,c=,d=%0A")]);
        assert!(told.len() == 1 && told[0].contains("5 of its headers") && !told[0].contains("hunter2"), "{told:?}");
    }
}
