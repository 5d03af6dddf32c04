//! Text functions: parts of texts, positions in them, joined texts. Lengths count characters, and positions do so from
//! 1.

use std::{borrow::Cow, collections::BTreeMap};

use arrow::array::ArrayRef;
use datafusion_common::{Result, exec_err};

use crate::native::{
    Arguments, Constants, Gives,
    Kind::{Int, IntOrText, Text, TextOrBytes, Written},
    Native, TEXT_BYTES_MAX, Takes, booleans, check_bytes, count, ints, texts, these, up_to,
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("concat", "CONCAT(text, …)", Takes::Repeated(&[Written]), Gives::Text, concat),
    Native::new(
        "concat_ws",
        "CONCAT_WS(separator, text, …)",
        Takes::Repeated(&[Text, Written]),
        Gives::Text,
        concat_ws,
    ),
    Native::new("substr", "SUBSTRING(text, start [, length])", up_to(&[Text, Int, Int], 1), Gives::Text, substring)
        .also(&["substring"]),
    Native::new("left", "LEFT(text, length)", these(&[Text, Int]), Gives::Text, left),
    Native::new("right", "RIGHT(text, length)", these(&[Text, Int]), Gives::Text, right),
    Native::new("lpad", "LPAD(text, length, padding)", up_to(&[Text, Int, Text], 1), Gives::Text, lpad),
    Native::new("rpad", "RPAD(text, length, padding)", up_to(&[Text, Int, Text], 1), Gives::Text, rpad),
    Native::new("repeat", "REPEAT(text, times)", these(&[Text, Int]), Gives::Text, repeat),
    Native::new("replace", "REPLACE(text, old, new)", these(&[Text, Text, Text]), Gives::Text, replace),
    Native::new(
        "overlay",
        "OVERLAY(text PLACING new FROM start [FOR length])",
        up_to(&[Text, Text, Int, Int], 1),
        Gives::Text,
        overlay,
    ),
    Native::new("strpos", "POSITION(part IN text)", these(&[Text, Text]), Gives::Int, strpos).also(&["position"]),
    Native::new(
        "instr",
        "INSTR(text, part [, start [, occurrence]])",
        up_to(&[Text, Text, Int, Int], 2),
        Gives::Int,
        instr,
    ),
    Native::new("locate", "LOCATE(part, text [, start])", up_to(&[Text, Text, Int], 1), Gives::Int, locate),
    Native::new("initcap", "INITCAP(text)", these(&[Text]), Gives::Text, initcap),
    Native::new(
        "btrim",
        "TRIM([BOTH | LEADING | TRAILING] [characters FROM] text)",
        up_to(&[Text, Text], 1),
        Gives::Text,
        btrim,
    )
    .also(&["trim"]),
    Native::new("ltrim", "LTRIM(text [, characters])", up_to(&[Text, Text], 1), Gives::Text, ltrim),
    Native::new("rtrim", "RTRIM(text [, characters])", up_to(&[Text, Text], 1), Gives::Text, rtrim),
    Native::new("translate", "TRANSLATE(text, from, to)", these(&[Text, Text, Text]), Gives::Text, translate),
    Native::new(
        "startswith",
        "STARTSWITH(text, start)",
        these(&[TextOrBytes, TextOrBytes]),
        Gives::Boolean,
        startswith,
    )
    .also(&["starts_with"]),
    Native::new("endswith", "ENDSWITH(text, end)", these(&[TextOrBytes, TextOrBytes]), Gives::Boolean, endswith)
        .also(&["ends_with"]),
    Native::new(
        "split_index",
        "SPLIT_INDEX(text, separator, index)",
        these(&[Text, IntOrText, Int]),
        Gives::Text,
        split_index,
    ),
    Native::new("elt", "ELT(index, text, …)", Takes::Repeated(&[Int, Text]), Gives::Text, elt).checked(check_elt),
    Native::new("chr", "CHR(number)", these(&[Int]), Gives::Text, chr),
    Native::new("is_alpha", "IS_ALPHA(text)", these(&[Text]), Gives::Boolean, is_alpha),
    Native::new("is_digit", "IS_DIGIT(text)", these(&[Written]), Gives::Boolean, is_digit),
    Native::new("is_decimal", "IS_DECIMAL(text)", these(&[Written]), Gives::Boolean, is_decimal),
];

/// The rest of a text from a character on, counted from 0.
fn from_character(text: &str, at: usize) -> &str {
    if text.is_ascii() {
        return text.get(at..).unwrap_or_default();
    }
    text.char_indices().nth(at).map_or("", |(byte, _)| &text[byte..])
}

/// The first `length` characters of a text.
fn first_characters(text: &str, length: usize) -> &str {
    if text.is_ascii() {
        return text.get(..length).unwrap_or(text);
    }
    text.char_indices().nth(length).map_or(text, |(byte, _)| &text[..byte])
}

/// The number of characters of a text.
pub(crate) fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// A number of characters, capped at more than any text has.
fn as_length(length: i64) -> usize {
    usize::try_from(length.max(0)).unwrap_or(usize::MAX)
}

fn concat(arguments: &Arguments) -> Result<ArrayRef> {
    let parts = (0..arguments.len()).map(|at| arguments.texts(at)).collect::<Result<Vec<_>>>()?;
    let mut whole = String::new();
    texts(arguments.rows, |row| {
        whole.clear();
        for part in &parts {
            let Some(part) = part.get(row) else { return Ok(None) };
            check_bytes(Some(whole.len() + part.len()))?;
            whole.push_str(part);
        }
        Ok(Some(whole.clone()))
    })
}

fn concat_ws(arguments: &Arguments) -> Result<ArrayRef> {
    let separators = arguments.texts(0)?;
    let parts = (1..arguments.len()).map(|at| arguments.texts(at)).collect::<Result<Vec<_>>>()?;
    texts(arguments.rows, |row| {
        let Some(separator) = separators.get(row) else { return Ok(None) };
        let mut whole = String::new();
        for (at, part) in parts.iter().filter_map(|part| part.get(row)).enumerate() {
            if at > 0 {
                whole.push_str(separator);
            }
            whole.push_str(part);
            check_bytes(Some(whole.len()))?;
        }
        Ok(Some(whole))
    })
}

/// A start of 0 is like 1, and a negative one counts from the end. A negative length gives NULL.
fn substring(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, starts) = (arguments.texts(0)?, arguments.ints(1)?);
    let lengths = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    texts(arguments.rows, |row| {
        let (Some(whole), Some(start)) = (wholes.get(row), starts.get(row)) else { return Ok(None) };
        let length = match &lengths {
            None => usize::MAX,
            Some(lengths) => match lengths.get(row) {
                Some(length) if length >= 0 => as_length(length),
                _ => return Ok(None),
            },
        };
        let rest = match start {
            1.. => from_character(whole, as_length(start - 1)),
            0 => whole,
            _ => match characters(whole).checked_sub(as_length(start.saturating_neg())) {
                Some(from) => from_character(whole, from),
                None => "",
            },
        };
        Ok(Some(first_characters(rest, length)))
    })
}

fn left(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, lengths) = (arguments.texts(0)?, arguments.ints(1)?);
    texts(arguments.rows, |row| {
        let (Some(whole), Some(length)) = (wholes.get(row), lengths.get(row)) else { return Ok(None) };
        Ok(Some(first_characters(whole, as_length(length))))
    })
}

fn right(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, lengths) = (arguments.texts(0)?, arguments.ints(1)?);
    texts(arguments.rows, |row| {
        let (Some(whole), Some(length)) = (wholes.get(row), lengths.get(row)) else { return Ok(None) };
        Ok(Some(from_character(whole, characters(whole).saturating_sub(as_length(length)))))
    })
}

fn lpad(arguments: &Arguments) -> Result<ArrayRef> {
    pad(arguments, |text, padding| format!("{padding}{text}"))
}

fn rpad(arguments: &Arguments) -> Result<ArrayRef> {
    pad(arguments, |text, padding| format!("{text}{padding}"))
}

/// A negative length and an empty padding give NULL.
fn pad(arguments: &Arguments, join: fn(&str, &str) -> String) -> Result<ArrayRef> {
    let (wholes, lengths) = (arguments.texts(0)?, arguments.ints(1)?);
    let paddings = (arguments.len() > 2).then(|| arguments.texts(2)).transpose()?;
    texts(arguments.rows, |row| {
        let (Some(whole), Some(length)) = (wholes.get(row), lengths.get(row)) else { return Ok(None) };
        let padding = match &paddings {
            None => " ",
            Some(paddings) => match paddings.get(row) {
                Some(padding) => padding,
                None => return Ok(None),
            },
        };
        if length < 0 || padding.is_empty() {
            return Ok(None);
        }
        let length = as_length(length);
        let Some(missing) = length.checked_sub(characters(whole)) else {
            return Ok(Some(Cow::Borrowed(first_characters(whole, length))));
        };
        check_size(missing, padding.len())?;
        let padding: String = padding.chars().cycle().take(missing).collect();
        Ok(Some(Cow::Owned(join(whole, &padding))))
    })
}

/// Refuses to make a text of `times` times `bytes` bytes if that is too large.
fn check_size(times: usize, bytes: usize) -> Result<()> {
    match times.checked_mul(bytes) {
        Some(size) if size <= TEXT_BYTES_MAX => Ok(()),
        _ => exec_err!("a text of {times} times {bytes} bytes is larger than {TEXT_BYTES_MAX} bytes"),
    }
}

fn repeat(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, times) = (arguments.texts(0)?, arguments.ints(1)?);
    texts(arguments.rows, |row| {
        let (Some(whole), Some(times)) = (wholes.get(row), times.get(row)) else { return Ok(None) };
        let times = if whole.is_empty() { 0 } else { as_length(times) };
        check_size(times, whole.len())?;
        Ok(Some(whole.repeat(times)))
    })
}

fn replace(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, olds, news) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    texts(arguments.rows, |row| {
        let (Some(whole), Some(old), Some(new)) = (wholes.get(row), olds.get(row), news.get(row)) else {
            return Ok(None);
        };
        let times = whole.matches(old).count();
        if times == 0 {
            return Ok(Some(Cow::Borrowed(whole)));
        }
        let kept = whole.len() - times * old.len();
        check_bytes(times.checked_mul(new.len()).and_then(|made| made.checked_add(kept)))?;
        Ok(Some(Cow::Owned(whole.replace(old, new))))
    })
}

/// A start outside of the text changes nothing. A negative length replaces all that follows.
fn overlay(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, news, starts) = (arguments.texts(0)?, arguments.texts(1)?, arguments.ints(2)?);
    let lengths = (arguments.len() > 3).then(|| arguments.ints(3)).transpose()?;
    texts(arguments.rows, |row| {
        let (Some(whole), Some(new), Some(start)) = (wholes.get(row), news.get(row), starts.get(row)) else {
            return Ok(None);
        };
        let length = match &lengths {
            None => characters(new),
            Some(lengths) => match lengths.get(row) {
                Some(length) if length >= 0 => as_length(length),
                Some(_) => usize::MAX,
                None => return Ok(None),
            },
        };
        if start <= 0 || as_length(start) > characters(whole) {
            return Ok(Some(Cow::Borrowed(whole)));
        }
        let before = as_length(start - 1);
        let rest = from_character(from_character(whole, before), length);
        Ok(Some(Cow::Owned(format!("{}{new}{rest}", first_characters(whole, before)))))
    })
}

/// Where a part of a text begins, at or after the character `from`. Both count from 0.
fn find(whole: &str, part: &str, from: usize) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let rest = from_character(whole, from);
    rest.find(part).map(|byte| from + characters(&rest[..byte]))
}

fn strpos(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, parts) = (arguments.texts(0)?, arguments.texts(1)?);
    ints(arguments.rows, |row| {
        let (Some(whole), Some(part)) = (wholes.get(row), parts.get(row)) else { return Ok(None) };
        find(whole, part, 0).map_or(Ok(0), |at| count(at + 1)).map(Some)
    })
}

fn locate(arguments: &Arguments) -> Result<ArrayRef> {
    let (parts, wholes) = (arguments.texts(0)?, arguments.texts(1)?);
    let starts = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    ints(arguments.rows, |row| {
        let (Some(part), Some(whole)) = (parts.get(row), wholes.get(row)) else { return Ok(None) };
        let start = match &starts {
            None => 1,
            Some(starts) => match starts.get(row) {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        find(whole, part, as_length(start - 1)).map_or(Ok(0), |at| count(at + 1)).map(Some)
    })
}

/// The n-th occurrence from a start on. A negative start searches backwards from the end.
fn instr(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, parts) = (arguments.texts(0)?, arguments.texts(1)?);
    let starts = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    let occurrences = (arguments.len() > 3).then(|| arguments.ints(3)).transpose()?;
    ints(arguments.rows, |row| {
        let (Some(whole), Some(part)) = (wholes.get(row), parts.get(row)) else { return Ok(None) };
        let start = starts.as_ref().map_or(Some(1), |starts| starts.get(row));
        let occurrence = occurrences.as_ref().map_or(Some(1), |occurrences| occurrences.get(row));
        let (Some(start), Some(occurrence)) = (start, occurrence) else { return Ok(None) };
        if occurrence <= 0 {
            return exec_err!("INSTR: the occurrence is {occurrence}, expected 1 or more");
        }
        let found = match start {
            0 => None,
            1.. => nth(whole, part, as_length(start - 1), occurrence),
            _ => {
                let backwards = |text: &str| text.chars().rev().collect::<String>();
                let from = as_length(start.saturating_neg() - 1);
                nth(&backwards(whole), &backwards(part), from, occurrence)
                    .and_then(|at| characters(whole).checked_sub(at + characters(part)))
            }
        };
        found.map_or(Ok(0), |at| count(at + 1)).map(Some)
    })
}

/// Occurrences may overlap. Characters are counted once, at the end, because there may be very many occurrences.
fn nth(whole: &str, part: &str, from: usize, occurrence: i64) -> Option<usize> {
    let Some(first) = part.chars().next() else { return Some(0) };
    let rest = from_character(whole, from);
    let (mut found, mut next) = (0, 0);
    for _ in 0..occurrence {
        found = next + rest[next..].find(part)?;
        next = found + first.len_utf8();
    }
    (occurrence > 0).then(|| from + characters(&rest[..found]))
}

fn initcap(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    texts(arguments.rows, |row| {
        let Some(whole) = wholes.get(row) else { return Ok(None) };
        let mut made = String::with_capacity(whole.len());
        let mut inside = false;
        for character in whole.chars() {
            match inside {
                true => made.extend(character.to_lowercase()),
                false => made.extend(character.to_uppercase()),
            }
            inside = character.is_alphanumeric();
        }
        Ok(Some(made))
    })
}

fn btrim(arguments: &Arguments) -> Result<ArrayRef> {
    trim(arguments, |text, characters| text.trim_matches(characters))
}

fn ltrim(arguments: &Arguments) -> Result<ArrayRef> {
    trim(arguments, |text, characters| text.trim_start_matches(characters))
}

fn rtrim(arguments: &Arguments) -> Result<ArrayRef> {
    trim(arguments, |text, characters| text.trim_end_matches(characters))
}

fn trim(arguments: &Arguments, cut: for<'a> fn(&'a str, &[char]) -> &'a str) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let cuts = (arguments.len() > 1).then(|| arguments.texts(1)).transpose()?;
    texts(arguments.rows, |row| {
        let Some(whole) = wholes.get(row) else { return Ok(None) };
        Ok(match &cuts {
            None => Some(cut(whole, &[' '])),
            Some(cuts) => cuts.get(row).map(|characters| cut(whole, &characters.chars().collect::<Vec<char>>())),
        })
    })
}

/// Without characters to translate, nothing changes. A character without a counterpart is removed.
fn translate(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, froms, tos) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    texts(arguments.rows, |row| {
        let Some(whole) = wholes.get(row) else { return Ok(None) };
        let (mut counterparts, mut to) = (BTreeMap::new(), tos.get(row).unwrap_or_default().chars());
        for character in froms.get(row).unwrap_or_default().chars() {
            let counterpart = to.next();
            counterparts.entry(character).or_insert(counterpart);
        }
        let translated = |character| counterparts.get(&character).copied().unwrap_or(Some(character));
        Ok(Some(whole.chars().filter_map(translated).collect::<String>()))
    })
}

fn startswith(arguments: &Arguments) -> Result<ArrayRef> {
    at_an_end(arguments, <[u8]>::starts_with)
}

fn endswith(arguments: &Arguments) -> Result<ArrayRef> {
    at_an_end(arguments, <[u8]>::ends_with)
}

fn at_an_end(arguments: &Arguments, is_at: fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef> {
    if let (Ok(wholes), Ok(parts)) = (arguments.texts(0), arguments.texts(1)) {
        return booleans(arguments.rows, |row| {
            Ok(wholes.get(row).zip(parts.get(row)).map(|(whole, part)| is_at(whole.as_bytes(), part.as_bytes())))
        });
    }
    let (wholes, parts) = (arguments.bytes(0)?, arguments.bytes(1)?);
    booleans(arguments.rows, |row| Ok(wholes.get(row).zip(parts.get(row)).map(|(whole, part)| is_at(whole, part))))
}

/// The separator is a text, or the code of one character.
fn split_index(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, indexes) = (arguments.texts(0)?, arguments.ints(2)?);
    let codes = arguments.ints(1).ok();
    let separators = if codes.is_some() { None } else { Some(arguments.texts(1)?) };
    texts(arguments.rows, |row| {
        let (Some(whole), Some(index)) = (wholes.get(row), indexes.get(row)) else { return Ok(None) };
        let code = codes.as_ref().and_then(|codes| codes.get(row));
        let by_code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0).map(char::from);
        let mut buffer = [0; 4];
        let separator = match by_code {
            Some(character) => Some(&*character.encode_utf8(&mut buffer)),
            None => separators.as_ref().and_then(|separators| separators.get(row)),
        };
        let (Some(separator), Ok(index)) = (separator, usize::try_from(index)) else { return Ok(None) };
        let part = match separator {
            // An empty separator splits at white space, as in Flink.
            "" => whole.split(char::is_whitespace).nth(index),
            separator => whole.split(separator).nth(index),
        };
        // An empty text has no parts at all.
        Ok(part.filter(|_| !whole.is_empty()).map(str::to_owned))
    })
}

fn check_elt(constants: &Constants) -> std::result::Result<(), String> {
    let choices = constants.len().saturating_sub(1);
    match constants.int(0) {
        Some(index) if !(1..=i64::try_from(choices).unwrap_or(i64::MAX)).contains(&index) => {
            Err(format!("index {index} is out of range, expected 1 to {choices}"))
        }
        _ => Ok(()),
    }
}

fn elt(arguments: &Arguments) -> Result<ArrayRef> {
    let indexes = arguments.ints(0)?;
    let choices = (1..arguments.len()).map(|at| arguments.texts(at)).collect::<Result<Vec<_>>>()?;
    texts(arguments.rows, |row| {
        let Some(index) = indexes.get(row) else { return Ok(None) };
        let choice = usize::try_from(index).ok().and_then(|index| choices.get(index.checked_sub(1)?));
        Ok(choice.and_then(|choice| choice.get(row)))
    })
}

fn chr(arguments: &Arguments) -> Result<ArrayRef> {
    let codes = arguments.ints(0)?;
    texts(arguments.rows, |row| {
        let of_code = |code: i64| u8::try_from(code.rem_euclid(256)).map(|code| char::from(code).to_string());
        Ok(codes.get(row).map(|code| if code < 0 { String::new() } else { of_code(code).unwrap_or_default() }))
    })
}

/// NULL is no letter, so the answer is never NULL.
fn is_alpha(arguments: &Arguments) -> Result<ArrayRef> {
    is_all(arguments, |text| !text.is_empty() && text.chars().all(char::is_alphabetic))
}

fn is_digit(arguments: &Arguments) -> Result<ArrayRef> {
    is_all(arguments, |text| !text.is_empty() && text.chars().all(|character| character.is_ascii_digit()))
}

fn is_decimal(arguments: &Arguments) -> Result<ArrayRef> {
    is_all(arguments, is_number)
}

fn is_all(arguments: &Arguments, holds: fn(&str) -> bool) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    booleans(arguments.rows, |row| Ok(Some(wholes.get(row).is_some_and(holds))))
}

/// Whether Java parses a text as a number: `1`, `-1.5`, `.5e3`, `NaN`, `Infinity`, and `1.5f` or `1d`.
fn is_number(text: &str) -> bool {
    let text = text.trim_matches(|character: char| character <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return true;
    }
    let number = unsigned.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(unsigned);
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (number, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    !(whole.is_empty() && fraction.is_empty()) && all_digits(whole) && all_digits(fraction) && has_exponent
}
