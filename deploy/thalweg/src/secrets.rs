//! The secrets that this process gives to the tables of its nodes.
//!
//! | tried in turn | secret `kafka-password` |
//! |---|---|
//! | a file of the directory of `--secrets` | `DIR/kafka-password` |
//! | a variable of the environment, in capitals, with `_` for `-` and `.` | `THALWEG_SECRET_KAFKA_PASSWORD` |
//!
//! One line feed at the end does not belong to the content. Nothing is remembered: a file that changes is read anew when a table
//! is opened the next time.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use thalweg_connectors::{SecretError, Secrets};
use thalweg_types::connector::is_secret_name;

/// The most bytes of a secret: certificates with their chains fit.
const BYTES_MAX: usize = 64 << 10;
const VARIABLE: &str = "THALWEG_SECRET_";

/// The secrets of this process.
#[derive(Debug, Clone, Default)]
pub struct ProcessSecrets {
    directory: Option<PathBuf>,
}

impl ProcessSecrets {
    /// Those of a directory, and of the environment.
    #[must_use]
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }
}

impl Secrets for ProcessSecrets {
    fn resolve(&self, name: &str) -> Result<String, SecretError> {
        // A name is never a path that leads elsewhere.
        if !is_secret_name(name) {
            return Err(SecretError::Name);
        }
        let file = self.directory.as_ref().map(|directory| directory.join(name));
        if let Some(file) = &file
            && let Some(content) = read(file)?
        {
            return text_of(content, &file.display().to_string());
        }
        let variable = variable_of(name);
        #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
        match std::env::var_os(&variable) {
            Some(content) => text_of(content.into_encoded_bytes(), &format!("the variable {variable}")),
            None => Err(SecretError::Missing {
                looked: match file {
                    Some(file) => format!("there is no file {}, and no variable {variable}", file.display()),
                    None => format!("there is no variable {variable}, and no directory of --secrets"),
                },
            }),
        }
    }
}

fn variable_of(name: &str) -> String {
    format!("{VARIABLE}{}", name.to_ascii_uppercase().replace(['-', '.'], "_"))
}

/// The beginning of a file, one byte more than may be; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    let place = || path.display().to_string();
    let failed = |source| SecretError::Read { place: place(), source };
    // Opening a pipe would wait for its writer.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(SecretError::Content { place: place(), reason: "is no file".to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let longest = u64::try_from(BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(longest).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn text_of(content: Vec<u8>, place: &str) -> Result<String, SecretError> {
    let wrong = |reason: String| SecretError::Content { place: place.to_owned(), reason };
    if content.len() > BYTES_MAX {
        return Err(wrong(format!("has more than {} KiB", BYTES_MAX >> 10)));
    }
    let mut text = String::from_utf8(content).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(wrong("is empty".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, ProcessSecrets) {
        let directory = tempfile::tempdir().unwrap();
        let secrets = ProcessSecrets::new(Some(directory.path().to_owned()));
        (directory, secrets)
    }

    fn refused(secrets: &ProcessSecrets, name: &str) -> String {
        secrets.resolve(name).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_is_a_file_without_its_last_line_feed() {
        let (directory, secrets) = directory();
        for (content, secret) in
            [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a", " a"), ("ä", "ä")]
        {
            fs::write(directory.path().join("s"), content).unwrap();
            assert_eq!(secrets.resolve("s").unwrap(), secret);
        }
        assert_eq!(secrets.resolve("s").unwrap(), "ä", "and is read anew each time");
    }

    /// As Kubernetes mounts them, so that all files change at once.
    #[test]
    fn a_link_within_the_directory_is_followed() {
        let (directory, secrets) = directory();
        let at = |name: &str| directory.path().join(name);
        for (folder, content) in [("..first", "old"), ("..second", "new")] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("s"), content).unwrap();
        }
        symlink("..first", at("..data")).unwrap();
        symlink("..data/s", at("s")).unwrap();
        assert_eq!(secrets.resolve("s").unwrap(), "old");
        symlink("..second", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(secrets.resolve("s").unwrap(), "new");
    }

    #[test]
    fn what_is_no_secret_is_refused_by_its_place_and_not_quoted() {
        let (directory, secrets) = directory();
        let put = |content: &[u8]| fs::write(directory.path().join("s"), content).unwrap();
        let place = directory.path().join("s").display().to_string();
        for (content, reason) in [(&b""[..], "is empty"), (b"\n", "is empty"), (b"hunter\xff", "is not UTF-8")] {
            put(content);
            assert_eq!(refused(&secrets, "s"), format!("{place} {reason}"));
        }
        put(&vec![b'x'; BYTES_MAX]);
        assert_eq!(secrets.resolve("s").unwrap().len(), BYTES_MAX);
        put(&vec![b'x'; BYTES_MAX + 1]);
        assert_eq!(refused(&secrets, "s"), format!("{place} has more than 64 KiB"));
        fs::create_dir(directory.path().join("folder")).unwrap();
        assert!(refused(&secrets, "folder").ends_with("/folder is no file"));
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let (directory, _) = directory();
        fs::create_dir(directory.path().join("in")).unwrap();
        fs::write(directory.path().join("out"), "x").unwrap();
        let secrets = ProcessSecrets::new(Some(directory.path().join("in")));
        let absolute = directory.path().join("out").display().to_string();
        for name in ["../out", "..", ".", "", "/etc/passwd", &absolute, "a/../../out", "out\0"] {
            assert!(matches!(secrets.resolve(name), Err(SecretError::Name)), "{name}");
        }
    }

    #[test]
    fn what_is_nowhere_is_looked_for_in_both_places() {
        let (directory, secrets) = directory();
        let file = directory.path().join("kafka.pass-word");
        assert_eq!(
            refused(&secrets, "kafka.pass-word"),
            format!(
                "it was not found: there is no file {}, and no variable THALWEG_SECRET_KAFKA_PASS_WORD",
                file.display()
            )
        );
        assert_eq!(
            refused(&ProcessSecrets::default(), "db"),
            "it was not found: there is no variable THALWEG_SECRET_DB, and no directory of --secrets"
        );
    }
}
