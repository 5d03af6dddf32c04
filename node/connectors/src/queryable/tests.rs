//! Texts of requests as keys.

use arrow::{
    datatypes::{DataType, TimeUnit},
    util::display::array_value_to_string,
};

use super::*;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("value", DataType::Int64, true),
        Field::new("category", DataType::Utf8View, false),
        Field::new("place", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("price", DataType::Decimal128(10, 2), false),
        Field::new("is_new", DataType::Boolean, false),
        Field::new("day", DataType::Date32, false),
    ])
}

const KEY: [usize; 6] = [1, 2, 3, 4, 5, 6];

fn key(texts: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let texts: Vec<(String, String)> =
        texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let values = key_of_texts(&schema(), &KEY, &texts).map_err(|error| error.to_string())?;
    assert!(values.iter().all(|column| column.len() == 1));
    Ok(values.iter().map(|column| array_value_to_string(column, 0).expect("it can be shown")).collect())
}

#[test]
fn texts_become_values_of_their_columns_in_the_order_of_the_key() {
    assert_eq!(key(&[]), Ok(Vec::new()));
    assert_eq!(key(&[("category", "")]), Ok(vec![String::new()]), "a text may be empty");
    for text in ["Bücher, \"alte\"\n&c", "null", " a ", "'", "\u{1f600}\\"] {
        assert_eq!(key(&[("category", text)]), Ok(vec![text.to_owned()]));
    }
    let all = [
        ("day", "2026-02-28"),
        ("is_new", "true"),
        ("price", "19.90"),
        ("at", "2026-01-02 03:04:05.678"),
        ("place", "-7"),
        ("category", "a"),
    ];
    let expected = ["a", "-7", "2026-01-02T03:04:05.678", "19.90", "true", "2026-02-28"];
    assert_eq!(key(&all), Ok(expected.map(str::to_owned).to_vec()));
    assert_eq!(key(&all[1..]).unwrap().len(), 5);
}

#[test]
fn what_is_no_value_is_refused_with_what_was_expected() {
    let refused = |texts: &[(&str, &str)], words: &[&str]| {
        let told = key(texts).expect_err("it is no key");
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    };
    let beginning = [("category", "a")];
    for text in ["", "x", "1.5", "9223372036854775808", "1 OR 1=1"] {
        refused(&[beginning[0], ("place", text)], &["place", "expected BIGINT"]);
    }
    let beginning = [("category", "a"), ("place", "1")];
    refused(&[beginning[0], beginning[1], ("at", "yesterday")], &["at", "TIMESTAMP"]);
    let beginning = [("category", "a"), ("place", "1"), ("at", "2026-01-01 00:00:00")];
    refused(&[beginning[0], beginning[1], beginning[2], ("price", "cheap")], &["price", "DECIMAL"]);
    refused(
        &[("value", "1")],
        &["'value' is no column of the table's key", "(category, place, at, price, is_new, day)"],
    );
    refused(&[("nothing\u{7}", "1")], &["'nothing\\u{7}' is no column"]);
    refused(&[("place", "1")], &["place needs category too"]);
    refused(&[("category", "a"), ("at", "2026-01-01 00:00:00")], &["at needs place too"]);
    refused(&[("category", "a"), ("category", "b")], &["twice"]);
    refused(&[(&"x".repeat(10_000), "1")], &["xxx…'"]);
}
