use super::*;

/// Every default in the catalog passes its own check, and every option is documented.
#[test]
fn the_catalog_is_sound() {
    let connector_options =
        CONNECTORS.iter().flat_map(|spec| spec.options.iter().map(move |option| (spec.name, option)));
    let format_options = FORMATS.iter().flat_map(|spec| spec.options.iter().map(move |option| (spec.name, option)));
    for (owner, option) in connector_options.chain(format_options) {
        assert!(!option.doc.is_empty(), "{owner}: {}", option.key);
        if !option.default.is_empty() {
            assert_eq!(option.refuses(option.default), None, "{owner}: {}", option.key);
        }
    }
    for spec in CONNECTORS {
        assert!(spec.source.is_some() || spec.sink.is_some(), "{}", spec.name);
        assert!(spec.formats.iter().all(|format| find_format(format).is_some()), "{}", spec.name);
        let knows = |key: &str| assert!(spec.options.iter().any(|option| option.key == key), "{}: {key}", spec.name);
        let Some(SourceSpec { input, splits, ends, rules }) = spec.source else { continue };
        for rule in rules.iter().chain(spec.sink.iter().flat_map(|sink| sink.rules)) {
            match rule {
                Rule::OneOf(keys) => keys.iter().for_each(|key| knows(key)),
                Rule::Needs { option, value, other } => {
                    let spec = spec.options.iter().find(|spec| spec.key == *option).expect("it is an option");
                    assert_eq!(spec.refuses(value), None, "{option}");
                    knows(other);
                }
                Rule::Beside { option: key, unless: value, .. } => {
                    let option = spec.options.iter().find(|option| option.key == *key).expect("it is an option");
                    assert_eq!(option.refuses(value), None, "{key}");
                }
                Rule::Only { option, other, value } => {
                    knows(option);
                    let spec = spec.options.iter().find(|spec| spec.key == *other).expect("it is an option");
                    assert_eq!(spec.refuses(value), None, "{other}");
                }
                Rule::Own(_) => {}
            }
        }
        match input {
            Input::Files { path } | Input::Posts { path } => knows(path),
            Input::Generated | Input::StandardInput | Input::Elsewhere | Input::Written => {}
        }
        match splits {
            Splits::FoundWith(key) => knows(key),
            Splits::Listed | Splits::Found => {}
        }
        match ends {
            Ends::With(key) | Ends::Without(key) => knows(key),
            Ends::By { option: key, never, such_as } => {
                let option = spec.options.iter().find(|option| option.key == key).expect("it is an option");
                assert_eq!([never, such_as].map(|value| option.refuses(value)), [None, None], "{}", spec.name);
                assert!(never != such_as && !option.default.is_empty(), "{}", spec.name);
            }
            Ends::Always | Ends::Never => {}
        }
    }
}

#[test]
fn what_formats_can_have_stands_in_the_lists_of_connectors() {
    let names = |is_wanted: fn(&FormatSpec) -> bool| -> Vec<&str> {
        FORMATS.iter().filter(|spec| is_wanted(spec)).map(|spec| spec.name).collect()
    };
    assert_eq!(names(|spec| spec.files), format::FILE_FORMATS);
    assert_eq!(names(|spec| spec.messages), MESSAGE_FORMATS);
    for spec in FORMATS {
        let is_own = |option: &OptionSpec| option.key.strip_prefix(spec.name).is_some_and(|rest| rest.starts_with('.'));
        assert!(spec.options.iter().all(is_own), "{}", spec.name);
    }
}

/// A topic whose partitions are looked for has no end with or without that; a path has one if it is not watched.
#[test]
fn whether_splits_are_found_says_nothing_of_their_end() {
    let watched = find("filesystem").and_then(|spec| spec.source).expect("files can be read");
    for is_set in [true, false] {
        assert_eq!(watched.splits.are_found(|_| is_set), is_set);
        assert_eq!(watched.splits.found_by(|_| is_set).is_some(), is_set);
        assert_eq!(watched.ends.lacks(|_| is_set.then_some("1 s")).is_some(), is_set);
        assert!(Splits::Found.are_found(|_| is_set) && !Splits::Listed.are_found(|_| is_set));
        assert_eq!((Splits::Found.found_by(|_| is_set), Splits::Listed.found_by(|_| is_set)), (None, None));
    }
    let mut topic = TableConnector { name: "kafka".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    for (mode, has_end) in [(None, false), (Some("unbounded"), false), (Some("timestamp"), true)] {
        topic.options = mode.map(|mode| ("scan.bounded.mode".to_owned(), mode.to_owned())).into_iter().collect();
        assert_eq!(topic.lacks_end().is_none(), has_end, "{mode:?}");
        assert!(topic.finds_splits());
    }
}

#[test]
fn an_option_may_decide_how_often_rows_are_written() {
    let mut topic = TableConnector { name: "kafka".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    assert_eq!(topic.delivery(), Some(Delivery::ExactlyOnce));
    let Some(Delivers::By(key)) = topic.sink().map(|sink| sink.delivery) else { panic!("it is fixed") };
    let words = find("kafka").and_then(|spec| spec.options.iter().find(|option| option.key == key));
    let Some(OptionType::OneOf(words)) = words.map(|option| option.kind) else { panic!("it has no words") };
    for word in words {
        topic.options.insert(key.to_owned(), (*word).to_owned());
        assert!(topic.delivery().is_some(), "{word}");
    }
    let print = TableConnector { name: "print".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    assert_eq!(print.delivery(), Some(Delivery::AtLeastOnce));
}

#[test]
fn a_starred_option_covers_what_begins_like_it() {
    let spec =
        OptionSpec { key: "fields.*", kind: OptionType::Text, default: "", required: false, secret: false, doc: "" };
    assert!(spec.covers("fields.id.kind"));
    assert!(!spec.covers("fields."));
    assert!(!spec.covers("field.id"));
}

#[test]
fn an_option_is_as_given_or_its_default() {
    let mut table =
        TableConnector { name: "filesystem".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    table.options.insert("format".to_owned(), "csv".to_owned());
    assert_eq!(table.option("csv.field-delimiter"), Some(","));
    table.options.insert("csv.field-delimiter".to_owned(), ";".to_owned());
    assert_eq!(table.option("csv.field-delimiter"), Some(";"));
    assert_eq!(table.option("source.monitor-interval"), None);
}

#[test]
fn values_are_checked_by_kind() {
    let refuses = |kind, value: &str| {
        OptionSpec { key: "k", kind, default: "", required: false, secret: false, doc: "d" }.refuses(value)
    };
    assert_eq!(refuses(OptionType::Integer, "3"), None);
    assert!(refuses(OptionType::Integer, "-3").is_some());
    assert!(refuses(OptionType::Boolean, "yes").is_some_and(|why| why.contains("true or false")));
    assert!(refuses(OptionType::OneOf(&["a", "b"]), "c").is_some_and(|why| why.contains("a, b")));
    let within = |least, most, value: &str| refuses(OptionType::DurationWithin(least, most), value).unwrap_or_default();
    assert_eq!(within("1 s", "", "1000 ms"), "");
    assert_eq!(within("1 s", "", "999 ms"), "expected a duration of 1 s or longer");
    assert_eq!(within("", "60 s", "1 min"), "");
    assert_eq!(within("", "60 s", "61 s"), "expected a duration of 60 s or shorter");
    assert_eq!(within("1 s", "60 s", "0 s"), "expected a duration from 1 s to 60 s");
    assert_eq!(within("1 s", "", "soon"), "expected a duration such as '10 s'");
    let bytes = |value: &str| refuses(OptionType::BytesWithin("1 KiB", "1 MiB"), value);
    assert_eq!((bytes("1 KiB"), bytes("1 MiB")), (None, None));
    for value in ["1023", "2 MiB", "large"] {
        assert_eq!(bytes(value).as_deref(), Some("expected a size from 1 KiB to 1 MiB"), "{value}");
    }
}
