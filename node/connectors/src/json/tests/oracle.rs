//! Random documents, decoded by this decoder and by `serde_json`.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use super::*;

/// Column names; the last is of no column.
const NAMES: [&str; 8] = ["i", "f", "s", "b", "o", "l", "m", "x"];

fn all_columns() -> Vec<(&'static str, DataType, bool)> {
    let inner = row(&[("i", DataType::Int64, true), ("s", DataType::Utf8View, true)]);
    vec![
        ("i", DataType::Int64, true),
        ("f", DataType::Float64, true),
        ("s", DataType::Utf8View, true),
        ("b", DataType::Boolean, true),
        ("o", inner, true),
        ("l", list(DataType::Int64), true),
        ("m", map(DataType::Utf8View), true),
    ]
}

/// The value that a column of this type should have. `Err(true)`: malformed; `Err(false)`: the oracle cannot tell.
fn project(value: Option<&Value>, data_type: &DataType) -> Result<Value, bool> {
    let value = match value {
        None | Some(Value::Null) => return Ok(Value::Null),
        Some(value) => value,
    };
    match (data_type, value) {
        (DataType::Int64, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(json!(whole)),
            (None, Some(float)) if number.is_u64() || float.fract() != 0.0 => Err(true),
            // A larger one may be whole only because an `f64` cannot hold its fraction.
            (None, Some(float)) if float.abs() < 1e9 => Ok(json!(float as i64)),
            _ => Err(false),
        },
        (DataType::Float64, Value::Number(number)) => Ok(json!(number.as_f64())),
        (DataType::Float64, Value::String(text)) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
            Err(false)
        }
        (DataType::Int64 | DataType::Float64, Value::String(text)) => {
            // Text with digits may be a number in some spelling.
            Err(!text.contains(|letter: char| letter.is_ascii_digit()))
        }
        (DataType::Boolean, Value::String(text)) => {
            text.trim().to_ascii_lowercase().parse().map(Value::Bool).map_err(|_| true)
        }
        (DataType::Utf8View, Value::Bool(value)) => Ok(json!(value.to_string())),
        // The text is kept as written, which the oracle does not know.
        (DataType::Utf8View, Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(false),
        (DataType::Utf8View, Value::String(_)) | (DataType::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (DataType::Struct(fields), Value::Object(members)) => project_row(members, fields),
        (DataType::List(item), Value::Array(items)) => {
            items.iter().map(|value| project(Some(value), item.data_type())).collect()
        }
        (DataType::Map(..), Value::Object(members)) => members
            .iter()
            .map(|(key, value)| Ok((key.clone(), project(Some(value), &DataType::Utf8View)?)))
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        _ => Err(true),
    }
}

fn project_row(members: &Map<String, Value>, fields: &Fields) -> Result<Value, bool> {
    let members =
        fields.iter().map(|field| Ok((field.name().clone(), project(members.get(field.name()), field.data_type())?)));
    members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn expected(line: &[u8], schema: &SchemaRef) -> Result<Value, bool> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(members)) => project_row(&members, schema.fields()),
        Ok(_) => Err(true),
        // Malformed text inside a skipped value may pass.
        Err(_) => Err(false),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() || right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
            left == right || (left - right).abs() <= 1e-14 * left.abs()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

/// Decodes a block and compares each line with the oracle.
fn check(schema: &SchemaRef, block: &[u8]) -> Result<(), TestCaseError> {
    let mut decoder = JsonDecoder::new(schema.clone()).expect("a readable schema");
    let mut faults = Vec::new();
    prop_assert_eq!(decoder.decode(block, 0, usize::MAX, &mut faults), block.len());
    let mut rows = to_lines(&decoder.finish().expect("a batch")).into_iter();
    let mut start = 0;
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let range = start..start + line.len();
        start = range.end;
        if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            continue;
        }
        let fault = faults.iter().find(|fault| range.contains(&fault.start));
        let text = String::from_utf8_lossy(line);
        let row = if fault.is_none() { rows.next() } else { None };
        match expected(line, schema) {
            Ok(value) => {
                prop_assert!(fault.is_none(), "refused {text}: {fault:?}");
                let row: Value = serde_json::from_str(&row.expect("a row per good line")).expect("JSON is written");
                prop_assert!(same(&row, &value), "read {row} from {text}");
            }
            Err(true) => prop_assert!(fault.is_some(), "took {text}"),
            Err(false) => {}
        }
    }
    prop_assert_eq!(rows.next(), None);
    Ok(())
}

fn leaf() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| float.is_finite().then(|| json!(float))),
        any::<u64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z\"\\\\\n\u{1}ä😀]{0,12}".prop_map(Value::from),
    ]
    .boxed()
}

fn any_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop::sample::select(NAMES.to_vec()), inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// A value that mostly suits the column of this name.
fn value_for(name: &'static str) -> BoxedStrategy<Value> {
    let fitting = match name {
        "i" => any::<i64>().prop_map(Value::from).boxed(),
        "f" => any::<f64>().prop_filter_map("finite", |float| float.is_finite().then(|| json!(float))).boxed(),
        "s" => ".{0,20}".prop_map(Value::from).boxed(),
        "b" => any::<bool>().prop_map(Value::from).boxed(),
        "o" => (any::<i64>(), ".{0,5}").prop_map(|(i, s)| json!({"z": [i], "s": s, "i": i})).boxed(),
        "l" => vec(any::<i64>(), 0..5).prop_map(Value::from).boxed(),
        "m" => vec((".{0,3}", ".{0,20}"), 0..4)
            .prop_map(|members| members.into_iter().map(|(key, value)| (key, Value::from(value))).collect())
            .boxed(),
        _ => any_value().boxed(),
    };
    prop_oneof![8 => fitting, 1 => Just(Value::Null), 1 => any_value()].boxed()
}

/// A document as text: members in any order, some twice, with occasional blanks.
fn document() -> impl Strategy<Value = String> {
    let member =
        prop::sample::select(NAMES.to_vec()).prop_flat_map(|name| (Just(name), value_for(name), any::<bool>()));
    vec(member, 0..9).prop_map(|members| {
        let members = members.into_iter().map(|(name, value, spaced)| {
            let value = if spaced { format!("{value:#}").replace('\n', " ") } else { value.to_string() };
            if spaced { format!(" \"{name}\" : {value}\t") } else { format!("\"{name}\":{value}") }
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

/// Some of the columns, in any order.
fn projection() -> impl Strategy<Value = SchemaRef> {
    (Just(all_columns()).prop_shuffle(), 0..8usize, any::<bool>()).prop_map(|(columns, count, prunes)| {
        let mut columns: Vec<_> = columns.into_iter().take(count).collect();
        for column in &mut columns {
            if prunes && column.0 == "o" {
                column.1 = row(&[("s", DataType::Utf8View, true)]);
            }
        }
        schema(&columns)
    })
}

proptest! {
    #[test]
    fn every_document_reads_as_serde_json_reads_it(schema in projection(), documents in vec(document(), 1..12)) {
        let block: String = documents.iter().map(|document| format!("{document}\n")).collect();
        check(&schema, block.as_bytes())?;
    }

    #[test]
    fn broken_documents_never_panic_and_good_ones_among_them_are_read(
        schema in projection(),
        documents in vec(document(), 1..6),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut block = documents.iter().map(|document| format!("{document}\n")).collect::<String>().into_bytes();
        for (index, byte) in changes {
            let at = index.index(block.len() - 1);
            block[at] = byte;
        }
        check(&schema, &block)?;
    }

    #[test]
    fn skipping_by_blocks_is_skipping_by_bytes(value in any_value(), tail in "[\\[\\]{}\",\\\\a]{0,150}", open in "[\\[{]") {
        // Long enough for blocks, whatever it contains.
        let text = format!("{open}{value}{tail}{}", " ".repeat(64)).repeat(2);
        for text in [text.clone(), text.replace(['[', ']', '{', '}'], ""), value.to_string() + &" ".repeat(64)] {
            if let Some(length) = lanes::close_of_first(text.as_bytes()) {
                let mut scanner = Scanner::new(text.as_bytes(), 0);
                prop_assert!(scanner.skip_container_bytewise().is_ok(), "{text}");
                prop_assert_eq!(scanner.position(), length, "{}", text);
            }
        }
        if value.is_array() || value.is_object() {
            let written = value.to_string();
            let length = lanes::close_of_first(format!("{written}{}", " ".repeat(64)).as_bytes());
            prop_assert_eq!(length, Some(written.len()));
        }
    }

    #[test]
    fn cut_documents_never_panic(document in document(), cut in any::<prop::sample::Index>()) {
        let mut block = document.into_bytes();
        block.truncate(cut.index(block.len()));
        block.push(b'\n');
        check(&schema(&all_columns()), &block)?;
    }

    #[test]
    fn decimals_are_what_integers_say(digits in "[0-9]{1,30}", point in 0usize..30, scale in 0i8..10, negative: bool) {
        let point = point.min(digits.len());
        let (whole, fraction) = digits.split_at(point);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if negative { "-" } else { "" };
        let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        let scaled: i128 = format!("{whole}{fraction}").parse().expect("30 digits fit");
        let shift = i32::from(scale) - i32::try_from(fraction.len()).expect("short");
        let power = 10i128.pow(shift.unsigned_abs());
        let magnitude = if shift >= 0 { scaled.checked_mul(power) } else { Some((scaled + power / 2) / power) };
        let expected = magnitude.filter(|value| *value < 10i128.pow(38)).map(|value| if negative { -value } else { value });
        prop_assert_eq!(number::parse_decimal(text.as_bytes(), 38, scale), expected);
    }

    #[test]
    fn timestamps_survive_both_ways(nanos: i64) {
        let mut text = Vec::new();
        timestamp::write(nanos, TimeUnit::Nanosecond, timestamp::TimestampForm::Iso8601, &mut text);
        let read = timestamp::parse(&text).and_then(|moment| moment.in_unit(TimeUnit::Nanosecond));
        prop_assert_eq!(read, Some(nanos));
        let chrono = chrono::DateTime::from_timestamp_nanos(nanos).format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string();
        prop_assert_eq!(String::from_utf8(text).expect("text"), chrono);
    }

    #[test]
    fn base64_survives_both_ways(bytes: Vec<u8>) {
        let mut written = Vec::new();
        text::write_base64(&bytes, &mut written);
        prop_assert_eq!(text::read_base64(&written), Some(bytes));
    }
}
