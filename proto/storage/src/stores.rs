//! Opens object stores by URL.
//!
//! A URL belongs to a store that the program has registered, to one of the services that `object_store` knows (`s3://`,
//! `gs://`, `az://`, ..), or to a local directory: `file://` or a plain path. A missing directory is created, and what
//! is put there is durable (`directory.rs`).

use std::{
    collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf, sync::Arc, time::Duration,
};

use object_store::{
    ObjectStore, ObjectStoreScheme, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, path::Path,
};
use thalweg_types::{path::local_text, text::with_causes};
use thiserror::Error;
use url::Url;

use crate::{
    StorageError,
    directory::{DirectoryStore, Missing},
    error::config,
};

/// How long a store's client repeats a request that fails.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens object stores by URL.
///
/// Options are those of the stores' own configuration, by their usual names in lower case (`aws_access_key_id`, ..);
/// the program collects them from its environment.
#[derive(Debug, Clone, Default)]
pub struct ObjectStores {
    options: Arc<BTreeMap<String, String>>,
    registered: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl ObjectStores {
    /// Stores with these options of their configuration.
    #[must_use]
    pub fn new(options: BTreeMap<String, String>) -> Self {
        Self { options: Arc::new(options), registered: Arc::default() }
    }

    /// Registers a store under the beginning of a URL, such as `memory://test`.
    #[must_use]
    pub fn with_store(mut self, url: &str, store: Arc<dyn ObjectStore>) -> Self {
        Arc::make_mut(&mut self.registered).insert(url.trim_end_matches('/').to_owned(), store);
        self
    }

    /// The store of a URL, and the key in it. A local directory is a store of its own with an empty key; it is created
    /// if it is missing.
    ///
    /// # Errors
    /// When no store has such a URL, the store's options are invalid, or the directory cannot be created.
    pub fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        self.open_or(url, Missing::Create)
    }

    /// The local directory of a URL; `None` if it is of another store.
    pub(crate) fn directory_of(&self, url: &str) -> Option<PathBuf> {
        let is_registered = self.registered.keys().any(|known| url.starts_with(known.as_str()));
        if is_registered { None } else { local_path(url) }
    }

    pub(crate) fn open_or(&self, url: &str, missing: Missing) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        let invalid = |reason: String| config(format!("open {url}"), reason);
        if let Some((store, rest)) = self.registered.iter().find_map(|(known, store)| {
            let rest = url.strip_prefix(known.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((store, rest))
        }) {
            let path = Path::from_url_path(rest.trim_matches('/')).map_err(|error| invalid(error.to_string()))?;
            return Ok((store.clone(), path));
        }
        if let Some(folder) = local_path(url) {
            return Ok((Arc::new(DirectoryStore::open(&folder, missing)?), Path::default()));
        }
        let parsed = stored_url(url).map_err(|error| invalid(error.to_string()))?;
        let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| invalid(error.to_string()))?;
        self.check_endpoint(&scheme).map_err(invalid)?;
        let store = self.build(&scheme, &parsed).map_err(|error| invalid(with_causes(&error)))?;
        Ok((store, path))
    }

    /// A client of a service. It repeats requests for a limited time only. Its callers go on trying for as long as is
    /// right, and report that meanwhile.
    fn build(&self, scheme: &ObjectStoreScheme, url: &Url) -> object_store::Result<Arc<dyn ObjectStore>> {
        let options = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let retry = RetryConfig { max_retries: 5, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        macro_rules! build {
            ($builder:ty) => {{
                let builder = <$builder>::new().with_url(url.as_str()).with_retry(retry);
                let known = options.filter_map(|(key, value)| Some((key.parse().ok()?, value)));
                Arc::new(known.fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()?)
            }};
        }
        Ok(match scheme {
            ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder),
            ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder),
            ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder),
            _ => object_store::parse_url_opts(url, options).map(|(store, _)| Arc::from(store))?,
        })
    }

    /// Refuses an endpoint without TLS at once: its client would refuse it at each request.
    fn check_endpoint(&self, scheme: &ObjectStoreScheme) -> Result<(), String> {
        let (endpoints, allows): (&[&str], &str) = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                (&["aws_endpoint_url_s3", "aws_endpoint_url", "aws_endpoint"], "aws_allow_http")
            }
            ObjectStoreScheme::MicrosoftAzure => (&["azure_storage_endpoint", "azure_endpoint"], "azure_allow_http"),
            _ => return Ok(()),
        };
        let is_true = |value: &String| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on");
        if self.options.get(allows).or_else(|| self.options.get("allow_http")).is_some_and(is_true) {
            return Ok(());
        }
        let plain = endpoints.iter().filter_map(|key| Some((key, self.options.get(*key)?)));
        match plain.into_iter().find(|(_, value)| value.starts_with("http://")) {
            Some((key, value)) => Err(format!(
                "{} is {value}, without TLS; set {}=true to allow that",
                key.to_uppercase(),
                allows.to_uppercase()
            )),
            None => Ok(()),
        }
    }
}

/// The local path of a table's path or of a place for checkpoints; `None` for one in an object store.
#[must_use]
pub fn local_path(path: &str) -> Option<PathBuf> {
    let (text, is_url) = local_text(path)?;
    Some(if is_url { OsString::from_vec(percent_decoded(text, |byte| vec![byte])).into() } else { text.into() })
}

/// Decodes percent-encoded text. `replaced` gives the bytes that stand for each ASCII byte that was encoded.
pub fn percent_decoded(text: &str, replaced: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let encoded = match bytes.get(at + 1..at + 3) {
            Some([high, low]) if *byte == b'%' => digit(high).zip(digit(low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        match encoded {
            Some(byte) if byte.is_ascii() => decoded.extend(replaced(byte)),
            Some(byte) => decoded.push(byte),
            None => decoded.push(*byte),
        }
        at += if encoded.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Why a text names nothing in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadStoredUrl {
    /// It is no URL.
    #[error(transparent)]
    Syntax(#[from] url::ParseError),
    /// It is the URL of a local file, written with blanks and the like, which URLs do without.
    #[error("a local file is named by its path, or by file:///PATH")]
    LocalFile,
}

/// Parses the URL of something in an object store. `?` and `#` are parts of names, because nothing in a store has a
/// query or a fragment.
///
/// # Errors
/// When it is no URL, or that of a local file.
pub fn stored_url(url: &str) -> Result<Url, BadStoredUrl> {
    let url = Url::parse(&url.replace('?', "%3F").replace('#', "%23"))?;
    match url.scheme() {
        "file" => Err(BadStoredUrl::LocalFile),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_are_plain_or_urls() {
        let check =
            |path: &str, expected: Option<&str>| assert_eq!(local_path(path), expected.map(PathBuf::from), "{path}");
        check("a%20b/c#d?e", Some("a%20b/c#d?e"));
        check("file:///a%20b/c#d?e%2A", Some("/a b/c#d?e*"));
        check("file:///a b/100%", Some("/a b/100%"));
        check("file://localhost/x", Some("/x"));
        check("file:/x", Some("/x"));
        check("FILE:///x%20y", Some("/x y"));
        check("file://x/y", Some("x/y"));
        check("file:x", Some("file:x"));
        check("s3://bucket/x", None);
    }

    #[test]
    fn an_endpoint_without_tls_is_refused_unless_it_is_allowed() {
        let open = |allowed: Option<&str>| {
            let known = [
                ("aws_region", "x"),
                ("aws_access_key_id", "k"),
                ("aws_secret_access_key", "s"),
                ("aws_endpoint_url", "http://m:1"),
            ];
            let options = known.into_iter().chain(allowed.map(|value| ("aws_allow_http", value)));
            let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            ObjectStores::new(options).open("s3://b/x").map(|_| ()).map_err(|error| error.to_string())
        };
        let refused = open(None).expect_err("it is without TLS");
        assert!(refused.contains("AWS_ENDPOINT_URL") && refused.contains("AWS_ALLOW_HTTP=true"), "{refused}");
        assert_eq!(open(Some("false")).expect_err("nor so"), refused);
        open(Some("true")).expect("it is allowed");
    }

    #[test]
    fn no_spelling_of_a_local_file_is_taken_for_a_store() {
        for url in [" file:///etc", "fi\nle:///etc", "\tfile:/etc://"] {
            let error = ObjectStores::default().open(url).expect_err("it is none").to_string();
            assert!(error.contains("file:///PATH"), "{error}");
        }
    }

    #[test]
    fn names_in_stores_are_encoded_like_those_of_all_urls() {
        let stores = ObjectStores::default().with_store("memory://m", Arc::new(object_store::memory::InMemory::new()));
        let (_, path) = stores.open("memory://m/a%20b/c#d?e 1%").expect("it is known");
        assert_eq!(path.as_ref(), "a b/c#d?e 1%");
        let options = [("aws_region", "x"), ("aws_access_key_id", "k"), ("aws_secret_access_key", "s")];
        let stores = ObjectStores::new(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let (_, path) = stores.open("s3://b/a%20b/c#d?e 1%").expect("it is an URL of S3");
        assert_eq!(path.as_ref(), "a b/c#d?e 1%");
    }
}
