//! Which files a path names; the same for local paths, their URLs and object stores.

use super::*;

/// For each of these paths there is a file that contains its own path.
const FILES: &[&str] = &[
    "days/2024-01/a.json",
    "days/2024-02/b.json",
    "days/2024-02/_SUCCESS",
    "days/2024-02/.b.json.crc",
    "days/2024-02/_temporary/0/c.json",
    "days/2024-02/deep/er/d.json",
    "days/_staging/e.json",
    "with space/a b.json",
    "odd/100%.json",
    "odd/a#b?.json",
    "odd/[1].json",
    "odd/1.json",
    "odd/{x}.json",
    "odd/%20.json",
];

struct Place {
    _folder: TempDir,
    /// The prefixes of paths, and whether the rest is percent-encoded.
    bases: [(String, bool); 3],
    context: ConnectorContext,
}

async fn place() -> Place {
    let folder = folder();
    let store = Arc::new(InMemory::new());
    for name in FILES {
        let line = format!("{{\"p\": \"{name}\"}}\n");
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a directory")).expect("created");
        fs::write(file, &line).expect("written");
        store.put(&Path::parse(name).expect("a key"), line.into()).await.expect("put");
    }
    let local = path(&folder);
    let context = ConnectorContext { stores: ObjectStores::default().with_store("memory://m", store), ..context() };
    let bases = [(local.clone(), false), (format!("file://{local}"), true), ("memory://m".to_owned(), true)];
    Place { _folder: folder, bases, context }
}

impl Place {
    /// Reads a path below each base, in the base's spelling. Returns what was read, or the error.
    async fn read(&self, plain: &str, encoded: &str) -> Vec<Result<Vec<String>, String>> {
        let mut outcomes = Vec::new();
        for (base, is_encoded) in &self.bases {
            let path = format!("{base}/{}", if *is_encoded { encoded } else { plain });
            let source = table(&self.context, &path, "json", &[], schema(&[("p", DataType::Utf8View, true)]));
            let given = match source {
                Ok(source) => read_all(&*source).await,
                Err(error) => Err(error),
            };
            let names = |line: String| line.trim_start_matches("{\"p\":\"").trim_end_matches("\"}").to_owned();
            outcomes.push(
                given.map(|given| given.sorted_lines().into_iter().map(names).collect()).map_err(|e| e.to_string()),
            );
        }
        outcomes
    }

    #[track_caller]
    fn check(outcomes: Vec<Result<Vec<String>, String>>, path: &str, expected: &[&str]) {
        for outcome in outcomes {
            assert_eq!(
                outcome.as_deref(),
                Ok(expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice()),
                "{path}"
            );
        }
    }
}

const B_AND_D: [&str; 2] = ["days/2024-02/b.json", "days/2024-02/deep/er/d.json"];

#[tokio::test]
async fn patterns_mean_files_and_directories_that_are_not_hidden() {
    let place = place().await;
    let all = ["days/2024-01/a.json", B_AND_D[0], B_AND_D[1]];
    for (path, expected) in [
        ("days", &all[..]),
        ("days/", &all),
        ("days/2024-*", &all),
        ("days/2024-*/", &all),
        ("days/*", &all),
        ("days/**", &all),
        ("days/{2024-01,2024-02,2024-0?}", &all),
        ("days/2024-0[2-9]", &B_AND_D),
        ("days/2024-02/*", &B_AND_D),
        ("days/*/*.json", &all[..2]),
        ("*/2024-02/b.json", &B_AND_D[..1]),
        ("days/**/d.json", &B_AND_D[1..]),
        ("days/_s*/*", &["days/_staging/e.json"]),
        ("days/_staging", &["days/_staging/e.json"]),
    ] {
        Place::check(place.read(path, path).await, path, expected);
    }
}

#[tokio::test]
async fn names_are_plain_in_paths_and_encoded_in_urls() {
    let place = place().await;
    for (plain, encoded, expected) in [
        ("with space/*.json", "with%20space/*.json", "with space/a b.json"),
        ("with space/a b.json", "with%20space/a%20b.json", "with space/a b.json"),
        ("with space", "with space", "with space/a b.json"),
        ("odd/100%*", "odd/100%25*", "odd/100%.json"),
        ("odd/a#b?.json", "odd/a#b?.json", "odd/a#b?.json"),
        ("odd/a#*", "odd/a%23*", "odd/a#b?.json"),
        ("odd/[1].json", "odd/%5B1%5D.json", "odd/[1].json"),
        ("odd/{x}.json", "odd/%7Bx%7D.json", "odd/{x}.json"),
        ("odd/%20.json", "odd/%2520.json", "odd/%20.json"),
        ("odd/%20*", "odd/%2520*", "odd/%20.json"),
    ] {
        Place::check(place.read(plain, encoded).await, plain, &[expected]);
    }
}

#[tokio::test]
async fn what_means_no_file_is_an_error_that_names_it() {
    let place = place().await;
    for path in ["days/2025-*", "nothing/*.json", "days/2024-02/_S*/*", "no/such/file.json", "days/2024-01/a.json/*"] {
        for outcome in place.read(path, path).await {
            let error = outcome.expect_err(path);
            assert!(error.contains(path) && error.contains("no such file"), "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn a_watched_path_may_mean_nothing_yet() {
    let (folder, context) = (folder(), context());
    let path = format!("{}/*/in-*.json", path(&folder));
    let options = [("source.monitor-interval", "1 s")];
    let source = table(&context, &path, "json", &options, numbers()).expect("a table");
    let enumerator = source.enumerator().expect("it is watched");
    assert!(enumerator.list(crate::Listing::First).await.expect("nothing is no error").is_empty());
}

/// The only thread for blocking calls is taken. So a listing waits for it, and whoever lists can do something else.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own thread")]
fn local_paths_are_listed_on_a_thread_for_blocking_calls() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (folder, context) = (folder(), context());
        fs::write(folder.path().join("x.json"), "{\"a\":1}\n").expect("written");
        let (free, freed) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || freed.recv());
        for path in [path(&folder), format!("{}/*.json", path(&folder))] {
            let source = table(&context, &path, "json", &[], numbers()).expect("a table");
            let mut listing = source.discover();
            assert!(futures::poll!(&mut listing).is_pending(), "{path}");
        }
        let source = table(&context, &path(&folder), "json", &[], numbers()).expect("a table");
        drop(free);
        assert_eq!(source.discover().await.expect("listed").len(), 1);
        assert!(taken.await.expect("it has ended").is_err(), "nothing was sent");
    });
}

#[tokio::test]
async fn links_are_followed_but_not_around() {
    let (folder, context) = (folder(), context());
    let root = folder.path();
    fs::create_dir_all(root.join("d/e")).expect("created");
    fs::write(root.join("d/e/x.json"), "{\"a\":1}\n").expect("written");
    std::os::unix::fs::symlink(root.join("d"), root.join("d/e/again")).expect("linked");
    std::os::unix::fs::symlink(root.join("d"), root.join("link")).expect("linked");
    for (pattern, rows) in [("d", 1), ("link", 1), ("d/**", 1), ("link/**/x.json", 1), ("*", 2)] {
        let source = table(&context, &format!("{}/{pattern}", path(&folder)), "json", &[], numbers()).expect("a table");
        assert_eq!(read_all(&*source).await.expect("readable").rows(), rows, "{pattern}");
    }
}

#[tokio::test]
async fn pipes_and_devices_are_no_files() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let (folder, context) = (folder(), context());
    mknodat(CWD, folder.path().join("pipe.json"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    fs::write(folder.path().join("x.json"), "{\"a\":1}\n").expect("written");
    for format in ["json", "parquet"] {
        for named in [&format!("{}/pipe.json", path(&folder)), "/dev/zero"] {
            let source = table(&context, named, format, &[], numbers()).expect("a table");
            let error = source.discover().await.expect_err("it has no end");
            assert_eq!(error.to_string(), format!("could not read {named}: it is not a regular file"));
        }
    }
    for pattern in ["", "/*.json", "/**"] {
        let source = table(&context, &format!("{}{pattern}", path(&folder)), "json", &[], numbers()).expect("a table");
        assert_eq!(read_all(&*source).await.expect("readable").rows(), 1, "{pattern}");
    }
    let source = table(&context, &path(&folder), "json", &[], numbers()).expect("a table");
    let splits = source.discover().await.expect("one file");
    fs::remove_file(folder.path().join("x.json")).expect("removed");
    mknodat(CWD, folder.path().join("x.json"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    let error = source.open(&splits[0]).await.err().expect("it has become a pipe");
    assert!(error.to_string().ends_with("it is not a regular file"), "{error}");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
}

#[tokio::test]
async fn a_sink_needs_a_directory() {
    let spec = sink("filesystem", &[("path", "/dev/null"), ("format", "json")]);
    let opened = open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context());
    let error = opened.err().expect("it is a device");
    assert_eq!(error.to_string(), "could not create the directory /dev/null: it is there, and is not a directory");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
}

#[tokio::test]
async fn a_file_that_is_gone_or_shorter_is_bad_data() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("x.json");
    for (change, expected) in [("{\"a\":1}\n", "had at least 16"), ("", "is gone")] {
        fs::write(&file, "{\"a\":1}\n{\"a\":2}\n").expect("written");
        let source = table(&context, &path(&folder), "json", &[], numbers()).expect("a table");
        let splits = source.discover().await.expect("listed");
        let changed = if change.is_empty() { fs::remove_file(&file) } else { fs::write(&file, change) };
        changed.expect("changed");
        let error = source.open(&splits[0]).await.err().expect("not the file that was found");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
    }
}

#[tokio::test]
async fn batches_are_cut_by_bytes() {
    let (folder, context) = (folder(), context());
    let line = format!("{{\"p\": \"{}\"}}\n", "x".repeat(200_000));
    fs::write(folder.path().join("x.json"), line.repeat(100)).expect("written");
    let columns = schema(&[("p", DataType::Utf8View, true)]);
    let spec =
        source("filesystem", &[("path", &path(&folder)), ("format", "json"), ("source.split-size", "1 gb")], columns);
    let source = open_source(&spec, &settings(8192), &context).expect("a table");
    let given = read_all(&*source).await.expect("readable");
    assert_eq!(given.rows(), 100);
    assert!(given.batches.iter().all(|batch| batch.num_rows() <= 30), "{} batches", given.batches.len());
}
