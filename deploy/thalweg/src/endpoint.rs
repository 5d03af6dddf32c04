//! Where a process listens, as users write it.

use thalweg_types::address;

/// The `HOST:PORT` of an address that may be written like a URL.
pub(crate) fn host_and_port(text: &str) -> Option<String> {
    let plain = text.trim().trim_start_matches("http://").trim_end_matches('/');
    address::split(plain).map(|_| plain.to_owned())
}

/// The number of a member, at least 1, and what is written as its address, from `N=HOST:PORT`.
pub(crate) fn numbered(text: &str) -> Option<(u64, &str)> {
    let (number, address) = text.split_once('=')?;
    Some((number.trim().parse().ok().filter(|number| *number > 0)?, address))
}
