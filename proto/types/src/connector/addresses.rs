//! Addresses of servers, as options have them.

/// Why a text names no brokers; `None` if it does: `HOST:PORT`, with commas between several. Clients take whatever number a
/// text begins with for a port, and cut it to 16 bits.
pub(super) fn no_brokers(text: &str) -> Option<String> {
    let brokers = text.split(',').map(str::trim);
    brokers.into_iter().find_map(|broker| {
        let wrong = |why: &str| Some(format!("{why}; expected HOST:PORT, or several with commas between them"));
        if broker.contains("://") {
            return wrong(&format!("'{broker}' is a URL"));
        }
        let Some((host, port)) = broker.rsplit_once(':') else { return wrong(&format!("'{broker}' has no port")) };
        // An address of IPv6 stands in brackets, since it has colons itself.
        let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let is_legal = |character: char| !character.is_whitespace() && !":/@[]".contains(character);
        if !is_bracketed && (host.is_empty() || !host.chars().all(is_legal)) {
            return wrong(&format!("'{broker}' has no host"));
        }
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_port { None } else { wrong(&format!("'{port}' is no port, which is a number from 1 to 65535")) }
    })
}

/// Why a text names no servers of HTTP; `None` if it does: `http://HOST:PORT` or `https://HOST:PORT`, with commas between several. It
/// may have passwords, so only what stands before `://` is told.
#[must_use]
pub fn no_http(text: &str) -> Option<String> {
    let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
    let mut addresses = addresses.peekable();
    let expected = "expected http://HOST:PORT or https://HOST:PORT, or several with commas between them";
    if addresses.peek().is_none() {
        return Some(format!("it has no address; {expected}"));
    }
    addresses.find_map(|address| {
        let Some((scheme, rest)) = address.split_once("://") else {
            return Some(format!("an address has no http://; {expected}"));
        };
        if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            let is_scheme =
                scheme.len() <= 20 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            let scheme = if is_scheme { format!("'{scheme}:'") } else { "an address".to_owned() };
            return Some(format!("{scheme} is not of HTTP; {expected}"));
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        host.split(':').next().is_none_or(str::is_empty).then(|| format!("an address has no host; {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_http_has_a_host_and_shows_no_password() {
        for addresses in
            ["http://h:80", "https://u:p@h/x", " http://a , HTTPS://b:1/apis/ccompat/v7,", "http://[::1]:8081"]
        {
            assert_eq!(no_http(addresses), None, "{addresses}");
        }
        for (addresses, why) in [
            ("", "no address"),
            ("h:8081", "has no http://"),
            ("http://a,b:1", "has no http://"),
            ("file:///etc/passwd", "'file:' is not of HTTP"),
            ("hunter2:hunter2://x", "an address is not of HTTP"),
            ("http://", "no host"),
            ("http://u:hunter2@/x", "no host"),
            ("http://:80", "no host"),
        ] {
            let told = no_http(addresses).unwrap_or_else(|| panic!("{addresses} is taken"));
            assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for brokers in ["h:9092", "127.0.0.1:1, b_2.x-y:65535", "[::1]:9092", "ä.example:9"] {
            assert_eq!(no_brokers(brokers), None, "{brokers}");
        }
        for (brokers, why) in [
            ("127.0.0.1:290922", "'290922' is no port"),
            ("localhost:abc", "'abc' is no port"),
            ("h:0", "'0' is no port"),
            ("h:+1", "'+1' is no port"),
            ("h:", "'' is no port"),
            ("localhost", "'localhost' has no port"),
            ("http://h:9092", "'http://h:9092' is a URL"),
            ("SASL_SSL://h:9092", "is a URL"),
            ("a:1,,b:2", "'' has no port"),
            ("", "'' has no port"),
            (":9092", "':9092' has no host"),
            ("::1:9092", "has no host"),
            ("a b:1", "has no host"),
        ] {
            let told = no_brokers(brokers).unwrap_or_else(|| panic!("{brokers} is taken"));
            assert!(told.contains(why) && told.contains("expected HOST:PORT"), "{told}");
        }
    }
}
