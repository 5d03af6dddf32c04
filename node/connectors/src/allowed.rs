//! Which paths a table may name. Clients choose these paths, and the node's user may read and write more than a client
//! should.
//!
//! | path | may be used |
//! |---|---|
//! | in the place for checkpoints, or elsewhere that the program keeps its own files | never |
//! | local | anywhere if local paths are unconfined; else only below an allowed prefix |
//! | in an object store (`store.rs`) | anywhere if no allowed prefix is such a URL; else only below one that is |
//!
//! A local path is checked in the form the system resolves it to: links and `..` that lead out are refused. For a path
//! that does not exist yet, the deepest existing directory above it is resolved. Links may change, so the path is
//! checked again at every open or create, and is then reached without following links (`reach.rs`). If somebody on the
//! node itself swaps a directory for a link while files are listed, the listing may show names and lengths of other
//! files, but none of those is opened.

mod reach;
mod store;

use std::{
    ffi::OsStr,
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use object_store::path::Path as Key;
use thalweg_storage::local_path;
use url::Url;

pub(crate) use reach::{NO_FILE, Reach};
use store::StoredPlace;

use crate::ConnectorError;

/// Which paths tables may name. Clones share the set of refused places.
#[derive(Clone, Default)]
pub struct AllowedPaths {
    /// `None`: all local paths are allowed.
    local: Option<Arc<[PathBuf]>>,
    /// `None`: all object stores are allowed.
    urls: Option<Arc<[StoredPlace]>>,
    /// Places of the program's own; refused always.
    refused: Arc<Mutex<Vec<Place>>>,
    /// The process named in error messages.
    who: Arc<str>,
}

#[derive(Clone, PartialEq)]
enum Place {
    Local(PathBuf),
    Stored(StoredPlace),
}

impl fmt::Debug for AllowedPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllowedPaths").field("local", &self.local).finish_non_exhaustive()
    }
}

/// The part of a table's object store that may be used.
#[derive(Debug, Clone)]
pub(crate) struct AllowedKeys {
    allowed: AllowedPaths,
    /// `None` if the URL is invalid; opening it reports that.
    place: Option<StoredPlace>,
}

impl AllowedKeys {
    /// Checks that an object found in a listing may be read: the program's own place may lie below the table's.
    ///
    /// # Errors
    /// If it may not.
    pub(crate) fn check(&self, key: &Key) -> Result<(), ConnectorError> {
        let Some(place) = &self.place else { return Ok(()) };
        let within = |own: &Place| matches!(own, Place::Stored(own) if place.may_hold_within(key, own));
        let is_own = self.allowed.refused().iter().any(within);
        if is_own { Err(self.allowed.own(&format!("{key}, below {},", place.url))) } else { Ok(()) }
    }
}

/// A prefix that is neither a path nor a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{prefix}' is no prefix of paths or URLs: {reason}")]
pub struct PrefixError {
    prefix: String,
    reason: String,
}

impl AllowedPaths {
    /// Every path, except refused places.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { who: Arc::from("this process"), ..Self::default() }
    }

    /// Local paths below these prefixes (directories or files); if no prefix is local, those below `otherwise`. URLs of
    /// object stores below these prefixes; if no prefix is such a URL, all of them.
    ///
    /// # Errors
    /// If a prefix is neither a path nor a URL.
    pub fn below<'a>(
        prefixes: impl IntoIterator<Item = &'a str>,
        otherwise: Option<PathBuf>,
    ) -> Result<Self, PrefixError> {
        let (mut local, mut urls) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            let wrong = |reason: String| PrefixError { prefix: prefix.to_owned(), reason };
            match Place::of(prefix).map_err(wrong)? {
                Place::Local(path) => local.push(path),
                Place::Stored(place) => urls.push(place),
            }
        }
        if local.is_empty() {
            local.extend(otherwise);
        }
        let urls = (!urls.is_empty()).then(|| urls.into());
        Ok(Self { local: Some(local.into()), urls, ..Self::everywhere() })
    }

    /// The same set, with `who` named in error messages.
    #[must_use]
    pub fn of(mut self, who: &str) -> Self {
        self.who = Arc::from(who);
        self
    }

    /// Refuses a place of the program's own (a directory or its URL) and everything below it.
    pub fn refuse(&self, place: &str) {
        let Ok(own) = Place::of(place) else { return };
        let mut refused = self.refused();
        if !refused.contains(&own) {
            refused.push(own);
        }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Place>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every local path may be used, so that none needs a check.
    pub(crate) fn are_all(&self) -> bool {
        self.local.is_none() && self.refused().is_empty()
    }

    /// Checks a local path without wildcards, and returns how to reach it.
    ///
    /// # Errors
    /// If it may not be used.
    pub(crate) fn check_local(&self, path: &Path) -> Result<Reach, ConnectorError> {
        if self.are_all() {
            return Ok(Reach::as_given(path));
        }
        // The file system is asked while nothing is locked.
        let refused = self.refused().clone();
        let resolved = match resolve(path) {
            Ok(resolved) => resolved,
            // The caller that uses the path reports what is wrong with it.
            Err(_) if self.local.is_none() => return Ok(Reach::as_given(path)),
            Err(reason) => return Err(self.unknown(path, &reason)),
        };
        let is_below = |prefix: &PathBuf| resolve(prefix).is_ok_and(|prefix| resolved.starts_with(prefix));
        let is_own = |own: &PathBuf| resolved.starts_with(resolve(own).unwrap_or_else(|_| without_dots(own)));
        match &self.local {
            Some(prefixes) if !prefixes.iter().any(is_below) => Err(self.outside(path, &resolved)),
            _ if refused.iter().any(|own| matches!(own, Place::Local(own) if is_own(own))) => {
                Err(self.own(&path.display().to_string()))
            }
            Some(_) => Ok(Reach::resolved(resolved)),
            None => Ok(Reach::as_given(path)),
        }
    }

    /// Checks a URL in an object store.
    ///
    /// # Errors
    /// If it may not be used.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), ConnectorError> {
        let refused = self.refused().clone();
        if self.urls.is_none() && refused.is_empty() {
            return Ok(());
        }
        let place = match StoredPlace::of(url) {
            Ok(place) => place,
            // The caller that opens the URL reports what is wrong with it.
            Err(_) if self.urls.is_none() => return Ok(()),
            Err(reason) => return Err(self.refusal(url, &reason)),
        };
        if refused.iter().any(|own| matches!(own, Place::Stored(own) if place.may_be_within(own))) {
            return Err(self.own(url));
        }
        match &self.urls {
            Some(prefixes) if !prefixes.iter().any(|prefix| place.is_within(prefix)) => {
                let prefixes: Vec<&str> = prefixes.iter().map(|prefix| Url::as_str(&prefix.url)).collect();
                let reason = format!("of object stores only what is below {} may be used there", prefixes.join(", "));
                Err(self.refusal(url, &reason))
            }
            _ => Ok(()),
        }
    }

    /// The part of this URL's store that may be used.
    pub(crate) fn keys_of(&self, url: &str) -> AllowedKeys {
        AllowedKeys { allowed: self.clone(), place: StoredPlace::of(url).ok() }
    }

    fn outside(&self, path: &Path, resolved: &Path) -> ConnectorError {
        let mut what = path.display().to_string();
        if without_dots(path) != resolved && self.names(path) {
            what = format!("{what}, which is {},", resolved.display());
        }
        self.refusal(&what, &self.allowed_local())
    }

    /// The error for a path that the system cannot resolve.
    fn unknown(&self, path: &Path, reason: &str) -> ConnectorError {
        let what = path.display().to_string();
        if self.names(path) { self.refusal(&what, reason) } else { self.refusal(&what, &self.allowed_local()) }
    }

    /// Whether the text of a path lies below an allowed prefix. Messages must not tell what exists elsewhere, nor where
    /// links there lead.
    fn names(&self, path: &Path) -> bool {
        let plain = without_dots(path);
        let mut prefixes = self.local.iter().flat_map(|prefixes| prefixes.iter());
        prefixes
            .any(|prefix| plain.starts_with(prefix) || resolve(prefix).is_ok_and(|prefix| plain.starts_with(prefix)))
    }

    fn allowed_local(&self) -> String {
        let prefixes = self.local.iter().flat_map(|prefixes| prefixes.iter());
        let prefixes: Vec<String> = prefixes.map(|prefix| prefix.display().to_string()).collect();
        match prefixes.as_slice() {
            [] => "no local path may be used there".to_owned(),
            _ => format!("of local paths only those below {} may be used there", prefixes.join(", ")),
        }
    }

    fn refusal(&self, path: &str, reason: &str) -> ConnectorError {
        ConnectorError::Data {
            attempted: format!("use {path} on {}", self.who),
            reason: format!("{reason}; start the process with --allow-path PREFIX to allow others"),
        }
    }

    fn own(&self, path: &str) -> ConnectorError {
        let reason = "checkpoints and what else the cluster keeps for itself are there, and no table can be".to_owned();
        ConnectorError::Data { attempted: format!("use {path} on {}", self.who), reason }
    }
}

impl Place {
    fn of(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        match local_path(text) {
            Some(path) => {
                let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
                // Drop the trailing slash, for messages.
                Ok(Self::Local(absolute.components().collect()))
            }
            None => StoredPlace::of(text).map(Self::Stored),
        }
    }
}

/// Resolves a path as the system does, without links and `..`. Missing components are appended to the deepest existing
/// directory.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let given = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let absolute = std::path::absolute(given).map_err(|error| error.to_string())?;
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut above = absolute.as_path();
    loop {
        match std::fs::canonicalize(above) {
            Ok(mut resolved) => {
                resolved.extend(missing.iter().rev());
                return Ok(resolved);
            }
            Err(error) if is_nothing(&error) && above.symlink_metadata().is_err() => {}
            Err(error) => return Err(format!("{} cannot be looked at: {error}", above.display())),
        }
        let (Some(parent), Some(Component::Normal(name))) = (above.parent(), above.components().next_back()) else {
            return Err("it goes up from a directory that does not exist".to_owned());
        };
        missing.push(name);
        above = parent;
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

/// An absolute path without `..`, from its text alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_default().components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
