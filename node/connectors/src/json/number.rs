//! Converts text to integers, floats and decimals, and back, without loss.

use super::{fault::Fault, scan::Scanner};

/// An integer type that a column can have.
pub(crate) trait Integer: Copy + Default + TryFrom<i64> + TryFrom<i128> {}

impl<T: Copy + Default + TryFrom<i64> + TryFrom<i128>> Integer for T {}

/// More digits might overflow 64 bits.
const FAST_DIGITS: usize = 18;

/// Parses an integer, quoted or not. A fraction or exponent is allowed if the value is whole.
#[inline]
pub(crate) fn read_integer<T: Integer>(scanner: &mut Scanner<'_>) -> Option<T> {
    let text = scanner.rest();
    if text.first() == Some(&b'"') {
        return read_quoted(scanner, |text| T::try_from(parse_whole(text)?).ok());
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value = 0i64;
    let mut count = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || count == FAST_DIGITS {
            break;
        }
        value = value * 10 + i64::from(digit);
        count += 1;
    }
    let is_plain = !matches!(digits.get(count), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
    let has_leading_zero = count > 1 && digits.first() == Some(&b'0');
    if count == 0 || !is_plain || has_leading_zero {
        let token = scanner.number().ok()?;
        return T::try_from(parse_whole(token)?).ok();
    }
    scanner.advance(count + usize::from(negative));
    T::try_from(if negative { -value } else { value }).ok()
}

/// Parses a quoted number, with blanks around it allowed: some writers quote numbers to keep their digits.
#[cold]
pub(crate) fn read_quoted<T>(scanner: &mut Scanner<'_>, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let text = scanner.string().ok()?;
    parse(text.trim().as_bytes())
}

/// The value of a JSON number that is whole and fits.
pub(crate) fn parse_whole(token: &[u8]) -> Option<i128> {
    let number = Parts::of(token)?;
    let shift = number.shift(0)?;
    if shift < 0 && !number.digits().skip(number.kept(shift)).all(|digit| digit == 0) {
        return None;
    }
    number.scaled(shift)
}

/// The value of a decimal number in units of 10^-scale, rounded half away from zero; `None` if it has more than
/// `precision` digits.
pub(crate) fn parse_decimal(token: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let number = Parts::of(token)?;
    let value = number.scaled(number.shift(scale)?)?;
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (value.abs() < limit).then_some(value)
}

/// The parts of a decimal number's text.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let (negative, unsigned) = match token {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, token),
        };
        let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (unsigned.get(..at)?, parse_exponent(unsigned.get(at + 1..)?)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
            None => (mantissa, &[][..]),
        };
        let number = Self { negative, whole, fraction, exponent };
        let is_number = whole.len() + fraction.len() > 0 && number.digits().all(|digit| digit <= 9);
        is_number.then_some(number)
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).map(|byte| byte.wrapping_sub(b'0'))
    }

    /// The power of ten to multiply the digits by.
    fn shift(&self, scale: i8) -> Option<i64> {
        let fraction = i64::try_from(self.fraction.len()).ok()?;
        Some(i64::from(self.exponent) + i64::from(scale) - fraction)
    }

    /// How many digits remain before the cut of a negative shift.
    fn kept(&self, shift: i64) -> usize {
        let total = self.whole.len() + self.fraction.len();
        let cut = usize::try_from(shift.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        total.saturating_sub(cut)
    }

    fn scaled(&self, shift: i64) -> Option<i128> {
        let kept = self.kept(shift);
        let add = |value: i128, digit: u8| value.checked_mul(10)?.checked_add(i128::from(digit));
        let mut value = self.digits().take(kept).try_fold(0i128, add)?;
        let is_within_reach = shift >= 0 || self.kept(shift + 1) > kept;
        if shift < 0 && is_within_reach && self.digits().nth(kept).is_some_and(|digit| digit >= 5) {
            value = value.checked_add(1)?;
        }
        if shift > 0 && value != 0 {
            value = value.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?)?;
        }
        Some(if self.negative { -value } else { value })
    }
}

/// An exponent, clamped far outside of what any column can hold.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |value: i32, digit: &u8| (value * 10 + i32::from(digit - b'0')).min(1_000_000);
    let value = digits.iter().fold(0, add);
    Some(if negative { -value } else { value })
}

/// Parses a float: a number, quoted or not, or one of the strings for values that JSON numbers cannot express.
pub(crate) fn read_float(scanner: &mut Scanner<'_>) -> Result<Option<f64>, Fault> {
    let finite = |token: &[u8]| lexical_core::parse::<f64>(token).ok().filter(|value| value.is_finite());
    if scanner.peek() == b'"' {
        return Ok(read_quoted(scanner, |text| match text {
            b"NaN" => Some(f64::NAN),
            b"Infinity" => Some(f64::INFINITY),
            b"-Infinity" => Some(f64::NEG_INFINITY),
            number => finite(number),
        }));
    }
    Ok(finite(scanner.number()?))
}

/// Writes a number in its shortest form.
pub(crate) fn write_integer<T: lexical_core::ToLexical>(value: T, into: &mut Vec<u8>) {
    let mut buffer = [0u8; lexical_core::BUFFER_SIZE];
    into.extend_from_slice(lexical_core::write(value, &mut buffer));
}

/// Writes the shortest text that parses to the same float; a word, quoted if `quote`, for infinities and NaN.
pub(crate) fn write_float<T: lexical_core::ToLexical + Into<f64> + Copy>(value: T, quote: bool, into: &mut Vec<u8>) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        return write_integer(value, into);
    }
    let word: &[u8] = if wide.is_nan() {
        b"NaN"
    } else if wide > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    };
    let mark: &[u8] = if quote { b"\"" } else { b"" };
    for part in [mark, word, mark] {
        into.extend_from_slice(part);
    }
}

/// Writes a decimal with exactly `scale` digits after the point.
pub(crate) fn write_decimal(value: i128, scale: i8, into: &mut Vec<u8>) {
    use std::io::Write as _;
    if value < 0 {
        into.push(b'-');
    }
    let digits = value.unsigned_abs();
    let written = match u32::try_from(scale) {
        Ok(0) => write!(into, "{digits}"),
        Ok(places) => {
            let unit = 10u128.checked_pow(places).unwrap_or(u128::MAX);
            write!(into, "{}.{:0width$}", digits / unit, digits % unit, width = places as usize)
        }
        Err(_) => {
            let zeros = usize::from(scale.unsigned_abs());
            write!(into, "{digits}{:0<width$}", "", width = if digits == 0 { 0 } else { zeros })
        }
    };
    written.expect("writing to memory cannot fail");
}
