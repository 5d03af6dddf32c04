//! The default bound of connections, by the number of files that the process may open: each connection is one.
//!
//! A quarter is left for files and outgoing connections of the process.

use std::fs;

use thalweg_proto::network::ConnectionLimits;

/// The number of files if the system does not tell: the lowest usual limit.
const FILES: u64 = 256;
/// Connections take memory as well, so there is a bound of their own.
const CONNECTIONS_MAX: u64 = 4096;
const CONNECTIONS_MIN: u64 = 8;

/// The limits of each of `listeners` listeners of this process.
pub(crate) fn connections(configured: Option<u32>, listeners: u32) -> ConnectionLimits {
    let default = || default_of(open_files().unwrap_or(FILES), listeners);
    let connections = configured.map_or_else(default, u64::from);
    ConnectionLimits::at_most(usize::try_from(connections).unwrap_or(usize::MAX))
}

fn default_of(files: u64, listeners: u32) -> u64 {
    (files / 4 * 3 / u64::from(listeners.max(1))).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// How many files the process may have open, where the system says it.
pub(crate) fn open_files() -> Option<u64> {
    open_files_of(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit of open files in the text of `/proc/self/limits`.
fn open_files_of(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_leaves_files_for_the_process_itself() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             127283               127283               processes \n\
                      Max open files            1024                 1048576              files     \n";
        assert_eq!(open_files_of(limits), Some(1024));
        assert_eq!(open_files_of("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(open_files_of(""), None);
        assert_eq!([default_of(1024, 3), default_of(256, 3), default_of(20, 3)], [256, 64, CONNECTIONS_MIN]);
        assert_eq!(default_of(u64::MAX, 2), CONNECTIONS_MAX);
        assert_eq!(connections(Some(77), 3).connections_max, 77);
    }
}
