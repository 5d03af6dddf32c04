//! How far texts are from one another.

use arrow::array::ArrayRef;
use datafusion_common::{Result, exec_err, utils::datafusion_strsim::levenshtein_with_buffer};

use crate::{
    budget,
    native::{Arguments, Gives, Kind::Text, Native, count, ints, these},
    text::characters,
};

pub(crate) const FUNCTIONS: &[Native] =
    &[Native::new("levenshtein", "LEVENSHTEIN(text, text)", these(&[Text, Text]), Gives::Int, levenshtein)];

/// Each character of a text is compared with each of the other: so many times at most, which takes a part of a second.
const COMPARISONS_MAX: usize = 100_000_000;

fn levenshtein(arguments: &Arguments) -> Result<ArrayRef> {
    let (ones, others) = (arguments.texts(0)?, arguments.texts(1)?);
    let mut buffer = Vec::new();
    ints(arguments.rows, |row| {
        let (Some(one), Some(other)) = (ones.get(row), others.get(row)) else { return Ok(None) };
        let lengths = (characters(one), characters(other));
        let comparisons = lengths.0.saturating_mul(lengths.1);
        if comparisons > COMPARISONS_MAX {
            return exec_err!(
                "LEVENSHTEIN of {} and {} characters takes {comparisons} comparisons, more than {COMPARISONS_MAX}: \
                 shorten the texts, with LEFT for example",
                lengths.0,
                lengths.1
            );
        }
        // One takes as long as a byte that is made.
        budget::charge(comparisons)?;
        // The buffer is as long as the second text.
        let (longer, shorter) = if lengths.0 < lengths.1 { (other, one) } else { (one, other) };
        count(levenshtein_with_buffer(longer, shorter, &mut buffer)).map(Some)
    })
}
