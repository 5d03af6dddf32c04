//! How spans get to where they go: who is trusted, who one is, and whether they are compressed, by the variables of
//! OpenTelemetry's specification. Headers and the timeout are the exporter's own; here they are only checked.
//!
//! A variable of traces alone wins over the general one. Whom to trust and who to be is never guessed: what is wrong with it
//! ends the process. Anything else that is set and not honoured is told once, and spans go without it.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use axum::http::{HeaderName, HeaderValue};
use opentelemetry_otlp::{
    Compression,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};
use thiserror::Error;

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
/// The most bytes of a file of certificates or of a key: many times as many as the system's own certificates have.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// A variable that spans cannot go without.
#[derive(Debug, Error)]
pub(super) enum TransportError {
    #[error("the environment variable {variable}: could not read {}", .path.display())]
    Unreadable {
        variable: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the environment variable {variable}: {} has more than {PEM_BYTES_MAX} bytes", .path.display())]
    TooLarge { variable: String, path: PathBuf },
    #[error("the environment variable {variable}: {} holds no {wanted} in PEM", .path.display())]
    NoPem { variable: String, path: PathBuf, wanted: Pem },
    #[error("the environment variable {given} is of no use without {lacking}")]
    Half { given: String, lacking: String },
}

/// What a file of PEM is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pem {
    Certificate,
    Key,
}

impl Pem {
    /// What such a file has somewhere.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Certificate => b"-----BEGIN CERTIFICATE-----",
            // There are several kinds of keys.
            Self::Key => b"PRIVATE KEY-----",
        }
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
        })
    }
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
    let variable = |name: &str| std::env::var_os(name);
    find_in(endpoint, variable, |path| File::open(path))
}

fn find_in<F: Read>(
    endpoint: &str,
    variable: impl Fn(&str) -> Option<OsString>,
    open: impl Fn(&Path) -> io::Result<F>,
) -> Result<Transport, TransportError> {
    let environment = Environment { variable, open };
    let mut notes = Vec::new();
    let tls = match endpoint.starts_with("https://") {
        true => Some(environment.tls()?),
        false => {
            let names = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"];
            let unused = names.into_iter().filter_map(|name| environment.given(name));
            notes.extend(unused.map(|(name, _)| format!("{name} is not used: spans go to an http:// URL")));
            None
        }
    };
    if let Some((name, _)) = environment.given("INSECURE") {
        notes.push(format!("{name} is not used: the URL says by http:// or https:// whether TLS is spoken"));
    }
    let compression = environment.texts("COMPRESSION", &mut notes).into_iter().find_map(|(name, given)| {
        match given.trim().to_ascii_lowercase().as_str() {
            "" => None,
            "none" => Some(None),
            "gzip" => Some(Some(Compression::Gzip)),
            _ => {
                notes.push(format!("{name} is not used: only gzip and none are known here, and not '{given}'"));
                None
            }
        }
    });
    for (name, given) in environment.texts("TIMEOUT", &mut notes) {
        // As the exporter does: a number alone, without spaces.
        if given.parse::<u64>().is_ok() {
            break;
        }
        if !given.is_empty() {
            notes.push(format!("{name} is not used: expected a number of milliseconds, got '{given}'"));
        }
    }
    // As the exporter has it, the first variable that is set counts, even if it is empty.
    if let Some((name, given)) = environment.texts("HEADERS", &mut notes).into_iter().next() {
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
    let decoded = decoded(value);
    let value = decoded.as_deref().unwrap_or(value);
    name.parse::<HeaderName>().is_ok() && !value.is_empty() && HeaderValue::from_str(value).is_ok()
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

struct Environment<V, O> {
    variable: V,
    open: O,
}

impl<F: Read, V: Fn(&str) -> Option<OsString>, O: Fn(&Path) -> io::Result<F>> Environment<V, O> {
    /// The variables of a name that are set, the one of traces first.
    fn set(&self, name: &str) -> impl Iterator<Item = (String, OsString)> {
        let names = [format!("{PREFIX}TRACES_{name}"), format!("{PREFIX}{name}")];
        names.into_iter().filter_map(|name| (self.variable)(&name).map(|value| (name, value)))
    }

    /// The whole name and the value of the first variable that says something. What is empty counts as unset.
    fn given(&self, name: &str) -> Option<(String, OsString)> {
        self.set(name).map(|(name, value)| (name, trimmed(value))).find(|(_, value)| !value.is_empty())
    }

    /// The variables of a name that are set and text. The exporter passes over all others.
    fn texts(&self, name: &str, notes: &mut Vec<String>) -> Vec<(String, String)> {
        let texts = self.set(name).filter_map(|(name, value)| match value.into_string() {
            Ok(text) => Some((name, text)),
            Err(_) => {
                notes.push(format!("{name} is not used: it is not text in UTF-8"));
                None
            }
        });
        texts.collect()
    }

    fn tls(&self) -> Result<ClientTlsConfig, TransportError> {
        let mut tls = ClientTlsConfig::new();
        tls = match self.pem("CERTIFICATE", Pem::Certificate)? {
            Some((_, trusted)) => tls.ca_certificate(Certificate::from_pem(trusted)),
            // By default the exporter trusts nobody.
            None => tls.with_enabled_roots(),
        };
        let (certificate, key) = (self.pem("CLIENT_CERTIFICATE", Pem::Certificate)?, self.pem("CLIENT_KEY", Pem::Key)?);
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
    fn pem(&self, name: &str, wanted: Pem) -> Result<Option<(String, Vec<u8>)>, TransportError> {
        let Some((variable, path)) = self.given(name) else { return Ok(None) };
        let path = PathBuf::from(path);
        let mut bytes = Vec::new();
        // One byte more than may be there tells that there is more.
        let read = (self.open)(&path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read.map(u64::try_from) {
            Err(source) => return Err(TransportError::Unreadable { variable, path, source }),
            Ok(Ok(..=PEM_BYTES_MAX)) => {}
            Ok(_) => return Err(TransportError::TooLarge { variable, path }),
        }
        let mark = wanted.mark();
        let is_pem = bytes.windows(mark.len()).any(|found| found == mark);
        if is_pem { Ok(Some((variable, bytes))) } else { Err(TransportError::NoPem { variable, path, wanted }) }
    }
}

/// A value without spaces around it. A path need not be text: then it is as it is.
fn trimmed(value: OsString) -> OsString {
    match value.to_str().map(str::trim) {
        Some(text) if text.len() < value.len() => OsStr::new(text).to_owned(),
        Some(_) | None => value,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";

    fn found(endpoint: &str, variables: &[(&str, &str)]) -> Result<Transport, String> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
        found_of(endpoint, &variables)
    }

    fn found_of(endpoint: &str, variables: &[(&str, OsString)]) -> Result<Transport, String> {
        let variable = |name: &str| {
            let known = variables.iter().find(|(known, _)| name.strip_prefix(PREFIX) == Some(*known));
            known.map(|(_, value)| value.clone())
        };
        let open = |path: &Path| -> io::Result<Box<dyn Read>> {
            match path.to_str() {
                Some("/ca") => Ok(Box::new(CERTIFICATE.as_bytes())),
                Some("/commented") => Ok(Box::new(b"Issuer: \xe9\n".chain(CERTIFICATE.as_bytes()))),
                Some("/key") => Ok(Box::new(KEY.as_bytes())),
                Some("/text") => Ok(Box::new(&b"no certificate"[..])),
                Some("/endless") => Ok(Box::new(CERTIFICATE.as_bytes().chain(io::repeat(b'\n')))),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        };
        find_in(endpoint, variable, open).map_err(|error| error.to_string())
    }

    /// What no text is.
    fn no_text() -> OsString {
        OsString::from_vec(b"/\xff".to_vec())
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
        assert_eq!(debug(&[("CERTIFICATE", "/commented")]), debug(&[("CERTIFICATE", " /commented ")]));
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
        let told = refused(&[("CERTIFICATE", "/endless")]);
        assert!(told.ends_with("/endless has more than 4194304 bytes"), "{told}");
        let told = found_of("https://a:1", &[("CERTIFICATE", no_text())]).unwrap_err();
        assert!(told.contains("CERTIFICATE: could not read /"), "{told}");
        let half = refused(&[("CLIENT_KEY", "/key")]);
        assert!(half.ends_with("CLIENT_KEY is of no use without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), "{half}");
        let half = refused(&[("TRACES_CLIENT_CERTIFICATE", "/ca")]);
        assert!(half.ends_with("CLIENT_CERTIFICATE is of no use without OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{half}");
    }

    #[test]
    fn what_the_exporter_does_not_honour_is_told() {
        let told = notes(&[("INSECURE", "true")]);
        assert!(told.len() == 1 && told[0].starts_with("OTEL_EXPORTER_OTLP_INSECURE is not used"), "{told:?}");
        for name in ["COMPRESSION", "TRACES_TIMEOUT", "HEADERS"] {
            let told = found_of("https://a:1", &[(name, no_text())]).unwrap().notes;
            assert_eq!(told, [format!("{PREFIX}{name} is not used: it is not text in UTF-8")]);
        }
        assert_eq!(notes(&[("TIMEOUT", ""), ("TRACES_TIMEOUT", "5000"), ("COMPRESSION", " ")]), [""; 0]);
        let told = notes(&[("TRACES_TIMEOUT", " 5000"), ("TIMEOUT", "7s")]);
        assert!(told.len() == 2 && told[0].ends_with("got ' 5000'") && told[1].ends_with("got '7s'"), "{told:?}");
        assert_eq!(notes(&[("TRACES_HEADERS", ""), ("HEADERS", "wrong")]), [""; 0], "the general ones are not read");
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
