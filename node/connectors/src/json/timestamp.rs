//! Dates and times as text, as casts read and write them.

pub(crate) use thalweg_functions::moment::{
    Moment, TimestampForm, TimestampReader, fraction_digits, parse, parse_date, parse_time, write, write_day,
    write_time,
};
