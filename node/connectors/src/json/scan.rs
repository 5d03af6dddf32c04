//! Scans JSON text: tokens, and values that are skipped as a whole.
//!
//! A line feed ends every token: it is not whitespace here, since records are lines, and JSON allows none inside a
//! string. So a scan never leaves its line, and need not know in advance where the line ends.

use std::borrow::Cow;

use super::{
    fault::{Fault, not_utf8},
    lanes::{LANES, close_of_first, string_stops},
    text::unescape,
};

/// The deepest nesting of a skipped value.
const DEPTH_MAX: u32 = 127;
/// How many characters of a value a fault shows.
const SHOWN_CHARS: usize = 32;

/// What a record is, in faults.
pub(super) const LINE: &str = "line";

/// A position in JSON text.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What ends with a line feed or the text, in faults.
    unit: &'static str,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, unit: LINE }
    }

    /// As `new`, for text of which each record is such a unit.
    pub(super) fn of_units(bytes: &'a [u8], at: usize, unit: &'static str) -> Self {
        Self { bytes, at, unit }
    }

    /// The fault for a record that does not end here.
    #[cold]
    pub(super) fn unended(&self) -> Fault {
        self.unexpected(&format!("the end of the {}", self.unit))
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The bytes from here on.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The byte here; a line feed at the end of the text.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b'\n')
    }

    #[inline]
    pub(crate) fn advance(&mut self, by: usize) {
        self.at += by;
    }

    /// Skips blanks; a line feed is not one.
    #[inline]
    pub(crate) fn skip_blank(&mut self) {
        // There is usually no blank; a single comparison shows that.
        if self.peek() > b' ' {
            return;
        }
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Skips blanks and takes this byte.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        self.skip_blank();
        if self.peek() != byte {
            return Err(self.unexpected(&format!("'{}'", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    /// The fault for finding something other than `expected` here.
    #[cold]
    pub(crate) fn unexpected(&self, expected: &str) -> Fault {
        if self.peek() == b'\n' {
            return Fault::new(format!("expected {expected}, found the end of the {}", self.unit));
        }
        let value = self.value_here();
        let text = String::from_utf8_lossy(value.get(..4 * SHOWN_CHARS + 4).unwrap_or(value));
        let mut chars = text.chars();
        let shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
        let cut = if chars.next().is_some() { ".." } else { "" };
        Fault::new(format!("expected {expected}, found {shown}{cut}"))
    }

    /// The text of the value here; if there is none, the text up to the next separator.
    fn value_here(&self) -> &'a [u8] {
        let line = self.rest().split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut scanner = Scanner::new(line, 0);
        // Other values contain no separator.
        if matches!(self.peek(), b'"' | b'{' | b'[') && scanner.skip_value().is_ok() {
            return line.get(..scanner.position()).unwrap_or(line);
        }
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r');
        // If a separator itself is the unexpected text, show it.
        let length = line.iter().skip(1).position(is_end).map_or(line.len(), |at| at + 1);
        line.get(..length).unwrap_or(line)
    }

    /// Takes `null`, if it is here.
    #[inline]
    pub(crate) fn take_null(&mut self) -> Result<bool, Fault> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        self.literal(b"null")?;
        Ok(true)
    }

    /// Takes this word.
    #[inline]
    pub(crate) fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if !self.rest().starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a string; returns the text between the quotes and whether it has escapes.
    #[inline]
    pub(crate) fn raw_string(&mut self) -> Result<(&'a [u8], bool), Fault> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a string"));
        }
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at = find_string_stop(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    // The next round refuses a line feed after the backslash.
                    at += if self.bytes.get(at + 1).is_some_and(|byte| *byte >= 0x20) { 2 } else { 1 };
                }
                Some(b'\n') | None => {
                    return Err(Fault::new(format!("a string does not end before the end of the {}", self.unit)));
                }
                Some(_) => return Err(Fault::new("a string holds a control character")),
            }
        }
        self.at = at + 1;
        Ok((self.bytes.get(start..at).unwrap_or_default(), escaped))
    }

    /// Takes a string and resolves its escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| not_utf8());
        }
        let mut unescaped = Vec::with_capacity(raw.len());
        unescape(raw, &mut unescaped)?;
        String::from_utf8(unescaped).map(Cow::Owned).map_err(|_| not_utf8())
    }

    /// Takes a number in JSON's syntax.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let leading_zero = self.peek() == b'0';
        let whole = self.digits();
        let mut valid = whole > 0 && (whole == 1 || !leading_zero);
        if self.peek() == b'.' {
            self.at += 1;
            valid &= self.digits() > 0;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            valid &= self.digits() > 0;
        }
        if !valid {
            self.at = start;
            return Err(self.unexpected("a value"));
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    /// Skips one value of any kind.
    #[inline]
    pub(crate) fn skip_value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.raw_string().map(drop),
            b'{' | b'[' => self.skip_container(),
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            _ => self.number().map(drop),
        }
    }

    /// Skips an object or array by its brackets and strings.
    fn skip_container(&mut self) -> Result<(), Fault> {
        match close_of_first(self.rest()) {
            Some(length) => {
                self.at += length;
                Ok(())
            }
            None => self.skip_container_bytewise(),
        }
    }

    /// The same, byte by byte, where `close_of_first` gives up: the last partial block, tabs, and malformed text.
    pub(super) fn skip_container_bytewise(&mut self) -> Result<(), Fault> {
        let mut depth = 0u32;
        // One bit per open bracket, the innermost lowest: whether it is square.
        let mut square = 0u128;
        loop {
            self.at = find_structure(self.bytes, self.at);
            match self.peek() {
                b'"' => {
                    self.raw_string()?;
                    continue;
                }
                open @ (b'{' | b'[') => {
                    if depth == DEPTH_MAX {
                        return Err(Fault::new(format!("nested deeper than {DEPTH_MAX} levels")));
                    }
                    depth += 1;
                    square = square << 1 | u128::from(open == b'[');
                }
                close @ (b'}' | b']') => {
                    if (square & 1 == 1) != (close == b']') {
                        return Err(self.unexpected("the bracket that closes the last open one"));
                    }
                    depth -= 1;
                    square >>= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                b'\t' | b'\r' => {}
                b'\n' => {
                    return Err(Fault::new(format!("a bracket is not closed before the end of the {}", self.unit)));
                }
                _ => return Err(Fault::new("a control character stands outside of a string")),
            }
            self.at += 1;
        }
    }
}

/// The text for a value that is not a string: the value itself, without blanks between its tokens.
#[cold]
pub(super) fn other_as_text(scanner: &mut Scanner<'_>) -> Result<String, Fault> {
    if !matches!(scanner.peek(), b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9') {
        return Err(scanner.unexpected("STRING"));
    }
    let (rest, start) = (scanner.rest(), scanner.position());
    scanner.skip_value()?;
    let value = rest.get(..scanner.position() - start).unwrap_or_default();
    // Check the value before removing blanks: that can merge two values into one.
    if serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err() {
        scanner.seek(start);
        return Err(scanner.unexpected("STRING"));
    }
    let (mut text, mut is_quoted, mut is_escaped) = (Vec::with_capacity(value.len()), false, false);
    for byte in value {
        if *byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
        if is_quoted || !matches!(byte, b' ' | b'\t' | b'\r') {
            text.push(*byte);
        }
    }
    String::from_utf8(text).map_err(|_| not_utf8())
}

/// The index of the next quote, backslash or control character, or the length if there is none.
#[inline]
fn find_string_stop(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let stops = string_stops(chunk);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += LANES;
    }
    let is_stop = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    bytes.get(at..).and_then(|rest| rest.iter().position(is_stop)).map_or(bytes.len(), |offset| at + offset)
}

/// The index of the next quote, bracket or control character, or the length if there is none.
fn find_structure(bytes: &[u8], from: usize) -> usize {
    let is_stop = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
    bytes.get(from..).and_then(|rest| rest.iter().position(is_stop)).map_or(bytes.len(), |offset| from + offset)
}
