//! The generated input: a few thousand rows per table, determined by a seed.
//!
//! Rows are out of order by less than five seconds, the watermark delay of the tables in `cases/tables.sql`. Among
//! the values are NULLs (as `null` and as missing fields), negative numbers, minus zero, empty and non-ASCII text,
//! many equal timestamps, ties in every order, and keys that occur once. Sensor times cross 1970.

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use arrow::{
    array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::Schema,
};
use chrono::DateTime;
use parquet::arrow::ArrowWriter;

/// Rows per table.
const ROWS: i64 = 2000;
/// Mean event time between two rows, in milliseconds.
const STEP_MS: i64 = 300;
/// The most that a row may be out of order: less than the tables' five seconds.
const DISORDER_MS: u64 = 4_900;
/// 2026-01-01 00:00:00 UTC in milliseconds.
const NEW_YEAR_2026_MS: i64 = 1_767_225_600_000;
/// The number of files that the clicks are dealt to.
const PARTS: u64 = 3;

/// SplitMix64: a small generator with a fixed sequence per seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Creates a generator for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).expect("low is below high");
        low + i64::try_from(self.below(span)).expect("smaller than the span")
    }

    /// True with a probability of `percent` in 100.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(u64::try_from(choices.len()).expect("few choices"));
        choices[usize::try_from(at).expect("an index")]
    }
}

/// Writes all tables into a directory.
///
/// # Errors
/// If a file cannot be written.
pub fn generate(directory: &Path, seed: u64) -> Result<()> {
    clicks(directory, &mut Dice::new(seed))?;
    write(&directory.join("bids.json"), &bids(&mut Dice::new(seed ^ 1)))?;
    let sensors = sensors(&mut Dice::new(seed ^ 2));
    write(&directory.join("sensors.csv"), &sensors)?;
    let (_, without_header) = sensors.split_once('\n').context("the sensors have a header")?;
    write(&directory.join("sensors-plain.txt"), without_header)?;
    trades(&directory.join("trades.parquet"), &mut Dice::new(seed ^ 3))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

/// The time of row `at`, in milliseconds, on a grid of 100 ms so that many times are equal.
fn time_ms(dice: &mut Dice, at: i64) -> i64 {
    let disorder = i64::try_from(dice.below(DISORDER_MS)).expect("a few seconds");
    (at * STEP_MS - disorder).div_euclid(100) * 100
}

fn text_of(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a time of our century");
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Adds a field to a JSON object. NULL is written as `null` or left out.
fn json_field(dice: &mut Dice, line: &mut String, name: &str, value: Option<String>) {
    match value {
        Some(value) => write!(line, ",\"{name}\":{value}").expect("writing to a string cannot fail"),
        None if dice.percent(50) => write!(line, ",\"{name}\":null").expect("writing to a string cannot fail"),
        None => {}
    }
}

fn some_of(dice: &mut Dice, null_percent: u64, value: impl FnOnce(&mut Dice) -> String) -> Option<String> {
    let value = value(dice);
    (!dice.percent(null_percent)).then_some(value)
}

fn clicks(directory: &Path, dice: &mut Dice) -> Result<()> {
    const PAGES: &[&str] = &["/home", "/p/1", "/p/2", "/überblick", "/cart", "/done", ""];
    let (mut all, mut unix_millis) = (String::new(), String::new());
    let mut parts = vec![String::new(); usize::try_from(PARTS).expect("few parts")];
    for id in 0..ROWS {
        let ts = NEW_YEAR_2026_MS + time_ms(dice, id);
        // A few users have most of the rows; some users have one.
        let user = if dice.percent(5) { 1000 + id } else { dice.between(0, 6) * dice.between(0, 5) };
        let page = dice.pick(PAGES);
        let mut line = format!("{{\"id\":{id},\"ts\":\"{}\",\"user_id\":{user},\"page\":\"{page}\"", text_of(ts));
        let country = some_of(dice, 20, |dice| format!("\"{}\"", dice.pick(&["DE", "FR", "US", "日本"])));
        json_field(dice, &mut line, "country", country);
        let duration = some_of(dice, 10, |dice| dice.between(-50, 600).to_string());
        json_field(dice, &mut line, "duration_ms", duration);
        let price = some_of(dice, 15, price);
        json_field(dice, &mut line, "price", price);
        let ok = some_of(dice, 10, |dice| dice.percent(70).to_string());
        json_field(dice, &mut line, "ok", ok);
        let device = some_of(dice, 10, device);
        json_field(dice, &mut line, "device", device);
        line.push_str("}\n");
        all.push_str(&line);
        parts[usize::try_from(dice.below(PARTS)).expect("few parts")].push_str(&line);
        writeln!(unix_millis, "{{\"page\":\"{page}\",\"epoch_ms\":{ts},\"id\":{id}}}")
            .expect("writing to a string cannot fail");
    }
    write(&directory.join("clicks.json"), &all)?;
    write(&directory.join("epoch.json"), &unix_millis)?;
    fs::create_dir_all(directory.join("clicks")).context("could not create a directory")?;
    for (number, part) in parts.iter().enumerate() {
        write(&directory.join(format!("clicks/part-{number}.json")), part)?;
    }
    Ok(())
}

/// Hundredths, whole numbers, zero, and minus zero.
fn price(dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => "-0.0".to_owned(),
        1 => "0.0".to_owned(),
        2 => dice.between(1, 100).to_string(),
        _ => format!("{}.{:02}", dice.between(-5, 100), dice.below(100)),
    }
}

fn device(dice: &mut Dice) -> String {
    let os = some_of(dice, 20, |dice| format!("\"{}\"", dice.pick(&["linux", "mac", "\\\"quoted\\\""])));
    let version = some_of(dice, 20, |dice| dice.between(1, 6).to_string());
    format!("{{\"os\":{},\"version\":{}}}", os.as_deref().unwrap_or("null"), version.as_deref().unwrap_or("null"))
}

fn bids(dice: &mut Dice) -> String {
    let mut all = String::new();
    for id in 0..ROWS {
        let ts = text_of(NEW_YEAR_2026_MS + time_ms(dice, id));
        let auction = if dice.percent(40) { 7 } else { dice.between(0, 40) };
        let mut line = format!("{{\"ts\":\"{ts}\",\"auction\":{auction},\"id\":{id}");
        let bidder = some_of(dice, 8, |dice| dice.between(0, 25).to_string());
        json_field(dice, &mut line, "bidder", bidder);
        let price = dice.between(1, 80) * 10;
        let channel = dice.pick(&["web", "app", "phone"]);
        writeln!(all, "{line},\"price\":{price},\"channel\":\"{channel}\",\"unused\":[1,{{\"a\":2}}]}}")
            .expect("writing to a string cannot fail");
    }
    all
}

fn sensors(dice: &mut Dice) -> String {
    let mut all = "id,ts,sensor,room,temperature,note\n".to_owned();
    for id in 0..ROWS {
        let millis = time_ms(dice, id - ROWS / 2);
        let micros = millis * 1000 + dice.between(0, 2);
        let time = DateTime::from_timestamp_micros(micros).expect("near 1970").format("%Y-%m-%d %H:%M:%S%.6f");
        let sensor = dice.pick(&["\"s,1\"", "s2", "\"s \"\"3\"\"\"", "sé"]);
        let room = dice.between(-1, 4);
        let temperature = some_of(dice, 10, |dice| format!("{}.{}", dice.between(1, 40), dice.below(1000)));
        let note = some_of(dice, 50, |dice| dice.pick(&["warm", "\"a, b\"", "ok"]).to_owned());
        let (temperature, note) = (temperature.unwrap_or_default(), note.unwrap_or_default());
        writeln!(all, "{id},{time},{sensor},{room},{temperature},{note}").expect("writing to a string cannot fail");
    }
    all
}

fn trades(path: &Path, dice: &mut Dice) -> Result<()> {
    let times: Vec<i64> = (0..ROWS).map(|id| NEW_YEAR_2026_MS + time_ms(dice, id)).collect();
    let symbols: Vec<&str> = times.iter().map(|_| dice.pick(&["AAA", "BBB", "CC", "D"])).collect();
    let sides: Vec<Option<&str>> = times
        .iter()
        .map(|_| dice.pick(&["buy", "sell", ""]))
        .map(|side| Some(side).filter(|s| !s.is_empty()))
        .collect();
    let quantities: Vec<i32> = times.iter().map(|_| i32::try_from(dice.between(-10, 100)).expect("small")).collect();
    let prices: Vec<i128> = times.iter().map(|_| i128::from(dice.between(9_900, 10_200))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        ("ts", Arc::new(TimestampMillisecondArray::from(times))),
        ("symbol", Arc::new(StringArray::from(symbols))),
        ("side", Arc::new(StringArray::from(sides))),
        ("quantity", Arc::new(Int32Array::from(quantities))),
        ("price", Arc::new(Decimal128Array::from(prices).with_precision_and_scale(12, 2)?)),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let schema: Arc<Schema> = batch.schema();
    let file = fs::File::create(path).with_context(|| format!("could not create {}", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, schema, None)?;
    // Row groups of several sizes, so that readers cross boundaries and may share the file.
    let mut start = 0;
    for end in [300, 700, 701, 1200, batch.num_rows()] {
        writer.write(&batch.slice(start, end - start))?;
        writer.flush()?;
        start = end;
    }
    writer.close()?;
    Ok(())
}
