//! The demo over its whole year, started as in README.md. Its answers must be those of a batch computation over the
//! same files, without the records that it reported late.
//!
//! The batch answer comes from a few loops over all records and uses nothing of the engine. Rounded numbers are
//! compared with the exact ones.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod pages;
mod process;

use std::{collections::BTreeMap, fs::File, path::Path};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use process::{Place, lines_below, root};
use serde_json::Value;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// The largest rounding error of a number with one decimal place, and a little for the order of additions.
const ROUNDING: f64 = 0.05 + 1e-6;

/// The start of a window, and an airport or airline.
type Key = (i64, String);
type Delays = BTreeMap<Key, Vec<Option<i64>>>;

struct Flight {
    departed: i64,
    carrier: String,
    origin: String,
    departure_delay: Option<i64>,
    arrival_delay: Option<i64>,
}

struct Weather {
    observed: i64,
    station: String,
    temperature: Option<f64>,
    wind: Option<f64>,
    visibility: Option<f64>,
}

fn batches(name: &str) -> Vec<RecordBatch> {
    let file = File::open(root().join("deploy/demo/data").join(name)).expect("the demo's data is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    reader.expect("it is Parquet").collect::<Result<_, _>>().expect("it can be read")
}

/// A batch whose columns are read as one type each.
struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn cast(&self, name: &str, kind: &DataType) -> arrow::array::ArrayRef {
        cast(self.0.column_by_name(name).expect("the column is there"), kind).expect("it can be cast")
    }

    fn times(&self, name: &str) -> Vec<i64> {
        let array = self.cast(name, &DataType::Timestamp(TimeUnit::Microsecond, None));
        array
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .map(|time| time.expect("every record has a time"))
            .collect()
    }

    fn integers(&self, name: &str) -> Vec<Option<i64>> {
        self.cast(name, &DataType::Int64).as_primitive::<Int64Type>().iter().collect()
    }

    fn floats(&self, name: &str) -> Vec<Option<f64>> {
        self.cast(name, &DataType::Float64).as_primitive::<Float64Type>().iter().collect()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let array = self.cast(name, &DataType::Utf8);
        array.as_string::<i32>().iter().map(|text| text.expect("every record has it").to_owned()).collect()
    }
}

fn flights() -> Vec<Flight> {
    let mut flights = Vec::new();
    for batch in batches("flights.parquet") {
        let columns = Columns(&batch);
        let (departed, carrier, origin) =
            (columns.times("departure_time"), columns.texts("carrier"), columns.texts("origin"));
        let (late_out, late_in) = (columns.integers("dep_delay_minutes"), columns.integers("arr_delay_minutes"));
        flights.extend((0..batch.num_rows()).map(|at| Flight {
            departed: departed[at],
            carrier: carrier[at].clone(),
            origin: origin[at].clone(),
            departure_delay: late_out[at],
            arrival_delay: late_in[at],
        }));
    }
    flights
}

fn weather() -> Vec<Weather> {
    let mut weather = Vec::new();
    for batch in batches("weather.parquet") {
        let columns = Columns(&batch);
        let (observed, station) = (columns.times("observed_time"), columns.texts("station"));
        let (temperature, wind) = (columns.floats("temperature_f"), columns.floats("wind_speed_mph"));
        let visibility = columns.floats("visibility_miles");
        weather.extend((0..batch.num_rows()).map(|at| Weather {
            observed: observed[at],
            station: station[at].clone(),
            temperature: temperature[at],
            wind: wind[at],
            visibility: visibility[at],
        }));
    }
    weather
}

fn window(time: i64, length: i64) -> i64 {
    time.div_euclid(length) * length
}

/// Late records, by the length of the windows that refused them.
struct Late {
    hourly: Delays,
    daily: Delays,
}

/// Both views of hourly departures refuse the same records. Each counts once.
fn late(directory: &Path) -> Late {
    let mut by_operator: BTreeMap<(i64, String), Delays> = BTreeMap::new();
    for line in lines_below(directory) {
        let row: Value = serde_json::from_str(&line).expect("a late record is JSON");
        let start = time_of(&row["window_start"]);
        let length = time_of(&row["window_end"]) - start;
        let fields = row.as_object().expect("a late record is an object");
        let delay = fields.iter().find(|(name, value)| name.contains("dep_delay_minutes") && value.is_number());
        let delay = delay.map(|(_, value)| integer(value));
        let operator = text(&row["operator"]);
        by_operator
            .entry((length, operator))
            .or_default()
            .entry((start, text(&row["origin"])))
            .or_default()
            .push(delay);
    }
    let mut late = Late { hourly: Delays::new(), daily: Delays::new() };
    for ((length, operator), mut delays) in by_operator {
        delays.values_mut().for_each(|delays| delays.sort_unstable());
        let into = match length {
            HOUR => &mut late.hourly,
            DAY => &mut late.daily,
            _ => panic!("{operator} has windows of {length} us, which no query over flights that come late has"),
        };
        assert!(into.is_empty() || *into == delays, "equal windows over equal records refuse the same");
        *into = delays;
    }
    late
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "delays are small whole numbers, written as floats where summed as such"
)]
fn integer(value: &Value) -> i64 {
    value.as_f64().expect("a number").round() as i64
}

fn time_of(value: &Value) -> i64 {
    let text = value.as_str().expect("a time is a text");
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").expect("it is one of ours");
    time.and_utc().timestamp_micros()
}

/// Removes late records from the windows that refused them.
fn remove(from: &mut Delays, late: &Delays) {
    for (key, delays) in late {
        let all = from.get_mut(key).expect("what is late was there");
        for delay in delays {
            let at = all.iter().position(|one| one == delay).expect("what is late was there");
            all.swap_remove(at);
        }
    }
    from.retain(|_, delays| !delays.is_empty());
}

fn average(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values.len()))
}

fn average_delay(delays: &[Option<i64>]) -> Option<f64> {
    average(delays.iter().map(|delay| delay.map(float)))
}

fn float(number: i64) -> f64 {
    f64::from(i32::try_from(number).expect("delays are small"))
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("counts are small"))
}

/// The numbers of each row, by its key.
type Expected = BTreeMap<(i64, String), Vec<Option<f64>>>;

fn hourly_departures(flights: &[Flight], late: &Late) -> Delays {
    let mut hours = Delays::new();
    for flight in flights {
        hours.entry((window(flight.departed, HOUR), flight.origin.clone())).or_default().push(flight.departure_delay);
    }
    remove(&mut hours, &late.hourly);
    hours
}

/// Query 1: flights, average, worst, percent over an hour; temperature, wind, visibility.
fn departures(hours: &Delays, weather: &[Weather]) -> Expected {
    let mut observed: BTreeMap<Key, Vec<&Weather>> = BTreeMap::new();
    for one in weather {
        observed.entry((window(one.observed, HOUR), one.station.clone())).or_default().push(one);
    }
    let met = hours.iter().filter_map(|(key, delays)| Some((key, delays, observed.get(key)?)));
    met.map(|(key, delays, observed)| {
        let over = delays.iter().flatten().filter(|delay| **delay > 60).count();
        let numbers = vec![
            Some(count(delays.len())),
            average_delay(delays),
            delays.iter().flatten().max().copied().map(float),
            Some(100.0 * count(over) / count(delays.len())),
            average(observed.iter().map(|one| one.temperature)),
            observed.iter().filter_map(|one| one.wind).max_by(f64::total_cmp),
            observed.iter().filter_map(|one| one.visibility).min_by(f64::total_cmp),
        ];
        (key.clone(), numbers)
    })
    .collect()
}

/// Query 2: flights and average, by day and place. The airline is left out, since equally bad ones may swap places.
fn worst_airlines(flights: &[Flight]) -> Expected {
    let mut days: Delays = BTreeMap::new();
    for flight in flights {
        days.entry((window(flight.departed, DAY), flight.carrier.clone())).or_default().push(flight.arrival_delay);
    }
    let mut by_day: BTreeMap<i64, Vec<(f64, f64)>> = BTreeMap::new();
    for ((day, _), delays) in days.into_iter().filter(|(_, delays)| delays.len() >= 10) {
        let average = average_delay(&delays).expect("an airline has flights that arrived");
        by_day.entry(day).or_default().push((average, count(delays.len())));
    }
    let mut expected = Expected::new();
    for (day, mut airlines) in by_day {
        airlines.sort_by(|left, right| right.0.total_cmp(&left.0));
        let places = airlines.into_iter().take(3).zip(1..);
        expected.extend(
            places.map(|((average, flights), place)| ((day, place.to_string()), vec![Some(flights), Some(average)])),
        );
    }
    expected
}

/// Query 3: the mean temperature of the six hours before each time.
fn smoothed(weather: &[Weather]) -> Expected {
    let mut windows: BTreeMap<Key, Vec<Option<f64>>> = BTreeMap::new();
    for one in weather {
        for hours in 1..=6 {
            let end = window(one.observed, HOUR) + hours * HOUR;
            windows.entry((end, one.station.clone())).or_default().push(one.temperature);
        }
    }
    windows.into_iter().map(|(key, temperatures)| (key, vec![average(temperatures)])).collect()
}

/// Query 4: flights, average, and the usual average.
fn alerts(flights: &[Flight], hours: &Delays, late: &Late) -> Expected {
    let mut last_day = Delays::new();
    for flight in flights {
        for hours in 1..=24 {
            let end = window(flight.departed, HOUR) + hours * HOUR;
            last_day.entry((end - DAY, flight.origin.clone())).or_default().push(flight.departure_delay);
        }
    }
    remove(&mut last_day, &late.daily);
    let mut expected = Expected::new();
    for ((hour, origin), delays) in hours.iter().filter(|(_, delays)| delays.len() >= 5) {
        let end = hour + HOUR;
        let usual = last_day.get(&(end - DAY, origin.clone())).and_then(|delays| average_delay(delays));
        let (Some(average), Some(usual)) = (average_delay(delays), usual) else { continue };
        if average > 60.0 && average > 3.0 * usual {
            expected.insert((end, origin.clone()), vec![Some(count(delays.len())), Some(average), Some(usual)]);
        }
    }
    expected
}

/// The rows of one query: two columns are the key, the others are numbers.
fn rows(stdout: &str, query: u64, key: [&str; 2], numbers: &[&str]) -> Expected {
    let mut rows = Expected::new();
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        if line["query"] != query + 1 {
            continue;
        }
        let row = &line["row"];
        let second = row[key[1]].as_str().map_or_else(|| row[key[1]].to_string(), str::to_owned);
        let numbers = numbers.iter().map(|name| row[*name].as_f64()).collect();
        let before = rows.insert((time_of(&row[key[0]]), second), numbers);
        assert!(before.is_none(), "a row came twice: {row}");
    }
    rows
}

#[track_caller]
fn check(what: &str, actual: &Expected, expected: &Expected) {
    assert!(expected.len() > 100, "{what}: the batch gives too little to show anything");
    let (got, want): (Vec<_>, Vec<_>) = (actual.keys().collect(), expected.keys().collect());
    let missing: Vec<_> = want.iter().filter(|key| !actual.contains_key(**key)).take(3).collect();
    assert!(got == want, "{what}: {} rows, expected {}; missing: {missing:?}", got.len(), want.len());
    for (key, numbers) in expected {
        let is_close = |(actual, expected): (&Option<f64>, &Option<f64>)| match (actual, expected) {
            (Some(actual), Some(expected)) => (actual - expected).abs() <= ROUNDING,
            (actual, expected) => actual == expected,
        };
        let found = &actual[key];
        assert!(found.iter().zip(numbers).all(is_close), "{what}: {key:?} is {found:?}, expected {numbers:?}");
    }
}

#[test]
fn a_year_at_full_speed_gives_the_batch_answers() {
    let commands: Vec<Vec<String>> = pages::blocks("sh").iter().flat_map(|block| pages::commands(block)).collect();
    let mut demos = commands.iter().filter_map(|command| pages::arguments(command)).filter(|all| all[0] == "demo");
    let demo = demos.next().expect("README runs the demo");
    let directory = tempfile::tempdir().expect("a directory");
    let setting = format!("late.path={}", directory.path().join("late").display());
    let more = ["--speed", "max", "-o", "json", "--set", setting.as_str()];
    let arguments: Vec<&str> = demo.iter().map(String::as_str).chain(more).collect();
    let outcome = Place::default().thalweg(&arguments);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for word in ["records in", "rows of answers"] {
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }

    let late_records = directory.path().join("late");
    let told = format!("a record was too late for a window {} times", lines_below(&late_records).len());
    assert!(outcome.stderr.contains(&told), "each late pair is counted and written: {told}\n{}", outcome.stderr);
    let (flights, weather, late) = (flights(), weather(), late(&late_records));
    assert!(!late.hourly.is_empty(), "some flights are reported too late: it is a demo of that");
    let hours = hourly_departures(&flights, &late);
    let of = |query, key, numbers: &[&str]| rows(&outcome.stdout, query, key, numbers);
    let columns = [
        "flights",
        "average_delay",
        "worst_delay",
        "percent_over_an_hour",
        "temperature_f",
        "wind_mph",
        "visibility_miles",
    ];
    check("departures", &of(0, ["departures_of", "airport"], &columns), &departures(&hours, &weather));
    let columns = ["flights", "average_delay"];
    check("worst airlines", &of(1, ["worst_airlines_of", "place"], &columns), &worst_airlines(&flights));
    check("temperature", &of(2, ["temperature_at", "airport"], &["six_hour_mean_f"]), &smoothed(&weather));
    let columns = ["flights", "average_delay", "usual_delay"];
    check("alerts", &of(3, ["alert_at", "airport"], &columns), &alerts(&flights, &hours, &late));
}
