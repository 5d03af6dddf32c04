//! Days and times of the proleptic Gregorian calendar, for any 64-bit number: also years above 9999 and below 1.

/// Nanoseconds of a day.
pub(crate) const DAY_NANOS: i64 = 86_400 * SECOND_NANOS;
pub(crate) const SECOND_NANOS: i64 = 1_000_000_000;

/// A day and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Days since 1970-01-01.
    pub(crate) days: i64,
    /// Nanoseconds of the day, from 0 to `DAY_NANOS - 1`.
    pub(crate) nanos: i64,
}

/// A date by its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    /// Year 0 is the year before 1.
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

impl Moment {
    /// The moment of a number of ticks since 1970, with `per_second` ticks in a second.
    pub(crate) fn from_ticks(ticks: i64, per_second: i64) -> Self {
        let seconds = ticks.div_euclid(per_second);
        let rest = ticks.rem_euclid(per_second) * (SECOND_NANOS / per_second);
        Self { days: seconds.div_euclid(86_400), nanos: seconds.rem_euclid(86_400) * SECOND_NANOS + rest }
    }

    /// Ticks since 1970, rounded down; `None` if 64 bits do not hold them.
    pub(crate) fn to_ticks(self, per_second: i64) -> Option<i64> {
        let ticks = self.to_nanos().div_euclid(i128::from(SECOND_NANOS / per_second));
        i64::try_from(ticks).ok()
    }

    /// Nanoseconds since 1970.
    pub(crate) fn to_nanos(self) -> i128 {
        i128::from(self.days) * i128::from(DAY_NANOS) + i128::from(self.nanos)
    }

    /// The moment of a number of nanoseconds since 1970; `None` if its days do not fit 64 bits.
    pub(crate) fn from_nanos(nanos: i128) -> Option<Self> {
        let day = i128::from(DAY_NANOS);
        Some(Self {
            days: i64::try_from(nanos.div_euclid(day)).ok()?,
            nanos: i64::try_from(nanos.rem_euclid(day)).ok()?,
        })
    }

    pub(crate) fn date(self) -> Date {
        Date::from_days(self.days)
    }

    /// The moment so many months later, on the last day of the month if it has no such day.
    pub(crate) fn plus_months(self, months: i64) -> Option<Self> {
        let date = self.date();
        let total = date.year.checked_mul(12)?.checked_add(date.month - 1)?.checked_add(months)?;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        let day = date.day.min(days_of_month(year, month));
        Some(Self { days: Date { year, month, day }.to_days()?, ..self })
    }
}

impl Date {
    /// The date of a day since 1970-01-01, counted in eras of 400 years that begin on the first of March (Howard
    /// Hinnant: chrono-Compatible Low-Level Date Algorithms).
    pub(crate) fn from_days(days: i64) -> Self {
        let shifted = i128::from(days) + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let narrow = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            year: narrow(year_of_era + era * 400 + i128::from(month <= 2)),
            month: narrow(month),
            day: narrow(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        }
    }

    /// Days since 1970-01-01; `None` if the year is out of range.
    pub(crate) fn to_days(self) -> Option<i64> {
        let year = self.year.checked_sub(i64::from(self.month <= 2))?;
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * (self.month + if self.month > 2 { -3 } else { 9 }) + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era.checked_mul(146_097)?.checked_add(of_era - 719_468)
    }

    /// The day of the year; 1 is the first of January.
    pub(crate) fn day_of_year(self) -> i64 {
        let before: i64 = (1..self.month).map(|month| days_of_month(self.year, month)).sum();
        before + self.day
    }
}

/// The day of the week; 1 is Monday.
pub(crate) fn iso_day_of_week(days: i64) -> i64 {
    (days.rem_euclid(7) + 3) % 7 + 1
}

/// The week by ISO 8601, and the year that it belongs to.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of a week is in the year that the week belongs to.
    let thursday = days + 4 - iso_day_of_week(days);
    let date = Date::from_days(thursday);
    ((date.day_of_year() - 1) / 7 + 1, date.year)
}

pub(crate) fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
