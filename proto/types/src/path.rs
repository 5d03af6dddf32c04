//! Paths of tables and of places for checkpoints, as text.

/// The text of a local path, and whether it is percent-encoded, as in a URL; `None` for a path in an object store.
#[must_use]
pub fn local_text(path: &str) -> Option<(&str, bool)> {
    let scheme = path.get(.."file:".len()).filter(|scheme| scheme.eq_ignore_ascii_case("file:"));
    let Some(rest) = scheme.and_then(|scheme| path.get(scheme.len()..)).filter(|rest| rest.starts_with('/')) else {
        return (!path.contains("://")).then_some((path, false));
    };
    // `file:///x`, `file://localhost/x`, `file:/x`, and `file://x` below the working directory.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let rest = rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest);
    Some((rest, true))
}

/// Whether a path is in an object store.
#[must_use]
pub fn is_stored(path: &str) -> bool {
    local_text(path).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_local_unless_it_is_a_stores_url() {
        for local in ["/a", "a/b", "file:///a", "file:/a", "FILE://localhost/a", "file://a"] {
            assert!(!is_stored(local), "{local}");
        }
        for stored in ["s3://b/k", "memory://x", "az://c/k"] {
            assert!(is_stored(stored), "{stored}");
        }
    }
}
