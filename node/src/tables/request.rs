//! The text of a request: `/tables/TABLE?column=value&…&limit=N`.

use thalweg_types::connector::LIMIT;

/// The most bytes of path and query.
pub(super) const URL_BYTES_MAX: usize = 8 << 10;
/// The most rows of an answer, and how many it has if the request does not say.
pub(super) const ROWS_MAX: usize = 1000;

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) table: String,
    /// Columns and values, as text.
    pub(super) key: Vec<(String, String)>,
    pub(super) limit: usize,
}

impl Asked {
    /// Reads a request. The error says what was expected.
    pub(super) fn parse(table: &str, query: &str) -> Result<Self, String> {
        let (mut key, mut limit) = (Vec::new(), None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                format!("'{}' has no value: a query has the form column=value&column=value", part.escape_debug())
            })?;
            let (name, value) = (decoded(name)?, decoded(value)?);
            if name != LIMIT {
                key.push((name, value));
                continue;
            }
            let number = value.parse().ok().filter(|number| (1..=ROWS_MAX).contains(number));
            let number = number.ok_or_else(|| {
                format!("{LIMIT} = '{}': expected a whole number from 1 to {ROWS_MAX}", value.escape_debug())
            })?;
            if limit.replace(number).is_some() {
                return Err(format!("{LIMIT} is given twice"));
            }
        }
        Ok(Self { table: table.to_owned(), key, limit: limit.unwrap_or(ROWS_MAX) })
    }
}

/// Replaces `%XX` and `+`, as HTML forms write them.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let number = digit(rest.next()).zip(digit(rest.next())).map(|(high, low)| high * 16 + low);
                let number = number.and_then(|number| u8::try_from(number).ok());
                number.ok_or_else(|| format!("'{}': % needs two hexadecimal digits", text.escape_debug()))?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("'{}' is not UTF-8", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<(Vec<(String, String)>, usize), String> {
        Asked::parse("t", query).map(|asked| (asked.key, asked.limit))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn columns_and_values_are_decoded() {
        assert_eq!(parsed(""), Ok((Vec::new(), ROWS_MAX)));
        assert_eq!(parsed("a=1&&limit=7&b="), Ok((vec![pair("a", "1"), pair("b", "")], 7)));
        assert_eq!(parsed("a%20b=c%26d%3d%2B+e"), Ok((vec![pair("a b", "c&d=+ e")], ROWS_MAX)));
        assert_eq!(parsed("k=%C3%A4%E2%82%ac"), Ok((vec![pair("k", "ä€")], ROWS_MAX)));
        assert_eq!(parsed("a=b=c"), Ok((vec![pair("a", "b=c")], ROWS_MAX)));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_was_expected() {
        let refused = |query: &str, words: &str| {
            let told = parsed(query).unwrap_err();
            assert!(told.contains(words), "{query}: {told}");
        };
        refused("a", "column=value");
        refused("a=%", "two hexadecimal digits");
        refused("a=%f", "two hexadecimal digits");
        refused("a=%+1", "two hexadecimal digits");
        refused("a=%FF", "not UTF-8");
        for limit in ["0", "1001", "x", "-1", ""] {
            refused(&format!("limit={limit}"), "a whole number from 1 to 1000");
        }
        refused("limit=1&limit=2", "twice");
    }
}
