//! Lists a table's files: a single file, all files below a directory or prefix, or the matches of a pattern.
//!
//! One rule holds for local paths, `file://` and object stores. If a path as written names something, it means that.
//! Otherwise it is a pattern, and each match is read the same way: a file as itself, a directory as all files below it.
//! Hidden names are skipped unless the path spells them out. Links are followed. A link back to a directory that
//! contains it is skipped; a link out of the allowed paths is an error. A file is read once, even if several patterns
//! match it.

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path as LocalPath, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use thalweg_storage::{expand_braces, local_path, local_text};

use super::pattern::{Component, PathPattern, Spelling, has_wildcards, split_at_wildcard};
use crate::{
    AllowedPaths, ConnectorError,
    allowed::{AllowedKeys, NO_FILE},
    error::store_error,
    location::{FoundFile, Location, Places, is_hidden},
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
            (Location::Local(path, allowed), is_name) => match list_named(path, allowed)? {
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
                Location::Local(path, allowed) => {
                    let mut walk = Walk::new(pattern, allowed);
                    walk.matching(path, &pattern.components)?;
                    files.append(&mut walk.files);
                }
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

/// The file `path`, or all files below the directory `path`; `None` if nothing has that name.
fn list_named(path: &LocalPath, allowed: &AllowedPaths) -> Result<Option<Vec<FoundFile>>, ConnectorError> {
    let pattern = PathPattern { components: Vec::new(), directories_only: false };
    let mut walk = Walk::new(&pattern, allowed);
    walk.look(path)?;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A component is a file, or a name is too long: the path may still be a pattern.
        Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::InvalidFilename) => return Ok(None),
        Err(error) => return Err(store_error(format!("find {}", path.display()))(error)),
    };
    if metadata.is_dir() {
        walk.below(path)?
    } else if metadata.is_file() {
        walk.add(path)?
    } else {
        let reason = NO_FILE.to_owned();
        return Err(ConnectorError::Data { attempted: format!("read {}", path.display()), reason });
    }
    Ok(Some(walk.files))
}

/// Walks the local file system.
struct Walk<'a> {
    files: Vec<FoundFile>,
    /// Device and inode number of each enclosing directory, while a directory is walked recursively.
    above: Vec<(u64, u64)>,
    pattern: &'a PathPattern,
    allowed: &'a AllowedPaths,
    /// Directories that passed the check; their entries may be used too, except links.
    looked_at: HashSet<PathBuf>,
}

impl<'a> Walk<'a> {
    fn new(pattern: &'a PathPattern, allowed: &'a AllowedPaths) -> Self {
        Self { files: Vec::new(), above: Vec::new(), pattern, allowed, looked_at: HashSet::new() }
    }

    /// Refuses a path that may not be used.
    fn look(&self, path: &LocalPath) -> Result<(), ConnectorError> {
        if self.allowed.are_all() {
            return Ok(());
        }
        let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let is_within = path.file_name().is_some() && path.parent().is_some_and(|above| self.looked_at.contains(above));
        if is_within && !is_link() { Ok(()) } else { self.allowed.check_local(path).map(|_| ()) }
    }

    /// The entries of a directory; none if it is not one.
    fn entries(&mut self, at: &LocalPath) -> Result<Vec<PathBuf>, ConnectorError> {
        self.allowed.check_local(at)?;
        self.looked_at.insert(at.to_owned());
        entries(at)
    }

    /// Adds what the rest of the pattern matches below a directory.
    fn matching(&mut self, at: &LocalPath, rest: &[Component]) -> Result<(), ConnectorError> {
        let Some((component, rest)) = rest.split_first() else {
            self.look(at)?;
            return match fs::metadata(at) {
                Ok(metadata) if metadata.is_dir() => self.below(at),
                Ok(_) if self.pattern.directories_only => Ok(()),
                Ok(_) => self.add(at),
                Err(error) if is_nothing(&error) => Ok(()),
                Err(error) => Err(store_error(format!("look at {}", at.display()))(error)),
            };
        };
        match component {
            Component::Name(name) => self.matching(&at.join(name), rest),
            Component::Names { .. } => {
                for entry in self.entries(at)? {
                    if name_of(&entry)?.is_some_and(|name| component.is(name)) {
                        self.matching(&entry, rest)?;
                    }
                }
                Ok(())
            }
            Component::Directories if rest.is_empty() => self.below(&directory(at)),
            Component::Directories => self.directories(at, rest),
        }
    }

    /// Adds what the rest of the pattern matches in a directory and all directories below it.
    fn directories(&mut self, at: &LocalPath, rest: &[Component]) -> Result<(), ConnectorError> {
        self.matching(at, rest)?;
        self.within(at, |walk, entry| {
            walk.look(entry)?;
            if entry.is_dir() { walk.directories(entry, rest) } else { Ok(()) }
        })
    }

    /// Adds all files below a directory.
    fn below(&mut self, at: &LocalPath) -> Result<(), ConnectorError> {
        self.within(at, |walk, entry| {
            walk.look(entry)?;
            if entry.is_dir() { walk.below(entry) } else { walk.add(entry) }
        })
    }

    /// Visits each entry of a directory that is not hidden. Skips a directory that contains itself through a link.
    fn within(
        &mut self,
        at: &LocalPath,
        mut each: impl FnMut(&mut Self, &LocalPath) -> Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        let entries = self.entries(at)?;
        let Ok(metadata) = fs::metadata(directory(at)) else { return Ok(()) };
        let own = (metadata.dev(), metadata.ino());
        if self.above.contains(&own) {
            return Ok(());
        }
        self.above.push(own);
        for entry in entries {
            if name_of(&entry)?.is_some_and(|name| !is_hidden(name)) {
                each(self, &entry)?;
            }
        }
        self.above.pop();
        Ok(())
    }

    /// Adds a listed file. Does nothing if it is gone: other writers may remove or rename their own files. Skips pipes,
    /// sockets and devices, which nobody named.
    fn add(&mut self, path: &LocalPath) -> Result<(), ConnectorError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A dangling link itself exists.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(()),
            Err(error) => return Err(store_error(format!("look at {}", path.display()))(error)),
        };
        if !metadata.is_file() {
            return Ok(());
        }
        let name = path.to_str().ok_or_else(|| not_text(path))?.to_owned();
        self.files.push(FoundFile { name, bytes: metadata.len() });
        Ok(())
    }
}

/// Names the working directory `.`, since its path is empty.
fn directory(path: &LocalPath) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// The entries of a directory; none if it is not one.
fn entries(at: &LocalPath) -> Result<Vec<PathBuf>, ConnectorError> {
    let failed = |error| store_error(format!("list {}", at.display()))(error);
    let listed = match fs::read_dir(directory(at)) {
        Ok(listed) => listed,
        Err(error) if is_nothing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    listed.map(|entry| entry.map(|entry| at.join(entry.file_name())).map_err(failed)).collect()
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// The last component of a path, if it has one.
fn name_of(path: &LocalPath) -> Result<Option<&str>, ConnectorError> {
    path.file_name().map(|name| name.to_str().ok_or_else(|| not_text(path))).transpose()
}

fn not_text(path: &LocalPath) -> ConnectorError {
    let reason = "its name is not text in UTF-8".to_owned();
    ConnectorError::Data { attempted: format!("use {}", path.display()), reason }
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
