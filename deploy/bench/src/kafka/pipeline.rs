//! The scripts that are measured, and the records that feed them.

use std::collections::BTreeMap;

use thalweg::embedded::EmbeddedOptions;
use thalweg_client::SubmitOptions;

use super::{KafkaArgs, variant::Variant};

/// Keys of the windows: as many results each second.
pub(super) const KEYS: u64 = 1000;
/// The length of a window, in milliseconds.
pub(super) const WINDOW_MS: u64 = 1000;

/// The topic of the results of windows over a topic.
pub(super) fn results_of(topic: &str) -> String {
    format!("{topic}-results")
}

fn kafka(servers: &str, topic: &str) -> String {
    format!("'connector' = 'kafka', 'properties.bootstrap.servers' = '{servers}', 'topic' = '{topic}'")
}

/// Reads a topic as it is now.
pub(super) fn reading(servers: &str, topic: &str, format: &str) -> String {
    let (columns, kafka) = (columns(format), kafka(servers, topic));
    format!(
        "CREATE TABLE records ({columns}) WITH ({kafka}, 'format' = '{format}',
           'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         CREATE TABLE nowhere ({columns}) WITH ('connector' = 'blackhole');
         INSERT INTO nowhere SELECT * FROM records;"
    )
}

fn columns(format: &str) -> &'static str {
    if format == "json" { "id BIGINT, payload STRING" } else { "payload STRING" }
}

fn generator(args: &KafkaArgs) -> String {
    let (records, bytes) = (args.records, args.bytes);
    format!(
        "CREATE TABLE made (id BIGINT, payload STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '{records}',
           'fields.id.kind' = 'sequence', 'fields.id.start' = '0',
           'fields.payload.length' = '{bytes}', 'seed' = '1');\n"
    )
}

/// Makes the rows that are written.
pub(super) fn generating(args: &KafkaArgs) -> String {
    generator(args)
        + "CREATE TABLE nowhere (id BIGINT, payload STRING) WITH ('connector' = 'blackhole');
           INSERT INTO nowhere SELECT id, payload FROM made;"
}

/// Makes rows and writes them to a topic.
pub(super) fn writing(args: &KafkaArgs, servers: &str, topic: &str, variant: Variant) -> String {
    let is_once = matches!(variant, Variant::WriteRawOnce | Variant::WriteJsonOnce);
    let is_json = matches!(variant, Variant::WriteJson | Variant::WriteJsonOnce);
    let (format, selected) = if is_json { ("json", "id, payload") } else { ("raw", "payload") };
    let (columns, kafka, guarantee) = (columns(format), kafka(servers, topic), guarantee(is_once));
    generator(args)
        + &format!(
            "CREATE TABLE records ({columns}) WITH ({kafka}, 'format' = '{format}', {guarantee});
             INSERT INTO records SELECT {selected} FROM made;"
        )
}

fn guarantee(is_once: bool) -> String {
    format!("'sink.delivery-guarantee' = '{}'", if is_once { "exactly-once" } else { "at-least-once" })
}

/// Who runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Engine {
    Thalweg,
    Flink,
}

/// Copies a topic of `compared_record` as it is now, or counts in windows over it, exactly once. Both engines read the same,
/// but for options that Flink cannot do without: names of its transactions, and a timeout that brokers allow.
pub(super) fn compared(variant: Variant, engine: Engine, servers: &str, (topic, results): (&str, &str)) -> String {
    let (from, to, mut guarantee) = (kafka(servers, topic), kafka(servers, results), guarantee(true));
    if engine == Engine::Flink {
        guarantee += &format!(", 'sink.transactional-id-prefix' = '{results}'");
        guarantee += ", 'properties.transaction.timeout.ms' = '600000'";
    }
    let from = format!("{from}, 'scan.bounded.mode' = 'latest-offset'");
    if variant == Variant::Count {
        return counting(&from, &to, &guarantee);
    }
    let columns = "id BIGINT, k BIGINT, `at` BIGINT, payload STRING";
    format!(
        "CREATE TABLE records ({columns}) WITH ({from}, 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
         CREATE TABLE results ({columns}) WITH ({to}, 'format' = 'json', {guarantee});
         INSERT INTO results SELECT id, k, `at`, payload FROM records;"
    )
}

/// Counts the records of each key in windows of a second, and tells the time of the last one.
pub(super) fn windows(servers: &str, topic: &str, is_once: bool) -> String {
    counting(&kafka(servers, topic), &kafka(servers, &results_of(topic)), &guarantee(is_once))
}

fn counting(from: &str, to: &str, guarantee: &str) -> String {
    let seconds = WINDOW_MS / 1000;
    format!(
        "CREATE TABLE records (k BIGINT, `at` BIGINT, t AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR t AS t)
           WITH ({from}, 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
         CREATE TABLE results (k BIGINT, records BIGINT, `last` BIGINT) WITH ({to}, 'format' = 'json', {guarantee});
         INSERT INTO results SELECT k, COUNT(*), MAX(`at`)
         FROM TABLE(TUMBLE(TABLE records, DESCRIPTOR(t), INTERVAL '{seconds}' SECOND))
         GROUP BY window_start, window_end, k;"
    )
}

/// A record that the windows read.
pub(super) fn record(number: u64, at_ms: u128) -> String {
    format!(r#"{{"k":{},"at":{at_ms}}}"#, key(number))
}

/// Not in turns, so that each partition has each key.
pub(super) fn key(number: u64) -> u64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % KEYS
}

/// A record of the topic that both engines read.
pub(super) fn compared_record(number: u64, payload: &str) -> String {
    let (key, at_ms) = (key(number), event_time_ms(number));
    format!(r#"{{"id":{number},"k":{key},"at":{at_ms},"payload":"{payload}"}}"#)
}

/// Its time: 100,000 records have the same second, which begins in 2026.
pub(super) fn event_time_ms(number: u64) -> u64 {
    1_767_225_600_000 + number / 100
}

/// Texts of letters, of one length.
pub(super) fn texts(bytes: u32) -> Vec<String> {
    let letter =
        |number: u32| char::from(b'a' + u8::try_from(number.wrapping_mul(2_654_435_761) >> 27).unwrap_or(0) % 26);
    (0..1000_u32).map(|text| (0..bytes).map(|at| letter(text.wrapping_mul(31).wrapping_add(at))).collect()).collect()
}

/// The cluster that runs the windows.
pub(super) fn options(args: &KafkaArgs) -> EmbeddedOptions {
    EmbeddedOptions { slots: args.parallelism, ..EmbeddedOptions::default() }
}

/// The job that runs them.
pub(super) fn submission(args: &KafkaArgs, sql: String) -> SubmitOptions {
    let interval = format!("{} ms", args.interval.as_millis());
    let settings = BTreeMap::from([("checkpoint.interval".to_owned(), interval)]);
    SubmitOptions { sql, parallelism: Some(args.parallelism), settings, ..SubmitOptions::default() }
}
