//! Text: the hexadecimal encoding of persisted formats, and errors with their causes.

/// Bytes as lower-case hexadecimal text, for serde's `with`.
pub mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes two lower-case digits per byte.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_hex(bytes))
    }

    /// Reads two digits per byte.
    ///
    /// # Errors
    /// When the text is not hexadecimal or of odd length.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::from_hex(&text).ok_or_else(|| D::Error::custom("not an even number of hexadecimal digits"))
    }
}

/// Two lower-case hexadecimal digits per byte.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// The bytes of hexadecimal text; `None` if it is not such text.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// An error and its causes in one line. A cause that a message already ends with is left out: some libraries repeat it.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| match text.ends_with(&cause) {
        true => text,
        false => {
            // "table t failed: table t: no" says nothing more than without the second.
            let named = text.strip_suffix(" failed").and_then(|named| cause.strip_prefix(named)?.strip_prefix(": "));
            format!("{text}: {}", named.unwrap_or(&cause))
        }
    })
}

#[cfg(test)]
mod tests;
