//! Walks the local file system, beside whoever waits for the files: a directory may hold very many, and a file system
//! behind a network may take its time.
//!
//! The calls of the system block, so a walk runs on a thread that the runtime keeps for such calls. A reader waits for one
//! walk at a time. A walk that nobody waits for any more stops at the next entry.

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    panic::resume_unwind,
    path::{Path as LocalPath, PathBuf},
    sync::{Arc, Weak},
};

use super::pattern::{Component, PathPattern};
use crate::{
    AllowedPaths, ConnectorError,
    allowed::NO_FILE,
    error::store_error,
    location::{FoundFile, is_hidden},
};

/// The file `path`, or all files below the directory `path`; `None` if nothing has that name.
pub(super) async fn named(path: &LocalPath, allowed: &AllowedPaths) -> Result<Option<Vec<FoundFile>>, ConnectorError> {
    let (path, allowed) = (path.to_owned(), allowed.clone());
    beside(move |waiter| list_named(&path, &allowed, waiter)).await
}

/// What a pattern matches below a directory.
pub(super) async fn matching(
    path: &LocalPath,
    pattern: &PathPattern,
    allowed: &AllowedPaths,
) -> Result<Vec<FoundFile>, ConnectorError> {
    let (path, pattern, allowed) = (path.to_owned(), pattern.clone(), allowed.clone());
    beside(move |waiter| {
        let mut walk = Walk::new(&pattern, &allowed, waiter);
        walk.matching(&path, &pattern.components)?;
        Ok(walk.into_files())
    })
    .await
}

/// Runs a walk on a thread for calls that block.
#[expect(clippy::disallowed_methods, reason = "files block, and this is what `object_store` does for them")]
async fn beside<T: Send + 'static>(
    walk: impl FnOnce(Waiter) -> Result<T, ConnectorError> + Send + 'static,
) -> Result<T, ConnectorError> {
    // Dropped with this future, whether it has ended or not.
    let here = Arc::new(());
    let waiter = Waiter(Arc::downgrade(&here));
    let walked = tokio::task::spawn_blocking(move || walk(waiter)).await;
    match walked.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(walked) => walked,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(gone)) => Err(store_error("list files".to_owned())(gone)),
    }
}

/// Whoever waits for a walk.
struct Waiter(Weak<()>);

impl Waiter {
    /// Ends the walk at `at` if nobody waits for it.
    fn check(&self, at: &LocalPath) -> Result<(), ConnectorError> {
        if self.0.strong_count() > 0 {
            return Ok(());
        }
        let reason = "nobody waits for it any more".to_owned();
        Err(ConnectorError::Data { attempted: format!("list {}", at.display()), reason })
    }
}

fn list_named(
    path: &LocalPath,
    allowed: &AllowedPaths,
    waiter: Waiter,
) -> Result<Option<Vec<FoundFile>>, ConnectorError> {
    let pattern = PathPattern { components: Vec::new(), directories_only: false };
    let mut walk = Walk::new(&pattern, allowed, waiter);
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
    Ok(Some(walk.into_files()))
}

struct Walk<'a> {
    files: Vec<FoundFile>,
    /// Device and inode number of each enclosing directory, while a directory is walked recursively.
    above: Vec<(u64, u64)>,
    pattern: &'a PathPattern,
    allowed: &'a AllowedPaths,
    /// Directories that passed the check; their entries may be used too, except links.
    looked_at: HashSet<PathBuf>,
    waiter: Waiter,
}

impl<'a> Walk<'a> {
    fn new(pattern: &'a PathPattern, allowed: &'a AllowedPaths, waiter: Waiter) -> Self {
        Self { files: Vec::new(), above: Vec::new(), pattern, allowed, looked_at: HashSet::new(), waiter }
    }

    /// What was found, in order. Sorting very many names takes its time, which this thread has. Whoever joins several walks
    /// sorts again, and passes once over what is in order.
    fn into_files(mut self) -> Vec<FoundFile> {
        self.files.sort_unstable();
        self.files
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
        entries(at, &self.waiter)
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
                    self.waiter.check(&entry)?;
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
            self.waiter.check(&entry)?;
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
fn entries(at: &LocalPath, waiter: &Waiter) -> Result<Vec<PathBuf>, ConnectorError> {
    let failed = |error| store_error(format!("list {}", at.display()))(error);
    let listed = match fs::read_dir(directory(at)) {
        Ok(listed) => listed,
        Err(error) if is_nothing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let listed = listed.map(|entry| {
        waiter.check(at)?;
        entry.map(|entry| at.join(entry.file_name())).map_err(failed)
    });
    listed.collect()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_walk_learns_that_nobody_waits_for_it() {
        let (go, gone) = mpsc::channel();
        let (result, results) = mpsc::channel();
        let mut walk = Box::pin(beside(move |waiter| -> Result<(), ConnectorError> {
            let look = || result.send(waiter.check("here".as_ref()).is_ok()).expect("the test waits");
            look();
            gone.recv().expect("the test goes on");
            look();
            Ok(())
        }));
        assert!(poll!(&mut walk).is_pending());
        assert_eq!(results.recv(), Ok(true), "it has begun, and somebody waits");
        drop(walk);
        go.send(()).expect("the walk waits");
        assert_eq!(results.recv(), Ok(false), "nobody waits");
    }

    #[test]
    fn each_entry_asks_whether_somebody_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("d")).expect("created");
        fs::write(folder.path().join("d/a"), "").expect("written");
        let allowed = AllowedPaths::everywhere();
        let here = Arc::new(());
        let waiter = || Waiter(Arc::downgrade(&here));
        let files = list_named(folder.path(), &allowed, waiter()).expect("listed").expect("it is there");
        assert_eq!(files.len(), 1);
        let gone = waiter();
        drop(here);
        let error = list_named(folder.path(), &allowed, gone).expect_err("nobody waits");
        assert!(error.to_string().contains("nobody waits"), "{error}");
    }
}
