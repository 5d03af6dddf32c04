//! Which paths tables may name: clients choose them, and the node's user may read and write more than clients should.
//!
//! | path | may be used |
//! |---|---|
//! | in the place for checkpoints, or in what else the program keeps for itself | never |
//! | local | everywhere, where nothing is confined; else below a prefix that is allowed |
//! | in an object store (`store.rs`) | everywhere, unless a prefix of such URLs is given; then below one |
//!
//! Local paths are looked at as the system resolves them: links and `..` that lead out are refused. What is not there yet is looked
//! at from the deepest directory above it that is. They are looked at again whenever something is opened or created, since links
//! may have changed, and are then reached without following any (`reach.rs`). Only names and lengths, of files that are listed while
//! somebody on the node itself exchanges a directory for a link, may be those of others: none is opened.

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

/// Which paths tables may name. Clones share what is refused.
#[derive(Clone, Default)]
pub struct AllowedPaths {
    /// `None`: all local ones.
    local: Option<Arc<[PathBuf]>>,
    /// `None`: all object stores.
    urls: Option<Arc<[StoredPlace]>>,
    /// The program's own.
    refused: Arc<Mutex<Vec<Place>>>,
    /// Who asks, for messages.
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

/// What of a table's object store may be used.
#[derive(Debug, Clone)]
pub(crate) struct AllowedKeys {
    allowed: AllowedPaths,
    /// `None`: the URL is none, and whoever opens it says so.
    place: Option<StoredPlace>,
}

impl AllowedKeys {
    /// Whether an object that was found may be read: below a table's place may be the program's own.
    ///
    /// # Errors
    /// When it may not.
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
    /// Every path, but for what is refused.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { who: Arc::from("this process"), ..Self::default() }
    }

    /// Local paths below these prefixes, which are directories or files; where none of them is local, those below `otherwise`. And
    /// URLs of object stores below these prefixes; where none of them is such a URL, all.
    ///
    /// # Errors
    /// When one is neither.
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

    /// The same, in the name of somebody.
    #[must_use]
    pub fn of(mut self, who: &str) -> Self {
        self.who = Arc::from(who);
        self
    }

    /// Refuses what is the program's own: a directory or the URL of one, and all below it.
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

    /// Whether every local path may be used.
    pub(crate) fn are_all(&self) -> bool {
        self.local.is_none() && self.refused().is_empty()
    }

    /// Looks at a local path, which may hold no wildcards, and gives the way to it.
    ///
    /// # Errors
    /// When it may not be used.
    pub(crate) fn check_local(&self, path: &Path) -> Result<Reach, ConnectorError> {
        if self.are_all() {
            return Ok(Reach::as_given(path));
        }
        // The file system is asked while nothing is locked.
        let refused = self.refused().clone();
        let resolved = match resolve(path) {
            Ok(resolved) => resolved,
            // Whoever uses it says what is wrong with it.
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

    /// Looks at the URL of something in an object store.
    ///
    /// # Errors
    /// When it may not be used.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), ConnectorError> {
        let refused = self.refused().clone();
        if self.urls.is_none() && refused.is_empty() {
            return Ok(());
        }
        let place = match StoredPlace::of(url) {
            Ok(place) => place,
            // Whoever opens it says what is wrong with it.
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

    /// What may be used of the store that a URL is in.
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

    /// The error of a path that the system does not resolve.
    fn unknown(&self, path: &Path, reason: &str) -> ConnectorError {
        let what = path.display().to_string();
        if self.names(path) { self.refusal(&what, reason) } else { self.refusal(&what, &self.allowed_local()) }
    }

    /// Whether a path lies below a prefix by its text. What is elsewhere, and where links there lead, is not told.
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
                // Without a slash at the end, to be told.
                Ok(Self::Local(absolute.components().collect()))
            }
            None => StoredPlace::of(text).map(Self::Stored),
        }
    }
}

/// A path as the system resolves it, without links and `..`; what is not there is appended to the deepest directory that is.
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

/// An absolute path without `..`, by its text alone.
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
