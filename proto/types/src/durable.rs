//! Has the disk keep files and names when the power fails; tells a simulation what was asked of it.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::bug::{self, Bug};

/// Makes a file's content durable, or the names in a directory, as they are now.
///
/// # Errors
/// When it cannot be opened or the disk does not take it.
pub fn sync(path: &Path) -> io::Result<()> {
    sync_file(&File::open(path)?, path)
}

/// As [`sync`], for what is open already.
///
/// # Errors
/// When the disk does not take it.
pub fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    if bug::is_active(Bug::SkipSync) {
        return Ok(());
    }
    file.sync_all()?;
    switch::tell(path);
    Ok(())
}

/// Creates a directory and those above it, and makes their names durable.
///
/// # Errors
/// When one cannot be created, or its parent cannot be synced.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    let missing: Vec<&Path> = absolute.ancestors().take_while(|directory| !directory.exists()).collect();
    fs::create_dir_all(&absolute)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync)
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::{cell::RefCell, path::Path, rc::Rc};

    /// Is told of what was made durable.
    pub type Observer = Rc<dyn Fn(&Path)>;

    thread_local! {
        static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    }

    /// Tells on this thread of each file or directory that has been made durable.
    pub fn observe(observer: Option<Observer>) {
        OBSERVER.set(observer);
    }

    pub(super) fn tell(path: &Path) {
        let observer = OBSERVER.with_borrow(Clone::clone);
        if let Some(observer) = observer {
            observer(path);
        }
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{Observer, observe};

#[cfg(not(feature = "seeded-bugs"))]
mod switch {
    #[inline(always)]
    pub(super) fn tell(_path: &std::path::Path) {}
}
