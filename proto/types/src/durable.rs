//! Makes files and names survive a power failure, and tells a simulation what was made durable.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::bug::{self, Bug};

/// Makes a file's content, or the names in a directory, durable as they are now.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync(path: &Path) -> io::Result<()> {
    sync_file(&File::open(path)?, path)
}

/// As [`sync`], for an open file.
///
/// # Errors
/// When it cannot be synced.
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

    /// Called with each path that was made durable.
    pub type Observer = Rc<dyn Fn(&Path)>;

    thread_local! {
        static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    }

    /// Sets the observer of this thread, which hears of each file or directory that is made durable.
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
