//! How much memory a node may use: a size, or a share of what the process is limited to, so that a container's limit is said
//! in one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use thalweg_types::settings::parse_bytes;
use thiserror::Error;

/// With less, the shares of the budget are smaller than single batches.
const BUDGET_MIN: u64 = 64 << 20;
/// Where Linux shows the limits of groups of processes.
const GROUPS: &str = "/sys/fs/cgroup";

/// Why a budget cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BudgetError {
    /// It is no size and no share, or too small a size.
    #[error("expected a size from 64 MiB, or a share such as 50%, got '{0}'")]
    Malformed(String),
    /// The limit is too low for the share.
    #[error("{percent}% of {limit} bytes, to which this process is limited, are less than 64 MiB")]
    TooLittle { percent: u64, limit: u64 },
    /// The system does not tell a limit.
    #[error("a share needs a limit, and none is known here: give a size")]
    NoLimit,
}

/// The bytes of a budget.
pub(crate) fn budget(text: &str) -> Result<u64, BudgetError> {
    budget_within(text, of_process)
}

fn budget_within(text: &str, limit: impl FnOnce() -> Option<u64>) -> Result<u64, BudgetError> {
    let malformed = || BudgetError::Malformed(text.to_owned());
    let Some(percent) = text.trim().strip_suffix('%') else {
        return parse_bytes(text).filter(|bytes| *bytes >= BUDGET_MIN).ok_or_else(malformed);
    };
    let percent: u64 =
        percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent)).ok_or_else(malformed)?;
    let limit = limit().ok_or(BudgetError::NoLimit)?;
    // Divided first: the product might be too large.
    let bytes = limit / 100 * percent;
    if bytes < BUDGET_MIN { Err(BudgetError::TooLittle { percent, limit }) } else { Ok(bytes) }
}

/// What this process is limited to: its container's limit, or else the machine's memory.
fn of_process() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").as_deref().and_then(of_machine);
    let groups = read("/proc/self/cgroup").and_then(|groups| of_groups(&groups, Path::new(GROUPS)));
    machine.into_iter().chain(groups).min()
}

/// In `/proc/meminfo`.
fn of_machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The lowest limit of the groups in the text of `/proc/self/cgroup`, and of the groups that these are in. A container may see
/// its own group at the top, whatever the text says.
fn of_groups(groups: &str, shown_at: &Path) -> Option<u64> {
    groups.lines().filter_map(|line| of_group(line, shown_at)).min()
}

fn of_group(line: &str, shown_at: &Path) -> Option<u64> {
    let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
    let (top, file) = match controllers {
        "" => (shown_at.to_owned(), "memory.max"),
        named if named.split(',').any(|controller| controller == "memory") => {
            (shown_at.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = PathBuf::from(group.trim_start_matches('/'));
    // Without a limit, version 2 says `max`, and version 1 a number that no machine has.
    let limit = |group: &Path| fs::read_to_string(top.join(group).join(file)).ok()?.trim().parse().ok();
    group.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn write(at: &Path, text: &str) {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    #[test]
    fn a_budget_is_a_size_or_a_share_of_the_limit() {
        let of = |text: &str| budget_within(text, || Some(4 * GIB));
        assert_eq!(of("3 GiB"), Ok(3 * GIB));
        for half in ["50%", " 50 % "] {
            assert_eq!(of(half).map(|bytes| bytes / 1000), Ok(2 * GIB / 1000), "{half}");
        }
        assert!(of("100%").unwrap() <= 4 * GIB);
        for wrong in ["0%", "101%", "-5%", "1.5%", "%", "half", "", "1 MiB"] {
            assert_eq!(of(wrong), Err(BudgetError::Malformed(wrong.to_owned())), "{wrong}");
        }
        let little = BudgetError::TooLittle { percent: 50, limit: 100 << 20 };
        assert_eq!(budget_within("50%", || Some(100 << 20)), Err(little));
        assert_eq!(budget_within("50%", || None), Err(BudgetError::NoLimit));
        assert_eq!(budget_within("1 GiB", || panic!("a size needs no limit")), Ok(GIB));
        assert!(budget_within("100%", || Some(u64::MAX)).is_ok());
    }

    #[test]
    fn the_limit_of_a_container_is_read_in_both_versions_of_groups() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        assert_eq!(of_groups("0::/\n", top), None, "nothing is limited");
        write(&top.join("pods/a/memory.max"), "max\n");
        assert_eq!(of_groups("0::/pods/a\n", top), None);
        write(&top.join("pods/memory.max"), "3000000000\n");
        assert_eq!(of_groups("0::/pods/a\n", top), Some(3_000_000_000), "what it is in is limited");
        write(&top.join("memory.max"), "2000000000\n");
        assert_eq!(of_groups("0::/elsewhere/b\n", top), Some(2_000_000_000), "it sees its own group at the top");

        let first = "12:cpu,cpuacct:/docker/a\n9:memory:/docker/a\n1:name=systemd:/docker/a\n";
        assert_eq!(of_groups(first, top), None);
        write(&top.join("memory/memory.limit_in_bytes"), "1073741824\n");
        assert_eq!(of_groups(first, top), Some(GIB));
        write(&top.join("memory/docker/a/memory.limit_in_bytes"), "9223372036854771712\n");
        assert_eq!(of_groups(first, top), Some(GIB), "no limit is a number, too");
    }

    #[test]
    fn this_machine_has_a_limit() {
        assert_eq!(of_machine("MemFree: 1 kB\nMemTotal:        2048 kB\n"), Some(2 << 20));
        assert!(of_process().unwrap() > BUDGET_MIN);
    }
}
