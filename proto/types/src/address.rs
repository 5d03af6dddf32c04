//! Addresses, `host:port`, in configurations and messages. Only their form is checked; the first dial shows whether the
//! host exists.

/// The most bytes of an address: a host name of 255, a colon and five digits.
pub const ADDRESS_BYTES_MAX: usize = 261;

/// Splits an address into host and port; `None` if it is malformed. An IPv6 host needs brackets. With port 0 a listener
/// gets a free port from the system.
#[must_use]
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let has_brackets = host.starts_with('[') && host.ends_with(']');
    let is_host = host.chars().all(|c| c.is_ascii_graphic() && !"/@?#".contains(c));
    let is_sound = !host.is_empty() && is_host && (has_brackets || !host.contains([':', '[', ']']));
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    (is_sound && address.len() <= ADDRESS_BYTES_MAX).then_some((host, port))
}

/// Whether an address can be dialled.
#[must_use]
pub fn can_be_dialled(address: &str) -> bool {
    split(address).is_some_and(|(_, port)| port != 0)
}

/// Whether a host stands for all interfaces of a machine: a listener may use it, but nobody can dial it.
#[must_use]
pub fn is_every_interface(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]" | "::")
}

/// Whether a host can be reached from its own machine only.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || plain.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split("a.example:7070"), Some(("a.example", 7070)));
        assert_eq!(split("[::1]:0"), Some(("[::1]", 0)));
        let long = format!("{}:1", "a".repeat(ADDRESS_BYTES_MAX));
        for wrong in
            ["", "a", ":1", "a:", "a:x", "a:+1", "a:65536", "a b:1", "http://a:1", "a@b:1", "::1:1", "[::1:1", &long]
        {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        assert!(["127.0.0.1", "127.1.2.3", "[::1]", "::1", "localhost"].into_iter().all(is_loopback));
        assert!(
            !["0.0.0.0", "[::]", "10.0.0.1", "localhost.example", "127.0.0.1.example"].into_iter().any(is_loopback)
        );
    }

    #[test]
    fn only_what_has_a_port_can_be_dialled() {
        assert!(can_be_dialled("a:1") && !can_be_dialled("a:0") && !can_be_dialled("a"));
        assert!(["0.0.0.0", "[::]"].into_iter().all(is_every_interface) && !is_every_interface("127.0.0.1"));
    }
}
