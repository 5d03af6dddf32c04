//! Lists a table's files: a single file, all files below a directory or prefix, or the matches of a pattern.
//!
//! One rule holds for local paths, `file://` and object stores. If a path as written names something, it means that.
//! Otherwise it is a pattern, and each match is read the same way: a file as itself, a directory as all files below it.
//! Hidden names are skipped unless the path spells them out. Links are followed. A link back to a directory that
//! contains it is skipped; a link out of the allowed paths is an error. A file is read once, even if several patterns
//! match it.

use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use thalweg_storage::{expand_braces, local_path};
use thalweg_types::path::local_text;

use super::{
    pattern::{PathPattern, Spelling, has_wildcards, split_at_wildcard},
    walk,
};
use crate::{
    ConnectorError,
    allowed::AllowedKeys,
    error::store_error,
    location::{FoundFile, Location, Places},
};

/// The files of a table.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The path as written in the table.
    path: String,
    /// The location of the path taken literally.
    pub(crate) location: Location,
    /// Whether the literal path may be used; a pattern's literal path need not be.
    is_usable: bool,
    patterns: Vec<Beginning>,
}

/// The literal start of a pattern, and the pattern.
#[derive(Debug, Clone)]
struct Beginning {
    place: Location,
    pattern: PathPattern,
}

impl Files {
    /// The files that a reader of `path` should list.
    pub(crate) fn new(path: &str, places: Places<'_>) -> Result<Self, ConnectorError> {
        let invalid = |reason| ConnectorError::Data { attempted: format!("understand the path {path}"), reason };
        let checked = places.check(path);
        let mut patterns = Vec::new();
        if has_wildcards(path) {
            for path in expand_braces(path).map_err(|error| invalid(error.to_string()))? {
                patterns.push(Beginning::of(&path, places, invalid)?);
            }
        }
        let is_usable = checked.is_ok();
        if patterns.is_empty() {
            checked?;
        }
        Ok(Self { path: path.to_owned(), location: Location::unchecked(path, places)?, is_usable, patterns })
    }

    /// The path as written in the table.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Lists the files, sorted by name.
    ///
    /// # Errors
    /// Also if a local path without wildcards names nothing.
    pub(crate) async fn list(&self) -> Result<Vec<FoundFile>, ConnectorError> {
        let mut files = match (&self.location, self.patterns.is_empty()) {
            _ if !self.is_usable => self.list_matching().await?,
            (Location::Local(path, allowed), is_name) => match walk::named(path, allowed).await? {
                Some(files) => files,
                None if is_name => {
                    let reason = "no such file".to_owned();
                    return Err(ConnectorError::Data { attempted: format!("find {}", path.display()), reason });
                }
                None => self.list_matching().await?,
            },
            (Location::Stored { store, path, allowed }, is_name) => {
                let files = list_prefix((store, allowed), path, is_name).await?;
                if files.is_empty() && !is_name { self.list_matching().await? } else { files }
            }
        };
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// Given that no files were found: whether the path names a directory, or a prefix with at least hidden objects.
    pub(crate) async fn is_directory(&self) -> Result<bool, ConnectorError> {
        match &self.location {
            _ if !self.patterns.is_empty() => Ok(false),
            Location::Local(..) => Ok(true),
            Location::Stored { store, path, .. } => {
                let first = store.list(Some(path)).try_next().await;
                first.map(|first| first.is_some()).map_err(store_error(format!("list {path}")))
            }
        }
    }

    async fn list_matching(&self) -> Result<Vec<FoundFile>, ConnectorError> {
        let mut files = Vec::new();
        for Beginning { place, pattern } in &self.patterns {
            match place {
                Location::Local(path, allowed) => files.extend(walk::matching(path, pattern, allowed).await?),
                Location::Stored { store, path, allowed } => {
                    files.extend(list_pattern((store, allowed), path, pattern).await?);
                }
            }
        }
        Ok(files)
    }
}

impl Beginning {
    fn of(path: &str, places: Places<'_>, invalid: impl Fn(String) -> ConnectorError) -> Result<Self, ConnectorError> {
        let parse = |text: &str, spelling| PathPattern::parse(text, spelling).map_err(&invalid);
        let (beginning, rest) = split_at_wildcard(path);
        if let Some((text, is_url)) = local_text(path) {
            let spelling = if is_url { Spelling::Encoded } else { Spelling::Plain };
            let allowed = places.allowed;
            allowed.check_local(&local_path(beginning).unwrap_or_default())?;
            let root = if text.starts_with('/') { "/" } else { "" };
            return Ok(Self { place: Location::Local(root.into(), allowed.clone()), pattern: parse(text, spelling)? });
        }
        Ok(Self { place: Location::new(beginning, places)?, pattern: parse(rest, Spelling::Encoded)? })
    }
}

fn found(object: object_store::ObjectMeta) -> FoundFile {
    FoundFile { name: object.location.to_string(), bytes: object.size }
}

/// The object with this key, or else all objects below it if `with_below`.
async fn list_prefix(
    (store, allowed): (&Arc<dyn ObjectStore>, &AllowedKeys),
    path: &Path,
    with_below: bool,
) -> Result<Vec<FoundFile>, ConnectorError> {
    // Stores have no object with an empty key.
    if !path.as_ref().is_empty() {
        match store.head(path).await {
            Ok(meta) => return Ok(vec![found(meta)]),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error(format!("look at {path}"))(error)),
        }
    }
    let everything = PathPattern { components: Vec::new(), directories_only: true };
    if with_below { list_pattern((store, allowed), path, &everything).await } else { Ok(Vec::new()) }
}

async fn list_pattern(
    (store, allowed): (&Arc<dyn ObjectStore>, &AllowedKeys),
    place: &Path,
    pattern: &PathPattern,
) -> Result<Vec<FoundFile>, ConnectorError> {
    let mut files = Vec::new();
    let mut objects = store.list(Some(place));
    while let Some(object) = objects.try_next().await.map_err(store_error(format!("list {place}")))? {
        let Some(parts) = object.location.prefix_match(place) else { continue };
        let parts: Vec<_> = parts.collect();
        let names: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        if pattern.is_of(&names) {
            allowed.check(&object.location)?;
            files.push(found(object));
        }
    }
    Ok(files)
}
