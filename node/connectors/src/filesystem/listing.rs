//! The files of a table: one, all below a directory or a prefix, or those that a pattern stands for.
//!
//! One rule holds for local paths, `file://` and object stores. A path that names something as it is written means just that.
//! What a pattern stands for is read like it: a file itself, of a directory all files below it. Hidden names are passed over wherever
//! nobody wrote them. Links are followed; one that leads back to a directory that it lies in is passed over, and one that leads out
//! of what tables may use is an error. A file is read once, however many ways lead to its path.

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

use super::{
    location::{FoundFile, Location, check, is_hidden, store_error},
    pattern::{Component, PathPattern, Spelling, has_wildcards, split_at_wildcard},
};
use crate::{
    AllowedPaths, ConnectorContext, ConnectorError,
    allowed::{AllowedKeys, NO_FILE},
};

/// The files of a table.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// As it is written in the table.
    path: String,
    /// What it means without wildcards.
    pub(crate) location: Location,
    /// Whether it may be used as it is written: a pattern need not.
    is_usable: bool,
    patterns: Vec<Beginning>,
}

/// What a pattern begins with, and the rest of it.
#[derive(Debug, Clone)]
struct Beginning {
    place: Location,
    pattern: PathPattern,
}

impl Files {
    /// What a path means to whoever reads it.
    pub(crate) fn new(path: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let invalid = |reason| ConnectorError::Data { attempted: format!("understand the path {path}"), reason };
        let checked = check(path, context);
        let mut patterns = Vec::new();
        if has_wildcards(path) {
            for path in expand_braces(path).map_err(invalid)? {
                patterns.push(Beginning::of(&path, context, invalid)?);
            }
        }
        let is_usable = checked.is_ok();
        if patterns.is_empty() {
            checked?;
        }
        Ok(Self { path: path.to_owned(), location: Location::unchecked(path, context)?, is_usable, patterns })
    }

    /// As it is written.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The files there are, by name.
    ///
    /// # Errors
    /// Where a local path without wildcards names nothing, too.
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

    /// Where there are no files: whether the path names a directory, or what has hidden objects at least.
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
    fn of(
        path: &str,
        context: &ConnectorContext,
        invalid: impl Fn(String) -> ConnectorError,
    ) -> Result<Self, ConnectorError> {
        let parse = |text: &str, spelling| PathPattern::parse(text, spelling).map_err(&invalid);
        let (beginning, rest) = split_at_wildcard(path);
        if let Some((text, is_url)) = local_text(path) {
            let spelling = if is_url { Spelling::Encoded } else { Spelling::Plain };
            let allowed = &context.allowed;
            allowed.check_local(&local_path(beginning).unwrap_or_default())?;
            let root = if text.starts_with('/') { "/" } else { "" };
            return Ok(Self { place: Location::Local(root.into(), allowed.clone()), pattern: parse(text, spelling)? });
        }
        Ok(Self { place: Location::new(beginning, context)?, pattern: parse(rest, Spelling::Encoded)? })
    }
}

/// The file of a name, or all files below the directory of that name; `None` where there is nothing of that name.
fn list_named(path: &LocalPath, allowed: &AllowedPaths) -> Result<Option<Vec<FoundFile>>, ConnectorError> {
    let pattern = PathPattern { components: Vec::new(), directories_only: false };
    let mut walk = Walk::new(&pattern, allowed);
    walk.look(path)?;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A part of it is a file, or it is longer than names can be: it may still be a pattern.
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
    /// The directories that the current one lies in, by device and number, where they are walked whole.
    above: Vec<(u64, u64)>,
    pattern: &'a PathPattern,
    allowed: &'a AllowedPaths,
    /// Directories that may be used, and so may what is in them and no link.
    looked_at: HashSet<PathBuf>,
}

impl<'a> Walk<'a> {
    fn new(pattern: &'a PathPattern, allowed: &'a AllowedPaths) -> Self {
        Self { files: Vec::new(), above: Vec::new(), pattern, allowed, looked_at: HashSet::new() }
    }

    /// Refuses what may not be used.
    fn look(&self, path: &LocalPath) -> Result<(), ConnectorError> {
        if self.allowed.are_all() {
            return Ok(());
        }
        let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let is_within = path.file_name().is_some() && path.parent().is_some_and(|above| self.looked_at.contains(above));
        if is_within && !is_link() { Ok(()) } else { self.allowed.check_local(path).map(|_| ()) }
    }

    /// What is in a directory; nothing where it is none.
    fn entries(&mut self, at: &LocalPath) -> Result<Vec<PathBuf>, ConnectorError> {
        self.allowed.check_local(at)?;
        self.looked_at.insert(at.to_owned());
        entries(at)
    }

    /// What the rest of the pattern stands for, below a directory.
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

    /// What the rest of the pattern stands for, in a directory and in all below it.
    fn directories(&mut self, at: &LocalPath, rest: &[Component]) -> Result<(), ConnectorError> {
        self.matching(at, rest)?;
        self.within(at, |walk, entry| {
            walk.look(entry)?;
            if entry.is_dir() { walk.directories(entry, rest) } else { Ok(()) }
        })
    }

    /// All files below a directory.
    fn below(&mut self, at: &LocalPath) -> Result<(), ConnectorError> {
        self.within(at, |walk, entry| {
            walk.look(entry)?;
            if entry.is_dir() { walk.below(entry) } else { walk.add(entry) }
        })
    }

    /// Each entry of a directory that is not hidden. A directory that lies in itself, by a link, has none.
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

    /// A file that was listed; nothing where it is gone meanwhile: whoever writes the others may remove or rename its own. Pipes,
    /// sockets and devices, which nobody named, are passed over.
    fn add(&mut self, path: &LocalPath) -> Result<(), ConnectorError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A link to nowhere is there itself.
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

/// The working directory has no name.
fn directory(path: &LocalPath) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// What is in a directory; nothing where it is none.
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

/// The last name of a path; none where it has none.
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

/// The object of a key, or else all objects below it, where they are asked for.
async fn list_prefix(
    (store, allowed): (&Arc<dyn ObjectStore>, &AllowedKeys),
    path: &Path,
    with_below: bool,
) -> Result<Vec<FoundFile>, ConnectorError> {
    // A store has no object without a name.
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
