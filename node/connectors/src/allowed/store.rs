//! Compares places in object stores as the stores do: by kind, bucket and key, not by spelling.

use object_store::{ObjectStoreScheme, path::Path};
use thalweg_storage::{percent_decoded, stored_url};
use url::Url;

/// The parsed meaning of an object store's URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredPlace {
    pub(super) url: Url,
    /// `None`: a store that only this program knows.
    kind: Option<ObjectStoreScheme>,
    /// `None`: the URL has the bucket in its host name or its path.
    bucket: Option<Vec<u8>>,
    key: Path,
}

impl StoredPlace {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let url = stored_url(text).map_err(|error| error.to_string())?;
        let (kind, key) = match ObjectStoreScheme::parse(&url) {
            Ok((kind, key)) => (Some(kind), key),
            Err(_) => (None, Path::from_url_path(url.path()).map_err(|error| error.to_string())?),
        };
        let named = match url.username() {
            // Azure's container stands before the account.
            container if !container.is_empty() => Some(container),
            _ => url.host_str(),
        };
        let is_spelt_out = matches!(url.scheme(), "http" | "https") && kind != Some(ObjectStoreScheme::Http);
        let bucket = named.filter(|_| !is_spelt_out).map(|named| percent_decoded(named, |byte| vec![byte]));
        Ok(Self { url, kind, bucket, key })
    }

    /// Whether this place equals `place` or lies below it, spelled alike. Strict, for what is allowed.
    pub(super) fn is_within(&self, place: &Self) -> bool {
        let words = |place: &Self| {
            let Self { url, kind, .. } = place;
            let host = url.host_str().map(str::to_owned);
            let account = (url.username().to_owned(), url.port_or_known_default());
            (kind.clone(), url.scheme().to_owned(), host, account)
        };
        // In the path of such a URL the bucket is the first component and not part of the key.
        let is_same = words(self) == words(place)
            && (self.bucket.is_some() || self.url.path().split('/').nth(1) == place.url.path().split('/').nth(1));
        is_same && self.key.prefix_matches(&place.key)
    }

    /// Whether this place may equal `place` or lie below it, however spelled. Lenient, for what is refused.
    pub(super) fn may_be_within(&self, place: &Self) -> bool {
        self.may_hold_within(&self.key, place)
    }

    /// As `may_be_within`, for another object of the same store.
    pub(super) fn may_hold_within(&self, key: &Path, place: &Self) -> bool {
        let is_other = self.bucket.is_some() && place.bucket.is_some() && self.bucket != place.bucket;
        self.kind == place.kind && !is_other && key.prefix_matches(&place.key)
    }
}
