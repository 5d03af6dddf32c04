//! What the options of a table say about its delivery into files, and which of their values cannot be. Planning and nodes ask the same
//! functions.

use thiserror::Error;

use super::{TableConnector, filesystem as keys};
use crate::{path::is_stored, settings::parse_bytes};

/// The largest part file in an object store: publishing copies the object, and one copy request takes at most 5 GiB.
const STORED_PART_BYTES_MAX: u64 = 4 << 30;

/// The longest name of a success file. File systems take 255 bytes, and it has a longer one before it is whole.
const SUCCESS_FILE_BYTES_MAX: usize = 100;

/// The longest name of a directory that file systems take.
const DIRECTORY_BYTES_MAX: usize = 255;

/// What is wrong with an option of a table's delivery.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("option '{option}'{reason}")]
pub struct DeliveryError {
    option: &'static str,
    /// What follows the option's name.
    reason: String,
}

impl DeliveryError {
    fn new(option: &'static str, reason: impl Into<String>) -> Self {
        Self { option, reason: reason.into() }
    }

    /// The option's key.
    #[must_use]
    pub fn option(&self) -> &'static str {
        self.option
    }
}

/// A piece of the text that is a partition's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimePiece {
    /// Stands for itself.
    Text(String),
    /// The value of a column.
    Column(String),
}

impl TableConnector {
    /// Checks what is said about the delivery of a table, partitioned by these columns, into files. What options need beside
    /// each other is not looked at.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn check_delivery(&self, partition_by: &[&str]) -> Result<(), DeliveryError> {
        if self.written_path().is_none() {
            return Ok(());
        }
        self.part_bytes()?;
        self.merged_bytes()?;
        self.manifest_directory()?;
        self.error_directory()?;
        let is_partitioned = !partition_by.is_empty() || self.given(keys::PATH_TEMPLATE).is_some();
        self.success_file(is_partitioned)?;
        if self.completes_by_time() && self.given(keys::TIME_PATTERN).is_some() {
            self.partition_time(partition_by)?;
        }
        Ok(())
    }

    /// The size at which a part file is followed by another, if the table says so.
    ///
    /// # Errors
    /// If it cannot be a size of files.
    pub fn part_bytes(&self) -> Result<Option<u64>, DeliveryError> {
        self.file_bytes(keys::FILE_SIZE)
    }

    /// About how large merged files are, if the table says so.
    ///
    /// # Errors
    /// As `part_bytes`.
    pub fn merged_bytes(&self) -> Result<Option<u64>, DeliveryError> {
        self.file_bytes(keys::COMPACTION_FILE_SIZE)
    }

    /// Whether part files go on over checkpoints.
    ///
    /// # Errors
    /// If nothing would end them.
    pub fn keeps_parts_open(&self) -> Result<bool, DeliveryError> {
        if self.given(keys::ON_CHECKPOINT) != Some("false") {
            return Ok(false);
        }
        let ends = [keys::ROLLOVER_INTERVAL, keys::INACTIVITY_INTERVAL, keys::FILE_SIZE];
        if ends.iter().any(|key| self.options.get(*key).is_some_and(|value| !value.is_empty())) {
            return Ok(true);
        }
        let [one, two, three] = ends;
        Err(DeliveryError::new(keys::ON_CHECKPOINT, format!(" = 'false' needs '{one}', '{two}' or '{three}'")))
    }

    /// The directory of manifests, relative to the table's path; `None`: there are none.
    ///
    /// # Errors
    /// If readers would see it, or it is no path.
    pub fn manifest_directory(&self) -> Result<Option<String>, DeliveryError> {
        self.hidden_directory(keys::MANIFEST_PATH)
    }

    /// The directory of rows that cannot be written, relative to the table's path; `None`: the table has none of its own.
    ///
    /// # Errors
    /// As `manifest_directory`.
    pub fn error_directory(&self) -> Result<Option<String>, DeliveryError> {
        self.hidden_directory(keys::ERROR_PREFIX)
    }

    /// The name of the file that says that a partition is complete; `None`: nothing does.
    ///
    /// # Errors
    /// If no file can have it, or the table has no partitions.
    pub fn success_file(&self, is_partitioned: bool) -> Result<Option<&str>, DeliveryError> {
        if self.given(keys::COMMIT_POLICY).is_none() {
            return Ok(None);
        }
        if !is_partitioned {
            return Err(DeliveryError::new(keys::COMMIT_POLICY, " needs a table that is PARTITIONED BY columns"));
        }
        let name = self.needed(keys::SUCCESS_FILE_NAME)?;
        match unfit_name(name) {
            Some(reason) => Err(DeliveryError::new(keys::SUCCESS_FILE_NAME, format!(" = '{name}' {reason}"))),
            None => Ok(Some(name)),
        }
    }

    /// The pieces of the text that is the time of a partition by these columns.
    ///
    /// # Errors
    /// If the table has no pattern for it, or one that names no such column.
    pub fn partition_time(&self, partition_by: &[&str]) -> Result<Vec<TimePiece>, DeliveryError> {
        let pattern = self.needed(keys::TIME_PATTERN)?;
        let wrong = |reason| DeliveryError::new(keys::TIME_PATTERN, format!(" = '{pattern}': {reason}"));
        time_pieces(pattern, partition_by).map_err(wrong)
    }

    fn given(&self, key: &str) -> Option<&str> {
        self.option(key).filter(|value| !value.is_empty())
    }

    fn needed(&self, key: &'static str) -> Result<&str, DeliveryError> {
        self.given(key).ok_or_else(|| DeliveryError::new(key, " is missing"))
    }

    fn file_bytes(&self, key: &'static str) -> Result<Option<u64>, DeliveryError> {
        let Some(text) = self.given(key) else { return Ok(None) };
        let wrong = || DeliveryError::new(key, format!(" = '{text}': expected a size such as '64 MiB'"));
        let bytes = parse_bytes(text).ok_or_else(wrong)?;
        if bytes == 0 {
            return Err(DeliveryError::new(key, " must be above 0"));
        }
        if bytes > STORED_PART_BYTES_MAX && self.written_path().is_some_and(is_stored) {
            return Err(DeliveryError::new(key, " must be at most 4 GiB in an object store"));
        }
        Ok(Some(bytes))
    }

    fn hidden_directory(&self, key: &'static str) -> Result<Option<String>, DeliveryError> {
        let Some(given) = self.given(key) else { return Ok(None) };
        let directory = given.trim_matches('/');
        match unfit_directory(directory) {
            None => Ok(Some(directory.to_owned())),
            Some(reason) => Err(DeliveryError::new(key, format!(" = '{given}' {reason}"))),
        }
    }
}

/// Why a directory below a table's path, which its readers must not see, cannot have this name, if so.
fn unfit_directory(directory: &str) -> Option<String> {
    if !directory.starts_with('_') {
        return Some("would be read as data: let it begin with _, as _manifests does".to_owned());
    }
    if directory.split('/').any(|name| matches!(name, "" | "." | "..") || name.len() > DIRECTORY_BYTES_MAX) {
        let wanted = "names of 1 to 255 bytes with / between them, without . and ..";
        return Some(format!("is no path below the table's: give it {wanted}"));
    }
    let odd = directory.chars().find(|c| c.is_control() || r##""#%*:<>?\{}|^[]~`"##.contains(*c))?;
    Some(format!("has the character {odd:?}, which not all stores take in names: leave it out"))
}

/// Why a file cannot have this name, if so: else it would only be found when the first partition is complete.
fn unfit_name(name: &str) -> Option<&'static str> {
    if name.contains('/') || !name.starts_with('_') {
        return Some("is no name of a file that begins with _, so that readers pass it over");
    }
    if name.len() > SUCCESS_FILE_BYTES_MAX || name.chars().any(char::is_control) {
        return Some("is too long, or has characters that cannot be seen");
    }
    None
}

/// Reads a pattern such as `$day $hour:00:00`, with columns of partitions.
fn time_pieces(pattern: &str, partition_by: &[&str]) -> Result<Vec<TimePiece>, String> {
    let mut parts = pattern.split('$');
    let text = |text: &str| (!text.is_empty()).then(|| TimePiece::Text(text.to_owned()));
    let mut pieces: Vec<TimePiece> = parts.next().and_then(text).into_iter().collect();
    for part in parts {
        // The longest name, lest $day is taken for a column d.
        let found = partition_by.iter().filter(|name| part.starts_with(**name)).max_by_key(|name| name.len());
        let name = found.ok_or_else(|| format!("'${part}' begins with no column of PARTITIONED BY"))?;
        pieces.push(TimePiece::Column((*name).to_owned()));
        pieces.extend(text(&part[name.len()..]));
    }
    match pieces.iter().any(|piece| matches!(piece, TimePiece::Column(_))) {
        true => Ok(pieces),
        false => Err("it has no column of PARTITIONED BY, such as $day".to_owned()),
    }
}

#[cfg(test)]
mod tests;
