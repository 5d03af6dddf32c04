//! JSON strings: escapes in both directions, and base64 for binary columns.

use super::fault::Fault;

/// Resolves the escapes of the text between two quotes.
pub(crate) fn unescape(raw: &[u8], into: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = raw;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(backslash);
        into.extend_from_slice(plain);
        let (kind, after) = match escape {
            [_, kind, after @ ..] => (*kind, after),
            _ => return Err(bad_escape()),
        };
        rest = after;
        let byte = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                rest = unescape_unicode(after, into)?;
                continue;
            }
            _ => return Err(bad_escape()),
        };
        into.push(byte);
    }
    into.extend_from_slice(rest);
    Ok(())
}

/// Resolves the text behind `\u`: one unit or a surrogate pair. Returns the rest.
fn unescape_unicode<'a>(rest: &'a [u8], into: &mut Vec<u8>) -> Result<&'a [u8], Fault> {
    let (high, mut rest) = hex_unit(rest)?;
    let mut code = u32::from(high);
    if (0xd800..0xdc00).contains(&high) {
        let after = rest.strip_prefix(br"\u").ok_or_else(bad_escape)?;
        let (low, after) = hex_unit(after)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(bad_escape());
        }
        code = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(low) - 0xdc00);
        rest = after;
    }
    let char = char::from_u32(code).ok_or_else(bad_escape)?;
    into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(rest)
}

fn hex_unit(text: &[u8]) -> Result<(u16, &[u8]), Fault> {
    let (digits, rest) = text.split_at_checked(4).ok_or_else(bad_escape)?;
    let unit = digits.iter().try_fold(0u16, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    });
    Ok((unit.ok_or_else(bad_escape)?, rest))
}

fn bad_escape() -> Fault {
    Fault::new("a string holds an invalid escape")
}

/// Writes a string with its quotes.
pub(crate) fn write_string(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        into.extend_from_slice(plain);
        if let [byte, after @ ..] = special {
            write_escape(*byte, into);
            rest = after;
        }
    }
    into.extend_from_slice(rest);
    into.push(b'"');
}

fn write_escape(byte: u8, into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            into.extend_from_slice(b"\\u00");
            into.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    into.extend_from_slice(&[b'\\', short]);
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as padded base64, without quotes.
pub(crate) fn write_base64(bytes: &[u8], into: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let mut group = [0u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            into.push(if digit <= chunk.len() { BASE64[index as usize] } else { b'=' });
        }
    }
}

/// Parses base64 with or without padding; `None` if it is malformed.
pub(crate) fn read_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            let value = BASE64.iter().position(|known| known == digit)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let count = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        let group = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        bytes.extend_from_slice(group.get(1..=count)?);
    }
    Some(bytes)
}
