//! A real directory that all hosts share, as on one machine. A power cut may lose what was not synced.
//!
//! Files are really written, renamed and removed. The product reports through [`thalweg_types::durable`] what it has
//! synced. At a power cut, every name given since its directory was synced is kept or lost, and so is every byte
//! written since its file was synced. A removal without a sync is always kept, since nothing is known of the file.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use thalweg_types::durable;

use crate::input::Dice;

/// Identifies a file or directory, whatever its name.
type Inode = u64;

/// What was synced to the disk.
#[derive(Debug, Default)]
struct Durable {
    /// The names in each directory.
    names: BTreeMap<Inode, BTreeMap<String, Inode>>,
    /// The length of each file.
    lengths: BTreeMap<Inode, u64>,
}

/// A directory that loses unsynced files at a power cut. It is removed when it is dropped.
#[derive(Debug)]
pub struct SharedDirectory {
    root: tempfile::TempDir,
    durable: Rc<RefCell<Durable>>,
}

impl SharedDirectory {
    /// Creates an empty directory, and records what this thread syncs until the directory is dropped.
    ///
    /// # Errors
    /// If the system cannot create a directory.
    pub fn new() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("thalweg-").tempdir()?;
        let durable = Rc::new(RefCell::new(Durable::default()));
        let of_observer = durable.clone();
        durable::observe(Some(Rc::new(move |path| of_observer.borrow_mut().learn(path))));
        Ok(Self { root, durable })
    }

    /// Its path in the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// All files below a folder of the directory, with names relative to the root.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn look(&self, folder: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        let top = self.root.path().join(folder);
        let mut open = if top.exists() { vec![top] } else { Vec::new() };
        while let Some(directory) = open.pop() {
            for (name, path) in entries(&directory)? {
                if path.is_dir() {
                    open.push(path);
                } else {
                    let below = path.strip_prefix(self.root.path()).unwrap_or(Path::new(&name));
                    files.push((below.to_string_lossy().into_owned(), fs::read(&path)?));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Whether only visible files are left.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn is_swept(&self) -> io::Result<bool> {
        Ok(self.look("")?.iter().all(|(name, _)| !is_hidden(name)))
    }

    /// Runs `die`, which kills processes, and restores files that their destructors have removed: a killed process
    /// cannot clean up.
    ///
    /// # Errors
    /// If the system cannot create hard links.
    pub(super) fn survive(&self, die: impl FnOnce()) -> io::Result<()> {
        let shadows = tempfile::tempdir_in(self.root.path().parent().unwrap_or(Path::new("/tmp")))?;
        let mut shadowed = Vec::new();
        let mut open = vec![self.root.path().to_owned()];
        while let Some(directory) = open.pop() {
            for (_, path) in entries(&directory)? {
                if path.is_dir() {
                    open.push(path);
                } else {
                    let shadow = shadows.path().join(shadowed.len().to_string());
                    fs::hard_link(&path, &shadow)?;
                    shadowed.push((shadow, path));
                }
            }
        }
        die();
        for (shadow, path) in shadowed {
            if !path.exists() {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::rename(shadow, path)?;
            }
        }
        Ok(())
    }

    /// Cuts the power. Returns a description of each loss.
    ///
    /// # Errors
    /// If the files cannot be changed.
    pub(super) fn lose_power(&self, dice: &mut Dice) -> io::Result<Vec<String>> {
        let mut told = Vec::new();
        let mut open = vec![self.root.path().to_owned()];
        while let Some(directory) = open.pop() {
            self.lose_names(&directory, dice, &mut told)?;
            for (name, path) in entries(&directory)? {
                if path.is_dir() {
                    open.push(path);
                } else {
                    self.lose_bytes(&name, &path, dice, &mut told)?;
                }
            }
        }
        Ok(told)
    }

    fn lose_names(&self, directory: &Path, dice: &mut Dice, told: &mut Vec<String>) -> io::Result<()> {
        let durable = self.durable.borrow();
        let kept = durable.names.get(&fs::metadata(directory)?.ino()).cloned().unwrap_or_default();
        for (name, path) in entries(directory)? {
            let inode = fs::metadata(&path)?.ino();
            if kept.get(&name) == Some(&inode) || dice.percent(50) {
                continue;
            }
            let former = kept.iter().find(|(_, kept)| **kept == inode).map(|(name, _)| directory.join(name));
            if let Some(former) = former.filter(|former| !former.exists()) {
                told.push(format!("{name} has its former name"));
                fs::rename(&path, former)?;
            } else if path.is_dir() {
                told.push(format!("the directory {name} is lost"));
                fs::remove_dir_all(&path)?;
            } else {
                told.push(format!("{name} is lost"));
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn lose_bytes(&self, name: &str, path: &Path, dice: &mut Dice, told: &mut Vec<String>) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        let kept = self.durable.borrow().lengths.get(&metadata.ino()).copied().unwrap_or(0);
        if kept < metadata.len() {
            let left = kept + dice.below(metadata.len() - kept + 1);
            told.push(format!("{name} has {left} of its {} bytes", metadata.len()));
            fs::OpenOptions::new().write(true).open(path)?.set_len(left)?;
        }
        Ok(())
    }
}

impl Drop for SharedDirectory {
    fn drop(&mut self) {
        durable::observe(None);
    }
}

impl Durable {
    fn learn(&mut self, path: &Path) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.is_file() {
            self.lengths.insert(metadata.ino(), metadata.len());
        } else if let Ok(entries) = entries(path) {
            let inode = |(name, path): (String, PathBuf)| Some((name, fs::metadata(path).ok()?.ino()));
            self.names.insert(metadata.ino(), entries.into_iter().filter_map(inode).collect());
        }
    }
}

/// Whether a file, by its name from the root, is not published. Readers of tables also pass over names that begin with `_`.
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.'))
}

/// The entries of a directory, sorted by name.
fn entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entry = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    let mut entries: Vec<_> = fs::read_dir(directory)?.map(entry).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let (mut vanished, mut former, mut cut) = (false, false, false);
        for seed in 0..40 {
            let shared = SharedDirectory::new().unwrap();
            let at = |name: &str| shared.path().join(name);
            fs::write(at("a"), "durable").unwrap();
            durable::sync(&at("a")).unwrap();
            durable::sync(shared.path()).unwrap();
            fs::write(at("b"), "not durable").unwrap();
            fs::rename(at("a"), at("c")).unwrap();
            shared.lose_power(&mut Dice::new(seed)).unwrap();
            let left = shared.look("").unwrap();
            let content = |name: &str| left.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.as_slice());
            assert_eq!(content("a").or(content("c")), Some(b"durable".as_slice()));
            former |= content("a").is_some();
            vanished |= content("b").is_none();
            cut |= content("b").is_some_and(|bytes| bytes.len() < 11);
        }
        assert!(vanished && former && cut);
    }

    #[test]
    fn who_dies_tidies_nothing_up() {
        let shared = SharedDirectory::new().unwrap();
        fs::write(shared.path().join("a"), "left").unwrap();
        shared.survive(|| fs::remove_file(shared.path().join("a")).unwrap()).unwrap();
        assert_eq!(shared.look("").unwrap(), [("a".to_owned(), b"left".to_vec())]);
    }
}
