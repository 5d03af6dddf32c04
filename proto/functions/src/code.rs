//! Encodings of texts and bytes: base64, hexadecimal and binary digits, character sets, hashes, URLs.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryBuilder},
    datatypes::DataType,
};
use base64::{Engine as _, alphabet, engine};
use datafusion_common::{Result, exec_err};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::native::{
    Arguments, Constants, Gives,
    Kind::{Bytes, Int, IntOrText, Text, TextOrBytes},
    Native, texts, these, up_to,
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("to_base64", "TO_BASE64(text)", these(&[TextOrBytes]), Gives::Text, to_base64),
    Native::new("from_base64", "FROM_BASE64(text)", these(&[TextOrBytes]), Gives::Text, from_base64),
    Native::new("encode", "ENCODE(text, character set)", these(&[Text, Text]), Gives::Bytes, encode)
        .checked(check_charset),
    Native::new("decode", "DECODE(bytes, character set)", these(&[Bytes, Text]), Gives::Text, decode)
        .checked(check_charset),
    Native::new("hex", "HEX(number or text)", these(&[IntOrText]), Gives::Text, hex),
    Native::new("unhex", "UNHEX(text)", these(&[Text]), Gives::Bytes, unhex),
    Native::new("bin", "BIN(number)", these(&[Int]), Gives::Text, bin),
    Native::new("md5", "MD5(text)", these(&[TextOrBytes]), Gives::Text, md5),
    Native::new("sha1", "SHA1(text)", these(&[TextOrBytes]), Gives::Text, sha1),
    Native::new("sha224", "SHA224(text)", these(&[TextOrBytes]), Gives::Text, sha224),
    Native::new("sha256", "SHA256(text)", these(&[TextOrBytes]), Gives::Text, sha256),
    Native::new("sha384", "SHA384(text)", these(&[TextOrBytes]), Gives::Text, sha384),
    Native::new("sha512", "SHA512(text)", these(&[TextOrBytes]), Gives::Text, sha512),
    Native::new("sha2", "SHA2(text, bits)", these(&[TextOrBytes, Int]), Gives::Text, sha2).checked(check_bits),
    Native::new("url_encode", "URL_ENCODE(text)", these(&[Text]), Gives::Text, url_encode),
    Native::new("url_decode", "URL_DECODE(text)", these(&[Text]), Gives::Text, url_decode),
    Native::new("parse_url", "PARSE_URL(url, part [, key])", up_to(&[Text, Text, Text], 1), Gives::Text, parse_url),
];

const PADDING: engine::GeneralPurposeConfig =
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(&alphabet::STANDARD, PADDING);

/// Applies a function to the bytes of each row. Those of a text are UTF-8.
fn each_bytes<T>(arguments: &Arguments, mut made: impl FnMut(usize, Option<&[u8]>) -> Result<T>) -> Result<Vec<T>> {
    if arguments.data_type(0)? == DataType::Binary {
        let bytes = arguments.bytes(0)?;
        return (0..arguments.rows).map(|row| made(row, bytes.get(row))).collect();
    }
    let wholes = arguments.texts(0)?;
    (0..arguments.rows).map(|row| made(row, wholes.get(row).map(str::as_bytes))).collect()
}

fn texts_of_bytes(arguments: &Arguments, made: impl Fn(&[u8]) -> Option<String>) -> Result<ArrayRef> {
    let mut made = each_bytes(arguments, |_, bytes| Ok(bytes.and_then(&made)))?.into_iter();
    texts(arguments.rows, |_| Ok(made.next().flatten()))
}

fn to_base64(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| Some(BASE64.encode(bytes)))
}

/// NULL for what is not base64, or not that of a text.
fn from_base64(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| BASE64.decode(bytes).ok().and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// The character sets that Flink names.
#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16Be,
    Utf16Le,
    /// With a byte order mark; big-endian if there is none.
    Utf16,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Self::Ascii,
            "ISO-8859-1" => Self::Latin1,
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16BE" => Self::Utf16Be,
            "UTF-16LE" => Self::Utf16Le,
            "UTF-16" => Self::Utf16,
            _ => return None,
        })
    }

    fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Ascii => {
                text.chars().map(|c| if c.is_ascii() { u8::try_from(c).unwrap_or(b'?') } else { b'?' }).collect()
            }
            Self::Latin1 => text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16 => [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect(),
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let utf16 = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
            let units = bytes.chunks(2).map(|pair| match pair {
                [first, second] => of([*first, *second]),
                _ => 0xfffd,
            });
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        };
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Ascii => bytes
                .iter()
                .map(|byte| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER })
                .collect(),
            Self::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Self::Utf16Be => utf16(bytes, u16::from_be_bytes),
            Self::Utf16Le => utf16(bytes, u16::from_le_bytes),
            Self::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
                [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
                _ => utf16(bytes, u16::from_be_bytes),
            },
        }
    }
}

fn check_charset(constants: &Constants) -> std::result::Result<(), String> {
    match constants.text(1) {
        Some(name) if Charset::named(name).is_none() => Err(format!(
            "unknown character set '{name}', expected US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE or UTF-16"
        )),
        _ => Ok(()),
    }
}

fn encode(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, names) = (arguments.texts(0)?, arguments.texts(1)?);
    let mut builder = BinaryBuilder::new();
    for row in 0..arguments.rows {
        match wholes.get(row).zip(names.get(row)) {
            None => builder.append_null(),
            Some((whole, name)) => match Charset::named(name) {
                Some(charset) => builder.append_value(charset.encode(whole)),
                None => return exec_err!("ENCODE: unknown character set '{name}'"),
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn decode(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, names) = (arguments.bytes(0)?, arguments.texts(1)?);
    texts(arguments.rows, |row| match wholes.get(row).zip(names.get(row)) {
        None => Ok(None),
        Some((whole, name)) => match Charset::named(name) {
            Some(charset) => Ok(Some(charset.decode(whole))),
            None => exec_err!("DECODE: unknown character set '{name}'"),
        },
    })
}

fn hexadecimal(bytes: &[u8], digits: &[u8; 16]) -> String {
    let digit = |nibble: u8| char::from(digits[usize::from(nibble & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A negative number is written in two's complement of 64 bits.
fn hex(arguments: &Arguments) -> Result<ArrayRef> {
    if let Ok(numbers) = arguments.ints(0) {
        return texts(arguments.rows, |row| Ok(numbers.get(row).map(|number| format!("{number:X}"))));
    }
    texts_of_bytes(arguments, |bytes| Some(hexadecimal(bytes, b"0123456789ABCDEF")))
}

/// NULL if there is another character. Of an odd number of digits, the first becomes a zero byte.
fn unhex(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let mut builder = BinaryBuilder::new();
    for row in 0..arguments.rows {
        let Some(whole) = wholes.get(row).filter(|whole| whole.bytes().all(|byte| byte.is_ascii_hexdigit())) else {
            builder.append_null();
            continue;
        };
        let odd = whole.len() % 2;
        let mut bytes: Vec<u8> = vec![0; odd];
        let pairs = (odd..whole.len()).step_by(2).filter_map(|at| u8::from_str_radix(&whole[at..at + 2], 16).ok());
        bytes.extend(pairs);
        builder.append_value(bytes);
    }
    Ok(Arc::new(builder.finish()))
}

fn bin(arguments: &Arguments) -> Result<ArrayRef> {
    let numbers = arguments.ints(0)?;
    texts(arguments.rows, |row| Ok(numbers.get(row).map(|number| format!("{number:b}"))))
}

fn hashed(bytes: &[u8]) -> String {
    hexadecimal(bytes, b"0123456789abcdef")
}

fn md5(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| Some(hashed(&Md5::digest(bytes))))
}

fn sha1(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| Some(hashed(&Sha1::digest(bytes))))
}

fn sha224(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| hash_of(224, bytes))
}

fn sha256(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| hash_of(256, bytes))
}

fn sha384(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| hash_of(384, bytes))
}

fn sha512(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| hash_of(512, bytes))
}

fn hash_of(bits: i64, bytes: &[u8]) -> Option<String> {
    Some(match bits {
        224 => hashed(&Sha224::digest(bytes)),
        256 => hashed(&Sha256::digest(bytes)),
        384 => hashed(&Sha384::digest(bytes)),
        512 => hashed(&Sha512::digest(bytes)),
        _ => return None,
    })
}

fn check_bits(constants: &Constants) -> std::result::Result<(), String> {
    match constants.int(1) {
        Some(bits) if hash_of(bits, &[]).is_none() => Err(format!("{bits} bits, expected 224, 256, 384 or 512")),
        _ => Ok(()),
    }
}

fn sha2(arguments: &Arguments) -> Result<ArrayRef> {
    let lengths = arguments.ints(1)?;
    let made = each_bytes(arguments, |row, bytes| match bytes.zip(lengths.get(row)) {
        None => Ok(None),
        Some((bytes, bits)) => match hash_of(bits, bytes) {
            Some(hash) => Ok(Some(hash)),
            None => exec_err!("SHA2: {bits} bits, expected 224, 256, 384 or 512"),
        },
    })?;
    let mut made = made.into_iter();
    texts(arguments.rows, |_| Ok(made.next().flatten()))
}

fn url_encode(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| {
        let mut made = String::with_capacity(bytes.len());
        for byte in bytes {
            match byte {
                b' ' => made.push('+'),
                b'.' | b'-' | b'*' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => made.push(char::from(*byte)),
                other => made.push_str(&format!("%{other:02X}")),
            }
        }
        Some(made)
    })
}

/// NULL if two hexadecimal digits do not follow a percent sign, or the bytes are no text.
fn url_decode(arguments: &Arguments) -> Result<ArrayRef> {
    texts_of_bytes(arguments, |bytes| {
        let mut made = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let [first, following @ ..] = rest {
            rest = following;
            match first {
                b'+' => made.push(b' '),
                b'%' => {
                    let digits = std::str::from_utf8(following.get(..2)?).ok()?;
                    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    made.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
                    rest = &following[2..];
                }
                other => made.push(*other),
            }
        }
        String::from_utf8(made).ok()
    })
}

/// The parts of a URL, as written.
struct Url<'a> {
    protocol: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// `None` for what is not a URL, and for protocols that Java does not know.
    fn parse(text: &'a str) -> Option<Self> {
        let (protocol, rest) = text.trim_matches(|character: char| character <= ' ').split_once(':')?;
        let known = ["http", "https", "ftp", "file", "jar", "mailto"];
        if !known.iter().any(|name| protocol.eq_ignore_ascii_case(name)) {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        Some(Self { protocol, authority, path, query, fragment })
    }

    fn user(&self) -> Option<&'a str> {
        self.authority.rsplit_once('@').map(|(user, _)| user)
    }

    fn host(&self) -> &'a str {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        // The port follows the last colon, unless that colon is within the brackets of an address.
        match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        }
    }

    fn part(&self, name: &str) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(match name {
            "HOST" => self.host(),
            "PATH" => self.path,
            "QUERY" => self.query?,
            "REF" => self.fragment?,
            "PROTOCOL" => return Some(Cow::Owned(self.protocol.to_ascii_lowercase())),
            "FILE" => {
                let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
                return Some(Cow::Owned(format!("{}{query}", self.path)));
            }
            "AUTHORITY" => self.authority,
            "USERINFO" => self.user()?,
            _ => return None,
        }))
    }
}

fn parse_url(arguments: &Arguments) -> Result<ArrayRef> {
    let (urls, parts) = (arguments.texts(0)?, arguments.texts(1)?);
    let keys = (arguments.len() > 2).then(|| arguments.texts(2)).transpose()?;
    texts(arguments.rows, |row| {
        let (Some(url), Some(part)) = (urls.get(row), parts.get(row)) else { return Ok(None) };
        let Some(url) = Url::parse(url) else { return Ok(None) };
        let Some(keys) = &keys else { return Ok(url.part(part)) };
        let (Some(key), Some(query), "QUERY") = (keys.get(row), url.query, part) else { return Ok(None) };
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(pairs.find(|(name, _)| *name == key).map(|(_, value)| Cow::Borrowed(value)))
    })
}
