//! Compressed files of lines: read as what they hold, however they are cut into pieces; refused if they are damaged.

use std::{path::Path as LocalPath, process::Command};

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        compressed::Compression,
        decompressed::Decompressed,
        payload::FilePayload,
        read::OpenFile,
        split::{LineDecoding, LineRange, LineReader},
        text::TextFile,
    },
    epochs::{Place, batch_of, text as text_of},
    *,
};
use crate::{AllowedPaths, Read, SplitReader as _, json::JsonDecoder, location::Location, testing::Given};

const ALL: [(Compression, &str); 3] =
    [(Compression::Gzip, "gz"), (Compression::Zstd, "zst"), (Compression::Snappy, "snappy")];

/// Each piece by itself, one behind the other.
fn compressed(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        compression.compress(piece, &mut bytes).expect("compressed");
    }
    bytes
}

fn lines(rows: std::ops::Range<i64>) -> String {
    rows.map(|row| format!("{{\"a\":{row}}}\n")).collect()
}

/// The numbers that a table of one file has.
async fn read(file: &LocalPath, format: &str) -> Result<Vec<i64>, String> {
    let source = table(&context(), &file.to_string_lossy(), format, &[("csv.header", "true")], numbers());
    let given = read_all(&*source.expect("a table")).await.map_err(|error| error.to_string())?;
    let value = |line: &String| line["{\"a\":".len()..line.len() - 1].parse().expect("a number");
    Ok(given.lines().iter().map(value).collect())
}

#[tokio::test]
async fn what_sinks_write_is_read() {
    for (name, is_stored) in [("gzip", false), ("zstd", true), ("snappy", false), ("snappy", true)] {
        for format in ["json", "csv"] {
            let place = Place::new(format, is_stored, true, &[("sink.compression", name)]);
            let mut writer = place.writer(1);
            for batch in 0..3 {
                writer.write(&batch_of(1000 * batch..1000 * (batch + 1), text_of)).await.expect("written");
            }
            let prepared = seal(&mut *writer).await;
            place.committer().commit(EPOCHS, &prepared).await.expect("published");
            assert_eq!(place.visible().await, (0..3000).collect::<Vec<_>>(), "{name} {format}");
        }
    }
}

#[tokio::test]
async fn a_compressed_file_is_one_split_which_is_gone_on_with_anywhere() {
    let (folder, context) = (folder(), context());
    for (compression, extension) in ALL {
        for format in ["json", "csv"] {
            let (head, end) = if format == "csv" { ("a\n", "\n") } else { ("", "}\n") };
            let row = |row: i64| if format == "csv" { row.to_string() } else { format!("{{\"a\":{row}") } + end;
            let text = head.to_owned() + &(0..50).map(row).collect::<String>();
            let (first, second) = text.as_bytes().split_at(97);
            let file = folder.path().join(format!("f.{format}.{extension}"));
            fs::write(&file, compressed(compression, &[first, b"", second])).expect("written");
            let options = [("csv.header", "true"), ("source.split-size", "5 b")];
            let source = table(&context, &file.to_string_lossy(), format, &options, numbers()).expect("a table");
            let splits = source.discover().await.expect("listed");
            assert_eq!((splits.len(), splits[0].id.0.clone()), (1, format!("{}@0", file.display())));
            let expected: Vec<String> = (0..50).map(|row| format!("{{\"a\":{row}}}")).collect();
            assert_eq!(read_all(&*source).await.expect("readable").lines(), expected);
            assert_eq!(read_all_resuming(&*source).await.expect("readable").lines(), expected);
        }
    }
}

/// Reads a compressed file through blocks of any size; opens the reader anew after every batch.
async fn read_in_blocks(name: &str, compression: Compression, block_bytes: usize) -> Given {
    let mut given = Given::default();
    let location = Location::Local(name.into(), AllowedPaths::everywhere());
    let mut offset = 0;
    loop {
        let file = OpenFile::open(&location, name, 0).await.expect("the file exists").with_block_bytes(block_bytes);
        let bytes = file.bytes;
        let file = Decompressed::new(file, bytes, compression).expect("opened");
        let decoder = Box::new(JsonDecoder::new(numbers()).expect("a readable schema"));
        let format = LineDecoding { decoder, batch_rows: 3, keeps_dead_letters: true, notices: Default::default() };
        let split = FilePayload::Compressed { file: name.to_owned(), bytes, offset }.into_split(0);
        let range = LineRange { start: 0, end: u64::MAX, offset: (offset > 0).then_some(offset) };
        let mut reader = LineReader::new(split, TextFile::Compressed(Box::new(file)), &range, format);
        let Read::Records { batch, dead_letters } = reader.next().await.expect("readable") else { return given };
        given.batches.push(batch);
        given.letters.extend(dead_letters);
        match FilePayload::of(&reader.position()).expect("its own payload") {
            FilePayload::Compressed { offset: next, .. } => offset = next,
            other => panic!("not a position of text: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_pieces_are_one_text_and_its_lines_are_numbered(
        rows in vec(any::<Option<i16>>(), 0..30), cuts in vec(any::<prop::sample::Index>(), 0..4), block_bytes in 1usize..300,
    ) {
        let line = |row: &Option<i16>| row.map_or("bad\n".to_owned(), |row| format!("{{\"a\":{row}}}\n"));
        let text: String = rows.iter().map(line).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]).collect();
        let folder = folder();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (compression, extension) in ALL {
            let name = folder.path().join(format!("f.{extension}")).to_string_lossy().into_owned();
            fs::write(&name, compressed(compression, &pieces)).expect("written");
            let given = runtime.block_on(read_in_blocks(&name, compression, block_bytes));
            let expected: Vec<String> = rows.iter().flatten().map(|row| format!("{{\"a\":{row}}}")).collect();
            prop_assert_eq!(given.lines(), expected);
            let bad = (1..).zip(&rows).filter(|(_, row)| row.is_none()).map(|(line, _)| format!("{name}:{line}"));
            let told: Vec<String> = given.letters.into_iter().map(|letter| letter.position).collect();
            prop_assert_eq!(told, bad.collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn no_damaged_byte_changes_what_is_read() {
    let folder = folder();
    let (first, second) = (lines(0..40), lines(40..90));
    for (compression, extension) in ALL {
        let whole = compressed(compression, &[first.as_bytes(), second.as_bytes()]);
        let file = folder.path().join(format!("f.{extension}"));
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            fs::write(&file, &damaged).expect("written");
            match read(&file, "json").await {
                // Some bytes, such as the time in gzip's head, say nothing about the text.
                Ok(rows) => assert_eq!(rows, (0..90).collect::<Vec<_>>(), "{extension}: byte {at}"),
                Err(error) => {
                    refused += 1;
                    let expected = format!("could not decompress {} with {}: ", file.display(), compression.name());
                    // Text is read as far as it is whole, so a record may be what is found to be damaged.
                    assert!(error.starts_with(&expected) || error.contains(&file.display().to_string()), "{error}");
                }
            }
        }
        assert!(refused > whole.len() / 2, "{extension}: {refused} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_told_of() {
    let folder = folder();
    let (first, second) = (lines(0..40), lines(40..90));
    for (compression, extension) in ALL {
        let one = compressed(compression, &[first.as_bytes()]).len();
        let whole = compressed(compression, &[first.as_bytes(), second.as_bytes()]);
        let file = folder.path().join(format!("f.{extension}"));
        for bytes in 1..whole.len() {
            fs::write(&file, &whole[..bytes]).expect("written");
            // Between pieces, snappy's first chunk included, a file may end.
            let head = if compression == Compression::Snappy { 10 } else { 0 };
            let ends = [(head, 0), (one, 40), (one + head, 40)];
            let told = read(&file, "json").await;
            if let Some((_, rows)) = ends.into_iter().find(|(end, _)| *end == bytes) {
                assert_eq!(told, Ok((0..rows).collect()), "{extension}: {bytes} bytes");
                continue;
            }
            let error = told.expect_err("it was cut off");
            let expected = format!("could not decompress {} with {}: it ends in", file.display(), compression.name());
            assert!(error.starts_with(&expected), "{extension}: {bytes} bytes: {error}");
        }
    }
}

#[tokio::test]
async fn a_name_that_says_something_else_is_told_of() {
    let folder = folder();
    for (_, extension) in ALL {
        let file = folder.path().join(format!("f.json.{extension}"));
        fs::write(&file, lines(0..20)).expect("written");
        let error = read(&file, "json").await.expect_err("it is not compressed");
        assert!(error.contains("it is damaged, or not compressed as its name says: "), "{error}");
        fs::write(&file, "").expect("written");
        assert_eq!(read(&file, "json").await, Ok(Vec::new()), "as any other empty file");
    }
    let twice = compressed(Compression::Gzip, &[&compressed(Compression::Zstd, &[b"{}"])]);
    let file = folder.path().join("twice.gz");
    fs::write(&file, twice).expect("written");
    let error = read(&file, "json").await.expect_err("it is compressed twice");
    assert!(error.contains(&format!("the content of {}", file.display())), "{error}");
    assert!(error.contains("it is compressed with zstd"), "{error}");
}

/// What others put into files, and readers pass over.
#[tokio::test]
async fn padding_is_passed_over() {
    let (folder, text) = (folder(), lines(0..3));
    let file = |name: &str| folder.path().join(name);
    let mut gzip = compressed(Compression::Gzip, &[text.as_bytes()]);
    gzip.extend([0; 1000]);
    fs::write(file("f.gz"), gzip).expect("written");
    let mut zstd = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    zstd.extend(compressed(Compression::Zstd, &[text.as_bytes()]));
    fs::write(file("f.zst"), zstd).expect("written");
    let mut snappy = compressed(Compression::Snappy, &[text.as_bytes()]);
    snappy.extend([0xfe, 0, 0, 2]);
    snappy.extend(vec![7; 2 << 16]);
    let padded = snappy.len();
    snappy.extend(compressed(Compression::Snappy, &[text.as_bytes()]));
    fs::write(file("f.snappy"), &snappy).expect("written");
    for (name, rows) in [("f.gz", vec![0, 1, 2]), ("f.zst", vec![0, 1, 2]), ("f.snappy", vec![0, 1, 2, 0, 1, 2])] {
        assert_eq!(read(&file(name), "json").await, Ok(rows), "{name}");
    }
    fs::write(file("f.snappy"), &snappy[..padded - 1]).expect("written");
    assert!(read(&file("f.snappy"), "json").await.expect_err("cut off").contains("it ends in"));
}

/// A frame of zstd with this window, without a checksum: a byte so often, or `text`.
fn frame(window_log: u8, (byte, mib): (u8, usize), text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    let mut block = |is_last: bool, kind: u32, bytes: usize, content: &[u8]| {
        let head = u32::from(is_last) | kind << 1 | u32::try_from(bytes).expect("small") << 3;
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.extend_from_slice(content);
    };
    (0..8 * mib).for_each(|_| block(false, 1, 128 << 10, &[byte]));
    block(true, 0, text.len(), text);
    frame
}

#[tokio::test]
async fn windows_and_records_have_a_bound() {
    let folder = folder();
    let file = folder.path().join("f.zst");
    fs::write(&file, frame(27, (0, 0), b"{\"a\":7}\n")).expect("written");
    assert_eq!(read(&file, "json").await, Ok(vec![7]));
    fs::write(&file, frame(28, (0, 0), b"{\"a\":7}\n")).expect("written");
    let error = read(&file, "json").await.expect_err("too large");
    assert!(error.ends_with("it needs a window of more than 128 MiB: compress it with a smaller one"), "{error}");
    // A few bytes that become very many.
    let bomb = frame(20, (b'x', 1 << 10), b"");
    assert!(bomb.len() < 40_000);
    fs::write(&file, bomb).expect("written");
    let error = read(&file, "json").await.expect_err("too long");
    let expected = format!("could not read the content of {} at byte 0: a record is longer than", file.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_file_is_read_as_far_as_it_went_when_it_was_found() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("f.gz");
    let one = compressed(Compression::Gzip, &[lines(0..5).as_bytes()]);
    fs::write(&file, &one).expect("written");
    let options = [("source.monitor-interval", "1 s")];
    let source = table(&context, &file.to_string_lossy(), "json", &options, numbers()).expect("a table");
    let splits = source.discover().await.expect("listed");
    fs::write(&file, [one.clone(), one.clone()].concat()).expect("written");
    let mut given = Given::default();
    crate::testing::read_split(&*source, &splits[0], &mut given).await.expect("readable");
    assert_eq!(given.rows(), 5, "what came later is not read");
    fs::write(&file, &one[..one.len() - 1]).expect("written");
    let error = source.open(&splits[0]).await.err().expect("it is shorter").to_string();
    assert!(error.contains(&format!("and had at least {} when it was found", one.len())), "{error}");
}

/// A Python with cramjam and backports.zstd.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn python() -> Option<String> {
    std::env::var("THALWEG_PYFORMATS").ok().filter(|python| !python.is_empty())
}

#[tokio::test]
async fn other_libraries_write_and_read_such_files() {
    let Some(python) = python() else {
        eprintln!("skipped: THALWEG_PYFORMATS names no Python with cramjam and backports.zstd");
        return;
    };
    let folder = folder();
    let run = |action: &str, name: &str, file: &LocalPath| {
        let script = LocalPath::new(env!("CARGO_MANIFEST_DIR")).join("src/filesystem/tests/compressed.py");
        let output = Command::new(&python).arg(script).args([action, name]).arg(file).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    for (compression, extension) in ALL {
        let file = folder.path().join(format!("f.json.{extension}"));
        run("write", compression.name(), &file);
        assert_eq!(read(&file, "json").await, Ok((0..40_000).collect()), "{extension}");

        let place = Place::new("json", false, false, &[("sink.compression", compression.name())]);
        let mut writer = place.writer(1);
        for batch in 0..40 {
            writer.write(&batch_of(1000 * batch..1000 * (batch + 1), |_| None)).await.expect("written");
        }
        let prepared = seal(&mut *writer).await;
        place.committer().commit(EPOCHS, &prepared).await.expect("published");
        let [name] = &place.files().await[..] else { panic!("one file") };
        let read = run("read", compression.name(), &LocalPath::new(&place.path).join(name));
        let expected: String = (0..40_000).map(|row| format!("{{\"a\":{row},\"p\":null}}\n")).collect();
        assert!(read == expected, "{extension}: {} bytes", read.len());
    }
}
