//! Planning of functions under Flink's names, and of the modifiers around a call.

use super::{nexmark, refusals::refused};

#[test]
fn calls_as_flink_writes_them_are_planned() {
    for call in [
        "TIMESTAMPADD(HOUR, 1, dateTime)",
        "TIMESTAMPADD(MONTH, -1, CAST(dateTime AS DATE))",
        "TIMESTAMPDIFF(DAY, dateTime, dateTime)",
        "FLOOR(dateTime TO HOUR)",
        "CEIL(dateTime TO WEEK)",
        "EXTRACT(DOW FROM dateTime)",
        "EXTRACT(MILLISECOND FROM dateTime)",
        "DAYOFWEEK(dateTime)",
        "IF(price > 1, 'a', 'b')",
        "IFNULL(channel, 'none')",
        "NULLIF(channel, 'none')",
        "MOD(price, 3)",
        "DATE_FORMAT(dateTime, 'yyyy-M-d EEE')",
        "DATE_FORMAT(dateTime, channel)",
        "TO_TIMESTAMP(channel, 'dd.MM.yyyy')",
        "`LEFT`(channel, 2)",
        "LEFT(channel, 2)",
        "RIGHT(channel, 2)",
        "POSITION('a' IN channel)",
        "SUBSTRING(channel FROM 2 FOR 1)",
        "OVERLAY(channel PLACING 'x' FROM 2)",
        "TRIM(LEADING 'a' FROM channel)",
        "channel LIKE 'a#_%' ESCAPE '#'",
        "channel NOT LIKE url",
        "channel SIMILAR TO 'a|b'",
        "channel NOT SIMILAR TO 'a#%' ESCAPE '#'",
        "ARRAY[1, 2][1]",
        "ARRAY['a'] || ARRAY['b']",
        "ARRAY[1, 2] || 3",
        "MAP['a', 1]['a']",
        "STR_TO_MAP(channel)['a']",
        "CARDINALITY(ARRAY[1])",
        "REGEXP_EXTRACT(channel, '(a)(b)', 2)",
        "GREATEST(price, 1)",
        "ROUND(price, -1)",
        "E()",
        "UNIX_TIMESTAMP(channel)",
    ] {
        let planned = nexmark(&format!("SELECT {call} AS v FROM bid"));
        assert!(planned.is_ok(), "{call}: {}", planned.err().map(|error| error.to_string()).unwrap_or_default());
    }
    let window = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' DAY))";
    for call in [
        "LISTAGG(channel ORDER BY dateTime)",
        "LISTAGG(channel, '-' ORDER BY price)",
        "VARIANCE(price)",
        "FIRST_VALUE(price ORDER BY dateTime)",
        "STDDEV_POP(price)",
    ] {
        let planned = nexmark(&format!("SELECT {call} AS v FROM {window} GROUP BY window_end"));
        assert!(planned.is_ok(), "{call}: {}", planned.err().map(|error| error.to_string()).unwrap_or_default());
    }
}

#[test]
fn constants_that_mean_nothing_are_refused_where_they_stand() {
    refused("SELECT price, DATE_FORMAT(dateTime, 'bbb') FROM bid", 15, "bbb has no meaning");
    refused("SELECT DATE_FORMAT(dateTime, 'ww') FROM bid", 8, "depends on where one is");
    refused("SELECT TO_TIMESTAMP(channel, 'nonsense') FROM bid", 8, "pattern 'nonsense'");
    refused("SELECT price, REGEXP(channel, 'a(?=b)') FROM bid", 15, "looking ahead");
    refused("SELECT REGEXP_REPLACE(channel, '(a)\\1', '') FROM bid", 8, "back references");
    refused("SELECT channel LIKE 'a#b' ESCAPE '#' FROM bid", 21, "# escapes only");
    refused("SELECT channel LIKE 'a' ESCAPE '##' FROM bid", 21, "expected one character");
    refused("SELECT channel SIMILAR TO '[a' FROM bid", 27, "not closed");
    refused("SELECT channel ILIKE 'a#%' ESCAPE '#' FROM bid", 22, "ILIKE with an escape character");
    refused("SELECT TIMESTAMPADD(EON, 1, dateTime) FROM bid", 8, "unknown unit 'EON'");
    refused("SELECT price, SHA2(channel, 1) FROM bid", 15, "expected 224, 256, 384 or 512");
    refused("SELECT ARRAY[1][0] FROM bid", 1, "index 1, not 0");
    refused("SELECT SUBSTRING(price, 1) FROM bid", 1, "SUBSTRING(text, start [, length])");
}

#[test]
fn functions_that_are_not_there_are_refused_with_what_to_use() {
    refused("SELECT JSON_VALUE(channel, '$.a') FROM bid", 8, "JSON_VALUE is not supported");
    refused("SELECT price, date_part('dow', dateTime) FROM bid", 15, "use EXTRACT(unit FROM time)");
    refused("SELECT PRINTF('%d', price) FROM bid", 8, "PRINTF is not supported");
    let window = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' DAY)) GROUP BY window_end";
    refused(&format!("SELECT MEDIAN(price) FROM {window}"), 8, "use PERCENTILE_CONT(0.5)");
    refused(&format!("SELECT ANY_VALUE(price) FROM {window}"), 8, "use MIN or MAX");
    refused("SELECT UUID() FROM bid", 8, "differs from run to run");
    refused("SELECT UNIX_TIMESTAMP() FROM bid", 8, "differs from run to run");
    refused("SELECT similar_to(channel, 'a') FROM bid", 8, "unknown function 'similar_to'");
    refused("SELECT arrow_cast(price, 'Utf8') FROM bid", 8, "use CAST");
    refused("SELECT channel ~ 'a' FROM bid", 8, "REGEXP(text, pattern)");
    refused("SELECT dateTime AT TIME ZONE 'UTC' FROM bid", 8, "AT TIME ZONE");
    refused("SELECT 1 = ANY(ARRAY[1]) FROM bid", 8, "ARRAY_CONTAINS");
    refused("SELECT ARRAY[1, 2][1:2] FROM bid", 1, "ARRAY_SLICE");
}

#[test]
fn what_nobody_would_heed_is_refused() {
    refused("SELECT auction FROM bid /*+ OPTIONS('a' = 'b') */", 25, "hints, /*+ … */, are not supported");
    refused("SELECT /*+ BROADCAST(bid) */ auction FROM bid", 8, "hints");
    refused("SELECT ABS(price) OVER () FROM bid", 8, "OVER is not supported in a call of ABS");
    refused("SELECT UPPER(DISTINCT channel) FROM bid", 8, "DISTINCT and ALL");
    refused("SELECT ABS(price) FILTER (WHERE price > 1) FROM bid", 8, "FILTER");
    refused("SELECT CONCAT(channel ORDER BY price) FROM bid", 8, "ORDER BY");
    let window = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' DAY)) GROUP BY window_end";
    refused(&format!("SELECT SUM(price) IGNORE NULLS FROM {window}"), 8, "IGNORE NULLS");
    refused(
        &format!("SELECT CORR(DISTINCT price, price) FROM {window}"),
        8,
        "DISTINCT is not supported in a call of CORR",
    );
}

#[test]
fn comments_are_no_hints() {
    assert!(nexmark("SELECT auction /* + */ FROM bid -- /*+ OPTIONS('a' = 'b') */").is_ok());
    assert!(nexmark("SELECT '/*+ no hint */' AS v FROM bid").is_ok());
}
