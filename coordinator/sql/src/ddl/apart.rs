//! Whether a directory's name tells which values it was made of.
//!
//! A name is a sequence of pieces: texts of the template, and values, each of a form that its type gives. Two ways to read one name
//! are looked for: two runs over a small automaton, in which the same characters belong to different pieces. The forms take in some
//! texts that no value has, so that what passes is certain.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use thalweg_functions::time_pattern::{TimePattern, WrittenPart};
use thalweg_types::connector::{NULL_DIRECTORY, is_escaped_in_paths};

/// More pairs of states than any template needs in which no one loses himself.
const PAIRS_MAX: usize = 50_000;

/// The characters of a name that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    One(char),
    Digit,
    /// Letters, digits and spaces.
    Word,
    /// What numbers with exponents, infinity and NaN are of.
    Float,
    /// All that values have in names, `%` for those that are escaped.
    Plain,
}

impl Class {
    fn has(self, c: char) -> bool {
        match self {
            Self::One(one) => one == c,
            Self::Digit => c.is_ascii_digit(),
            Self::Word => c.is_ascii_alphanumeric() || c == ' ',
            Self::Float => c.is_ascii_alphanumeric() || "+-.".contains(c),
            Self::Plain => c == '%' || !is_escaped_in_paths(c),
        }
    }
}

/// A step: its characters, `None` for a step without one; the piece that they are of; and where it leads.
type Step = (Option<Class>, usize, usize);

/// An automaton for the names of a level.
#[derive(Debug)]
pub(super) struct Names {
    /// By state.
    steps: Vec<Vec<Step>>,
    /// The last state.
    end: usize,
    /// For each piece, whether it is a value that must be told from others.
    counts: Vec<bool>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { steps: vec![Vec::new()], end: 0, counts: Vec::new() }
    }

    /// The number of pieces so far.
    pub(super) fn pieces(&self) -> usize {
        self.counts.len()
    }

    /// Appends text of the template.
    pub(super) fn text(&mut self, text: &str) {
        let piece = self.piece(false);
        self.end = self.spelled(self.end, text, piece);
    }

    /// Appends a value of a column.
    pub(super) fn value(&mut self, data_type: &DataType) {
        let piece = self.piece(true);
        let start = self.end;
        self.end = self.formed(start, data_type, piece);
        if is_formed(data_type) {
            self.or_null(start, piece);
        }
    }

    /// Appends a time by a pattern. Each of its parts is a piece.
    pub(super) fn time(&mut self, pattern: &TimePattern, counts: bool) {
        let (start, first) = (self.end, self.counts.len());
        for part in pattern.parts() {
            let piece = self.piece(counts && !matches!(part, WrittenPart::Text(_)));
            self.end = self.part(self.end, &part, piece);
        }
        if self.counts.len() == first {
            self.piece(counts);
        }
        self.or_null(start, first);
    }

    fn piece(&mut self, counts: bool) -> usize {
        self.counts.push(counts);
        self.counts.len() - 1
    }

    fn state(&mut self) -> usize {
        self.steps.push(Vec::new());
        self.steps.len() - 1
    }

    fn skip(&mut self, from: usize, to: usize) {
        self.steps[from].push((None, 0, to));
    }

    fn one(&mut self, from: usize, class: Class, piece: usize) -> usize {
        let to = self.state();
        self.steps[from].push((Some(class), piece, to));
        to
    }

    fn any_number(&mut self, from: usize, class: Class, piece: usize) -> usize {
        let to = self.state();
        self.skip(from, to);
        self.steps[to].push((Some(class), piece, to));
        to
    }

    fn some(&mut self, from: usize, class: Class, piece: usize) -> usize {
        let first = self.one(from, class, piece);
        self.any_number(first, class, piece)
    }

    fn maybe(&mut self, from: usize, signs: &str, piece: usize) -> usize {
        let to = self.state();
        self.skip(from, to);
        for sign in signs.chars() {
            self.steps[from].push((Some(Class::One(sign)), piece, to));
        }
        to
    }

    fn times(&mut self, mut from: usize, count: usize, class: Class, piece: usize) -> usize {
        for _ in 0..count {
            from = self.one(from, class, piece);
        }
        from
    }

    fn spelled(&mut self, mut from: usize, text: &str, piece: usize) -> usize {
        for c in text.chars() {
            from = self.one(from, Class::One(c), piece);
        }
        from
    }

    /// As it is written as a part of a value.
    fn escaped(&mut self, mut from: usize, text: &str, piece: usize) -> usize {
        for c in text.chars() {
            let shown = if is_escaped_in_paths(c) { format!("%{:02X}", u32::from(c)) } else { c.to_string() };
            from = self.spelled(from, &shown, piece);
        }
        from
    }

    /// NULL instead of what has been appended since `start`.
    fn or_null(&mut self, start: usize, piece: usize) {
        let null = self.spelled(start, NULL_DIRECTORY, piece);
        let joined = self.state();
        self.skip(null, joined);
        self.skip(self.end, joined);
        self.end = joined;
    }

    fn formed(&mut self, from: usize, data_type: &DataType, piece: usize) -> usize {
        match data_type {
            data_type if data_type.is_integer() => {
                let signed = self.maybe(from, "-", piece);
                self.some(signed, Class::Digit, piece)
            }
            data_type if data_type.is_decimal() => {
                let signed = self.maybe(from, "-", piece);
                let whole = self.some(signed, Class::Digit, piece);
                self.fraction(whole, piece)
            }
            data_type if data_type.is_floating() => self.some(from, Class::Float, piece),
            DataType::Boolean => {
                let (yes, no) = (self.spelled(from, "true", piece), self.spelled(from, "false", piece));
                self.skip(yes, no);
                no
            }
            DataType::Date32 | DataType::Date64 => self.date(from, piece),
            DataType::Time32(_) | DataType::Time64(_) => self.clock(from, piece),
            DataType::Timestamp(..) => {
                let date = self.date(from, piece);
                let date = self.spelled(date, " ", piece);
                let time = self.clock(date, piece);
                self.maybe(time, "Z", piece)
            }
            _ => self.some(from, Class::Plain, piece),
        }
    }

    fn fraction(&mut self, from: usize, piece: usize) -> usize {
        let point = self.one(from, Class::One('.'), piece);
        let digits = self.some(point, Class::Digit, piece);
        let end = self.state();
        self.skip(from, end);
        self.skip(digits, end);
        end
    }

    fn date(&mut self, from: usize, piece: usize) -> usize {
        let signed = self.maybe(from, "+-", piece);
        let year = self.some(signed, Class::Digit, piece);
        let dash = self.spelled(year, "-", piece);
        let month = self.times(dash, 2, Class::Digit, piece);
        let dash = self.spelled(month, "-", piece);
        self.times(dash, 2, Class::Digit, piece)
    }

    fn clock(&mut self, from: usize, piece: usize) -> usize {
        let hour = self.times(from, 2, Class::Digit, piece);
        let colon = self.escaped(hour, ":", piece);
        let minute = self.times(colon, 2, Class::Digit, piece);
        let colon = self.escaped(minute, ":", piece);
        let second = self.times(colon, 2, Class::Digit, piece);
        self.fraction(second, piece)
    }

    fn part(&mut self, from: usize, part: &WrittenPart, piece: usize) -> usize {
        match part {
            WrittenPart::Text(text) => self.escaped(from, text, piece),
            WrittenPart::Words => self.some(from, Class::Word, piece),
            WrittenPart::Number { least, most, signs } => {
                let unsigned = self.times(from, *least, Class::Digit, piece);
                let end = match most {
                    None => self.any_number(unsigned, Class::Digit, piece),
                    Some(most) => {
                        let end = self.state();
                        let mut at = unsigned;
                        self.skip(at, end);
                        for _ in *least..*most {
                            at = self.one(at, Class::Digit, piece);
                            self.skip(at, end);
                        }
                        end
                    }
                };
                for sign in signs.chars() {
                    let signed = self.one(from, Class::One(sign), piece);
                    let digits = self.times(signed, *least, Class::Digit, piece);
                    let digits = self.any_number(digits, Class::Digit, piece);
                    self.skip(digits, end);
                }
                end
            }
        }
    }

    /// Pieces that some name can be cut into at different places: a value, and the other piece that takes a part of it. `None`: each
    /// name tells its values.
    pub(super) fn confused(&self) -> Option<(usize, usize)> {
        let alphabet = self.alphabet();
        let mut seen: BTreeSet<(usize, usize, bool)> = BTreeSet::new();
        let mut pending = vec![(0, 0, None)];
        while let Some((one, other, parted)) = pending.pop() {
            if one == self.end && other == self.end && parted.is_some() {
                return parted;
            }
            if !seen.insert((one, other, parted.is_some())) {
                continue;
            }
            if seen.len() > PAIRS_MAX {
                return Some((0, self.counts.len().saturating_sub(1)));
            }
            self.skips(one).for_each(|to| pending.push((to, other, parted)));
            self.skips(other).for_each(|to| pending.push((one, to, parted)));
            for c in &alphabet {
                for (piece, to) in self.takes(one, *c) {
                    for (of_other, to_other) in self.takes(other, *c) {
                        let counts = self.counts[piece] || self.counts[of_other];
                        let parts = (piece != of_other && counts).then(|| (piece.min(of_other), piece.max(of_other)));
                        pending.push((to, to_other, parted.or(parts)));
                    }
                }
            }
        }
        None
    }

    fn skips(&self, state: usize) -> impl Iterator<Item = usize> {
        self.steps[state].iter().filter(|(class, ..)| class.is_none()).map(|(_, _, to)| *to)
    }

    fn takes(&self, state: usize, c: char) -> impl Iterator<Item = (usize, usize)> {
        let steps = self.steps[state].iter();
        steps.filter(move |(class, ..)| class.is_some_and(|class| class.has(c))).map(|(_, piece, to)| (*piece, *to))
    }

    /// A character of each kind that the automaton tells from others.
    fn alphabet(&self) -> BTreeSet<char> {
        let classes = self.steps.iter().flatten().filter_map(|(class, ..)| *class);
        let spelled = classes.filter_map(|class| if let Class::One(c) = class { Some(c) } else { None });
        spelled.chain("0123456789aZ_ +-.%~ä".chars()).collect()
    }
}

/// Whether the values of a type have a form, unlike texts, which may be anything, the directory of NULL too.
fn is_formed(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(build: impl FnOnce(&mut Names)) -> Option<(usize, usize)> {
        let mut names = Names::new();
        build(&mut names);
        names.confused()
    }

    fn two(first: &DataType, between: &str, second: &DataType) -> bool {
        let confused = names(|names| {
            names.value(first);
            if !between.is_empty() {
                names.text(between);
            }
            names.value(second);
        });
        confused.is_some()
    }

    #[test]
    fn values_are_told_apart_by_what_they_cannot_have() {
        use DataType::{Boolean, Date32, Float64, Int32, Utf8View};
        let decimal = DataType::Decimal128(10, 2);
        let at = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None);
        for (first, between, second) in [
            (&Utf8View, "=", &Utf8View),
            (&Utf8View, ",b=", &Utf8View),
            (&Int32, "-", &Int32),
            (&Int32, "-", &Utf8View),
            (&Int32, ".", &Utf8View),
            (&Date32, "", &Int32),
            (&Date32, "-", &Utf8View),
            (&decimal, "-", &decimal),
            (&decimal, ".", &Int32),
            (&at, "x", &Int32),
            (&Utf8View, "_", &Boolean),
            (&Boolean, "", &Int32),
            (&Utf8View, "'", &Float64),
        ] {
            assert!(!two(first, between, second), "{first} {between} {second}");
        }
        for (first, between, second) in [
            (&Utf8View, "", &Utf8View),
            (&Utf8View, "-", &Utf8View),
            (&Int32, "", &Int32),
            (&Int32, "1", &Int32),
            (&Utf8View, "-", &Int32),
            (&decimal, ".", &decimal),
            (&Float64, "-", &Int32),
            (&Int32, "", &Date32),
        ] {
            assert!(two(first, between, second), "{first} {between} {second}");
        }
    }

    #[test]
    fn times_have_the_widths_of_their_patterns() {
        let read = |pattern: &str| TimePattern::read(pattern).expect("a pattern");
        let behind = |pattern: &str| {
            names(|names| {
                names.value(&DataType::Utf8View);
                names.text("-");
                names.time(&read(pattern), false);
            })
        };
        assert_eq!(behind("HH"), None);
        assert_eq!(behind("yyyy-MM-dd"), None);
        assert_eq!(behind("uuuu-MM-dd"), Some((0, 1)), "x, -0001 or x-, 0001");
        assert!(behind("MMMM").is_none() && behind("H").is_none());
        let alone = |pattern: &str| names(|names| names.time(&read(pattern), true));
        assert_eq!(alone("yyyyMMddHHmmssSSS"), None);
        assert_eq!(alone("Hm"), Some((0, 1)), "1, 12 or 11, 2");
        assert_eq!(names(|names| names.time(&read("Hm"), false)), None, "the time is elsewhere, too");
        assert_eq!(alone("yyyy'年'M'月'"), None);
    }

    #[test]
    fn templates_of_many_pieces_are_read_soon() {
        let many = |between: &str| {
            names(|names| {
                for _ in 0..300 {
                    names.value(&DataType::Utf8View);
                    names.text(between);
                }
            })
        };
        assert_eq!(many("="), None);
        assert!(many("-").is_some());
    }
}
