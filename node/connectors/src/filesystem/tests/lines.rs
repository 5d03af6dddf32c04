//! Splits of text files.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::filesystem::{
    payload::FilePayload,
    read::OpenFile,
    split::{LineDecoding, LineRange, LineReader},
    text::TextFile,
};
use crate::{Read, SplitReader as _, json::JsonDecoder, location::Location, testing::Given};

/// Reads a file in ranges of one size through a small buffer; reopens the reader after every batch.
async fn read_in_ranges(name: &str, bytes: u64, range_bytes: u64, block_bytes: usize) -> Given {
    let mut given = Given::default();
    let location = Location::Local(name.into(), crate::AllowedPaths::everywhere());
    for index in 0..bytes.div_ceil(range_bytes) {
        let (start, end) = (index * range_bytes, ((index + 1) * range_bytes).min(bytes));
        let mut offset = None;
        loop {
            let file = OpenFile::open(&location, name, 0).await.expect("the file exists").with_block_bytes(block_bytes);
            let decoder = Box::new(JsonDecoder::new(numbers()).expect("a readable schema"));
            let format = LineDecoding { decoder, batch_rows: 3, keeps_dead_letters: true, notices: Default::default() };
            let split = FilePayload::Lines { file: name.to_owned(), start, end, offset }.into_split(0);
            let mut reader = LineReader::new(split, TextFile::Plain(file), &LineRange { start, end, offset }, format);
            let Read::Records { batch, dead_letters } = reader.next().await.expect("readable") else { break };
            given.batches.push(batch);
            given.letters.extend(dead_letters);
            match FilePayload::of(&reader.position()).expect("its own payload") {
                FilePayload::Lines { offset: next, .. } => offset = next,
                other => panic!("not a range of lines: {other:?}"),
            }
        }
    }
    given
}

/// Lines of all lengths: good, bad and empty; with a byte order mark, carriage returns, and no last line feed.
fn text() -> impl Strategy<Value = (String, Vec<i64>, Vec<usize>)> {
    let line = prop_oneof![
        8 => (any::<i64>(), 0..40usize).prop_map(|(a, pad)| (format!("{{\"a\":{a},\"z\":\"{}\"}}", "x".repeat(pad)), Some(a))),
        1 => Just((String::new(), None)),
        1 => "[a-z]{1,30}".prop_map(|bad| (bad, None)),
    ];
    (vec((line, any::<bool>()), 0..30), any::<bool>(), any::<bool>()).prop_map(|(lines, marked, ended)| {
        let mut text = if marked { "\u{feff}".to_owned() } else { String::new() };
        let (mut values, mut bad) = (Vec::new(), Vec::new());
        let count = lines.len();
        for (index, ((line, value), returns)) in lines.into_iter().enumerate() {
            text.push_str(&line);
            if value.is_none() && !line.is_empty() {
                bad.push(index + 1);
            }
            values.extend(value);
            if returns {
                text.push('\r');
            }
            if ended || index + 1 < count {
                text.push('\n');
            }
        }
        values.sort_unstable();
        (text, values, bad)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cut_of_a_file_reads_each_line_once((text, values, bad) in text(), range_bytes in 1u64..200, block_bytes in 3usize..300) {
        let folder = folder();
        let name = folder.path().join("f.json");
        fs::write(&name, &text).expect("written");
        let name = name.to_string_lossy().into_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let given = runtime.block_on(read_in_ranges(&name, text.len() as u64, range_bytes, block_bytes));
        let mut read: Vec<i64> = given.lines().iter().map(|line| {
            line.trim_start_matches("{\"a\":").trim_end_matches('}').parse().expect("a number")
        }).collect();
        read.sort_unstable();
        prop_assert_eq!(read, values);
        let mut positions: Vec<String> = given.letters.into_iter().map(|letter| letter.position).collect();
        let mut expected: Vec<String> = bad.iter().map(|line| format!("{name}:{line}")).collect();
        positions.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(positions, expected);
    }
}

#[tokio::test]
async fn a_directory_is_read_by_name_without_hidden_files() {
    let (folder, context) = (folder(), context());
    fs::create_dir_all(folder.path().join("sub")).expect("created");
    fs::create_dir_all(folder.path().join("_temporary")).expect("created");
    for (name, text) in [
        ("b.json", "{\"a\":2}\n{\"a\":3}"),
        ("a.json", "{\"a\":1}\n"),
        ("sub/c.json", "{\"a\":4}\n"),
        (".hidden", "{\"a\":9}\n"),
        ("_SUCCESS", ""),
        ("_temporary/x", "{\"a\":9}\n"),
        ("empty", ""),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let source = table(&context, &path(&folder), "json", &[], numbers()).expect("a table");
    let given = read_all(&*source).await.expect("readable");
    assert_eq!(given.lines(), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
    let url = format!("file://{}", path(&folder));
    let by_url = table(&context, &url, "json", &[("source.split-size", "5 b")], numbers()).expect("a table");
    let splits = by_url.discover().await.expect("listed");
    assert_eq!(splits.len(), 2 + 3 + 2, "files of 8, 15 and 8 bytes in ranges of 5");
    assert_eq!(read_all_resuming(&*by_url).await.expect("readable").sorted_lines(), given.sorted_lines());
    let glob = table(&context, &format!("{}/[ab].json", path(&folder)), "json", &[], numbers()).expect("a table");
    assert_eq!(read_all(&*glob).await.expect("readable").rows(), 3);
}

#[tokio::test]
async fn splits_of_a_file_are_a_sequence() {
    let (folder, context) = (folder(), context());
    fs::write(folder.path().join("f"), "{\"a\":1}\n{\"a\":2}\n").expect("written");
    let source = table(&context, &path(&folder), "json", &[("source.split-size", "8 b")], numbers()).expect("a table");
    let splits = source.discover().await.expect("listed");
    assert_eq!(splits.len(), 2);
    assert_eq!(splits[0].sequence, splits[1].sequence);
    assert_eq!((splits[0].ordinal, splits[1].ordinal), (0, 1));
    assert_ne!(splits[0].id, splits[1].id);
}

#[tokio::test]
async fn a_large_file_is_several_splits_unless_the_table_says_otherwise() {
    let (folder, context) = (folder(), context());
    let large = fs::File::create(folder.path().join("large")).expect("created");
    // A sparse file; none of it is read here.
    large.set_len(70 << 20).expect("sized");
    let discover = async |options: &[(&str, &str)]| {
        let source = table(&context, &path(&folder), "json", options, numbers()).expect("a table");
        source.discover().await.expect("listed").len()
    };
    assert_eq!(discover(&[]).await, 3, "pieces of 32 MiB");
    assert_eq!(discover(&[("source.split-size", "100 MiB")]).await, 1);
}

#[tokio::test]
async fn a_bad_record_fails_with_file_line_and_reason_or_is_set_aside() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("f.json");
    fs::write(&file, "{\"a\":1}\n\n{\"a\":\"x\"}\n{\"a\":3}\n").expect("written");
    let name = file.to_string_lossy().into_owned();
    let strict = table(&context, &name, "json", &[("source.split-size", "10 b")], numbers()).expect("a table");
    assert_eq!(error_of(&*strict).await, format!("{name}:3: a: expected BIGINT, found \"x\""));
    let lenient = table(&context, &name, "json", &[("dead-letter.path", "/dead")], numbers()).expect("a table");
    let given = read_all(&*lenient).await.expect("set aside");
    assert_eq!(given.lines(), ["{\"a\":1}", "{\"a\":3}"]);
    assert_eq!(given.letters.len(), 1);
    assert_eq!(given.letters[0].position, format!("{name}:3"));
    assert_eq!(given.letters[0].record, "{\"a\":\"x\"}");
}

#[tokio::test]
async fn files_that_are_no_text_are_told_of() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("f");
    let name = file.to_string_lossy().into_owned();
    let source = table(&context, &name, "json", &[], numbers()).expect("a table");
    assert_eq!(error_of(&*source).await, format!("could not find {name}: no such file"));
    fs::write(&file, b"\x1f\x8b\x08\0\0\0").expect("written");
    let expected = "it is compressed with gzip: that is read from files whose names end in .gz";
    assert_eq!(error_of(&*source).await, format!("could not read {name} as text: {expected}"));
    fs::write(&file, b"\0\xff\xfe\n").expect("written");
    assert!(error_of(&*source).await.starts_with(&format!("{name}:1: expected '{{', found ")));
}

#[tokio::test]
async fn all_files_are_listed_and_each_is_cut_by_itself() {
    let (folder, context) = (folder(), context());
    fs::write(folder.path().join("a"), "{\"a\":1}\n").expect("written");
    let options = [("source.monitor-interval", "2 s"), ("source.split-size", "8 B")];
    let source = table(&context, &path(&folder), "json", &options, numbers()).expect("a table");
    let enumerator = source.enumerator().expect("the path is watched");
    assert_eq!(enumerator.interval(), Some(std::time::Duration::from_secs(2)));
    fs::write(folder.path().join("c"), "{\"a\":2}\n{\"a\":3}\n").expect("written");
    fs::write(folder.path().join("b"), "").expect("written");
    fs::write(folder.path().join(".d"), "{\"a\":8}\n").expect("written");
    let listed = enumerator.list(crate::Listing::First).await.expect("listed");
    let names: Vec<&str> = listed.iter().map(|piece| &piece.name[piece.name.len() - 1..]).collect();
    assert_eq!(names, ["a", "b", "c"], "old and new, without hidden ones");
    let cut = enumerator.cut(&listed[1..], crate::Listing::First).await.expect("cut");
    assert!(cut[0].is_empty(), "nothing is in it");
    let mut lines = String::new();
    for split in &cut[1] {
        assert_eq!(enumerator.former(split).expect("readable"), None);
        let mut reader = source.open(split).await.expect("opened");
        while let Read::Records { batch, .. } = reader.next().await.expect("readable") {
            lines.extend(to_lines(&batch));
        }
    }
    assert_eq!(lines, "{\"a\":2}{\"a\":3}", "in two splits");
    let bounded = table(&context, &path(&folder), "json", &[], numbers()).expect("a table");
    assert!(bounded.enumerator().is_none(), "its splits are listed once");
}

/// As it was written before enumerators found new files.
#[tokio::test]
async fn the_split_that_looked_for_new_files_is_taken_apart() {
    let (folder, context) = (folder(), context());
    let options = [("source.monitor-interval", "1 s")];
    let source = table(&context, &path(&folder), "json", &options, numbers()).expect("a table");
    let enumerator = source.enumerator().expect("the path is watched");
    let split = |payload: serde_json::Value| thalweg_types::Split {
        id: thalweg_types::SplitId("new-files".to_owned()),
        sequence: "new-files".to_owned(),
        ordinal: 0,
        payload,
    };
    let reading = split(serde_json::json!({ "monitor": {
        "read": ["in/a", "in/b"], "current": { "lines": { "file": "in/b", "start": 0, "end": 20, "offset": 8 } },
    } }));
    let former = enumerator.former(&reading).expect("readable").expect("it looked for new files");
    assert_eq!(former.found, ["in/a", "in/b"]);
    let current = former.current.expect("it was reading");
    assert_eq!((current.id.0.as_str(), current.sequence.as_str()), ("in/b@0", "in/b"));
    assert_eq!(current.payload["lines"]["offset"], 8);
    let waiting = split(serde_json::json!({ "monitor": { "read": ["in/a"], "current": null } }));
    assert_eq!(enumerator.former(&waiting).expect("readable").expect("it looked").current, None);
    assert!(enumerator.former(&split(serde_json::json!({ "monitor": {} }))).is_err());
    assert!(source.open(&waiting).await.is_err(), "nobody reads it any more");
}
