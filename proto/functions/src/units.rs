//! Calendar units: `EXTRACT`, `FLOOR` and `CEIL` to a unit, `TIMESTAMPADD`, `TIMESTAMPDIFF`, `date_trunc`, `date_bin`.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, IntervalMonthDayNanoType, TimeUnit},
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};

use crate::{
    civil::{DAY_NANOS, Date, Moment, SECOND_NANOS, iso_day_of_week, iso_week},
    native::{
        Arguments, Constants, Gives,
        Kind::{Day, Int, Interval, Text, Time},
        Native, Takes, bigints, ints, these,
    },
    time::{Moments, moments},
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("extract", "EXTRACT(unit FROM time)", these(&[Text, Time]), Gives::BigInt, extract).checked(check_part),
    Native::new("floor_to", "FLOOR(time TO unit)", these(&[Text, Time]), Gives::By(second), floor_to)
        .checked(check_rounded),
    Native::new("ceil_to", "CEIL(time TO unit)", these(&[Text, Time]), Gives::By(second), ceil_to)
        .checked(check_rounded),
    Native::new("timestampadd", "TIMESTAMPADD(unit, number, time)", Takes::By(of_days), Gives::By(third), timestampadd)
        .checked(check_unit),
    Native::new(
        "timestampadd_time",
        "TIMESTAMPADD(unit, number, time)",
        Takes::By(of_times),
        Gives::By(third),
        timestampadd,
    )
    .checked(check_unit),
    Native::new("timestampdiff", "TIMESTAMPDIFF(unit, from, to)", these(&[Text, Day, Day]), Gives::Int, timestampdiff)
        .checked(check_unit),
    Native::new("date_trunc", "DATE_TRUNC(unit, time)", these(&[Text, Time]), Gives::By(second), date_trunc)
        .also(&["datetrunc"])
        .checked(check_rounded),
    Native::new(
        "date_bin",
        "DATE_BIN(interval, time [, origin])",
        Takes::These { kinds: &[Interval, Day, Day], optional: 1 },
        Gives::By(second),
        date_bin,
    ),
];

/// A unit that `TO` and the like may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds.
    Nanos(i64),
    Week,
    /// So many months. With `from_1`, such units begin in year 1 and not in year 0, as centuries do.
    Months {
        months: i64,
        from_1: bool,
    },
}

impl Unit {
    fn named(name: &str) -> Option<Self> {
        let months = |months| Some(Self::Months { months, from_1: false });
        let upper = name.to_ascii_uppercase();
        match upper.strip_prefix("SQL_TSI_").unwrap_or(&upper) {
            "NANOSECOND" | "NANOSECONDS" => Some(Self::Nanos(1)),
            "MICROSECOND" | "MICROSECONDS" => Some(Self::Nanos(1_000)),
            "MILLISECOND" | "MILLISECONDS" => Some(Self::Nanos(1_000_000)),
            "SECOND" | "SECONDS" => Some(Self::Nanos(SECOND_NANOS)),
            "MINUTE" | "MINUTES" => Some(Self::Nanos(60 * SECOND_NANOS)),
            "HOUR" | "HOURS" => Some(Self::Nanos(3_600 * SECOND_NANOS)),
            "DAY" | "DAYS" => Some(Self::Nanos(DAY_NANOS)),
            "WEEK" | "WEEKS" => Some(Self::Week),
            "MONTH" | "MONTHS" => months(1),
            "QUARTER" | "QUARTERS" => months(3),
            "YEAR" | "YEARS" => months(12),
            "DECADE" | "DECADES" => months(120),
            "CENTURY" | "CENTURIES" => Some(Self::Months { months: 1_200, from_1: true }),
            "MILLENNIUM" | "MILLENNIUMS" => Some(Self::Months { months: 12_000, from_1: true }),
            _ => None,
        }
    }

    /// The latest beginning of the unit that is not after a moment. Weeks begin on the day `week_begins`; 1 is Monday.
    fn floor(self, moment: Moment, week_begins: i64) -> Option<Moment> {
        match self {
            Self::Nanos(nanos) => Some(Moment { nanos: moment.nanos - moment.nanos % nanos, ..moment }),
            Self::Week => {
                let since = (iso_day_of_week(moment.days) - week_begins).rem_euclid(7);
                Some(Moment { days: moment.days.checked_sub(since)?, nanos: 0 })
            }
            Self::Months { months, from_1 } => {
                let date = moment.date();
                let shift = i64::from(from_1) * 12;
                let total = date.year.checked_mul(12)? + date.month - 1 - shift;
                let first = total.div_euclid(months) * months + shift;
                let (year, month) = (first.div_euclid(12), first.rem_euclid(12) + 1);
                Some(Moment { days: Date { year, month, day: 1 }.to_days()?, nanos: 0 })
            }
        }
    }

    fn plus(self, moment: Moment, count: i64) -> Option<Moment> {
        let nanos = |unit: i64| Moment::from_nanos(moment.to_nanos() + i128::from(unit) * i128::from(count));
        match self {
            Self::Nanos(unit) => nanos(unit),
            Self::Week => nanos(7 * DAY_NANOS),
            Self::Months { months, .. } => moment.plus_months(months.checked_mul(count)?),
        }
    }

    /// Whole units from one moment to another, rounded towards zero.
    fn between(self, from: Moment, to: Moment) -> Option<i64> {
        let nanos = |unit: i64| i64::try_from((to.to_nanos() - from.to_nanos()) / i128::from(unit)).ok();
        match self {
            Self::Nanos(unit) => nanos(unit),
            Self::Week => nanos(7 * DAY_NANOS),
            Self::Months { months, .. } => {
                let (first, last) = (from.date(), to.date());
                let apart = (last.year - first.year) * 12 + last.month - first.month;
                let within = (last.day, to.nanos).cmp(&(first.day, from.nanos));
                let whole = match apart.signum() {
                    1 if within.is_lt() => apart - 1,
                    -1 if within.is_gt() => apart + 1,
                    _ => apart,
                };
                Some(whole / months)
            }
        }
    }
}

fn unknown_unit(name: &str) -> String {
    format!("unknown unit '{name}', expected one of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR and the like")
}

fn check_unit(constants: &Constants) -> std::result::Result<(), String> {
    match constants.text(0) {
        Some(name) if Unit::named(name).is_none() => Err(unknown_unit(name)),
        _ => Ok(()),
    }
}

/// A time of day can be rounded to a part of the day only.
fn check_rounded(constants: &Constants) -> std::result::Result<(), String> {
    check_unit(constants)?;
    let of_day = matches!(constants.types.get(1), Some(DataType::Time64(_)));
    match constants.text(0) {
        Some(name) if of_day && !matches!(Unit::named(name), Some(Unit::Nanos(_))) => {
            Err(format!("a TIME has no {name}"))
        }
        _ => Ok(()),
    }
}

/// The units that the first argument names.
struct Units {
    names: crate::native::Texts,
}

impl Units {
    fn of(arguments: &Arguments) -> Result<Self> {
        Ok(Self { names: arguments.texts(0)? })
    }

    fn get(&self, row: usize) -> Result<Option<Unit>> {
        let Some(name) = self.names.get(row) else { return Ok(None) };
        Unit::named(name).map(Some).ok_or_else(|| exec_datafusion_err!("{}", unknown_unit(name)))
    }
}

fn second(types: &[DataType]) -> DataType {
    types.get(1).cloned().unwrap_or(DataType::Null)
}

fn too_far() -> datafusion_common::DataFusionError {
    exec_datafusion_err!("a time is beyond what its type holds")
}

/// Here Flink's weeks begin on Sunday.
fn floor_to(arguments: &Arguments) -> Result<ArrayRef> {
    rounded(arguments, |unit, moment| unit.floor(moment, 7))
}

fn ceil_to(arguments: &Arguments) -> Result<ArrayRef> {
    rounded(arguments, |unit, moment| {
        let floor = unit.floor(moment, 7)?;
        if floor == moment { Some(moment) } else { unit.plus(floor, 1) }
    })
}

/// Flink lacks this function. Its weeks begin on Monday.
fn date_trunc(arguments: &Arguments) -> Result<ArrayRef> {
    rounded(arguments, |unit, moment| unit.floor(moment, 1))
}

fn rounded(arguments: &Arguments, value: fn(Unit, Moment) -> Option<Moment>) -> Result<ArrayRef> {
    let (units, times) = (Units::of(arguments)?, Moments::of(arguments, 1)?);
    moments(arguments.rows, arguments.returns, |row| {
        let (Some(unit), Some(moment)) = (units.get(row)?, times.get(row)) else { return Ok(None) };
        value(unit, moment).map(Some).ok_or_else(too_far)
    })
}

fn third(types: &[DataType]) -> DataType {
    types.get(2).cloned().unwrap_or(DataType::Null)
}

fn of_days(found: &[DataType]) -> Option<Vec<DataType>> {
    let [unit, count, time] = found else { return None };
    Some(vec![Text.takes(unit)?, Int.takes(count)?, Time.takes(time)?])
}

/// For units below a day, a date becomes the timestamp of its midnight.
fn of_times(found: &[DataType]) -> Option<Vec<DataType>> {
    let mut types = of_days(found)?;
    for data_type in types.iter_mut().filter(|data_type| **data_type == DataType::Date32) {
        *data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
    }
    Some(types)
}

/// Whether `TIMESTAMPADD` with this unit makes timestamps of dates; `None` if there is no such unit.
#[must_use]
pub fn is_below_a_day(unit: &str) -> Option<bool> {
    Unit::named(unit).map(|unit| matches!(unit, Unit::Nanos(nanos) if nanos < DAY_NANOS))
}

fn timestampadd(arguments: &Arguments) -> Result<ArrayRef> {
    let (units, counts, times) = (Units::of(arguments)?, arguments.ints(1)?, Moments::of(arguments, 2)?);
    let of_day = matches!(times.data_type(), DataType::Time64(_));
    moments(arguments.rows, arguments.returns, |row| {
        let (Some(unit), Some(count), Some(moment)) = (units.get(row)?, counts.get(row), times.get(row)) else {
            return Ok(None);
        };
        // A time of day wraps around, so whole days and larger units change nothing.
        match of_day && !matches!(unit, Unit::Nanos(_)) {
            true => Ok(Some(moment)),
            false => unit.plus(moment, count).map(Some).ok_or_else(too_far),
        }
    })
}

fn timestampdiff(arguments: &Arguments) -> Result<ArrayRef> {
    let (units, froms, tos) = (Units::of(arguments)?, Moments::of(arguments, 1)?, Moments::of(arguments, 2)?);
    ints(arguments.rows, |row| {
        let (Some(unit), Some(from), Some(to)) = (units.get(row)?, froms.get(row), tos.get(row)) else {
            return Ok(None);
        };
        let between = unit.between(from, to).and_then(|between| i32::try_from(between).ok());
        between.map(Some).ok_or_else(|| exec_datafusion_err!("TIMESTAMPDIFF: more units than an INT holds"))
    })
}

/// A part of a moment as a number.
type Part = fn(Moment) -> i64;

/// The part that `EXTRACT` calls by a name.
fn part(name: &str) -> Option<Part> {
    fn year(moment: Moment) -> i64 {
        moment.date().year
    }
    /// Centuries and the like are counted from 1, in both directions.
    fn from_1(year: i64, years: i64) -> i64 {
        if year > 0 { (year + years - 1) / years } else { (year - years + 1) / years }
    }
    Some(match name.to_ascii_uppercase().as_str() {
        "MILLENNIUM" => |moment| from_1(year(moment), 1000),
        "CENTURY" => |moment| from_1(year(moment), 100),
        "DECADE" => |moment| year(moment).div_euclid(10),
        "YEAR" => year,
        "ISOYEAR" => |moment| iso_week(moment.days).1,
        "QUARTER" => |moment| (moment.date().month + 2) / 3,
        "MONTH" => |moment| moment.date().month,
        "WEEK" => |moment| iso_week(moment.days).0,
        "DAY" => |moment| moment.date().day,
        "DOY" => |moment| moment.date().day_of_year(),
        "DOW" => |moment| iso_day_of_week(moment.days) % 7 + 1,
        "ISODOW" => |moment| iso_day_of_week(moment.days),
        "HOUR" => |moment| moment.nanos / (3_600 * SECOND_NANOS),
        "MINUTE" => |moment| moment.nanos / (60 * SECOND_NANOS) % 60,
        "SECOND" => |moment| moment.nanos / SECOND_NANOS % 60,
        "MILLISECOND" => |moment| moment.nanos % SECOND_NANOS / 1_000_000,
        "MICROSECOND" => |moment| moment.nanos % SECOND_NANOS / 1_000,
        "NANOSECOND" => |moment| moment.nanos % SECOND_NANOS,
        "EPOCH" => |moment| moment.to_ticks(1).unwrap_or(i64::MAX),
        _ => return None,
    })
}

fn unknown_part(name: &str) -> String {
    format!(
        "unknown unit '{name}', expected MILLENNIUM, CENTURY, DECADE, YEAR, ISOYEAR, QUARTER, MONTH, WEEK, DAY, DOY, DOW, ISODOW, \
         HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND, NANOSECOND or EPOCH"
    )
}

fn check_part(constants: &Constants) -> std::result::Result<(), String> {
    let Some(name) = constants.text(0) else { return Ok(()) };
    let within_day = ["HOUR", "MINUTE", "SECOND"].iter().any(|unit| name.to_ascii_uppercase().ends_with(unit));
    match part(name) {
        None => Err(unknown_part(name)),
        Some(_) if matches!(constants.types.get(1), Some(DataType::Time64(_))) && !within_day => {
            Err(format!("a TIME has no {}", name.to_uppercase()))
        }
        Some(_) => Ok(()),
    }
}

fn extract(arguments: &Arguments) -> Result<ArrayRef> {
    let (names, times) = (arguments.texts(0)?, Moments::of(arguments, 1)?);
    let mut last: Option<(String, Part)> = None;
    bigints(arguments.rows, |row| {
        let (Some(name), Some(moment)) = (names.get(row), times.get(row)) else { return Ok(None) };
        let value = match &last {
            Some((same, value)) if same == name => *value,
            _ => {
                let value = part(name).ok_or_else(|| exec_datafusion_err!("{}", unknown_part(name)))?;
                last.insert((name.to_owned(), value)).1
            }
        };
        Ok(Some(value(moment)))
    })
}

/// The beginning of a time's bin. Bins begin at the origin, or without one at 1970-01-01.
fn date_bin(arguments: &Arguments) -> Result<ArrayRef> {
    let strides = arguments.array(0)?;
    let strides = strides.as_primitive::<IntervalMonthDayNanoType>();
    let times = Moments::of(arguments, 1)?;
    let origins = (arguments.len() > 2).then(|| Moments::of(arguments, 2)).transpose()?;
    moments(arguments.rows, arguments.returns, |row| {
        let origin = origins.as_ref().map_or(Some(Moment { days: 0, nanos: 0 }), |origins| origins.get(row));
        let (true, Some(moment), Some(origin)) = (strides.is_valid(row), times.get(row), origin) else {
            return Ok(None);
        };
        let stride = strides.value(row);
        let nanos = i128::from(stride.days) * i128::from(DAY_NANOS) + i128::from(stride.nanoseconds);
        match (stride.months, nanos) {
            (0, 1..) => {
                let since = moment.to_nanos() - origin.to_nanos();
                Moment::from_nanos(moment.to_nanos() - since.rem_euclid(nanos)).map(Some).ok_or_else(too_far)
            }
            (1.., 0) => month_bin(i64::from(stride.months), moment, origin).map(Some).ok_or_else(too_far),
            _ => exec_err!("DATE_BIN: the interval is of months, or of days and less, and positive"),
        }
    })
}

fn month_bin(stride: i64, moment: Moment, origin: Moment) -> Option<Moment> {
    let (date, first) = (moment.date(), origin.date());
    let apart = (date.year - first.year) * 12 + date.month - first.month;
    let begin = origin.plus_months(apart.div_euclid(stride) * stride)?;
    // In the month in which a bin begins, a time may come before the bin's day.
    if begin <= moment { Some(begin) } else { origin.plus_months((apart.div_euclid(stride) - 1) * stride) }
}
