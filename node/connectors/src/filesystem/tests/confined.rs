//! Tables that try to get out of the allowed paths.

use std::{
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path as LocalPath, PathBuf},
};

use thalweg_types::{Attempt, JobId, job::FailureKind};

use super::*;
use crate::{AllowedPaths, SideOutputKind, SideOutputWriter, open_side_output_committer};

/// `data` is allowed; `out` is not, and neither is `database`, which shares only a prefix of its name.
fn place() -> (TempDir, PathBuf, ConnectorContext) {
    let directory = folder();
    let root = directory.path().canonicalize().expect("it is there");
    for folder in ["data/deep", "data/a", "out/deep", "database"] {
        fs::create_dir_all(root.join(folder)).expect("created");
    }
    for (file, value) in [("data/in.json", 1), ("data/deep/in.json", 2), ("out/in.json", 3), ("database/in.json", 4)] {
        fs::write(root.join(file), format!("{{\"a\":{value}}}\n")).expect("written");
    }
    symlink("../../out", root.join("data/a/leak")).expect("a link");
    symlink("../../out/in.json", root.join("data/a/leak.json")).expect("a link");
    symlink("deep", root.join("data/inner")).expect("a link");
    let prefix = format!("{}/", root.join("data").display());
    let allowed = AllowedPaths::below([prefix.as_str()], None).expect("a prefix").of("node-7");
    (directory, root, ConnectorContext { allowed, ..context() })
}

async fn read(context: &ConnectorContext, path: &str) -> Result<Vec<String>, ConnectorError> {
    let source = table(context, path, "json", &[], numbers())?;
    read_all(&*source).await.map(|given| given.sorted_lines())
}

#[track_caller]
fn check_refusal(error: &ConnectorError, what: &str) {
    let text = error.to_string();
    assert!(
        text.contains("node-7") && text.contains("--allow-path") && text.contains("/data may be used"),
        "{what}: {text}"
    );
    assert_eq!(error.failure_kind(), FailureKind::Data, "it is not tried again: {text}");
}

#[tokio::test]
async fn what_leads_out_is_not_read_however_it_is_spelt() {
    let (_directory, root, context) = place();
    let at = |path: &str| path.replace('~', root.to_str().expect("text"));
    for (path, expected) in [
        ("~/data/in.json", "1"),
        ("~/database/../data/in.json", "1"),
        ("file://~/data/in.json", "1"),
        ("FILE://~/data/in%2Ejson", "1"),
        ("file://localhost~/data/in.json", "1"),
        ("file:~/data/a/%2e%2e/in.json", "1"),
        ("/proc/self/root~/data/in.json", "1"),
        ("~/data/inner", "2"),
        ("~/data/[d]eep/*", "2"),
        ("~/data/i*/in.json", "2"),
        ("~/{data,data/deep}/in.json", "12"),
        ("file://~/data/d*/../in.json", "1"),
    ] {
        let lines: Vec<String> = expected.chars().map(|value| format!("{{\"a\":{value}}}")).collect();
        assert_eq!(read(&context, &at(path)).await.expect(path), lines, "{path}");
    }
    for path in [
        "~/out/in.json",
        "~/out",
        "~/database/in.json",
        "~/data/../out/in.json",
        "~/data/a",
        "~/data",
        "~/data/a/leak",
        "~/data/a/leak/",
        "~/data/a/leak/in.json",
        "~/data/a/leak/missing",
        "~/data/a/leak.json",
        "~/data/a/*",
        "~/data/a/l*/in.json",
        "~/data/*/leak/in.json",
        "~/data/**/in.json",
        "~/data/d*/../../out/in.json",
        "~/{data,out}/in.json",
        "~/{data/in,out/in}.json",
        "~/dat*/in.json",
        "~/*",
        "/*",
        "/**",
        "*",
        "file://~/data/%2e%2e/out/in.json",
        "file:///%2e%2e/etc/passwd",
        "file:///etc/p*",
        "file://localhost~/out/in.json",
        "FILE://~/out/in.json",
        "/proc/self/root~/out/in.json",
        "/proc/self/cwd/Cargo.toml",
        "/proc/self/fd/0",
        "/dev/null",
    ] {
        let error = read(&context, &at(path)).await.expect_err(path);
        check_refusal(&error, path);
    }
}

#[tokio::test]
async fn a_link_that_comes_after_the_look_is_not_followed_either() {
    let (_directory, root, context) = place();
    let source =
        table(&context, &root.join("data/deep").display().to_string(), "json", &[], numbers()).expect("a table");
    let splits = source.discover().await.expect("it is there");
    let mut given = crate::testing::Given::default();
    crate::testing::read_split(&*source, &splits[0], &mut given).await.expect("it may be read");

    fs::remove_file(root.join("data/deep/in.json")).expect("removed");
    symlink("../../out/in.json", root.join("data/deep/in.json")).expect("a link");
    check_refusal(&source.open(&splits[0]).await.err().expect("it leads out"), "a file that has become a link");
    fs::rename(root.join("data/deep"), root.join("data/was")).expect("renamed");
    symlink("../out", root.join("data/deep")).expect("a link");
    check_refusal(&source.open(&splits[0]).await.err().expect("it leads out"), "a directory that has become a link");
    check_refusal(&source.discover().await.expect_err("it leads out"), "a table that has become a link");
}

/// Everything below the forbidden folders, with metadata that would reveal a change.
fn outside(root: &LocalPath) -> Vec<(PathBuf, i64, i64)> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("out"), root.join("database")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            let metadata = fs::metadata(&path).expect("it is there");
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn nothing_is_written_where_it_may_not_be() {
    let (_directory, root, context) = place();
    let before = outside(&root);
    let at = |path: &str| path.replace('~', root.to_str().expect("text"));
    for path in [
        "~/out",
        "~/new",
        "~/database/new",
        "~/data/../new",
        "~/data/a/leak",
        "~/data/a/leak/new/er",
        "~/data/a/leak.json",
        "file://~/data/%2e%2e/new",
        "/proc/self/root~/new",
    ] {
        let path = at(path);
        let spec = sink("filesystem", &[("path", &path), ("format", "json")]);
        let error = open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).err().expect("it is refused");
        check_refusal(&error, &path);
        check_refusal(&open_sink_committer(&spec, numbers(), &context).err().expect("it is refused"), &path);
        for kind in [SideOutputKind::DeadLetters, SideOutputKind::LateRows, SideOutputKind::FailedRows] {
            let error = SideOutputWriter::open(kind, &path, identity(1, 1, 0), &context).expect_err("it is refused");
            check_refusal(&error, &path);
            check_refusal(&open_side_output_committer(kind, &path, &context).err().expect("it is refused"), &path);
        }
    }
    assert!(!root.join("new").exists());
    assert_eq!(outside(&root), before);
}

#[tokio::test]
async fn a_sink_whose_directory_or_file_becomes_a_link_writes_nothing_through_it() {
    let (_directory, root, context) = place();
    let table = root.join("data/table");
    let spec = sink("filesystem", &[("path", table.to_str().expect("text")), ("format", "json")]);
    let before = outside(&root);
    let open = || open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).expect("a writer");
    let committer = open_sink_committer(&spec, numbers(), &context).expect("opened");
    let (mut writer, mut late) = (open(), open());
    writer.write(&parts::rows("{\"a\":1}\n")).await.expect("written");
    let prepared = seal(&mut *writer).await;

    // The hidden file is swapped for a link to a file of the same length; readers must not find that under the final
    // name.
    let hidden = parts_of(&table).pop().expect("it is hidden");
    fs::rename(table.join(&hidden), table.join("kept")).expect("renamed");
    symlink("../../out/in.json", table.join(&hidden)).expect("a link");
    committer.commit(EPOCHS, &prepared).await.expect_err("it is not the file that was written");
    assert_eq!(parts_of(&table), [hidden.as_str()], "it is not published");
    fs::remove_file(table.join(&hidden)).expect("removed");
    fs::rename(table.join("kept"), table.join(&hidden)).expect("renamed");

    // The directory becomes a link.
    fs::rename(&table, root.join("data/was")).expect("renamed");
    symlink("../out", &table).expect("a link");
    check_refusal(&committer.commit(EPOCHS, &prepared).await.expect_err("it leads out"), "publishing");
    check_refusal(&late.write(&parts::rows("{\"a\":2}\n")).await.expect_err("it leads out"), "a new part");
    let removed = committer.discard(&cluster(), JobId(1), Attempt(u32::MAX)).await;
    check_refusal(&removed.expect_err("it leads out"), "removing");
    assert_eq!(outside(&root), before);
}

/// The names of part files, hidden and published.
fn parts_of(table: &LocalPath) -> Vec<String> {
    let names = fs::read_dir(table).expect("it is there").map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.contains("part-")).collect()
}

#[tokio::test]
async fn directories_of_partitions_that_are_links_are_kept_out_of_like_all() {
    let (_directory, root, context) = place();
    let table = root.join("data/table");
    fs::create_dir(&table).expect("created");
    symlink("../../out/deep", table.join("a=1")).expect("a link");
    let hidden = format!(".part-{}-1-1-0000000000000007-0-0.json.inprogress", cluster().object_part());
    fs::write(root.join("out/deep").join(&hidden), "").expect("written");
    let mut spec = sink("filesystem", &[("path", table.to_str().expect("text")), ("format", "json")]);
    spec.partition_by = vec![0];
    let columns = schema(&[("a", DataType::Int64, true), ("b", DataType::Int64, true)]);
    let mut writer = open_sink_writer(&spec, columns.clone(), identity(1, 1, 0), &context).expect("a writer");
    let rows = |text: &str| {
        use crate::lines::LineDecoder as _;
        let mut decoder = crate::json::JsonDecoder::new(columns.clone()).expect("a readable schema");
        decoder.decode(text.as_bytes(), 0, 1000, &mut Vec::new());
        decoder.finish().expect("a batch")
    };
    let written = writer.write(&rows("{\"a\":1,\"b\":1}\n")).await;
    let failed = match written {
        Err(error) => error,
        Ok(()) => match writer.seal().await {
            Err(error) => error,
            Ok(durable) => durable.await.expect_err("it leads out"),
        },
    };
    check_refusal(&failed, "a partition");
    let committer = open_sink_committer(&spec, columns, &context).expect("opened");
    committer.discard(&cluster(), JobId(1), Attempt(u32::MAX)).await.expect("nothing of it is there");
    assert!(root.join("out/deep").join(&hidden).exists(), "what is elsewhere is not removed");
}

#[tokio::test]
async fn links_to_parquet_are_followed_no_further_than_others() {
    let (_directory, root, context) = place();
    let bytes = super::formats::parquet_bytes(numbers(), |rows| {
        let values = arrow::array::Int64Array::from_iter_values(rows);
        arrow::array::RecordBatch::try_new(numbers(), vec![Arc::new(values)]).expect("a batch")
    });
    for file in ["data/deep/in.parquet", "out/in.parquet"] {
        fs::write(root.join(file), &bytes).expect("written");
    }
    let at = |path: &str| root.join(path).display().to_string();
    let source = table(&context, &at("data/deep/*.parquet"), "parquet", &[], numbers()).expect("a table");
    assert_eq!(read_all(&*source).await.expect("it may be read").rows(), 40);
    let splits = source.discover().await.expect("it is there");
    fs::remove_file(root.join("data/deep/in.parquet")).expect("removed");
    symlink("../../out/in.parquet", root.join("data/deep/in.parquet")).expect("a link");
    check_refusal(&source.open(&splits[0]).await.err().expect("it leads out"), "a file that has become a link");
    for path in ["data/deep/*.parquet", "data/deep/in.parquet", "data/a/leak/in.parquet", "out/in.parquet"] {
        let read = match table(&context, &at(path), "parquet", &[], numbers()) {
            Ok(source) => read_all(&*source).await.map(|_| ()),
            Err(error) => Err(error),
        };
        check_refusal(&read.expect_err(path), path);
    }
}

#[track_caller]
fn check_own(error: &ConnectorError, what: &str) {
    let text = error.to_string();
    assert!(text.ends_with("are there, and no table can be"), "{what}: {text}");
    assert_eq!(error.failure_kind(), FailureKind::Data, "it is not tried again: {text}");
}

#[tokio::test]
async fn no_table_reads_or_writes_checkpoints_where_it_may_use_all_around_them() {
    let (_directory, root, confined) = place();
    symlink("../deep", root.join("data/a/link")).expect("a link");
    let open = ConnectorContext { allowed: AllowedPaths::everywhere(), ..context() };
    let at = |path: &str| path.replace('~', root.to_str().expect("text"));
    for context in [confined, open] {
        context.allowed.refuse(&at("~/data/deep"));
        for (path, expected) in [("~/data/in.json", "1"), ("~/data/deep/../in.json", "1"), ("~/data/[i]n.json", "1")] {
            assert_eq!(read(&context, &at(path)).await.expect(path), [format!("{{\"a\":{expected}}}")], "{path}");
        }
        for path in [
            "~/data/deep",
            "~/data/deep/in.json",
            "~/data/inner",
            "~/data/inner/in.json",
            "~/data/a/link/*",
            "~/data/a/l[i]nk/in.json",
            "~/data/d*/in.json",
            "~/data/d*",
            "file://~/data/%64eep/in.json",
        ] {
            check_own(&read(&context, &at(path)).await.expect_err(path), path);
        }
        for path in ["~/data/deep", "~/data/deep/new", "~/data/inner/new", "file://~/data/a/link/new"] {
            let path = at(path);
            let spec = sink("filesystem", &[("path", &path), ("format", "json")]);
            let error = open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).err().expect("it is refused");
            check_own(&error, &path);
            let side_output = SideOutputWriter::open(SideOutputKind::FailedRows, &path, identity(1, 1, 0), &context);
            check_own(&side_output.expect_err("it is refused"), &path);
        }
        assert_eq!(fs::read_dir(root.join("data/deep")).expect("it is there").count(), 1);
        // Nor if everything allowed lies within the program's own place.
        context.allowed.refuse(root.to_str().expect("text"));
        check_own(&read(&context, &at("~/data/in.json")).await.expect_err("it is refused"), "all");
    }
}

/// A store with a table and something that looks like checkpoints.
async fn stored_place(allowed: AllowedPaths) -> ConnectorContext {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (key, value) in [("in/a.json", 1), ("checkpoints/c/m.json", 2), ("inner/a.json", 3)] {
        store.put(&Path::from(key), format!("{{\"a\":{value}}}\n").into()).await.expect("stored");
    }
    let stores = ObjectStores::default().with_store("memory://bucket", store);
    ConnectorContext { stores, allowed, ..context() }
}

#[tokio::test]
async fn no_table_reads_checkpoints_in_the_store_that_it_is_in() {
    let context = stored_place(AllowedPaths::everywhere()).await;
    let source = table(&context, "memory://bucket/*/c", "json", &[], numbers()).expect("a table");
    let splits = source.discover().await.expect("nobody has said whose it is");
    context.allowed.refuse("memory://bucket/checkpoints");
    check_own(&source.open(&splits[0]).await.err().expect("it is refused"), "what was found before");
    assert_eq!(read(&context, "memory://bucket/in*/a.json").await.expect("a table").len(), 2);
    for path in ["memory://bucket", "memory://bucket/*/c/*", "memory://bucket/checkpoints/c", "memory://bucket/c*/**"] {
        check_own(&read(&context, path).await.expect_err(path), path);
    }
}

#[tokio::test]
async fn urls_that_are_not_below_a_prefix_are_neither_read_nor_written() {
    let allowed = AllowedPaths::below(["memory://bucket/in"], None).expect("a prefix").of("node-7");
    let context = stored_place(allowed).await;
    for path in ["memory://bucket/in", "memory://bucket/in/*.json"] {
        assert_eq!(read(&context, path).await.expect(path), ["{\"a\":1}"], "{path}");
    }
    let refused = |error: ConnectorError, path: &str| {
        let text = error.to_string();
        assert!(text.contains("only what is below memory://bucket/in may be used there"), "{path}: {text}");
        assert_eq!(error.failure_kind(), FailureKind::Data, "it is not tried again: {text}");
    };
    for path in [
        "memory://bucket",
        "memory://bucket/inner",
        "memory://bucket/in*/a.json",
        "memory://bucket/{in,inner}/a.json",
        "memory://bucket/in/../inner",
        "memory://bucket/in/%2e%2e/inner",
        "memory://other/in",
        "s3://bucket/in",
    ] {
        refused(read(&context, path).await.expect_err(path), path);
        let spec = sink("filesystem", &[("path", path), ("format", "json")]);
        refused(open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).err().expect("refused"), path);
        let side_output = open_side_output_committer(SideOutputKind::DeadLetters, path, &context);
        refused(side_output.err().expect("refused"), path);
    }
}
