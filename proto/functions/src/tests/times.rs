//! Functions of dates, times and timestamps.

use super::*;

#[test]
fn texts_of_times() {
    let time = || ts("2026-03-09 04:05:06.789012");
    for (pattern, expected) in [
        ("yyyy-MM-dd HH:mm:ss", "2026-03-09 04:05:06"),
        ("yyyy-M-d H:m:s", "2026-3-9 4:5:6"),
        ("EEE, d MMM yyyy", "Mon, 9 Mar 2026"),
        ("EEEE MMMM", "Monday March"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2026-03-09T04:05:06.789"),
        ("''yy''", "'26'"),
        ("'it''s' yy", "it's 26"),
        ("%Y %d", "%Y 9"),
        ("SSSSSSSSS S", "789012000 7"),
        ("hh a K k", "04 AM 4 4"),
        ("D DDD", "68 068"),
        ("Q QQ QQQ QQQQ", "1 01 Q1 1st quarter"),
        ("G u", "AD 2026"),
        ("[yyyy]", "2026"),
    ] {
        if pattern.contains("%Y") {
            refused("date_format", &[time(), t(pattern)], "Y is not supported");
        } else {
            check("date_format", &[time(), t(pattern)], expected);
        }
    }
    check("date_format", &[time(), t("'%Y' yy%")], "%Y 26%");
    check("date_format", &[day("2026-03-09"), t("yyyy/MM/dd HH")], "2026/03/09 00");
    check("date_format", &[ts("1969-12-31 23:59:59.999999"), t("yyyy-MM-dd HH:mm:ss.SSS")], "1969-12-31 23:59:59.999");
    check("date_format", &[t("2026-03-09 01:02:03"), t("HH")], "01");
    check("date_format", &[t("nonsense"), t("HH")], "NULL");
    check("date_format", &[time(), NULL], "NULL");
    let far = ScalarValue::TimestampMillisecond(Some(253_402_300_800_000), None);
    check("date_format", &[far, t("yyyy")], "+10000");
    for (pattern, reason) in [
        ("bb", "bb has no meaning"),
        ("ww", "depends on where one is"),
        ("HHH", "too many letters"),
        ("yyyy 'open", "a quote is not closed"),
        ("z", "zones"),
        ("}", "reserved"),
    ] {
        refused("date_format", &[time(), t(pattern)], reason);
        assert!(call("date_format", &[time(), t(pattern)], true).is_err(), "{pattern} of a column");
    }
    check("from_unixtime", &[i(44)], "1970-01-01 00:00:44");
    check("from_unixtime", &[i(-1)], "1969-12-31 23:59:59");
    check("from_unixtime", &[i(44), t("yyyy/MM/dd'T'HH")], "1970/01/01T00");
}

#[test]
fn times_of_texts() {
    check("to_timestamp", &[t("abc")], "NULL");
    check("to_timestamp", &[t("2017-09-15 00:00:00")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("2017-9-5 1:2:3.4567")], "2017-09-05T01:02:03.456");
    check("to_timestamp", &[t("2017-09-15")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("2017-13-15")], "NULL");
    check("to_timestamp", &[t("20170915000102"), t("yyyyMMddHHmmss")], "2017-09-15T00:01:02");
    check("to_timestamp", &[t("2017-09-15"), t("yyyy-MM-dd")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("15/09/2017 4:05 PM"), t("dd/MM/yyyy h:mm a")], "2017-09-15T16:05:00");
    check("to_timestamp", &[t("9 Mar 2026"), t("d MMM yyyy")], "2026-03-09T00:00:00");
    check("to_timestamp", &[t("2026-03-09T04:05:06.789Z"), t("yyyy-MM-dd'T'HH:mm:ss.SSSX")], "2026-03-09T04:05:06.789");
    check(
        "to_timestamp",
        &[t("1969-12-31 23:59:59.999999"), t("yyyy-MM-dd HH:mm:ss.SSSSSS")],
        "1969-12-31T23:59:59.999",
    );
    check("to_timestamp", &[t("12"), t("HH")], "1970-01-01T12:00:00");
    check("to_timestamp", &[t("2026-02-30"), t("yyyy-MM-dd")], "2026-02-28T00:00:00");
    check("to_timestamp", &[t("2026-03-09 x"), t("yyyy-MM-dd")], "NULL");
    check("to_timestamp", &[t("2026-03-09"), t("yyyy-MM-dd[ HH:mm]")], "2026-03-09T00:00:00");
    check("to_timestamp", &[t("2026-03-09 05:06"), t("yyyy-MM-dd[ HH:mm]")], "2026-03-09T05:06:00");
    check("to_timestamp", &[NULL], "NULL");
    refused("to_timestamp", &[t("a"), t("nonsense")], "pattern 'nonsense'");
    check("to_date", &[t("2017-09-15 00:00:00")], "2017-09-15");
    check("to_date", &[t("2017-9")], "2017-09-01");
    check("to_date", &[t("nonsense")], "NULL");
    check("to_date", &[t("2017-02-30")], "NULL");
    check("to_date", &[t("15.09.2017"), t("dd.MM.yyyy")], "2017-09-15");
    check("to_date", &[t("x"), t("dd.MM.yyyy")], "NULL");
    check("to_timestamp_ltz", &[i(100), i(0)], "1970-01-01T00:01:40Z");
    check("to_timestamp_ltz", &[i(-1), i(3)], "1969-12-31T23:59:59.999Z");
    check("to_timestamp_ltz", &[big(253_402_300_800), i(0)], "NULL");
    check("to_timestamp_ltz", &[big(i64::MAX), i(0)], "NULL");
    check("to_timestamp_ltz", &[t("2026-03-09 04:05:06")], "2026-03-09T04:05:06Z");
    check(
        "to_timestamp_ltz",
        &[t("2026-07-09 04:05:06"), t("yyyy-MM-dd HH:mm:ss"), t("Europe/Berlin")],
        "2026-07-09T02:05:06Z",
    );
    check("to_timestamp_ltz", &[t("nonsense")], "NULL");
    refused("to_timestamp_ltz", &[i(1), i(6)], "expected 0 for seconds");
    check("to_timestamp_millis", &[i(-1)], "1969-12-31T23:59:59.999");
    check("to_timestamp_seconds", &[big(253_402_300_799)], "9999-12-31T23:59:59");
    check("to_timestamp_micros", &[NO_INT], "NULL");
    refused("to_timestamp_seconds", &[big(i64::MAX)], "beyond what its type holds");
    check("unix_timestamp", &[t("1970-01-01 08:00:01")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001 +0800"), t("yyyy-MM-dd HH:mm:ss.SSS X")], "1");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001 +0800"), t("yyyy-MM-dd HH:mm:ss.SSS")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS X")], "-9223372036854775808");
    let zones = [t("1970-01-01 00:00:00"), t("UTC"), t("America/Los_Angeles")];
    check("convert_tz", &zones, "1969-12-31 16:00:00");
    check("convert_tz", &[t("1970-01-01 00:00:00"), t("UTC"), t("GMT-8")], "1969-12-31 16:00:00");
    refused("convert_tz", &[t("1970-01-01 00:00:00"), t("UTC"), t("Mars")], "unknown time zone");
    // What the clock skips is as much later, on both sides of UTC; of what it repeats the first is meant.
    for (local, zone, utc) in [
        ("2024-03-31 02:30:00", "Europe/Berlin", "2024-03-31 01:30:00"),
        ("2024-03-10 02:30:00", "America/New_York", "2024-03-10 07:30:00"),
        ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-30 22:00:00"),
        ("2024-10-27 02:30:00", "Europe/Berlin", "2024-10-27 00:30:00"),
    ] {
        check("convert_tz", &[t(local), t(zone), t("UTC")], utc);
    }
}

#[test]
fn parts_of_times() {
    let time = || ts("1996-11-10 06:55:44.333222");
    for (unit, expected) in [
        ("MILLENNIUM", "2"),
        ("CENTURY", "20"),
        ("DECADE", "199"),
        ("YEAR", "1996"),
        ("ISOYEAR", "1996"),
        ("QUARTER", "4"),
        ("MONTH", "11"),
        ("WEEK", "45"),
        ("DAY", "10"),
        ("DOY", "315"),
        ("DOW", "1"),
        ("ISODOW", "7"),
        ("HOUR", "6"),
        ("MINUTE", "55"),
        ("SECOND", "44"),
        ("MILLISECOND", "333"),
        ("MICROSECOND", "333222"),
        ("NANOSECOND", "333222000"),
        ("EPOCH", "847608944"),
    ] {
        check("extract", &[t(unit), time()], expected);
    }
    check("extract", &[t("EPOCH"), ts("1969-12-31 23:59:59.5")], "-1");
    check("extract", &[t("MILLISECOND"), ts("1969-12-31 23:59:59.999999")], "999");
    check("extract", &[t("DOW"), day("1969-12-28")], "1");
    check("extract", &[t("WEEK"), day("2027-01-01")], "53");
    check("extract", &[t("ISOYEAR"), day("2027-01-01")], "2026");
    check("extract", &[t("YEAR"), millis("9999-12-31 00:00:00")], "9999");
    check("extract", &[t("HOUR"), clock("06:55:44")], "6");
    refused("extract", &[t("YEAR"), clock("06:55:44")], "a TIME has no YEAR");
    refused("extract", &[t("EON"), time()], "unknown unit");
    refused("extract", &[t("YEAR"), t("2026-01-01")], "EXTRACT(unit FROM time)");
    let leap = || ts("2020-02-29 01:56:59.987654");
    for (unit, floor, ceil) in [
        ("MILLISECOND", "2020-02-29T01:56:59.987", "2020-02-29T01:56:59.988"),
        ("SECOND", "2020-02-29T01:56:59", "2020-02-29T01:57:00"),
        ("MINUTE", "2020-02-29T01:56:00", "2020-02-29T01:57:00"),
        ("HOUR", "2020-02-29T01:00:00", "2020-02-29T02:00:00"),
        ("DAY", "2020-02-29T00:00:00", "2020-03-01T00:00:00"),
        ("WEEK", "2020-02-23T00:00:00", "2020-03-01T00:00:00"),
        ("MONTH", "2020-02-01T00:00:00", "2020-03-01T00:00:00"),
        ("QUARTER", "2020-01-01T00:00:00", "2020-04-01T00:00:00"),
        ("YEAR", "2020-01-01T00:00:00", "2021-01-01T00:00:00"),
        ("DECADE", "2020-01-01T00:00:00", "2030-01-01T00:00:00"),
        ("CENTURY", "2001-01-01T00:00:00", "2101-01-01T00:00:00"),
        ("MILLENNIUM", "2001-01-01T00:00:00", "3001-01-01T00:00:00"),
    ] {
        check("floor_to", &[t(unit), leap()], floor);
        check("ceil_to", &[t(unit), leap()], ceil);
    }
    check("floor_to", &[t("MINUTE"), clock("12:44:31")], "12:44:00");
    check("ceil_to", &[t("MINUTE"), clock("12:44:31")], "12:45:00");
    check("floor_to", &[t("HOUR"), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("ceil_to", &[t("MONTH"), day("1990-10-14")], "1990-11-01");
    check("date_trunc", &[t("week"), ts("2020-03-01 05:00:00")], "2020-02-24T00:00:00");
    check("date_trunc", &[t("hour"), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("date_trunc", &[t("year"), millis("9999-12-31 00:00:00")], "9999-01-01T00:00:00");
}

#[test]
fn arithmetic_by_units() {
    let time = || ts("2017-11-29 22:58:58.998");
    check("timestampadd", &[t("QUARTER"), i(1), time()], "2018-02-28T22:58:58.998");
    check("timestampadd", &[t("MONTH"), i(-1000), time()], "1934-07-29T22:58:58.998");
    check("timestampadd", &[t("WEEK"), i(3), time()], "2017-12-20T22:58:58.998");
    check("timestampadd_time", &[t("HOUR"), i(-61), time()], "2017-11-27T09:58:58.998");
    check("timestampadd", &[t("MONTH"), i(-1), day("2016-03-31")], "2016-02-29");
    check("timestampadd_time", &[t("HOUR"), i(-1), day("2016-06-15")], "2016-06-14T23:00:00");
    check("timestampadd_time", &[t("MINUTE"), i(1), clock("23:59:59")], "00:00:59");
    check("timestampadd", &[t("DAY"), i(15), clock("23:59:59")], "23:59:59");
    check("timestampadd", &[t("DAY"), NO_INT, time()], "NULL");
    let diff = |unit: &str, from: ScalarValue, to: ScalarValue, expected: &str| {
        check("timestampdiff", &[t(unit), from, to], expected)
    };
    diff("DAY", ts("2016-06-15 11:00:00"), day("2016-06-19"), "3");
    diff("HOUR", day("2016-06-15"), day("2016-06-12"), "-72");
    diff("MINUTE", day("2016-06-15"), ts("2016-06-16 11:11:11"), "2111");
    diff("SQL_TSI_SECOND", ts("2018-07-03 11:11:11"), ts("2018-07-03 11:12:12"), "61");
    diff("WEEK", day("2016-08-15"), day("2016-06-18"), "-8");
    diff("MONTH", ts("2016-06-15 11:00:00"), day("2018-05-19"), "23");
    diff("MONTH", day("2016-06-15"), day("2018-03-18"), "21");
    diff("QUARTER", ts("2016-06-15 11:00:00"), day("2018-05-19"), "7");
    diff("YEAR", day("2020-02-29"), day("2021-02-28"), "0");
    refused("timestampdiff", &[t("SECOND"), day("0001-01-01"), day("9999-01-01")], "more units than an INT holds");
    let hour = || {
        ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, 3_600_000_000_000)))
    };
    let month = || ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(1, 0, 0)));
    check("date_bin", &[hour(), millis("9999-12-31 00:59:00")], "9999-12-31T00:00:00");
    check("date_bin", &[hour(), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("date_bin", &[month(), ts("1969-12-31 23:59:59")], "1969-12-01T00:00:00");
    check("date_bin", &[hour(), ts("2026-01-01 00:10:00"), ts("2026-01-01 00:15:00")], "2025-12-31T23:15:00");
}
