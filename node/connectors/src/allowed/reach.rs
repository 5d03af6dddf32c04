//! Reaches a file without following links, so that a path that was resolved and checked still leads to the same place
//! when it is used.
//!
//! The path is walked from the root, one directory at a time; each is opened relative to the one before, never through
//! a link. If paths are unconfined, the system follows the path as given.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Mode, OFlags, fsync, mkdirat, openat, renameat, unlinkat},
    io::Errno,
};
use thalweg_types::durable;

/// Flags to pass through a directory: passing through must not require permission to list it.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY;
/// The process's umask is subtracted, as for every file it creates.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Why a pipe, a socket or a device cannot be read as a file.
pub(crate) const NO_FILE: &str = "it is not a regular file";

/// A local path that may be used.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    path: PathBuf,
    /// Whether the system resolved the path. If so, no link on it is followed.
    is_resolved: bool,
}

impl Reach {
    pub(super) fn as_given(path: &Path) -> Self {
        Self { path: path.to_owned(), is_resolved: false }
    }

    pub(super) fn resolved(path: PathBuf) -> Self {
        Self { path, is_resolved: true }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in this directory.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self { path: self.path.join(name), is_resolved: self.is_resolved }
    }

    /// Opens the file for reading. Does not block: anything but a regular file, such as a pipe, is refused.
    pub(crate) fn open(&self) -> io::Result<File> {
        let at_once = OFlags::NONBLOCK.bits().cast_signed();
        let file =
            self.open_with(OFlags::RDONLY | OFlags::NONBLOCK, OpenOptions::new().read(true).custom_flags(at_once))?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE)),
        }
    }

    /// Opens the file for appending.
    pub(crate) fn append(&self) -> io::Result<File> {
        self.open_with(OFlags::WRONLY | OFlags::APPEND, OpenOptions::new().append(true))
    }

    /// Creates the file; fails if the name is taken.
    pub(crate) fn create_new(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.open_with(flags, OpenOptions::new().write(true).create_new(true))
    }

    fn open_with(&self, flags: OFlags, options: &OpenOptions) -> io::Result<File> {
        if !self.is_resolved {
            return options.open(&self.path);
        }
        let (directory, name) = self.directory_and_name()?;
        Ok(openat(&directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, FILE_MODE)?.into())
    }

    /// Removes the file.
    pub(crate) fn remove(&self) -> io::Result<()> {
        if !self.is_resolved {
            return fs::remove_file(&self.path);
        }
        let (directory, name) = self.directory_and_name()?;
        Ok(unlinkat(&directory, name, AtFlags::empty())?)
    }

    fn directory_and_name(&self) -> io::Result<(OwnedFd, &OsStr)> {
        // The root is a directory, not a file.
        let name = self.path.file_name().ok_or(Errno::ISDIR)?;
        Ok((directory(self.path.parent().unwrap_or(Path::new("/")), Missing::Refuse)?, name))
    }

    /// Creates the directory and its missing parents, and makes their names durable.
    pub(crate) fn create_directories(&self) -> io::Result<()> {
        if self.is_resolved {
            directory(&self.path, Missing::Create).map(|_| ())
        } else {
            durable::create_directory(&self.path)
        }
    }

    /// Creates the directory and its missing parents. The caller makes their names durable later, with those of the
    /// files in them.
    pub(crate) fn create_directories_for_now(&self) -> io::Result<()> {
        if self.is_resolved {
            directory(&self.path, Missing::CreateForNow).map(|_| ())
        } else {
            fs::create_dir_all(&self.path)
        }
    }

    /// Renames a file of this directory within it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if !self.is_resolved {
            return fs::rename(self.path.join(from), self.path.join(to));
        }
        for name in [from, to] {
            if Path::new(name).file_name() != Some(OsStr::new(name)) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file"));
            }
        }
        let directory = directory(&self.path, Missing::Refuse)?;
        Ok(renameat(&directory, from, &directory, to)?)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    /// Does not sync the new name to disk.
    CreateForNow,
    Refuse,
}

/// Opens the directory of an absolute path, none of whose components may be a link.
fn directory(path: &Path, missing: Missing) -> io::Result<OwnedFd> {
    let flags = PASS | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, "/", flags, Mode::empty())?;
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not as the system resolves it")),
        };
        at = match openat(&at, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if missing != Missing::Refuse => {
                match mkdirat(&at, name, DIRECTORY_MODE) {
                    Ok(()) if missing == Missing::CreateForNow => {}
                    Ok(()) => {
                        fsync(openat(&at, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)?
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat(&at, name, flags, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::symlink};

    use super::*;

    fn make_pipe(path: &Path) {
        rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    }

    /// A checked path becomes a link before it is used.
    #[test]
    fn nothing_is_reached_through_a_link() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("it is there");
        for folder in ["in/deep", "out/deep"] {
            fs::create_dir_all(root.join(folder)).expect("created");
        }
        fs::write(root.join("out/deep/f"), "secret").expect("written");
        let deep = Reach::resolved(root.join("in/deep"));
        deep.join("f").create_new().and_then(|mut file| file.write_all(b"a")).expect("it may be used");
        deep.join("f").append().and_then(|mut file| file.write_all(b"b")).expect("it may be used");
        deep.rename("f", "g").expect("it may be used");
        assert_eq!(io::read_to_string(deep.join("g").open().expect("it may be used")).expect("text"), "ab");
        make_pipe(&root.join("in/deep/pipe"));
        for reach in [Reach::resolved(root.join("in/deep/pipe")), Reach::as_given(&root.join("in/deep/pipe"))] {
            assert_eq!(reach.open().expect_err("it is a pipe").to_string(), NO_FILE);
        }
        deep.rename("g", "../g").expect_err("it is no name");
        deep.join("g").create_new().expect_err("something has its name");
        deep.join("h").create_new().map(drop).and_then(|()| deep.join("h").remove()).expect("it may be used");
        Reach::resolved(root.join("in/a/b")).create_directories().expect("it may be used");

        symlink(root.join("out/deep/f"), root.join("in/deep/f")).expect("a link");
        deep.join("f").open().expect_err("it is a link");
        deep.join("f").append().expect_err("it is a link");
        deep.join("f").create_new().expect_err("it is a link");
        fs::rename(root.join("in/deep"), root.join("in/was")).expect("renamed");
        symlink(root.join("out/deep"), root.join("in/deep")).expect("a link");
        deep.join("f").open().expect_err("it is in a link");
        deep.join("h").create_new().expect_err("it is in a link");
        deep.rename("f", "h").expect_err("it is in a link");
        deep.join("f").remove().expect_err("it is in a link");
        deep.create_directories().expect_err("it is a link");
        Reach::resolved(root.join("in/deep/new")).create_directories().expect_err("it is in a link");
        let names: Vec<_> = fs::read_dir(root.join("out/deep")).expect("it is there").collect();
        assert_eq!(names.len(), 1, "{names:?}");
        Reach::resolved(root.join("in/../out/deep/f")).open().expect_err("it goes up");
    }
}
