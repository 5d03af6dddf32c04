use super::*;

fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_documented_default_can_be_read() {
    let defaults = JobSettings::parse(&BTreeMap::new()).expect("defaults are sound");
    let spelled: BTreeMap<_, _> = SETTINGS
        .iter()
        .filter(|spec| !spec.default.is_empty())
        .map(|spec| (spec.key.to_owned(), spec.default.to_owned()))
        .collect();
    assert_eq!(JobSettings::parse(&spelled), Ok(defaults));
}

#[test]
fn an_unknown_key_is_named() {
    let error = JobSettings::parse(&given(&[("parallelism", "2")])).expect_err("no such key");
    assert_eq!(error.to_string(), "unknown setting 'parallelism'");
}

#[test]
fn a_bad_value_says_what_is_expected() {
    let bad = [
        ("parallelism.default", "0", "whole number"),
        ("pipeline.max-parallelism", "100", "power of two"),
        ("exchange.window", "12", "1 KiB"),
        ("exchange.compression", "zip", "none or lz4"),
        ("replay.speed", "-1", "above 0"),
        ("restart.backoff", "soon", "duration"),
        ("checkpoint.interval", "sometimes", "off"),
        ("checkpoint.timeout", "0 s", "a duration above 0"),
        ("checkpoint.retain", "-1", "whole number"),
    ];
    for (key, value, expected) in bad {
        let error = JobSettings::parse(&given(&[(key, value)])).expect_err(key);
        assert!(error.to_string().contains(key) && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn durations_and_sizes_are_read_in_their_units() {
    assert_eq!(parse_duration("500 ms"), Some(Duration::from_millis(500)));
    assert_eq!(parse_duration("1.5min"), Some(Duration::from_secs(90)));
    assert_eq!(parse_duration("250"), Some(Duration::from_millis(250)));
    assert_eq!(parse_duration("2 fortnights"), None);
    assert_eq!(parse_interval("Off"), Some(Duration::ZERO));
    assert_eq!(parse_interval("10 s"), Some(Duration::from_secs(10)));
    assert_eq!(parse_bytes("64 KiB"), Some(65_536));
    assert_eq!(parse_bytes("1.5 mb"), Some(1_572_864));
    assert_eq!(parse_bytes("-1"), None);
}

#[test]
fn a_job_that_is_started_again_keeps_what_its_plan_and_state_depend_on() {
    let before = BTreeMap::from([("pipeline.max-parallelism".to_owned(), "16".to_owned())]);
    let with = |key: &str, value: &str| settings_of_restart(&before, &[(key.to_owned(), value.to_owned())].into());
    let settings = with("error.path", "/errors").unwrap();
    assert_eq!(JobSettings::parse(&settings).unwrap().error_path.as_deref(), Some("/errors"));
    assert_eq!(JobSettings::parse(&settings).unwrap().key_groups, 16);
    assert!(matches!(with("pipeline.max-parallelism", "32"), Err(SettingError::Fixed { .. })));
    assert!(matches!(with("error.paht", "/errors"), Err(SettingError::Unknown { .. })));
    assert!(matches!(with("restart.attempts", "many"), Err(SettingError::Value { .. })));
    assert_eq!(with("error.path", " "), Err(SettingError::Empty { key: "error.path".to_owned() }));
    assert!(SETTINGS_OF_RESTARTS.iter().all(|key| SETTINGS.iter().any(|spec| spec.key == *key)));
}
